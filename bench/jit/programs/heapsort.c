/* SPDX-License-Identifier: MIT */
/* Heap sort of numbers copied from the input. */
#include "program.h"

#define N 512

INLINE void sift(u32 *v, u32 root, u32 n)
{
	u32 x = v[root], child;

	while ((child = 2 * root + 1) < n) {
		if (child + 1 < n && v[child] < v[child + 1])
			child++;
		if (v[child] <= x)
			break;
		v[root] = v[child];
		root = child;
	}
	v[root] = x;
}

PROGRAM(heapsort)
{
	const u32 *in = (const u32 *)ctx;
	u32 *v = (u32 *)(ctx + BENCH_SCRATCH);
	u64 sum = 0;

	for (u32 i = 0; i < N; i++)
		v[i] = in[i];
	for (u32 i = N / 2; i-- > 0;)
		sift(v, i, N);
	for (u32 n = N; n-- > 1;) {
		u32 t = v[0];

		v[0] = v[n];
		v[n] = t;
		sift(v, 0, n);
	}
	for (u32 i = 0; i < N; i++)
		sum = sum * 31 + v[i];
	return sum;
}
