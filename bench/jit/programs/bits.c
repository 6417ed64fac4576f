/* SPDX-License-Identifier: MIT */
/* Population count, leading zeros, reversal and parity by the well-known tricks. */
#include "program.h"

PROGRAM(bits)
{
	u64 total = 0;

	for (u32 i = 0; i < 512; i++) {
		u64 x = *(u64 *)(ctx + i * 8), y = x, z = x;
		u32 n = 0;

		x -= x >> 1 & 0x5555555555555555;
		x = (x & 0x3333333333333333) + (x >> 2 & 0x3333333333333333);
		x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0f;
		total += x * 0x0101010101010101 >> 56;
		y = (y >> 1 & 0x5555555555555555) | (y & 0x5555555555555555) << 1;
		y = (y >> 2 & 0x3333333333333333) | (y & 0x3333333333333333) << 2;
		y = (y >> 4 & 0x0f0f0f0f0f0f0f0f) | (y & 0x0f0f0f0f0f0f0f0f) << 4;
		total ^= __builtin_bswap64(y);
		if (!(z >> 32))
			n += 32, z <<= 32;
		if (!(z >> 48))
			n += 16, z <<= 16;
		if (!(z >> 56))
			n += 8, z <<= 8;
		total += n + (z >> 63);
	}
	return total;
}
