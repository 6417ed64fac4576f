/* SPDX-License-Identifier: MIT */
/*
 * Executable memory within reach of a jump from given code, and writing code. Memory is never
 * writable where it can run: it is written through /proc/self/mem, as a debugger does.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "attach/attach_int.h"

#define CHUNK ((size_t)64 << 10)
#define REACH ((u64)0x7ff00000) /* of a rel32, less room for what is in a chunk */
#define MAX_CHUNKS 1024

static struct {
	u8 *at;
	size_t used;
} chunks[MAX_CHUNKS];
static u32 nchunks;

static bool near_enough(const u8 *a, u64 b)
{
	u64 at = (u64)(uintptr_t)a, d = at > b ? at - b : b - at;

	return d < REACH;
}

/* A copy of the pages, changed, in their place: other threads run the one or the other. */
static int replace_pages(u8 *start, size_t len, size_t off, const void *from, size_t n)
{
	u8 *copy = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int err = 0;

	if (copy == MAP_FAILED)
		return -ENOMEM;
	memcpy(copy, start, len);
	memcpy(copy + off, from, n);
	if (mprotect(copy, len, PROT_READ | PROT_EXEC) ||
	    mremap(copy, len, len, MREMAP_MAYMOVE | MREMAP_FIXED, start) == MAP_FAILED)
		err = -errno;
	if (err)
		munmap(copy, len);
	return err;
}

int area_write(void *to, const void *from, size_t n)
{
	int fd = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	u8 *start = (u8 *)((uintptr_t)to & ~(page - 1));
	size_t off = (size_t)((u8 *)to - start);
	ssize_t done;

	if (fd >= 0) {
		done = pwrite(fd, from, n, (off_t)(uintptr_t)to);
		close(fd);
		if (done == (ssize_t)n)
			return 0;
	}
	/* A kernel that does not let memory be forced. */
	return replace_pages(start, ALIGN_UP(off + n, page), off, from, n);
}

static u8 *try_map(u64 at)
{
	void *p = mmap((void *)(uintptr_t)at, CHUNK, PROT_READ | PROT_EXEC,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	if (p != (void *)(uintptr_t)at) { /* a kernel before 4.17 takes it as a hint */
		munmap(p, CHUNK);
		return NULL;
	}
	return p;
}

/* The gap of the address space nearest to `near`: below it or above, from /proc/self/maps. */
static u8 *map_near(u64 near)
{
	u64 low = near > REACH ? near - REACH : 0, high = near + REACH;
	u64 start, end, last = 0x10000, best = 0, best_d = ~0ull;
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512];
	bool more = true;

	if (!f)
		return NULL;
	while (more) {
		more = fgets(line, sizeof(line), f) != NULL;
		if (!more)
			start = end = 0x7ffffffff000ull;
		else if (sscanf(line, "%lx-%lx", &start, &end) != 2)
			continue;
		/* Not right at the neighbours: the stack and the heap grow. */
		u64 gap_lo = ALIGN_UP(last, CHUNK) + CHUNK, gap_hi = start & ~(CHUNK - 1);

		if (gap_lo < low)
			gap_lo = ALIGN_UP(low, CHUNK);
		if (gap_hi > high)
			gap_hi = high & ~(CHUNK - 1);
		if (gap_lo + 2 * CHUNK <= gap_hi) {
			u64 at = gap_hi <= near ? gap_hi - 2 * CHUNK : gap_lo;
			u64 d = at > near ? at - near : near - at;

			if (d < best_d) {
				best = at;
				best_d = d;
			}
		}
		last = end;
	}
	fclose(f);
	return best ? try_map(best) : NULL;
}

static u8 *take(u64 n, size_t size)
{
	u8 *p;
	u32 i;

	for (i = 0; i < nchunks; i++)
		if (CHUNK - chunks[i].used >= size && near_enough(chunks[i].at, n)) {
			p = chunks[i].at + chunks[i].used;
			chunks[i].used += size;
			return p;
		}
	if (nchunks == MAX_CHUNKS)
		return NULL;
	p = map_near(n);
	if (!p)
		return NULL;
	chunks[nchunks].used = size;
	chunks[nchunks].at = p;
	__atomic_store_n(&nchunks, nchunks + 1, __ATOMIC_RELEASE);
	return p;
}

/* For probes and for system calls, which know nothing of one another. */
u8 *area_alloc(const void *near, size_t size)
{
	static u64 lock;
	u8 *p;

	code_lock(&lock);
	p = take((u64)(uintptr_t)near, ALIGN_UP(size, 16));
	code_unlock(&lock);
	return p;
}

bool area_has(const void *addr)
{
	u32 i;

	for (i = 0; i < nchunks; i++)
		if ((const u8 *)addr >= chunks[i].at && (const u8 *)addr < chunks[i].at + CHUNK)
			return true;
	return false;
}
