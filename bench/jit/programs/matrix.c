/* SPDX-License-Identifier: MIT */
/* Product of 16x16 matrices of 64-bit numbers. */
#include "program.h"

#define N 16

PROGRAM(matrix)
{
	const u64 *a = (const u64 *)ctx, *b = a + N * N;
	u64 *c = (u64 *)(ctx + BENCH_SCRATCH), trace = 0;

	for (u32 i = 0; i < N; i++) {
		for (u32 j = 0; j < N; j++) {
			u64 sum = 0;

			for (u32 k = 0; k < N; k++)
				sum += a[i * N + k] * b[k * N + j];
			c[i * N + j] = sum;
		}
	}
	for (u32 i = 0; i < N; i++)
		trace += c[i * N + i];
	return trace;
}
