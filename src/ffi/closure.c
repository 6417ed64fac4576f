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

static bool new_block(void)
{
	u8 *base = mmap(NULL, 2 * CALL_BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct slot *slots = base_array(PER_BLOCK, sizeof(*slots));
	struct tramp_data *data = (struct tramp_data *)(base + CALL_BLOCK);
	u32 i;

	if (base == MAP_FAILED || !slots || !map_code(base)) {
		if (base != MAP_FAILED)
			munmap(base, 2 * CALL_BLOCK);
		base_free(slots);
		return false;
	}
	for (i = PER_BLOCK; i-- > 0;) {
		data[i].slot = &slots[i];
		slots[i].data = &data[i];
		slots[i].next = free_slots;
		free_slots = &slots[i];
	}
	return true;
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
		/* The slot's address goes before the closure: free finds it there. */
		s->big = base_alloc(size + 16);
		if (!s->big) {
			ffi_closure_free(s->room);
			return NULL;
		}
		memcpy(s->big, &s, sizeof(s));
	}
	s->data->closure = s->big ? (u8 *)s->big + 16 : (u8 *)s->room;
	*code = code_of(s);
	*(void **)s->data->closure = *code;
	return s->data->closure;
}

/* The slot of a closure of ours: its trampoline word says where; NULL for any other. */
static struct slot *slot_of(void *closure, const void *code)
{
	struct tramp_data *data = (struct tramp_data *)((const u8 *)code + CALL_BLOCK);

	return data->closure == closure ? data->slot : NULL;
}

void ffi_closure_free(void *closure)
{
	struct slot *s;

	if (!closure)
		return;
	s = container_of(closure, struct slot, room);
	if (*(void **)closure) {
		struct slot *named = slot_of(closure, *(void **)closure);

		s = named ? named : s;
	}
	base_free(s->big);
	pthread_mutex_lock(&lock);
	s->big = NULL;
	s->data->closure = NULL;
	s->data->target = NULL;
	s->next = free_slots;
	free_slots = s;
	pthread_mutex_unlock(&lock);
}

/* ---- preparation --------------------------------------------------------------------------------- */

static call_entry entry_of(const ffi_cif *cif)
{
	u32 number = cif->flags % CALL_MAX_SHAPES;

	if (cif->abi != FFI_UNIX64)
		return call_closure_entry_win64;
	return number ? call_entries[number] : call_closure_entry_slow;
}

static bool good_abi(const ffi_cif *cif)
{
	return (int)cif->abi >= FFI_UNIX64 && cif->abi < FFI_LAST_ABI;
}

ffi_status ffi_prep_closure_loc(ffi_closure *closure, ffi_cif *cif,
				void (*fun)(ffi_cif *, void *, void **, void *), void *user_data,
				void *codeloc)
{
	struct tramp_data *data = (struct tramp_data *)((u8 *)codeloc + CALL_BLOCK);

	if (!good_abi(cif))
		return FFI_BAD_ABI;
	closure->cif = cif;
	closure->fun = fun;
	closure->user_data = user_data;
	data->closure = closure;
	data->target = entry_of(cif);
	return FFI_OK;
}

ffi_status ffi_prep_closure(ffi_closure *closure, ffi_cif *cif,
			    void (*fun)(ffi_cif *, void *, void **, void *), void *user_data)
{
	return ffi_prep_closure_loc(closure, cif, fun, user_data, closure->ftramp);
}

ffi_status ffi_prep_go_closure(ffi_go_closure *closure, ffi_cif *cif,
			       void (*fun)(ffi_cif *, void *, void **, void *))
{
	void (*entry)(void);

	if (!good_abi(cif))
		return FFI_BAD_ABI;
	entry = cif->abi == FFI_UNIX64 ? call_go_entry : call_go_entry_win64;
	memcpy(&closure->tramp, &entry, sizeof(entry));
	closure->cif = cif;
	closure->fun = fun;
	return FFI_OK;
}

void ffi_call_go(ffi_cif *cif, void (*fn)(void), void *rvalue, void **avalue, void *closure)
{
	call_with_chain(cif, fn, rvalue, avalue, closure);
}
