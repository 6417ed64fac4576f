/* SPDX-License-Identifier: MIT */
/* xxHash64: four lanes, then the tail mix. */
#include "program.h"

#define P1 0x9E3779B185EBCA87ull
#define P2 0xC2B2AE3D27D4EB4Full
#define P3 0x165667B19E3779F9ull
#define P4 0x85EBCA77C2B2AE63ull

INLINE u64 rotl(u64 x, int n)
{
	return x << n | x >> (64 - n);
}

INLINE u64 step(u64 acc, u64 in)
{
	return rotl(acc + in * P2, 31) * P1;
}

PROGRAM(xxhash)
{
	u64 a = P1 + P2, b = P2, c = 0, d = -P1, h;
	const u64 *p = (const u64 *)ctx, *end = p + 512;

	for (; p < end; p += 4) {
		a = step(a, p[0]);
		b = step(b, p[1]);
		c = step(c, p[2]);
		d = step(d, p[3]);
	}
	h = rotl(a, 1) + rotl(b, 7) + rotl(c, 12) + rotl(d, 18);
	h = (h ^ step(0, a)) * P1 + P4;
	h = (h ^ step(0, b)) * P1 + P4;
	h = (h ^ step(0, c)) * P1 + P4;
	h = (h ^ step(0, d)) * P1 + P4;
	h += 4096;
	h = (h ^ h >> 33) * P2;
	h = (h ^ h >> 29) * P3;
	return h ^ h >> 32;
}
