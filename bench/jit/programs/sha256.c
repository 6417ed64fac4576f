/* SPDX-License-Identifier: MIT */
/* SHA-256 compression; constants come from the input, so that there is no global data. */
#include "program.h"

INLINE u32 ror(u32 x, int n)
{
	return x >> n | x << (32 - n);
}

PROGRAM(sha256)
{
	const u32 *key = (const u32 *)(ctx + 4096);
	u32 *w = (u32 *)(ctx + BENCH_SCRATCH);
	u32 s0 = 0x6a09e667, s1 = 0xbb67ae85, s2 = 0x3c6ef372, s3 = 0xa54ff53a;
	u32 s4 = 0x510e527f, s5 = 0x9b05688c, s6 = 0x1f83d9ab, s7 = 0x5be0cd19;

	for (u32 block = 0; block < 16; block++) {
		const u32 *in = (const u32 *)(ctx + block * 64);
		u32 a = s0, b = s1, c = s2, d = s3, e = s4, f = s5, g = s6, h = s7;

		for (u32 i = 0; i < 16; i++)
			w[i] = __builtin_bswap32(in[i]);
		for (u32 i = 16; i < 64; i++) {
			u32 x = w[i - 15], y = w[i - 2];

			w[i] = w[i - 16] + (ror(x, 7) ^ ror(x, 18) ^ x >> 3) + w[i - 7] +
			       (ror(y, 17) ^ ror(y, 19) ^ y >> 10);
		}
		for (u32 i = 0; i < 64; i++) {
			u32 t1 = h + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) + ((e & f) ^ (~e & g)) +
				 key[i] + w[i];
			u32 t2 = (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) +
				 ((a & b) ^ (a & c) ^ (b & c));

			h = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
		}
		s0 += a, s1 += b, s2 += c, s3 += d, s4 += e, s5 += f, s6 += g, s7 += h;
	}
	return ((u64)(s0 ^ s2 ^ s4 ^ s6) << 32) | (s1 ^ s3 ^ s5 ^ s7);
}
