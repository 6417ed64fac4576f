/* SPDX-License-Identifier: MIT */
/* What the benchmark of libffi calls: as little work as there can be, so that the call is what is measured. */
#define LIBFFI_HIDE_BASIC_TYPES
#include "callees.h"

#pragma GCC visibility push(default)

int f_ii(int a, int b)
{
	return a + b;
}

int f_i6(int a, int b, int c, int d, int e, int f)
{
	return a + b + c + d + e + f;
}

double f_d8(double a, double b, double c, double d, double e, double f, double g, double h)
{
	return a + b + c + d + e + f + g + h;
}

double f_mix(int a, double b, long c, float d, signed char e, short f, unsigned g, double h, long i, long j)
{
	return a + b + (double)c + d + e + f + g + h + (double)i + (double)j;
}

long f_s16(struct s16 s)
{
	return s.a;
}

long f_s32(struct s32 s)
{
	return s.d;
}

struct s32 f_rs(long a)
{
	return (struct s32){ a, a, a, a };
}

void on_ii(ffi_cif *cif, void *ret, void **args, void *data)
{
	(void)cif;
	(void)data;
	*(ffi_sarg *)ret = *(int *)args[0] + *(int *)args[1];
}

void on_mix(ffi_cif *cif, void *ret, void **args, void *data)
{
	(void)cif;
	(void)data;
	*(double *)ret = *(int *)args[0] + *(double *)args[1] + (double)*(long *)args[9];
}
