// SPDX-License-Identifier: MIT
// A library whose function is chosen while the program is being linked (IFUNC): that waits for a byte of input, where
// the C library is loaded and cannot be used yet. Own system calls only.
#include <sys/syscall.h>

int early(void) __attribute__((visibility("default")));

static int chosen(void)
{
	return 7;
}

static long call(long nr, long a, const void *b, long c)
{
	long ret;

	__asm__ volatile("syscall" : "=a"(ret) : "a"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return ret;
}

static int (*choose(void))(void)
{
	char c;

	call(SYS_write, 1, "linking\n", 8);
	while (call(SYS_read, 0, &c, 1) < 0)
		;
	return chosen;
}

int early(void) __attribute__((ifunc("choose"), visibility("default")));
