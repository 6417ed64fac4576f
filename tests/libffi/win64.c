/* SPDX-License-Identifier: MIT */
/*
 * Microsoft's calling convention in libffi.so.8: functions that the compiler made with it are called, and call
 * closures as themselves. The oracle is the compiler, and for calls also Debian's libffi 3.4 in the same process.
 */
#include <complex.h>
#include <ffi.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

#define MS __attribute__((ms_abi, noinline))

struct s1 { char a[1]; };
struct s2 { char a[2]; };
struct s3 { char a[3]; };
struct s4 { char a[4]; };
struct s5 { char a[5]; };
struct s7 { char a[7]; };
struct s8 { char a[8]; };
struct s12 { char a[12]; };
struct s16 { char a[16]; };
struct sd { double d; };
struct sf { float f; };
struct sff { float f, g; };
struct big { long a[4]; double d; };
typedef float v4f __attribute__((vector_size(16)));

/* Sums that depend on each argument's place. */
static double sum_chars(const char *p, size_t n, double k)
{
	double s = 0;

	while (n--)
		s += k++ * p[n];
	return s;
}
#define CHARS(x, k) sum_chars((x).a, sizeof((x).a), k)

/* ---- what is called ------------------------------------------------------------------------------- */

#define F(name, ret, params, ...) static MS ret f_##name params { return __VA_ARGS__; }

F(ints, int, (signed char a, unsigned char b, short c, unsigned short d, int e, unsigned f, long g, void *h),
  (int)(a + 2 * b + 3 * c + 4 * d + 5 * e + 6L * f + 7 * g + 8 * (h == stdout)))
F(doubles, double, (double a, float b, double c, float d, float e, double f),
  a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f)
F(mixed, float, (int a, double b, float c, long d, double e, int f, float g),
  (float)(a + 2 * b + 3 * c + 4 * d + 5 * e + 6 * f + 7 * g))
F(small, double, (struct s1 a, struct s2 b, struct s4 c, struct s8 d, struct s1 e, struct s8 f),
  CHARS(a, 1) + CHARS(b, 2) + CHARS(c, 3) + CHARS(d, 4) + CHARS(e, 5) + CHARS(f, 6))
F(refs, double, (struct s3 a, struct s5 b, struct s7 c, struct s12 d, struct s16 e, struct big f),
  CHARS(a, 1) + CHARS(b, 2) + CHARS(c, 3) + CHARS(d, 4) + CHARS(e, 5) + (double)f.a[3] + f.d)
F(floats, double, (struct sd a, struct sf b, struct sff c, double d, struct sd e),
  a.d + 2 * b.f + 3 * c.f + 4 * c.g + 5 * d + 6 * e.d)
F(wide, long, (long double a, __int128 b, v4f c, long double d, __int128 e, v4f f),
  (long)(a + 2 * d) + (long)(b >> 60) + 3 * (long)(e >> 60) + (long)(4 * c[1] + 5 * f[3]))
F(complexes, double, (_Complex float a, _Complex double b, _Complex float c),
  (double)crealf(a) + 2 * (double)cimagf(a) + 3 * creal(b) + 4 * cimag(b) + 5 * (double)cimagf(c))
F(ret_s8, signed char, (int a), (signed char)(a - 100))
F(ret_u16, unsigned short, (int a), (unsigned short)(a - 100))
F(ret_s1, struct s1, (int a), (struct s1){ { (char)a } })
F(ret_s2, struct s2, (int a), (struct s2){ { (char)a, 2 } })
F(ret_s3, struct s3, (int a, double b), (struct s3){ { (char)a, 2, (char)b } })
F(ret_s4, struct s4, (int a), (struct s4){ { (char)a, 2, 3, 4 } })
F(ret_s5, struct s5, (int a, double b), (struct s5){ { (char)a, 2, 3, 4, (char)b } })
F(ret_s8b, struct s8, (int a), (struct s8){ { (char)a, 2, 3, 4, 5, 6, 7, 8 } })
F(ret_s16, struct s16, (double a, int b, int c, double d),
  (struct s16){ { (char)a, (char)b, (char)c, (char)d, 5 } })
