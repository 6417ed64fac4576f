/* SPDX-License-Identifier: MIT */
/*
 * An allocator as jemalloc and tcmalloc are: it asks the system, by calls that Ferry hooks, while it holds
 * its lock, from the very first allocation on. A hook that allocates would wait for that lock for ever;
 * here it ends the process with 99.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <malloc.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ARENA (512ul << 20)

static char *arena;
static size_t used;
static atomic_int owner;

/* What allocators look at, and some calls more that they might make. */
static void ask(void)
{
	static const char *const paths[] = { "/proc/sys/vm/overcommit_memory", "/sys/kernel/mm/transparent_hugepage/enabled",
					     "/proc/self/maps", "/etc/malloc.conf" };
	char buf[64];
	struct stat st;
	sigset_t set;
	size_t i;
	void *p;
	int fd;

	for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		fd = i & 1 ? (int)syscall(SYS_openat, AT_FDCWD, paths[i], O_RDONLY) : open(paths[i], O_RDONLY | O_CLOEXEC);
		if (fd >= 0) {
			(void)!read(fd, buf, sizeof(buf));
			close(fd);
		}
		(void)!readlink(paths[i], buf, sizeof(buf));
		(void)!access(paths[i], R_OK);
		(void)!stat(paths[i], &st);
	}
	sigemptyset(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	p = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (p != MAP_FAILED)
		munmap(p, 4096);
}

void *malloc(size_t n)
{
	static unsigned int calls;
	int self = (int)syscall(SYS_gettid), none = 0;
	size_t *p;

	if (atomic_load(&owner) == self) {
		static const char why[] = "allocator: entered again with its lock held\n";

		(void)!write(2, why, sizeof(why) - 1);
		_exit(99);
	}
	while (!atomic_compare_exchange_weak(&owner, &none, self))
		none = 0;
	if (!arena)
		arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (calls++ % 64 == 0)
		ask();
	n = (n + 31) & ~(size_t)15;
	p = arena != MAP_FAILED && n <= ARENA - used ? (size_t *)(arena + used) : NULL;
	if (p) {
		used += n;
		p[0] = n - 16;
		p += 2;
	}
	atomic_store(&owner, 0);
	return p;
}

/* Memory comes fresh from the kernel and is never given out twice: it is zero. */
void *calloc(size_t n, size_t size)
{
	size_t all;

	return __builtin_mul_overflow(n, size, &all) ? NULL : malloc(all);
}

void *realloc(void *old, size_t n)
{
	size_t had = old ? ((size_t *)old)[-2] : 0;
	void *p = malloc(n);

	if (p && had)
		memcpy(p, old, had < n ? had : n);
	return p;
}

void free(void *p)
{
	(void)p;
}

int posix_memalign(void **out, size_t align, size_t n)
{
	uintptr_t at = (uintptr_t)malloc(n + align + 16);

	if (!at)
		return 12;
	at = (at + align + 15) & ~(uintptr_t)(align - 1);
	((size_t *)at)[-2] = n;
	*out = (void *)at;
	return 0;
}

void *aligned_alloc(size_t align, size_t n)
{
	void *p;

	return posix_memalign(&p, align, n) ? NULL : p;
}

void *memalign(size_t align, size_t n)
{
	return aligned_alloc(align, n);
}

/* Libraries that are initialised before Ferry's allocate too. */
__attribute__((constructor)) static void start(void)
{
	free(malloc(1));
}
