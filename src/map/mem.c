/* SPDX-License-Identifier: MIT */
/* A map's memory: a sealed memfd, mapped shared, with Ferry's header in its last page. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "map/map_int.h"

/* Without these its maker could cut the file under our mapping. */
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW)

struct map_head *map_head(const struct map *m)
{
	return (struct map_head *)(m->mem + m->mem_size - MAP_PAGE);
}

/*
 * Pages come when they are touched, so a size that the machine could never give is refused here,
 * where the kernel's allocation would fail as well.
 */
static bool fits_machine(const struct map_attr *attr, size_t bytes)
{
	static _Atomic long known; /* asking takes a system call */
	long pages = known ? known : sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

	known = pages;
	if (attr->flags & BPF_F_NO_PREALLOC) /* max_entries is a limit and no promise */
		return bytes < 1ull << 40;
	return pages <= 0 || page <= 0 || bytes / (size_t)page < (size_t)pages;
}

static void fill_head(struct map *m)
{
	struct map_head *h = map_head(m);

	h->magic = MAP_MAGIC;
	h->version = MAP_VERSION;
	h->cpus = map_cpus();
	h->mem_size = m->mem_size;
	h->attr = m->attr;
	if (!(m->attr.flags & BPF_F_ZERO_SEED) &&
	    getrandom(h->seed, sizeof(h->seed), GRND_NONBLOCK) != sizeof(h->seed)) {
		/* Early boot or a filter: the address is all the surprise there is. */
		h->seed[0] = hash_bytes(&m, sizeof(m), (u64)(uintptr_t)m->mem);
		h->seed[1] = hash_bytes(&m, sizeof(m), h->seed[0]);
	}
}

int map_mem_create(struct map *m, size_t bytes)
{
	char name[32] = "bpf-map:"; /* tools read the kind of a descriptor from its link's name */
	size_t size;
	void *mem;

	if (!base_add(bytes, 2 * MAP_PAGE - 1, &size))
		return -ENOMEM;
	size &= ~(size_t)(MAP_PAGE - 1);
	if (!fits_machine(&m->attr, size))
		return -ENOMEM;
	memcpy(name + 8, m->attr.name, BPF_OBJ_NAME_LEN);
	m->fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (m->fd < 0)
		return -errno;
	/* The size is final: nobody may cut the file under a mapping (SIGBUS). freeze.c seals more. */
	if (fchmod(m->fd, 0600) < 0 || ftruncate(m->fd, (off_t)size) < 0 ||
	    fcntl(m->fd, F_ADD_SEALS, SEALS) < 0)
		return -errno;
	mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
	if (mem == MAP_FAILED)
		return -errno;
	if (size >= 2u << 20)
		madvise(mem, size, MADV_HUGEPAGE); /* where the machine has them for shared memory */
	m->mem = mem;
	m->mem_size = size;
	m->frozen_all = &map_head(m)->frozen;
	fill_head(m);
	return 0;
}

int map_mem_attach(struct map *m, struct map_attr *attr, bool *sealed)
{
	struct map_head head;
	struct stat st;
	void *mem;
	int seals = fcntl(m->fd, F_GET_SEALS);
	bool frozen = seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE);

	if (seals < 0 || (seals & SEALS) != SEALS || fstat(m->fd, &st) || st.st_size < MAP_PAGE ||
	    st.st_size % MAP_PAGE)
		return -EINVAL;
	if (pread(m->fd, &head, sizeof(head), st.st_size - MAP_PAGE) != sizeof(head) ||
	    head.magic != MAP_MAGIC || head.version != MAP_VERSION || head.cpus != map_cpus() ||
	    head.mem_size != (u64)st.st_size)
		return -EINVAL;
	mem = mmap(NULL, st.st_size, frozen ? PROT_READ : PROT_READ | PROT_WRITE,
		   frozen ? MAP_PRIVATE : MAP_SHARED, m->fd, 0);
	if (mem == MAP_FAILED)
		return -errno;
	m->mem = mem;
	m->mem_size = st.st_size;
	m->frozen_all = &map_head(m)->frozen;
	*sealed = frozen;
	*attr = head.attr;
	attr->name[sizeof(attr->name) - 1] = '\0';
	return 0;
}

void map_tag_write(struct map *m, const struct map_tag *tag)
{
	map_store(&map_head(m)->tag, tag, sizeof(*tag));
}

void map_tag_read(const struct map *m, struct map_tag *tag)
{
	map_load(tag, &map_head(m)->tag, sizeof(*tag));
}

size_t map_mem_next(const struct map *m, size_t off)
{
	off_t at = m->own_mem ? (off_t)off : lseek(m->fd, (off_t)off, SEEK_DATA);

	if (at < 0)
		return errno == ENXIO ? m->mem_size : off;
	return (size_t)at;
}

int map_mem_own(struct map *m)
{
	void *mem = mmap(NULL, m->mem_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct map_head empty = { 0 }, *head = map_head(m);
	size_t at, page;

	if (mem == MAP_FAILED)
		return -ENOMEM;
	/* What was never touched need not be copied. */
	for (at = map_mem_next(m, 0); at < m->mem_size; at = map_mem_next(m, page + MAP_PAGE)) {
		page = at & ~(size_t)(MAP_PAGE - 1);
		memcpy((u8 *)mem + page, m->mem + page, MAP_PAGE);
		if (page + MAP_PAGE >= m->mem_size)
			break;
	}
	memcpy(head, &empty, sizeof(empty));
	if (mremap(mem, m->mem_size, m->mem_size, MREMAP_MAYMOVE | MREMAP_FIXED, m->mem) == MAP_FAILED) {
		munmap(mem, m->mem_size);
		return -ENOMEM;
	}
	m->own_mem = true;
	m->user_size = 0;
	return 0;
}

void map_mem_free(struct map *m)
{
	if (m->mem)
		munmap(m->mem, m->mem_size);
	if (m->fd >= 0)
		close(m->fd);
	m->mem = NULL;
	m->fd = -1;
}
