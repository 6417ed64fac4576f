/* SPDX-License-Identifier: MIT */
/* A library that the client loads after it asked for a probe in it. */
long later(long x);

__attribute__((noinline, visibility("default"))) long later(long x)
{
	volatile long y[2] = { x, 1 };

	return y[0] + y[1];
}
