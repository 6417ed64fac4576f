/* SPDX-License-Identifier: MIT */
/* For BPF programs (clang -target bpf): what Ferry's tools understand beyond libbpf's headers. */
#ifndef FERRY_BPF_H
#define FERRY_BPF_H

/*
 * Says that the records of the ring buffer `map` are of struct `type`, so that `ferry run` prints them by
 * their fields:  FERRY_RECORDS(events, event);  A pointer nobody uses: it keeps the type in the BTF.
 */
#define FERRY_RECORDS(map, type) const struct type *ferry_records_##map

/*
 * Floating point. A program may hold, pass and return float and double, and have constants of them, but eBPF has
 * no instructions for them: `x + y` does not compile. These functions do it (module ferry_math, there by
 * itself); compile with -fno-builtin when names of libm are used, so that clang does not make arithmetic of them.
 * Conversions to integers give the nearest value when it does not fit, and 0 for NaN.
 */
#ifndef __ksym
#define __ksym __attribute__((section(".ksyms")))
#endif
#define FERRY_ARITHMETIC(T, t)                                                                      \
	extern T t##_add(T x, T y) __ksym;                                                         \
	extern T t##_sub(T x, T y) __ksym;                                                         \
	extern T t##_mul(T x, T y) __ksym;                                                         \
	extern T t##_div(T x, T y) __ksym;                                                         \
	extern int t##_lt(T x, T y) __ksym;                                                        \
	extern int t##_le(T x, T y) __ksym;                                                        \
	extern int t##_eq(T x, T y) __ksym;
FERRY_ARITHMETIC(double, f64)
FERRY_ARITHMETIC(float, f32)
extern double f64_of(long long x) __ksym;          /* integers to double */
extern double f64_of_u64(unsigned long long x) __ksym;
extern double f64_of_f32(float x) __ksym;
extern float f32_of_f64(double x) __ksym;
extern long long f64_to_s64(double x) __ksym;      /* towards zero */
extern unsigned long long f64_to_u64(double x) __ksym;

/* The bits of a value, for maps and records whose readers expect integers. */
static inline unsigned long long f64_bits(double x)
{
	return (union { double f; unsigned long long bits; }){ x }.bits;
}
static inline double f64_of_bits(unsigned long long bits)
{
	return (union { unsigned long long bits; double f; }){ bits }.f;
}

/* The argument block of a function with more than five arguments: &FERRY_ARGS(f, 1, 2, 3, 4, 5, 6) for `int f(const struct f_args *args)`. */
#define FERRY_ARGS(name, ...) ((struct name##_args){ __VA_ARGS__ })

#endif