F(ret_sd, struct sd, (double a), (struct sd){ a * 2 })
F(ret_sff, struct sff, (float a), (struct sff){ a, a * 2 })
F(ret_big, struct big, (struct big a, int b), (struct big){ { a.a[3], a.a[2], a.a[1], b }, a.d })
F(ret_ld, long double, (double a), (long double)a * 3)
F(ret_i128, __int128, (long a), (__int128)a << 70)
F(ret_v4f, v4f, (float a), (v4f){ a, 2, 3, a })
F(ret_cf, _Complex float, (float a), a + 2.0f * I)
F(ret_cd, _Complex double, (double a), a + 3 * I)
static MS void f_none(void)
{
}

/* ---- the same in libffi's words --------------------------------------------------------------------- */

#define ELEMENTS(name, ...) static ffi_type *name##_e[] = { __VA_ARGS__, NULL }; \
	static ffi_type name = { 0, 0, FFI_TYPE_STRUCT, name##_e }
#define C1 &ffi_type_schar
#define C4 C1, C1, C1, C1
ELEMENTS(t1, C1);
ELEMENTS(t2, C1, C1);
ELEMENTS(t3, C1, C1, C1);
ELEMENTS(t4, C4);
ELEMENTS(t5, C4, C1);
ELEMENTS(t7, C4, C1, C1, C1);
ELEMENTS(t8, C4, C4);
ELEMENTS(t12, C4, C4, C4);
ELEMENTS(t16, C4, C4, C4, C4);
ELEMENTS(td, &ffi_type_double);
ELEMENTS(tf, &ffi_type_float);
ELEMENTS(tff, &ffi_type_float, &ffi_type_float);
ELEMENTS(tbig, &ffi_type_slong, &ffi_type_slong, &ffi_type_slong, &ffi_type_slong, &ffi_type_double);
static ffi_type *tv_e[] = { &ffi_type_float, &ffi_type_float, &ffi_type_float, &ffi_type_float, NULL };
static ffi_type tv = { 0, 0, FFI_TYPE_VECTOR, tv_e };

static signed char v_sc = -7;
static unsigned char v_uc = 200;
static short v_ss = -300;
static unsigned short v_us = 60000;
static int v_i = -70000, v_small = 77, v_b = 12;
static unsigned v_u = 3000000000u;
static long v_l = 1L << 40;
static void *v_p;
static double v_d = 2.5, v_e = -4.25;
static float v_f = 1.25f, v_g = -8.5f;
static struct s1 v1 = { { 3 } };
static struct s2 v2 = { { 3, 4 } };
static struct s3 v3 = { { 3, 4, 5 } };
static struct s4 v4 = { { 3, 4, 5, 6 } };
static struct s5 v5 = { { 3, 4, 5, 6, 7 } };
static struct s7 v7 = { { 3, 4, 5, 6, 7, 8, 9 } };
static struct s8 v8 = { { 3, 4, 5, 6, 7, 8, 9, 10 } };
static struct s12 v12 = { "eleven byte" };
static struct s16 v16 = { "fifteen bytes.." };
static struct sd vd = { 9.5 };
static struct sf vf = { 10.5f };
static struct sff vff = { 11.5f, 12.5f };
static struct big vbig = { { 1, 2, 3, 4 }, 5.5 };
static long double vld = 6.75L, vle = -3.5L;
static __int128 vq = (__int128)5 << 62, vr = -((__int128)9 << 61);
static v4f vv = { 1, 2, 3, 4 }, vw = { 5, 6, 7, 8 };
static _Complex float vcf, vcg;
static _Complex double vcd;

struct test {
	const char *name;
	void (*fn)(void);
	ffi_type *ret;
	size_t size; /* of the result's bytes that count */
	ffi_type *types[9];
	void *values[9];
	bool ours_only; /* Debian's has no such type, or is known to be wrong */
};

#define T_I &ffi_type_sint
#define T_D &ffi_type_double
#define T_F &ffi_type_float
static struct test tests[] = {
	{ "ints", FFI_FN(f_ints), T_I, 8,
	  { &ffi_type_schar, &ffi_type_uchar, &ffi_type_sshort, &ffi_type_ushort, T_I, &ffi_type_uint, &ffi_type_slong,
	    &ffi_type_pointer }, { &v_sc, &v_uc, &v_ss, &v_us, &v_i, &v_u, &v_l, &v_p }, false },
	{ "doubles", FFI_FN(f_doubles), T_D, 8, { T_D, T_F, T_D, T_F, T_F, T_D },
	  { &v_d, &v_f, &v_e, &v_g, &v_f, &v_e }, false },
	{ "mixed", FFI_FN(f_mixed), T_F, 4, { T_I, T_D, T_F, &ffi_type_slong, T_D, T_I, T_F },
	  { &v_small, &v_d, &v_f, &v_l, &v_e, &v_b, &v_g }, false },
	{ "small", FFI_FN(f_small), T_D, 8, { &t1, &t2, &t4, &t8, &t1, &t8 }, { &v1, &v2, &v4, &v8, &v1, &v8 }, false },
	{ "refs", FFI_FN(f_refs), T_D, 8, { &t3, &t5, &t7, &t12, &t16, &tbig },
	  { &v3, &v5, &v7, &v12, &v16, &vbig }, false },
	{ "floats", FFI_FN(f_floats), T_D, 8, { &td, &tf, &tff, T_D, &td }, { &vd, &vf, &vff, &v_d, &vd }, false },
	{ "wide", FFI_FN(f_wide), &ffi_type_slong, 8,
	  { &ffi_type_longdouble, &ffi_type_sint128, &tv, &ffi_type_longdouble, &ffi_type_sint128, &tv },
	  { &vld, &vq, &vv, &vle, &vr, &vw }, true },
	{ "complexes", FFI_FN(f_complexes), T_D, 8,
	  { &ffi_type_complex_float, &ffi_type_complex_double, &ffi_type_complex_float }, { &vcf, &vcd, &vcg }, true },
	{ "none", FFI_FN(f_none), &ffi_type_void, 0, { NULL }, { NULL }, false },
	{ "ret_s8", FFI_FN(f_ret_s8), &ffi_type_schar, 8, { T_I }, { &v_b }, false },
	{ "ret_u16", FFI_FN(f_ret_u16), &ffi_type_ushort, 8, { T_I }, { &v_b }, false },
	{ "ret_s1", FFI_FN(f_ret_s1), &t1, 1, { T_I }, { &v_b }, false },
	{ "ret_s2", FFI_FN(f_ret_s2), &t2, 2, { T_I }, { &v_b }, false },
	{ "ret_s3", FFI_FN(f_ret_s3), &t3, 3, { T_I, T_D }, { &v_b, &v_d }, false },
	{ "ret_s4", FFI_FN(f_ret_s4), &t4, 4, { T_I }, { &v_b }, false },
	{ "ret_s5", FFI_FN(f_ret_s5), &t5, 5, { T_I, T_D }, { &v_b, &v_d }, false },
	{ "ret_s8b", FFI_FN(f_ret_s8b), &t8, 8, { T_I }, { &v_b }, false },
	{ "ret_s16", FFI_FN(f_ret_s16), &t16, 16, { T_D, T_I, T_I, T_D }, { &v_d, &v_b, &v_small, &v_e }, false },
	{ "ret_sd", FFI_FN(f_ret_sd), &td, 8, { T_D }, { &v_d }, false },
	{ "ret_sff", FFI_FN(f_ret_sff), &tff, 8, { T_F }, { &v_f }, false },
	{ "ret_big", FFI_FN(f_ret_big), &tbig, 40, { &tbig, T_I }, { &vbig, &v_b }, false },
	{ "ret_ld", FFI_FN(f_ret_ld), &ffi_type_longdouble, 10, { T_D }, { &v_d }, true },
	{ "ret_i128", FFI_FN(f_ret_i128), &ffi_type_sint128, 16, { &ffi_type_slong }, { &v_l }, true },
	{ "ret_v4f", FFI_FN(f_ret_v4f), &tv, 16, { T_F }, { &v_f }, true },
	{ "ret_cf", FFI_FN(f_ret_cf), &ffi_type_complex_float, 8, { T_F }, { &v_f }, true },
	{ "ret_cd", FFI_FN(f_ret_cd), &ffi_type_complex_double, 16, { T_D }, { &v_d }, true },
};
#define NTESTS (sizeof(tests) / sizeof(tests[0]))

/* What C gets by calling the function at `fn` as test i's, in out. */
#define CALL_RESULT(out, ret, call) do { ret r_ = call; memcpy(out, &r_, sizeof(r_)); } while (0)
#define WORD_RESULT(out, call) (*(ffi_sarg *)(out) = (ffi_sarg)(call))

static void call_as_c(const struct test *t, void (*fn)(void), char *out)
{
#define AS(name) ((__typeof__(&f_##name))fn)
#define IS(n) (!strcmp(t->name, #n))
	if (IS(ints))
		WORD_RESULT(out, AS(ints)(v_sc, v_uc, v_ss, v_us, v_i, v_u, v_l, v_p));
	else if (IS(doubles))
		CALL_RESULT(out, double, AS(doubles)(v_d, v_f, v_e, v_g, v_f, v_e));
	else if (IS(mixed))
		CALL_RESULT(out, float, AS(mixed)(v_small, v_d, v_f, v_l, v_e, v_b, v_g));
	else if (IS(small))
		CALL_RESULT(out, double, AS(small)(v1, v2, v4, v8, v1, v8));
	else if (IS(refs))
		CALL_RESULT(out, double, AS(refs)(v3, v5, v7, v12, v16, vbig));
	else if (IS(floats))
		CALL_RESULT(out, double, AS(floats)(vd, vf, vff, v_d, vd));
	else if (IS(wide))
		WORD_RESULT(out, AS(wide)(vld, vq, vv, vle, vr, vw));
	else if (IS(complexes))
		CALL_RESULT(out, double, AS(complexes)(vcf, vcd, vcg));
	else if (IS(none))
		AS(none)();
	else if (IS(ret_s8))
		WORD_RESULT(out, AS(ret_s8)(v_b));
	else if (IS(ret_u16))
		WORD_RESULT(out, AS(ret_u16)(v_b));
	else if (IS(ret_s1))
		CALL_RESULT(out, struct s1, AS(ret_s1)(v_b));
	else if (IS(ret_s2))
		CALL_RESULT(out, struct s2, AS(ret_s2)(v_b));
	else if (IS(ret_s3))
		CALL_RESULT(out, struct s3, AS(ret_s3)(v_b, v_d));
	else if (IS(ret_s4))
		CALL_RESULT(out, struct s4, AS(ret_s4)(v_b));
	else if (IS(ret_s5))
		CALL_RESULT(out, struct s5, AS(ret_s5)(v_b, v_d));
	else if (IS(ret_s8b))
		CALL_RESULT(out, struct s8, AS(ret_s8b)(v_b));
	else if (IS(ret_s16))
		CALL_RESULT(out, struct s16, AS(ret_s16)(v_d, v_b, v_small, v_e));
	else if (IS(ret_sd))
		CALL_RESULT(out, struct sd, AS(ret_sd)(v_d));
	else if (IS(ret_sff))
		CALL_RESULT(out, struct sff, AS(ret_sff)(v_f));
	else if (IS(ret_big))
		CALL_RESULT(out, struct big, AS(ret_big)(vbig, v_b));
	else if (IS(ret_ld))
		CALL_RESULT(out, long double, AS(ret_ld)(v_d));
	else if (IS(ret_i128))
		CALL_RESULT(out, __int128, AS(ret_i128)(v_l));
	else if (IS(ret_v4f))
		CALL_RESULT(out, v4f, AS(ret_v4f)(v_f));
	else if (IS(ret_cf))
		CALL_RESULT(out, _Complex float, AS(ret_cf)(v_f));
	else if (IS(ret_cd))
		CALL_RESULT(out, _Complex double, AS(ret_cd)(v_d));
	else
		CHECK(!"no such test");
}

static unsigned count(const struct test *t)
{
	unsigned n = 0;

	while (t->types[n])
		n++;
	return n;
}

static void calls(ffi_abi abi, const char *name)
{
	char want[64], got[64];
	ffi_cif cif;
	size_t i;

	for (i = 0; i < NTESTS; i++) {
		struct test *t = &tests[i];

		memset(want, 0, sizeof(want));
		memset(got, 0, sizeof(got));
		call_as_c(t, t->fn, want);
		CHECK(ffi_prep_cif(&cif, abi, count(t), t->ret, t->types) == FFI_OK);
		got[t->ret->size < 8 ? 8 : t->ret->size] = 0x5a;
		ffi_call(&cif, t->fn, got, t->values);
		if (memcmp(want, got, t->size) || got[t->ret->size < 8 ? 8 : t->ret->size] != 0x5a)
			printf("# %s is wrong\n", t->name);
		CHECK(!memcmp(want, got, t->size) && got[t->ret->size < 8 ? 8 : t->ret->size] == 0x5a);
		ffi_call(&cif, t->fn, NULL, t->values);
	}
	checked(name);
}

/* The handler sees each argument as it was given, and returns what the function would. */
static const struct test *current;
static char result_of_c[64];

static void on_call(ffi_cif *cif, void *ret, void **args, void *data)
{
	unsigned i;

	(void)data;
	for (i = 0; i < cif->nargs; i++) {
		size_t n = current->types[i] == &ffi_type_longdouble ? 10 : current->types[i]->size;

		if (memcmp(args[i], current->values[i], n))
			printf("# %s: argument %u\n", current->name, i);
		CHECK(!memcmp(args[i], current->values[i], n));
	}
	memcpy(ret, result_of_c, current->size);
}

/* Registers that this convention leaves to the callee are as they were: rdi, rsi, xmm6 to xmm15 (xmm6 stands for all). */
static void closures(ffi_abi abi, const char *name)
{
	char got[64];
	void *code;
	size_t i;

	for (i = 0; i < NTESTS; i++) {
		struct test *t = &tests[i];
		ffi_closure *c = ffi_closure_alloc(sizeof(*c), &code);
		ffi_cif cif;

		CHECK(ffi_prep_cif(&cif, abi, count(t), t->ret, t->types) == FFI_OK);
		CHECK(ffi_prep_closure_loc(c, &cif, on_call, NULL, code) == FFI_OK);
		current = t;
		memset(result_of_c, 0, sizeof(result_of_c));
		call_as_c(t, t->fn, result_of_c);
		memset(got, 0, sizeof(got));
		call_as_c(t, (void (*)(void))code, got);
		if (memcmp(got, result_of_c, t->size))
			printf("# %s: result\n", t->name);
		CHECK(!memcmp(got, result_of_c, t->size));
		ffi_closure_free(c);
	}
	checked(name);
}

static void clobber(ffi_cif *cif, void *ret, void **args, void *data)
{
	(void)cif, (void)ret, (void)args, (void)data;
	__asm__ volatile("pcmpeqd %%xmm6, %%xmm6\n pcmpeqd %%xmm7, %%xmm7\n pcmpeqd %%xmm11, %%xmm11\n"
			 "pcmpeqd %%xmm15, %%xmm15\n xorl %%esi, %%esi\n xorl %%edi, %%edi"
			 ::: "xmm6", "xmm7", "xmm11", "xmm15", "rsi", "rdi");
}

static void registers_kept(void)
{
	void *code;
	ffi_closure *c = ffi_closure_alloc(sizeof(*c), &code);
	unsigned long si = 1111, di = 2222, x6 = 3333, x15 = 4444, x11 = 5555;
	ffi_cif cif;

	ffi_prep_cif(&cif, FFI_WIN64, 0, &ffi_type_void, NULL);
	CHECK(ffi_prep_closure_loc(c, &cif, clobber, NULL, code) == FFI_OK);
	__asm__ volatile("movq %[x6], %%xmm6\n movq %[x11], %%xmm11\n movq %[x15], %%xmm15\n"
			 "movq %%rsp, %%rbx\n andq $-16, %%rsp\n subq $256, %%rsp\n call *%[code]\n movq %%rbx, %%rsp\n"
			 "movq %%xmm6, %[x6]\n movq %%xmm11, %[x11]\n movq %%xmm15, %[x15]\n"
			 : "+S"(si), "+D"(di), [x6] "+r"(x6), [x11] "+r"(x11), [x15] "+r"(x15)
			 : [code] "a"(code)
			 : "rbx", "rcx", "rdx", "r8", "r9", "r10", "r11", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5",
			   "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
			   "memory", "cc");
	CHECK(si == 1111 && di == 2222 && x6 == 3333 && x15 == 4444 && x11 == 5555);
	ffi_closure_free(c);
	checked("closure_keeps_the_registers_that_win64_keeps");
}

/* ---- variadic ------------------------------------------------------------------------------------- */

static MS double f_var(int n, ...)
{
	__builtin_ms_va_list ap;
	double s = n;

	__builtin_ms_va_start(ap, n);
	s += 2 * __builtin_va_arg(ap, double);
	s += 3 * __builtin_va_arg(ap, int);
	s += 4 * __builtin_va_arg(ap, double);
	s += 5 * (double)__builtin_va_arg(ap, long);
	s += 6 * __builtin_va_arg(ap, double);
	__builtin_ms_va_end(ap);
	return s;
}

static void variadic(void)
{
	ffi_type *types[] = { T_I, T_D, T_I, T_D, &ffi_type_slong, T_D };
	void *values[] = { &v_b, &v_d, &v_small, &v_e, &v_l, &v_d };
	double want = f_var(v_b, v_d, v_small, v_e, v_l, v_d), got = 0;
	void *code;
	ffi_closure *c = ffi_closure_alloc(sizeof(*c), &code);
	struct test as = { .name = "variadic", .size = 8 };
	ffi_cif cif;

	CHECK(ffi_prep_cif_var(&cif, FFI_WIN64, 1, 6, T_D, types) == FFI_OK);
	ffi_call(&cif, FFI_FN(f_var), &got, values);
	CHECK(got == want);
	memcpy(as.types, types, sizeof(types));
	memcpy(as.values, values, sizeof(values));
	current = &as;
	memcpy(result_of_c, &want, 8);
	CHECK(ffi_prep_closure_loc(c, &cif, on_call, NULL, code) == FFI_OK);
	CHECK(((__typeof__(&f_var))code)(v_b, v_d, v_small, v_e, v_l, v_d) == want);
	ffi_closure_free(c);
	types[1] = T_F;
	CHECK(ffi_prep_cif_var(&cif, FFI_WIN64, 1, 6, T_D, types) == FFI_BAD_ARGTYPE);
	checked("win64_variadic_doubles_come_in_both_registers");
}

/* ---- Debian's ------------------------------------------------------------------------------------- */

static void as_debian(void)
{
	void *h = open_debian("win64_calls_are_debians");
	void (*call)(ffi_cif *, void (*)(void), void *, void **);
	ffi_status (*prep)(ffi_cif *, ffi_abi, unsigned, ffi_type *, ffi_type **);
	char ours[64], theirs[64];
	ffi_cif cif, other;
	size_t i;

	if (!h)
		return;
	*(void **)&call = dlsym(h, "ffi_call");
	*(void **)&prep = dlsym(h, "ffi_prep_cif");
	for (i = 0; i < NTESTS; i++) {
		struct test *t = &tests[i];

		if (t->ours_only)
			continue;
		memset(ours, 0, sizeof(ours));
		memset(theirs, 0, sizeof(theirs));
		CHECK(ffi_prep_cif(&cif, FFI_GNUW64, count(t), t->ret, t->types) == FFI_OK);
		CHECK(prep(&other, FFI_GNUW64, count(t), t->ret, t->types) == FFI_OK);
		ffi_call(&cif, t->fn, ours, t->values);
		call(&other, t->fn, theirs, t->values);
		if (memcmp(ours, theirs, t->size))
			printf("# %s differs\n", t->name);
		CHECK(!memcmp(ours, theirs, t->size));
	}
	checked("win64_calls_are_debians");
}

int main(void)
{
	v_p = stdout;
	vcf = 1 + 2 * I;
	vcg = 3 + 4 * I;
	vcd = 5 + 6 * I;
	calls(FFI_WIN64, "win64_calls");
	calls(FFI_GNUW64, "gnuw64_calls");
	closures(FFI_WIN64, "win64_closures");
	closures(FFI_GNUW64, "gnuw64_closures");
	registers_kept();
	variadic();
	as_debian();
	return tap_done();
}
