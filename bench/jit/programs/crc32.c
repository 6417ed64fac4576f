/* SPDX-License-Identifier: MIT */
/* CRC-32: the table is made first, then used. */
#include "program.h"

PROGRAM(crc32)
{
	u32 *table = (u32 *)(ctx + BENCH_SCRATCH), crc = ~0u;

	for (u32 i = 0; i < 256; i++) {
		u32 c = i;

		for (u32 k = 0; k < 8; k++)
			c = c & 1 ? c >> 1 ^ 0xedb88320 : c >> 1;
		table[i] = c;
	}
	for (u32 i = 0; i < 4096; i++)
		crc = crc >> 8 ^ table[(crc ^ ctx[i]) & 0xff];
	return ~crc;
}
