/* SPDX-License-Identifier: MIT */
/* base64 encoding; the alphabet is computed, as programs without global data do. */
#include "program.h"

INLINE u8 letter(u32 v)
{
	v &= 63;
	return (u8)(v < 26 ? 'A' + v : v < 52 ? 'a' + v - 26 : v < 62 ? '0' + v - 52 :
		    v == 62 ? '+' : '/');
}

PROGRAM(base64)
{
	u8 *out = ctx + BENCH_SCRATCH, *alphabet = out + 8192;
	u64 sum = 0;

	for (u32 i = 0; i < 64; i++)
		alphabet[i] = letter(i);
	for (u32 i = 0, o = 0; i < 3072; i += 3, o += 4) {
		u32 v = (u32)ctx[i] << 16 | ctx[i + 1] << 8 | ctx[i + 2];

		out[o] = alphabet[v >> 18];
		out[o + 1] = alphabet[v >> 12 & 63];
		out[o + 2] = alphabet[v >> 6 & 63];
		out[o + 3] = alphabet[v & 63];
	}
	for (u32 i = 0; i < 4096; i += 64)
		sum = sum * 31 + out[i];
	return sum;
}
