/* SPDX-License-Identifier: MIT */
/* A library that is there twice, with other constants: one takes the other's place in memory. */
int replaced(int x);

__attribute__((noinline, visibility("default"))) int replaced(int x)
{
	volatile int y[2] = { x, VALUE };

	return y[0] + y[1];
}
