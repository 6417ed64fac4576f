/* SPDX-License-Identifier: MIT */
/* Finding short strings in a text, by their first byte and then comparing. */
#include "program.h"

PROGRAM(search)
{
	u64 found = 0;

	for (u32 round = 0; round < 4; round++) {
		const u8 *needle = ctx + 32768 + round * 8;

		for (u32 i = 0; i + 3 < 4096; i++) {
			u32 k = 0;

			while (k < 3 && ctx[round * 4096 + i + k] % 8 == needle[k] % 8)
				k++;
			if (k == 3)
				found = found * 7 + i;
		}
	}
	return found;
}
