/* SPDX-License-Identifier: MIT */
/*
 * The pool of small pieces: chunks of a memfd, mapped executable for good and writable, elsewhere,
 * only while a piece is copied in.
 */
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "code/code_int.h"
#include "code/pool.h"

#define CHUNK ((size_t)256 << 10)
#define MAX_PIECE ((size_t)64 << 10)

struct chunk {
	u8 *run;     /* the executable view; NULL before the first piece and when full */
	size_t used;
	int fd;
	size_t align;
};
/* What is called by the main program is so short that a cache line more or less counts. */
static struct chunk anywhere = { .fd = -1, .align = 16 }, beside_main = { .fd = -1, .align = 64 };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/*
 * One FDE for a whole chunk: every piece keeps a frame pointer, so at each call the CFA is 16 above it, the
 * caller's and the return address just below (System V ABI, 3.2.2; AAPCS64, 6.4.6; DWARF 4, 6.4).
 */
struct eh_frame {
	u32 cie_len, cie_id;
	u8 version, aug[1], code_align, data_align, ra, insns[sizeof(code_arch.frame_rules)];
	u8 pad[3];
	u32 fde_len, fde_cie;
	u64 start, size;
	u32 end;
} __attribute__((packed));

void __register_frame(void *) __attribute__((weak));

static void register_unwind(u8 *run)
{
	struct eh_frame *f = base_alloc(sizeof(*f));

	if (!f)
		return;
	*f = (struct eh_frame){
		.cie_len = offsetof(struct eh_frame, fde_len) - 4,
		.version = 1,
		.code_align = 1,
		.data_align = 0x78, /* -8 */
		.ra = code_arch.return_register,
		.fde_len = offsetof(struct eh_frame, end) - offsetof(struct eh_frame, fde_cie),
		.fde_cie = offsetof(struct eh_frame, fde_cie),
		.start = (u64)(uintptr_t)run,
		.size = CHUNK,
	};
	memcpy(f->insns, code_arch.frame_rules, sizeof(f->insns));
	/* Kept for ever, as the chunk is. */
	if (__register_frame)
		__register_frame(f);
	code_tell_debugger(run, CHUNK, f, sizeof(*f));
}

/* A view of the file within reach of `near`; without one anywhere. */
static void *map_executable(int fd, const void *near)
{
	void *room = near ? code_reserve(CHUNK, near) : NULL, *run;

	run = mmap(room, CHUNK, PROT_READ | PROT_EXEC, MAP_SHARED | (room ? MAP_FIXED : 0), fd, 0);
	if (run == MAP_FAILED && room)
		munmap(room, CHUNK);
	return run;
}

static bool new_chunk(struct chunk *c)
{
	void *run;
	int fd = memfd_create("ferry-code", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)CHUNK)) {
		if (fd >= 0)
			close(fd);
		return false;
	}
	run = map_executable(fd, c == &beside_main ? code_main() : NULL);
	if (run == MAP_FAILED) {
		close(fd);
		return false;
	}
	if (c->fd >= 0)
		close(c->fd);
	c->run = run;
	c->used = 0;
	c->fd = fd;
	register_unwind(run);
	return true;
}

static u8 *add(struct chunk *c, const void *code, size_t size)
{
	u8 *w, *piece;

	if ((!c->run || CHUNK - c->used < size) && !new_chunk(c))
		return NULL;
	w = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
	if (w == MAP_FAILED)
		return NULL;
	memcpy(w + c->used, code, size);
	munmap(w, CHUNK);
	piece = c->run + c->used;
	__builtin___clear_cache((char *)piece, (char *)piece + size);
	c->used = ALIGN_UP(c->used + size, c->align);
	return piece;
}

static const void *pool_add(struct chunk *c, const void *code, size_t size)
{
	const u8 *piece;

	if (size > MAX_PIECE || !code_allowed())
		return NULL;
	pthread_mutex_lock(&lock);
	piece = add(c, code, size);
	pthread_mutex_unlock(&lock);
	return piece;
}

const void *code_pool_add(const void *code, size_t size)
{
	return pool_add(&anywhere, code, size);
}

const void *code_pool_add_beside_main(const void *code, size_t size)
{
	return pool_add(&beside_main, code, size);
}
