/* SPDX-License-Identifier: MIT */
/* Helpers that read memory at any address. There is one address space: user and kernel are one. */
#include <errno.h>
#include <string.h>

#include "code/code.h"
#include "helper/helper_int.h"

/* memset(3) uses vector registers, which programs at probes must keep. */
static void clear(void *to, size_t n)
{
	for (volatile u8 *p = to; n--; p++)
		*p = 0;
}

u64 probe_read(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	u32 size = (u32)a2;

	if (!code_copy_safe(ptr(a1), ptr(a3), size))
		return 0;
	clear(ptr(a1), size);
	return (u64)-EFAULT;
}

/* The string's length with its NUL; cut to what fits, always with a NUL. */
u64 probe_read_str(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	u32 size = (u32)a2;
	char *to = ptr(a1);
	s64 n;

	if (!size)
		return 0;
	n = code_copy_string_safe(to, ptr(a3), size);
	if (n < 0) {
		clear(to, size);
		return (u64)-EFAULT;
	}
	if (n >= (s64)size) {
		n = size;
		to[size - 1] = '\0';
	}
	return (u64)n;
}
