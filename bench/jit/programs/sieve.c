/* SPDX-License-Identifier: MIT */
/* The sieve of Eratosthenes, a byte a number. */
#include "program.h"

#define N 8192

PROGRAM(sieve)
{
	u8 *composite = ctx + BENCH_SCRATCH;
	u32 count = 0;

	for (u32 i = 0; i < N; i++)
		composite[i] = i < 2;
	for (u32 i = 2; i * i < N; i++)
		if (!composite[i])
			for (u32 k = i * i; k < N; k += i)
				composite[k] = 1;
	for (u32 i = 0; i < N; i++)
		count += !composite[i];
	return count;
}
