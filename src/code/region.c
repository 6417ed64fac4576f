/* SPDX-License-Identifier: MIT */
/* Regions of machine code: writable, then executable, never both; a guard page at each end. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include "code/code_int.h"

/*
 * How a page becomes executable. Plain mprotect(2) first; where that is denied to anonymous memory
 * (PR_SET_MDWE, systemd's MemoryDenyWriteExecute=) a memfd mapped twice: the writable view is
 * unmapped when the region is sealed, so that no page is ever reachable both ways afterwards.
 */
enum code_mode { MODE_NONE, MODE_MPROTECT, MODE_MEMFD };

struct code_region {
	u8 *base;      /* first guard page */
	size_t size;   /* bytes between the guard pages, whole pages */
	size_t used;   /* bytes that were asked for */
	u8 *writable;  /* the view to write through; NULL once sealed */
	bool twice;    /* MODE_MEMFD: `writable` is a mapping of its own */
	int fd;        /* memfd until sealed; -1 */
	struct code_region *next, **prev; /* of all that there are */
};

static struct code_region *regions;
static pthread_mutex_t regions_lock = PTHREAD_MUTEX_INITIALIZER;

static size_t page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

static enum code_mode allowed_mode;
static pthread_once_t allowed_once = PTHREAD_ONCE_INIT;

static bool probe_mprotect(void)
{
	size_t page = page_size();
	void *p = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	bool ok;

	if (p == MAP_FAILED)
		return false;
	*(volatile u8 *)p = 0;
	ok = !mprotect(p, page, PROT_READ | PROT_EXEC);
	munmap(p, page);
	return ok;
}

