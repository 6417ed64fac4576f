/* SPDX-License-Identifier: MIT */
/* Quick sort with a stack of ranges of its own, insertion sort below 8. */
#include "program.h"

#define N 512

PROGRAM(quicksort)
{
	const u32 *in = (const u32 *)ctx;
	u32 *v = (u32 *)(ctx + BENCH_SCRATCH), *stack = v + N, top = 0;
	u64 sum = 0;

	for (u32 i = 0; i < N; i++)
		v[i] = in[N + i];
	stack[top++] = 0;
	stack[top++] = N;
	while (top) {
		u32 hi = stack[--top], lo = stack[--top], i, j, pivot;

		if (hi - lo < 8) {
			for (i = lo + 1; i < hi; i++) {
				u32 x = v[i];

				for (j = i; j > lo && v[j - 1] > x; j--)
					v[j] = v[j - 1];
				v[j] = x;
			}
			continue;
		}
		pivot = v[(lo + hi) / 2];
		i = lo;
		j = hi - 1;
		for (;;) {
			u32 t;

			while (v[i] < pivot)
				i++;
			while (v[j] > pivot)
				j--;
			if (i >= j)
				break;
			t = v[i];
			v[i++] = v[j];
			v[j--] = t;
		}
		stack[top++] = lo;
		stack[top++] = i;
		stack[top++] = i;
		stack[top++] = hi;
	}
	for (u32 i = 0; i < N; i++)
		sum = sum * 31 + v[i];
	return sum;
}
