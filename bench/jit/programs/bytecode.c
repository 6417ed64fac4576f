/* SPDX-License-Identifier: MIT */
/* A small stack machine: one switch on random code. */
#include "program.h"

PROGRAM(bytecode)
{
	u64 a = 1, b = 2, c = 3, d = 4;

	for (u32 pc = 0; pc < 4096; pc++) {
		u8 op = ctx[pc], arg = op >> 4;

		switch (op & 15) {
		case 0: a += b; break;
		case 1: a -= c; break;
		case 2: b ^= a; break;
		case 3: c += arg; break;
		case 4: d = a * 3; break;
		case 5: a <<= arg; break;
		case 6: b >>= arg; break;
		case 7: c |= d; break;
		case 8: d &= ~b; break;
		case 9: pc += arg & 3; break;
		case 10: if (a > b) c++; break;
		case 11: if (c == d) a = ~a; break;
		case 12: b = d + arg; break;
		case 13: a ^= c >> 3; break;
		case 14: d += a; break;
		default: { u64 t = a; a = b; b = c; c = d; d = t; }
		}
	}
	return a ^ b ^ c ^ d;
}