static int code_memfd(size_t size)
{
	int fd = memfd_create("ferry-code", MFD_CLOEXEC);

	if (fd >= 0 && ftruncate(fd, (off_t)size)) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static bool probe_memfd(void)
{
	size_t page = page_size();
	int fd = code_memfd(page);
	void *p;

	if (fd < 0)
		return false;
	p = mmap(NULL, page, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	close(fd);
	if (p == MAP_FAILED)
		return false;
	munmap(p, page);
	return true;
}

static void probe(void)
{
	const char *off = secure_getenv("FERRY_NO_JIT");

	if (off && *off && strcmp(off, "0"))
		return;
	if (probe_mprotect())
		allowed_mode = MODE_MPROTECT;
	else if (probe_memfd())
		allowed_mode = MODE_MEMFD;
}

bool code_allowed(void)
{
	pthread_once(&allowed_once, probe);
	return allowed_mode != MODE_NONE;
}

/* ---- placement ------------------------------------------------------------------------------- */

#define NEAR_REACH ((intptr_t)0x70000000) /* below 2 GiB by more than the largest region */
#define NEAR_STEP ((uintptr_t)64 << 20)
#define NEAR_TRIES 24
#define MAIN_ABOVE_HEAP ((uintptr_t)0xe0000000)

static bool reaches(const void *p, size_t size, const void *near)
{
	intptr_t d = (intptr_t)p - (intptr_t)near;

	return d > -NEAR_REACH && d < NEAR_REACH - (intptr_t)size;
}

static void *reserve(void *hint, size_t size)
{
	void *p = mmap(hint, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* A program at fixed addresses has its heap behind it, in the same 4 GiB: far from that. */
const void *code_main(void)
{
	uintptr_t entry = getauxval(AT_ENTRY);

	return (const void *)(entry && entry < MAIN_ABOVE_HEAP ? MAIN_ABOVE_HEAP : entry);
}

void *code_reserve(size_t size, const void *near)
{
	/* Where a hint was granted before, beside the main program and elsewhere: the next is beside it. */
	static _Atomic uintptr_t granted[2];
	_Atomic uintptr_t *last = &granted[near == code_main()];
	u8 *p = reserve(NULL, size);
	uintptr_t at;

	if (!p || !near || size > (size_t)NEAR_REACH / 2 || reaches(p, size, near))
		return p;
	at = *last;
	if (!at || !reaches((void *)at, size, near))
		at = (uintptr_t)near & ~(NEAR_STEP - 1);
	for (int i = 0; i < NEAR_TRIES; i++) {
		uintptr_t step = (uintptr_t)(i / 2 + 1) * NEAR_STEP;
		uintptr_t hint = i == 0 ? at : i & 1 ? at - step : at + step;
		u8 *q = reserve((void *)hint, size);

		if (q && reaches(q, size, near)) {
			munmap(p, size);
			*last = (uintptr_t)q + size;
			return q;
		}
		if (q)
			munmap(q, size);
	}
	return p;
}

/* ---- regions --------------------------------------------------------------------------------- */

static int map_writable(struct code_region *r)
{
	u8 *code = r->base + page_size();

	if (allowed_mode == MODE_MPROTECT) {
		if (mprotect(code, r->size, PROT_READ | PROT_WRITE))
			return -errno;
		r->writable = code;
		return 0;
	}
	r->fd = code_memfd(r->size);
	if (r->fd < 0)
		return -errno;
	r->writable = mmap(NULL, r->size, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
	if (r->writable == MAP_FAILED) {
		r->writable = NULL;
		return -errno;
	}
	r->twice = true;
	return 0;
}

int code_alloc(size_t size, const void *near, struct code_region **out)
{
	size_t page = page_size(), total;
	struct code_region *r;
	int err;

	*out = NULL;
	if (!code_allowed())
		return -EPERM;
	if (!base_add(size ? size : 1, 3 * page - 1, &total))
		return -ENOMEM;
	total &= ~(page - 1);
	r = base_alloc(sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->fd = -1;
	r->used = size;
	r->size = total - 2 * page;
	r->base = code_reserve(total, near);
	if (!r->base) {
		base_free(r);
		return -ENOMEM;
	}
	err = map_writable(r);
	if (err) {
		code_free(r);
		return err == -EACCES ? -EPERM : err == -EPERM ? -EPERM : -ENOMEM;
	}
	code_arch.fill_traps(r->writable, r->size);
	pthread_mutex_lock(&regions_lock);
	r->next = regions;
	r->prev = &regions;
	if (regions)
		regions->prev = &r->next;
	regions = r;
	pthread_mutex_unlock(&regions_lock);
	*out = r;
	return 0;
}

bool code_has(const void *addr)
{
	const struct code_region *r;

	pthread_mutex_lock(&regions_lock);
	for (r = regions; r; r = r->next)
		if ((const u8 *)addr >= r->base && (const u8 *)addr - r->base < (ptrdiff_t)(r->size + 2 * page_size()))
			break;
	pthread_mutex_unlock(&regions_lock);
	return r != NULL;
}

u8 *code_write(struct code_region *r)
{
	return r->writable;
}

const u8 *code_addr(const struct code_region *r)
{
	return r->base + page_size();
}

size_t code_size(const struct code_region *r)
{
	return r->used;
}

int code_seal(struct code_region *r)
{
	u8 *code = r->base + page_size();

	if (!r->writable)
		return -EINVAL;
	if (r->twice) {
		if (munmap(r->writable, r->size))
			return -errno;
		r->writable = NULL;
		if (mmap(code, r->size, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_FIXED, r->fd, 0) ==
		    MAP_FAILED)
			return -errno;
		close(r->fd);
		r->fd = -1;
	} else {
		if (mprotect(code, r->size, PROT_READ | PROT_EXEC))
			return -errno;
		r->writable = NULL;
	}
	__builtin___clear_cache((char *)code, (char *)code + r->size);
	return 0;
}

void code_free(struct code_region *r)
{
	if (!r)
		return;
	if (r->prev) {
		pthread_mutex_lock(&regions_lock);
		*r->prev = r->next;
		if (r->next)
			r->next->prev = r->prev;
		pthread_mutex_unlock(&regions_lock);
	}
	if (r->twice && r->writable)
		munmap(r->writable, r->size);
	if (r->fd >= 0)
		close(r->fd);
	munmap(r->base, r->size + 2 * page_size());
	base_free(r);
}
