/* SPDX-License-Identifier: MIT */
/*
 * Closures. A block is a stretch of trampolines, mapped again from the library's own file, and behind it as
 * much data: for each trampoline the closure and where to jump. Code is never writable; data is
 * never executable, and private, so that fork copies it.
 */
#include <dlfcn.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ffi/call_int.h"

#define PER_BLOCK (CALL_BLOCK / CALL_TRAMPOLINE)

/* What a trampoline reads; as far apart as trampolines are. */
struct tramp_data {
	void *closure;
	call_entry target;
	struct slot *slot;
	u64 pad;
};
_Static_assert(sizeof(struct tramp_data) == CALL_TRAMPOLINE, "data lies opposite its code");

/* The writable part of a closure, with room for the usual size. */
struct slot {
	struct slot *next;    /* free list */
	struct tramp_data *data;
	void *big;            /* a closure larger than usual */
	union {
		ffi_closure closure;
		ffi_java_raw_closure java;
		char room[96];
	};
};

static struct slot *free_slots;
static struct hash blocks; /* by address / CALL_BLOCK: which code addresses are trampolines of ours */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void fork_prepare(void)
{
	pthread_mutex_lock(&lock);
}

static void fork_done(void)
{
	pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void watch_fork(void)
{
	pthread_atfork(fork_prepare, fork_done, fork_done);
}

/* ---- blocks ------------------------------------------------------------------------------------- */

/* Where in which file the trampolines lie, from the program header that maps them. */
struct file_place {
	const char *path;
	off_t offset;
};

static int find_place(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct file_place *place = arg;
	ElfW(Addr) at = (ElfW(Addr))call_trampolines - info->dlpi_addr;
	int i;

	(void)size;
	for (i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &info->dlpi_phdr[i];

		if (p->p_type != PT_LOAD || at < p->p_vaddr || at - p->p_vaddr >= p->p_filesz)
			continue;
		place->path = *info->dlpi_name ? info->dlpi_name : "/proc/self/exe";
		place->offset = (off_t)(p->p_offset + (at - p->p_vaddr));
		return 1;
	}
	return 0;
}

/* The trampolines at `at` from the library's file; false when that file is no longer what was loaded. */
static bool map_file(void *at)
{
	struct file_place place = { NULL, 0 };
	void *p;
	int fd;

	if (!dl_iterate_phdr(find_place, &place))
		return false;
	fd = open(place.path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	p = mmap(at, CALL_BLOCK, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, fd, place.offset);
	close(fd);
	return p != MAP_FAILED && !memcmp(p, call_trampolines, CALL_BLOCK);
}

static bool map_copy(void *at)
{
	static int fd = -1;
	void *p;

	if (fd < 0) {
		fd = memfd_create("ferry-trampolines", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		if (fd < 0 || write(fd, call_trampolines, CALL_BLOCK) != CALL_BLOCK)
			return false;
		fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
	}
	p = mmap(at, CALL_BLOCK, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, fd, 0);
	return p != MAP_FAILED;
}

/*
 * The first block finds the code; later ones have its mapping again: mremap(2) of length 0 of a shared mapping
 * makes another one, without a descriptor that a host might close.
 */
static bool map_code(void *at)
{
	static void *first;

	if (first && mremap(first, 0, CALL_BLOCK, MREMAP_MAYMOVE | MREMAP_FIXED, at) != MAP_FAILED)
		return true;
	if (!map_file(at) && !map_copy(at))
		return false;
	first = first ? first : at;
	return true;
}

/* Address space for a block, aligned so that an address tells its block. */
static u8 *reserve_block(void)
{
	u8 *p = mmap(NULL, 3 * CALL_BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	u8 *base;

	if (p == MAP_FAILED)
		return NULL;
	base = (u8 *)ALIGN_UP((uintptr_t)p, (uintptr_t)CALL_BLOCK);
	if (base > p)
		munmap(p, (size_t)(base - p));
	munmap(base + 2 * CALL_BLOCK, (size_t)(p + CALL_BLOCK - base));
	return base;
}

static bool new_block(void)
{
	u8 *base = reserve_block();
	struct slot *slots = base_array(PER_BLOCK, sizeof(*slots));
	struct tramp_data *data;
	u32 i;

	if (!base || !slots || !map_code(base) ||
	    hash_put(&blocks, (uintptr_t)base / CALL_BLOCK, base)) {
		if (base)
			munmap(base, 2 * CALL_BLOCK);
		base_free(slots);
		return false;
	}
	data = (struct tramp_data *)(base + CALL_BLOCK);
	for (i = PER_BLOCK; i-- > 0;) {
		data[i].slot = &slots[i];
		slots[i].data = &data[i];
		slots[i].next = free_slots;
		free_slots = &slots[i];
	}
	return true;
}

/* The data of a trampoline of ours; NULL for any other address. Called with the lock. */
static struct tramp_data *data_of(const void *code)
{
	uintptr_t at = (uintptr_t)code;

	if (at % CALL_TRAMPOLINE || !hash_get(&blocks, at / CALL_BLOCK))
		return NULL;
	return (struct tramp_data *)(at + CALL_BLOCK);
}

static void *code_of(const struct slot *s)
{
	return (u8 *)s->data - CALL_BLOCK;
}

void *ffi_closure_alloc(size_t size, void **code)
{
	struct slot *s = NULL;

	if (!code || size < sizeof(ffi_closure))
		size = sizeof(ffi_closure);
	if (!code)
		return NULL;
	pthread_mutex_lock(&lock);
	if (free_slots || new_block()) {
		s = free_slots;
		free_slots = s->next;
	}
	pthread_mutex_unlock(&lock);
	if (!s)
		return NULL;
	s->next = NULL;
	s->big = NULL;
	if (size > sizeof(s->room)) {
		s->big = base_alloc(size);
		if (!s->big) {
			s->data->closure = s->room;
			*(void **)s->room = code_of(s);
			ffi_closure_free(s->room);
			return NULL;
		}
	}
	s->data->closure = s->big ? s->big : (void *)s->room;
	*code = code_of(s);
	*(void **)s->data->closure = *code;
	return s->data->closure;
}

void ffi_closure_free(void *closure)
{
	struct tramp_data *data;
	struct slot *s;

	if (!closure)
		return;
	pthread_mutex_lock(&lock);
	/* The first word, which callers leave alone, is the trampoline's address. */
	data = data_of(*(void **)closure);
	s = data && data->closure == closure ? data->slot : NULL;
	if (s) {
		base_free(s->big);
		s->big = NULL;
		data->closure = NULL;
		data->target = NULL;
		s->next = free_slots;
		free_slots = s;
	}
	pthread_mutex_unlock(&lock);
	if (!s)
		log_msg(LOG_ERROR, "ffi_closure_free: %p is no closure of ffi_closure_alloc", closure);
}

/* ---- preparation --------------------------------------------------------------------------------- */

static call_entry entry_of(const ffi_cif *cif)
{
	u32 number = cif->flags % CALL_MAX_SHAPES;

	return number ? call_entries[number] : call_conv(cif->abi)->entry;
}

ffi_status ffi_prep_closure_loc(ffi_closure *closure, ffi_cif *cif,
				void (*fun)(ffi_cif *, void *, void **, void *), void *user_data,
				void *codeloc)
{
	struct tramp_data *data;

	if (!call_conv(cif->abi))
		return FFI_BAD_ABI;
	pthread_mutex_lock(&lock);
	data = data_of(codeloc);
	if (data) {
		data->closure = closure;
		data->target = entry_of(cif);
	}
	pthread_mutex_unlock(&lock);
	/* Executable memory of the caller's: cffi has an allocator of its own. */
	if (!data)
		call_own_trampoline(closure, codeloc, entry_of(cif));
	closure->cif = cif;
	closure->fun = fun;
	closure->user_data = user_data;
	return FFI_OK;
}

ffi_status ffi_prep_closure(ffi_closure *closure, ffi_cif *cif,
			    void (*fun)(ffi_cif *, void *, void **, void *), void *user_data)
{
	/* Code and data at one address: 3.4's contract of this older call. */
	return ffi_prep_closure_loc(closure, cif, fun, user_data, closure);
}

ffi_status ffi_prep_go_closure(ffi_go_closure *closure, ffi_cif *cif,
			       void (*fun)(ffi_cif *, void *, void **, void *))
{
	const struct call_conv *conv = call_conv(cif->abi);

	if (!conv)
		return FFI_BAD_ABI;
	memcpy(&closure->tramp, &conv->go_entry, sizeof(conv->go_entry));
	closure->cif = cif;
	closure->fun = fun;
	return FFI_OK;
}

void ffi_call_go(ffi_cif *cif, void (*fn)(void), void *rvalue, void **avalue, void *closure)
{
	call_with_chain(cif, fn, rvalue, avalue, closure);
}
