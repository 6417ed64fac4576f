/* SPDX-License-Identifier: MIT */
/* SipHash-2-4. */
#include "program.h"

INLINE u64 rotl(u64 x, int n)
{
	return x << n | x >> (64 - n);
}

#define ROUND                                                                                      \
	(v0 += v1, v1 = rotl(v1, 13), v1 ^= v0, v0 = rotl(v0, 32), v2 += v3, v3 = rotl(v3, 16),    \
	 v3 ^= v2, v0 += v3, v3 = rotl(v3, 21), v3 ^= v0, v2 += v1, v1 = rotl(v1, 17), v1 ^= v2,   \
	 v2 = rotl(v2, 32))

PROGRAM(siphash)
{
	u64 k0 = *(u64 *)(ctx + 4096), k1 = *(u64 *)(ctx + 4104);
	u64 v0 = k0 ^ 0x736f6d6570736575, v1 = k1 ^ 0x646f72616e646f6d;
	u64 v2 = k0 ^ 0x6c7967656e657261, v3 = k1 ^ 0x7465646279746573;

	for (u32 i = 0; i < 2048; i += 8) {
		u64 m = *(u64 *)(ctx + i);

		v3 ^= m;
		ROUND;
		ROUND;
		v0 ^= m;
	}
	v2 ^= 0xff;
	ROUND;
	ROUND;
	ROUND;
	ROUND;
	return v0 ^ v1 ^ v2 ^ v3;
}
