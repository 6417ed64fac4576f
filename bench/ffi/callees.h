/* SPDX-License-Identifier: MIT */
/* What the benchmark of libffi calls: a shared library of its own. */
#ifndef FERRY_BENCH_CALLEES_H
#define FERRY_BENCH_CALLEES_H

#include <ffi.h>

struct s16 {
	long a;
	double b;
};
struct s32 {
	long a, b, c, d;
};

int f_ii(int a, int b);
int f_i6(int a, int b, int c, int d, int e, int f);
double f_d8(double a, double b, double c, double d, double e, double f, double g, double h);
double f_mix(int a, double b, long c, float d, signed char e, short f, unsigned g, double h, long i, long j);
long f_s16(struct s16 s);
long f_s32(struct s32 s);
struct s32 f_rs(long a);

/* Handlers of closures with the signatures of f_ii and f_mix. */
void on_ii(ffi_cif *cif, void *ret, void **args, void *data);
void on_mix(ffi_cif *cif, void *ret, void **args, void *data);

#endif
