/* SPDX-License-Identifier: MIT */
/*
 * The module that Ferry brings along: arithmetic on float and double for programs, which eBPF has no instructions for
 * (ferry/ferry_bpf.h declares it). Registered when a program asks for one of its functions.
 */
#include <errno.h>

#include "ferry/module.h"
#include "module/module.h"

#define BINARY(T, t, name, op) static T t##_##name(T x, T y) { return x op y; }
#define COMPARE(T, t, name, op) static int t##_##name(T x, T y) { return x op y; }
#define ALL(T, t)                                                                                  \
	BINARY(T, t, add, +) BINARY(T, t, sub, -) BINARY(T, t, mul, *) BINARY(T, t, div, /)        \
	COMPARE(T, t, lt, <) COMPARE(T, t, le, <=) COMPARE(T, t, eq, ==)
ALL(double, f64)
ALL(float, f32)

static double f64_of(s64 x) { return (double)x; }
static double f64_of_u64(u64 x) { return (double)x; }
static double f64_of_f32(float x) { return (double)x; }
static float f32_of_f64(double x) { return (float)x; }

/* C leaves conversions out of range undefined: they give the nearest value, NaN gives 0. */
static s64 f64_to_s64(double x)
{
	return x != x ? 0 : x >= 0x1p63 ? INT64_MAX : x < -0x1p63 ? INT64_MIN : (s64)x;
}
static u64 f64_to_u64(double x)
{
	return !(x > 0) ? 0 : x >= 0x1p64 ? UINT64_MAX : (u64)x;
}

#define FUNCS(T, t)                                                                                \
	FERRY_FUNC(#T " " #t "_add(" #T " x, " #T " y)", t##_add),                                 \
	FERRY_FUNC(#T " " #t "_sub(" #T " x, " #T " y)", t##_sub),                                 \
	FERRY_FUNC(#T " " #t "_mul(" #T " x, " #T " y)", t##_mul),                                 \
	FERRY_FUNC(#T " " #t "_div(" #T " x, " #T " y)", t##_div),                                 \
	FERRY_FUNC("int " #t "_lt(" #T " x, " #T " y)", t##_lt),                                   \
	FERRY_FUNC("int " #t "_le(" #T " x, " #T " y)", t##_le),                                   \
	FERRY_FUNC("int " #t "_eq(" #T " x, " #T " y)", t##_eq)

static const struct ferry_func funcs[] = {
	FUNCS(double, f64),
	FUNCS(float, f32),
	FERRY_FUNC("double f64_of(s64 x)", f64_of),
	FERRY_FUNC("double f64_of_u64(u64 x)", f64_of_u64),
	FERRY_FUNC("double f64_of_f32(float x)", f64_of_f32),
	FERRY_FUNC("float f32_of_f64(double x)", f32_of_f64),
	FERRY_FUNC("s64 f64_to_s64(double x)", f64_to_s64),
	FERRY_FUNC("u64 f64_to_u64(double x)", f64_to_u64),
};

void module_math(void)
{
	static const struct ferry_module def = { sizeof(def), "ferry_math", NULL, funcs, ARRAY_SIZE(funcs) };
	struct text why = { 0 };
	int err = module_register(&def, NULL, &why);

	/* Twice is no harm: the first one stays. */
	if (err && err != -EEXIST)
		log_msg(LOG_ERROR, "module ferry_math: %s", text_str(&why));
	text_free(&why);
}
