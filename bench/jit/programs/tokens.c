/* SPDX-License-Identifier: MIT */
/* Splitting text into words: their number, lengths, and the longest. */
#include "program.h"

PROGRAM(tokens)
{
	u64 words = 0, lengths = 0, longest = 0, len = 0;

	for (u32 i = 0; i < 8192; i++) {
		u8 ch = ctx[i] & 0x7f;

		if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9')) {
			len++;
		} else if (len) {
			words++;
			lengths += len * len;
			if (len > longest)
				longest = len;
			len = 0;
		}
	}
	return words << 40 | longest << 32 | lengths;
}
