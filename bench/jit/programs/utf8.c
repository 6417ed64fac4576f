/* SPDX-License-Identifier: MIT */
/* A UTF-8 decoder: counts code points, sums them, notes malformed sequences. */
#include "program.h"

PROGRAM(utf8)
{
	u64 points = 0, bad = 0, sum = 0;
	u32 i = 0;

	while (i + 4 < 8192) {
		u32 c = ctx[i], n, v;

		if (c < 0x80) {
			v = c, n = 1;
		} else if (c < 0xc0) {
			bad++, i++;
			continue;
		} else if (c < 0xe0) {
			v = (c & 0x1f) << 6 | (ctx[i + 1] & 0x3f);
			n = 2;
		} else if (c < 0xf0) {
			v = (c & 0xf) << 12 | (ctx[i + 1] & 0x3f) << 6 | (ctx[i + 2] & 0x3f);
			n = 3;
		} else {
			v = (c & 7) << 18 | (ctx[i + 1] & 0x3f) << 12 | (ctx[i + 2] & 0x3f) << 6 |
			    (ctx[i + 3] & 0x3f);
			n = 4;
		}
		if (v > 0x10ffff)
			bad++;
		points++;
		sum += v;
		i += n;
	}
	return points << 48 ^ bad << 32 ^ sum;
}
