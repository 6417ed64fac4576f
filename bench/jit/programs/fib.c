/* SPDX-License-Identifier: MIT */
/* Fibonacci numbers, folded. */
#include "program.h"

PROGRAM(fib)
{
	u64 total = ctx[0];

	for (u32 n = 1; n < 64; n++) {
		u64 a = 0, b = 1;

		for (u32 i = 0; i < n; i++) {
			u64 t = a + b;

			a = b;
			b = t;
		}
		total ^= a;
	}
	return total;
}
