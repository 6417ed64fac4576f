/* SPDX-License-Identifier: MIT */
/* Helpers on strings and numbers as text. */
#include <errno.h>
#include <string.h>

#include "helper/helper_int.h"

/* Bytes of text looked at: the kernel's limit. */
#define MAX_TEXT 63

static bool is_space(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* The digit's value, 255 for none. */
static u8 digit(char c)
{
	if (c >= '0' && c <= '9')
		return (u8)(c - '0');
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? (u8)(c - 'a' + 10) : 255;
}

/*
 * Reads "[space][-]digits" as bpf_strtol() does: bytes used, -EINVAL (flags, no digits), -ERANGE
 * (above 64 bits).
 */
static s64 parse(const char *s, u64 size, u64 base, u64 *value, bool *negative)
{
	u32 len = size < MAX_TEXT ? (u32)size : MAX_TEXT, i = 0, start;
	u64 v = 0;

	if (base != 0 && base != 8 && base != 10 && base != 16)
		return -EINVAL;
	while (i < len && is_space(s[i]))
		i++;
	*negative = i < len && s[i] == '-';
	i += *negative;
	if (!base) {
		base = 10;
		if (i < len && s[i] == '0')
			base = i + 2 < len && (s[i + 1] | 0x20) == 'x' && digit(s[i + 2]) < 16 ? 16
											       : 8;
	}
	if (base == 16 && i + 1 < len && s[i] == '0' && (s[i + 1] | 0x20) == 'x')
		i += 2;
	for (start = i; i < len && digit(s[i]) < base; i++)
		if (__builtin_mul_overflow(v, base, &v) ||
		    __builtin_add_overflow(v, digit(s[i]), &v))
			return -ERANGE;
	if (i == start)
		return -EINVAL;
	*value = v;
	return i;
}

u64 string_to_long(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	bool negative;
	s64 out = 0, n;
	u64 v;

	n = parse(ptr(a1), a2, a3, &v, &negative);
	if (n >= 0 && v > (u64)INT64_MAX + negative)
		n = -ERANGE;
	if (n >= 0)
		out = negative ? (s64)(0 - v) : (s64)v;
	memcpy(ptr(a4), &out, sizeof(out));
	return (u64)n;
}

u64 string_to_ulong(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	bool negative;
	u64 out = 0, v;
	s64 n;

	n = parse(ptr(a1), a2, a3, &v, &negative);
	if (n >= 0 && negative)
		n = -EINVAL;
	if (n >= 0)
		out = v;
	memcpy(ptr(a4), &out, sizeof(out));
	return (u64)n;
}

u64 string_compare(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	return (u64)(s64)strncmp(ptr(a1), ptr(a3), a2);
}
