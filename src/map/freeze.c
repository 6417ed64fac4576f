/* SPDX-License-Identifier: MIT */
/*
 * Frozen maps. That a map is frozen stands in its header, for all processes. An array that programs
 * only read is trusted from then on (the verifier takes its bytes for constants), so its memory is
 * made such that nobody can change it: the file is sealed, or, where another process still has it
 * mapped for writing, this process reads a copy of its own.
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "map/map_int.h"

/* The bytes that the verifier may take for constants. */
static bool is_constant_kind(const struct map *m)
{
	return m->attr.type == BPF_MAP_TYPE_ARRAY && m->attr.flags & BPF_F_RDONLY_PROG &&
	       !m->own_mem;
}

/* A copy of the memory as it is now at the same address; bytes may come from a hostile process. */
static int copy_memory(struct map *m)
{
	u8 *copy = mmap(NULL, m->mem_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	size_t at, page;

	if (copy == MAP_FAILED)
		return -ENOMEM;
	for (at = map_mem_next(m, 0); at < m->mem_size; at = map_mem_next(m, page + MAP_PAGE)) {
		page = at & ~(size_t)(MAP_PAGE - 1);
		map_load(copy + page, m->mem + page, MAP_PAGE);
		if (page + MAP_PAGE >= m->mem_size)
			break;
	}
	((struct map_head *)(copy + m->mem_size - MAP_PAGE))->frozen = 1;
	if (mprotect(copy, m->mem_size, PROT_READ) ||
	    mremap(copy, m->mem_size, m->mem_size, MREMAP_MAYMOVE | MREMAP_FIXED, m->mem) == MAP_FAILED) {
		munmap(copy, m->mem_size);
		return -ENOMEM;
	}
	return 0;
}

/*
 * The own mapping goes first: a seal against writing is refused (EBUSY) while anybody could write. A
 * private mapping of a sealed file is of bytes that do not change.
 */
static int make_constant(struct map *m)
{
	if (mmap(m->mem, m->mem_size, PROT_READ, MAP_PRIVATE | MAP_FIXED, m->fd, 0) == MAP_FAILED)
		return -ENOMEM;
	if (!fcntl(m->fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SEAL))
		return 0;
	fcntl(m->fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE); /* at least nobody new */
	return copy_memory(m);
}

int map_attach_sealed(struct map *m)
{
	int seals = fcntl(m->fd, F_GET_SEALS), err = 0;

	if (!is_constant_kind(m))
		return -EINVAL; /* no other is ever sealed */
	if (!(seals & F_SEAL_WRITE)) /* who had it mapped before may still write */
		err = copy_memory(m);
	atomic_store(&m->frozen, err ? 0 : MAP_FROZEN);
	return err;
}

int map_freeze(struct map *m)
{
	u32 not_yet = 0;
	int err = 0;

	/* One freezes; then writers see it, or are seen. */
	if (!atomic_compare_exchange_strong(&m->frozen, &not_yet, MAP_FREEZING))
		return -EBUSY;
	if (atomic_load(&m->writers)) {
		err = -EBUSY;
	} else {
		if (!*m->frozen_all)
			atomic_store(m->frozen_all, 1);
		if (is_constant_kind(m))
			err = make_constant(m);
	}
	atomic_store(&m->frozen, err ? 0 : MAP_FROZEN);
	return err;
}

bool map_write_begin(struct map *m)
{
	if (!is_constant_kind(m))
		return !map_is_frozen(m);
	atomic_fetch_add(&m->writers, 1);
	if (!map_is_frozen(m))
		return true;
	atomic_fetch_sub(&m->writers, 1);
	return false;
}

void map_write_end(struct map *m)
{
	if (is_constant_kind(m))
		atomic_fetch_sub(&m->writers, 1);
}

void map_notice_frozen(struct map *m)
{
	if (!m->is_template && *m->frozen_all && !m->frozen)
		map_freeze(m); /* without memory it is one that nobody trusts */
}

int map_fd_readonly(const struct map *m)
{
	char path[32] = "/proc/self/fd/", digits[11];
	int n = 0, at = 14, fd = m->fd;

	do {
		digits[n++] = (char)('0' + fd % 10);
	} while (fd /= 10);
	while (n)
		path[at++] = digits[--n];
	return open(path, O_RDONLY | O_CLOEXEC);
}

void *map_mmap_frozen(struct map *m, void *addr, size_t len, int prot, int flags, s64 off)
{
	int fd = map_fd_readonly(m), err;
	void *at;

	/* By one that cannot write: before Linux 6.7 a sealed file is mapped shared by no other. */
	at = mmap(addr, len, prot, flags, fd < 0 ? m->fd : fd, off);
	err = errno;
	if (fd >= 0)
		close(fd);
	errno = err;
	return at;
}
