/* SPDX-License-Identifier: MIT */
/* Jenkins' lookup3, as the kernel's jhash. */
#include "program.h"

INLINE u32 rol(u32 x, int n)
{
	return x << n | x >> (32 - n);
}

PROGRAM(jenkins)
{
	u32 a = 0xdeadbeef, b = a, c = a;

	for (u32 i = 0; i + 12 <= 4096; i += 12) {
		a += *(u32 *)(ctx + i);
		b += *(u32 *)(ctx + i + 4);
		c += *(u32 *)(ctx + i + 8);
		a -= c, a ^= rol(c, 4), c += b;
		b -= a, b ^= rol(a, 6), a += c;
		c -= b, c ^= rol(b, 8), b += a;
		a -= c, a ^= rol(c, 16), c += b;
		b -= a, b ^= rol(a, 19), a += c;
		c -= b, c ^= rol(b, 4), b += a;
	}
	c ^= b, c -= rol(b, 14);
	a ^= c, a -= rol(c, 11);
	b ^= a, b -= rol(a, 25);
	return (u64)c << 32 | b;
}
