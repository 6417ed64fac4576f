/* SPDX-License-Identifier: MIT */
/*
 * libffi.so.8 as a C program uses it: bad input, results of every kind, plans, the raw interfaces, go closures.
 * Where Debian's libffi 3.4 is there, it is opened beside ours and asked the same questions.
 */
#include <complex.h>
#include <ffi.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

/* ---- bad input ------------------------------------------------------------------------------------ */

/* The status for a signature, of which nothing may be written to the cif when it is refused. */
static ffi_status status(unsigned abi, unsigned nargs, ffi_type *ret, ffi_type **args)
{
	ffi_cif cif, before;
	ffi_status st;

	memset(&cif, 0x5a, sizeof(cif));
	before = cif;
	st = ffi_prep_cif(&cif, (ffi_abi)abi, nargs, ret, args);
	if (st != FFI_OK)
		CHECK(!memcmp(&cif, &before, sizeof(cif)));
	return st;
}

static ffi_status status_of(ffi_type *t)
{
	ffi_type *args[] = { t };
	ffi_status arg = status(FFI_DEFAULT_ABI, 1, &ffi_type_void, args);

	CHECK(arg == status(FFI_DEFAULT_ABI, 0, t, NULL));
	return arg;
}

static void abis(void)
{
	static const unsigned good[] = { FFI_UNIX64, FFI_WIN64, FFI_GNUW64 };
	static const unsigned bad[] = { 0, 1, FFI_LAST_ABI, 99, -1u, 1u << 31 };
	size_t i;

	for (i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		CHECK(status(good[i], 0, &ffi_type_void, NULL) == FFI_OK);
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK(status(bad[i], 0, &ffi_type_void, NULL) == FFI_BAD_ABI);
	checked("unknown_abi_is_refused");
}

static void bad_types(void)
{
	ffi_type *none[] = { NULL }, *self[] = { NULL, NULL }, *inner[] = { NULL, NULL };
	ffi_type *null_arg[] = { NULL }, *void_arg[] = { &ffi_type_void }, *voids[] = { &ffi_type_void, NULL };
	ffi_type empty = { 0, 0, FFI_TYPE_STRUCT, none }, no_list = { 0, 0, FFI_TYPE_STRUCT, NULL };
	ffi_type circle = { 0, 0, FFI_TYPE_STRUCT, self }, outer = { 0, 0, FFI_TYPE_STRUCT, inner };
	ffi_type unknown = { 8, 8, FFI_TYPE_LAST + 1, NULL }, of_voids = { 0, 0, FFI_TYPE_STRUCT, voids };
	ffi_type odd = { 8, 3, FFI_TYPE_STRUCT, NULL }, *odds[] = { &odd, NULL };
	ffi_type of_odds = { 0, 0, FFI_TYPE_STRUCT, odds };

	CHECK(status(FFI_DEFAULT_ABI, 0, NULL, NULL) == FFI_BAD_TYPEDEF);
	CHECK(status(FFI_DEFAULT_ABI, 1, &ffi_type_void, null_arg) == FFI_BAD_TYPEDEF);
	CHECK(status(FFI_DEFAULT_ABI, 1, &ffi_type_void, NULL) == FFI_BAD_TYPEDEF);
	CHECK(status(FFI_DEFAULT_ABI, 1u << 31, &ffi_type_void, null_arg) == FFI_BAD_TYPEDEF);
	CHECK(ffi_prep_cif(NULL, FFI_DEFAULT_ABI, 0, &ffi_type_void, NULL) == FFI_BAD_TYPEDEF);
	checked("null_types_are_refused");
	CHECK(status(FFI_DEFAULT_ABI, 1, &ffi_type_void, void_arg) == FFI_BAD_TYPEDEF);
	CHECK(status_of(&of_voids) == FFI_BAD_TYPEDEF);
	checked("void_argument_and_member_are_refused");
	CHECK(status_of(&empty) == FFI_BAD_TYPEDEF);
	CHECK(status_of(&no_list) == FFI_BAD_TYPEDEF);
	checked("struct_without_elements_is_refused");
	CHECK(status_of(&unknown) == FFI_BAD_TYPEDEF);
	CHECK(status_of(&of_odds) == FFI_BAD_TYPEDEF);
	checked("unknown_type_and_alignment_are_refused");
	self[0] = &circle;
	CHECK(status_of(&circle) == FFI_BAD_TYPEDEF);
	inner[0] = &circle;
	self[0] = &outer;
	CHECK(status_of(&outer) == FFI_BAD_TYPEDEF && !circle.size && !outer.size);
	circle.size = outer.size = 16;
	circle.alignment = outer.alignment = 8;
	CHECK(status_of(&circle) == FFI_BAD_TYPEDEF);
	checked("recursive_struct_is_refused");
}

static ffi_type *lanes[65];

static ffi_type vector(unsigned n, ffi_type *lane)
{
	unsigned i;

	for (i = 0; i < n; i++)
		lanes[i] = lane;
	lanes[n] = NULL;
	return (ffi_type){ 0, 0, FFI_TYPE_VECTOR, lanes };
}

static void vectors(void)
{
	ffi_type v;

	v = vector(2, &ffi_type_float);
	CHECK(status_of(&v) == FFI_OK && v.size == 8 && v.alignment == 8);
	v = vector(16, &ffi_type_uint8);
	CHECK(status_of(&v) == FFI_OK && v.size == 16 && v.alignment == 16);
	v = vector(3, &ffi_type_float);
	CHECK(status_of(&v) == FFI_OK && v.size == 16);
	v = vector(4, &ffi_type_double);
	CHECK(status_of(&v) == FFI_BAD_TYPEDEF);
	v = vector(0, NULL);
	CHECK(status_of(&v) == FFI_BAD_TYPEDEF);
	v = vector(2, &ffi_type_longdouble);
	CHECK(status_of(&v) == FFI_BAD_TYPEDEF);
	v = vector(2, &ffi_type_complex_float);
	CHECK(status_of(&v) == FFI_BAD_TYPEDEF);
	v = vector(4, &ffi_type_float);
	lanes[2] = &ffi_type_sint32;
	CHECK(status_of(&v) == FFI_BAD_TYPEDEF);
	checked("vectors_of_equal_lanes_and_at_most_16_bytes");
}

static ffi_status variadic(unsigned nfixed, unsigned n, ffi_type *last)
{
	ffi_type *args[] = { &ffi_type_float, last };
	ffi_cif cif;

	return ffi_prep_cif_var(&cif, FFI_DEFAULT_ABI, nfixed, n, &ffi_type_sint, args);
}

static void variadics(void)
{
	CHECK(variadic(1, 2, &ffi_type_float) == FFI_BAD_ARGTYPE);
	CHECK(variadic(1, 2, &ffi_type_schar) == FFI_BAD_ARGTYPE);
	CHECK(variadic(1, 2, &ffi_type_ushort) == FFI_BAD_ARGTYPE);
	CHECK(variadic(2, 2, &ffi_type_float) == FFI_OK);
	CHECK(variadic(1, 2, &ffi_type_sint) == FFI_OK);
	CHECK(variadic(1, 2, &ffi_type_longdouble) == FFI_OK);
	CHECK(variadic(1, 2, NULL) == FFI_BAD_TYPEDEF);
	CHECK(variadic(3, 2, &ffi_type_sint) == FFI_BAD_TYPEDEF);
	checked("variadic_arguments_that_c_promotes_are_refused");
}

struct inner {
	char a;
	short b;
};
struct outer {
	char a;
	struct inner b;
	double c;
	char d;
	long double e;
	float f;
};

static void offsets(void)
{
	ffi_type *ie[] = { &ffi_type_schar, &ffi_type_sshort, NULL };
	ffi_type inner = { 0, 0, FFI_TYPE_STRUCT, ie };
	ffi_type *oe[] = { &ffi_type_schar, &inner, &ffi_type_double, &ffi_type_schar, &ffi_type_longdouble,
			   &ffi_type_float, NULL };
	ffi_type outer = { 0, 0, FFI_TYPE_STRUCT, oe };
	static const size_t want[] = { offsetof(struct outer, a), offsetof(struct outer, b), offsetof(struct outer, c),
				       offsetof(struct outer, d), offsetof(struct outer, e), offsetof(struct outer, f) };
	size_t got[6];

	CHECK(ffi_get_struct_offsets(FFI_DEFAULT_ABI, &outer, got) == FFI_OK && !memcmp(got, want, sizeof(want)));
	CHECK(outer.size == sizeof(struct outer) && outer.alignment == _Alignof(struct outer));
	CHECK(inner.size == sizeof(struct inner));
	outer.size = outer.alignment = 0;
	CHECK(ffi_get_struct_offsets(FFI_DEFAULT_ABI, &outer, NULL) == FFI_OK && outer.size == sizeof(struct outer));
	CHECK(ffi_get_struct_offsets((ffi_abi)99, &outer, got) == FFI_BAD_ABI);
	CHECK(ffi_get_struct_offsets(FFI_DEFAULT_ABI, &ffi_type_sint, got) == FFI_BAD_TYPEDEF);
	CHECK(ffi_get_struct_offsets(FFI_DEFAULT_ABI, NULL, got) == FFI_BAD_TYPEDEF);
	checked("offsets_of_structs_are_the_compilers");
}

/* ---- results ------------------------------------------------------------------------------------- */

typedef float v2f __attribute__((vector_size(8)));
typedef int v4i __attribute__((vector_size(16)));
struct big {
	long a[5];
};
struct mixed {
	double d;
	int i;
};

static int ran;

#define MAKER(name, type, ...) static type name(void) { ran++; return (type)__VA_ARGS__; }
MAKER(r_s8, signed char, -5)
MAKER(r_u8, unsigned char, 200)
MAKER(r_s16, short, -300)
MAKER(r_u16, unsigned short, 60000)
MAKER(r_s32, int, -70000)
MAKER(r_u32, unsigned, 4000000000u)
MAKER(r_s64, long, -(1L << 40))
MAKER(r_u64, unsigned long, 1UL << 63)
MAKER(r_f, float, 1.5f)
MAKER(r_d, double, -2.5)
MAKER(r_ld, long double, 3.25L)
MAKER(r_p, void *, &ran)
MAKER(r_cf, _Complex float, 1.0f + 2.0f * I)
MAKER(r_cd, _Complex double, 3.0 - 4.0 * I)
MAKER(r_cld, _Complex long double, 5.0L + 6.0L * I)
MAKER(r_i128, __int128, (-((__int128)7 << 64 | 9)))
MAKER(r_u128, unsigned __int128, ((unsigned __int128)7 << 100 | 1))
MAKER(r_v2f, v2f, { 1, 2 })
MAKER(r_v4i, v4i, { 1, -2, 3, -4 })
MAKER(r_big, struct big, { { 1, 2, 3, 4, 5 } })
MAKER(r_mixed, struct mixed, { 1.25, -6 })
static void r_void(void) { ran++; }

static ffi_type *big_e[] = { &ffi_type_slong, &ffi_type_slong, &ffi_type_slong, &ffi_type_slong, &ffi_type_slong, NULL };
static ffi_type *mixed_e[] = { &ffi_type_double, &ffi_type_sint, NULL };
static ffi_type *v2f_e[] = { &ffi_type_float, &ffi_type_float, NULL };
static ffi_type *v4i_e[] = { &ffi_type_sint, &ffi_type_sint, &ffi_type_sint, &ffi_type_sint, NULL };
static ffi_type t_big = { 0, 0, FFI_TYPE_STRUCT, big_e }, t_mixed = { 0, 0, FFI_TYPE_STRUCT, mixed_e };
static ffi_type t_v2f = { 0, 0, FFI_TYPE_VECTOR, v2f_e }, t_v4i = { 0, 0, FFI_TYPE_VECTOR, v4i_e };

static struct maker {
	const char *name;
	ffi_type *type;
	void (*fn)(void);
	bool word; /* widened to an ffi_arg */
	size_t size;
	union {
		ffi_sarg word;
		char bytes[64];
	} want;
} makers[] = {
	{ "void", &ffi_type_void, r_void, false, 0, { 0 } },
#define WHOLE(n, t, size) { #n, &t, FFI_FN(r_##n), false, size, { 0 } }
	{ "s8", &ffi_type_sint8, FFI_FN(r_s8), true, 8, { -5 } },
	{ "u8", &ffi_type_uint8, FFI_FN(r_u8), true, 8, { 200 } },
	{ "s16", &ffi_type_sint16, FFI_FN(r_s16), true, 8, { -300 } },
	{ "u16", &ffi_type_uint16, FFI_FN(r_u16), true, 8, { 60000 } },
	{ "s32", &ffi_type_sint32, FFI_FN(r_s32), true, 8, { -70000 } },
	{ "u32", &ffi_type_uint32, FFI_FN(r_u32), true, 8, { 4000000000 } },
	{ "s64", &ffi_type_sint64, FFI_FN(r_s64), true, 8, { -(1L << 40) } },
	{ "u64", &ffi_type_uint64, FFI_FN(r_u64), true, 8, { (ffi_sarg)(1UL << 63) } },
	{ "pointer", &ffi_type_pointer, FFI_FN(r_p), true, 8, { 0 } },
	WHOLE(f, ffi_type_float, 4), WHOLE(d, ffi_type_double, 8), WHOLE(ld, ffi_type_longdouble, 10),
	WHOLE(cf, ffi_type_complex_float, 8), WHOLE(cd, ffi_type_complex_double, 16),
	WHOLE(cld, ffi_type_complex_longdouble, 26), WHOLE(i128, ffi_type_sint128, 16),
	WHOLE(u128, ffi_type_uint128, 16), WHOLE(v2f, t_v2f, 8), WHOLE(v4i, t_v4i, 16),
	WHOLE(big, t_big, 40), WHOLE(mixed, t_mixed, 12),
};
#define NMAKERS (sizeof(makers) / sizeof(makers[0]))

/* What C gets by calling them: the oracle. */
static void fill_wants(void)
{
	size_t i;

#define SET(n) else if (!strcmp(makers[i].name, #n)) { __typeof__(r_##n()) v = r_##n(); memcpy(&makers[i].want, &v, sizeof(v)); }
	for (i = 0; i < NMAKERS; i++) {
		if (!strcmp(makers[i].name, "pointer"))
			makers[i].want.word = (ffi_sarg)&ran;
		SET(f) SET(d) SET(ld) SET(cf) SET(cd) SET(cld) SET(i128) SET(u128) SET(v2f) SET(v4i) SET(big)
		SET(mixed)
	}
}

static bool same_result(const struct maker *m, const char *got)
{
	if (!strcmp(m->name, "cld"))
		return !memcmp(got, &m->want, 10) && !memcmp(got + 16, m->want.bytes + 16, 10);
	return !memcmp(got, &m->want, m->size);
}

static void results(void)
{
	char got[80], room;
	size_t i, end;
	ffi_cif cif;

	fill_wants();
	for (i = 0; i < NMAKERS; i++) {
		struct maker *m = &makers[i];
		ffi_call_plan *plan;

		CHECK(ffi_prep_cif(&cif, FFI_DEFAULT_ABI, 0, m->type, NULL) == FFI_OK);
		plan = ffi_call_plan_alloc(&cif);
		ran = 0;
		ffi_call(&cif, m->fn, NULL, NULL);
		ffi_call_plan_invoke(plan, m->fn, NULL, NULL);
		if (ran != 2)
			printf("# %s: NULL result\n", m->name);
		CHECK(ran == 2);
		memset(got, 0x5a, sizeof(got));
		ffi_call(&cif, m->fn, got, NULL);
		/* Nothing behind the result is touched: that much room is what libffi asks for. */
		end = m->word ? 8 : m->type == &ffi_type_void ? 0 : m->type->size;
		room = got[end];
		if (!same_result(m, got) || room != 0x5a)
			printf("# %s: wrong\n", m->name);
		CHECK(same_result(m, got) && room == 0x5a);
		memset(got, 0x5a, sizeof(got));
		ffi_call_plan_invoke(plan, m->fn, got, NULL);
		CHECK(same_result(m, got) && got[end] == 0x5a);
		ffi_call_plan_free(plan);
	}
	checked("results_of_every_kind_whole_widened_or_discarded");
}

static const struct maker *making;

static void make_result(ffi_cif *cif, void *ret, void **args, void *data)
{
	(void)cif, (void)args, (void)data;
	memcpy(ret, &making->want, making->word ? 8 : making->type == &ffi_type_void ? 0 : making->type->size);
}

/* A closure that C calls as the function itself. */
#define VIA(n) else if (!strcmp(m->name, #n)) { __typeof__(r_##n()) (*f)(void) = (__typeof__(f))code, v = f(); memcpy(got, &v, sizeof(v)); }

static void closure_results(void)
{
	char got[64];
	void *code;
	size_t i;

	for (i = 0; i < NMAKERS; i++) {
		struct maker *m = &makers[i];
		ffi_closure *c = ffi_closure_alloc(sizeof(*c), &code);
		ffi_cif cif;

		CHECK(ffi_prep_cif(&cif, FFI_DEFAULT_ABI, 0, m->type, NULL) == FFI_OK);
		CHECK(ffi_prep_closure_loc(c, &cif, make_result, NULL, code) == FFI_OK);
		making = m;
		memset(got, 0, sizeof(got));
		if (m->word)
			*(ffi_sarg *)got = ((ffi_sarg (*)(void))code)();
		else if (m->type == &ffi_type_void)
			((void (*)(void))code)();
		VIA(f) VIA(d) VIA(ld) VIA(cf) VIA(cd) VIA(cld) VIA(i128) VIA(u128) VIA(v2f) VIA(v4i) VIA(big)
		VIA(mixed)
		if (!same_result(m, got))
			printf("# %s: wrong\n", m->name);
		CHECK(same_result(m, got));
		ffi_closure_free(c);
	}
	checked("closures_return_every_kind");
}

/* ---- arguments of wide types, calls and closures -------------------------------------------------- */

static long f_wide(v2f a, v4i b, __int128 c, _Complex float d, long double e, v4i f, _Complex double g, __int128 h)
{
	return a[0] == 1 && a[1] == 2 && b[3] == 6 && c == (__int128)1 << 100 && crealf(d) == 7 && cimagf(d) == 8 &&
	       e == 9 && f[0] == -1 && creal(g) == 10 && cimag(g) == 11 && h == -12;
}

static void on_wide(ffi_cif *cif, void *ret, void **a, void *data)
{
	(void)cif, (void)data;
	*(ffi_sarg *)ret = f_wide(*(v2f *)a[0], *(v4i *)a[1], *(__int128 *)a[2], *(_Complex float *)a[3],
				  *(long double *)a[4], *(v4i *)a[5], *(_Complex double *)a[6], *(__int128 *)a[7]);
}

static void wide_arguments(void)
{
	ffi_type *types[] = { &t_v2f, &t_v4i, &ffi_type_sint128, &ffi_type_complex_float, &ffi_type_longdouble,
			      &t_v4i, &ffi_type_complex_double, &ffi_type_sint128 };
	v2f a = { 1, 2 };
	v4i b = { 3, 4, 5, 6 }, f = { -1 };
	__int128 c = (__int128)1 << 100, h = -12;
	_Complex float d = 7 + 8 * I;
	_Complex double g = 10 + 11 * I;
	long double e = 9;
	void *values[] = { &a, &b, &c, &d, &e, &f, &g, &h }, *code;
	ffi_closure *cl = ffi_closure_alloc(sizeof(*cl), &code);
	ffi_sarg got = 0;
	ffi_cif cif;

	CHECK(ffi_prep_cif(&cif, FFI_DEFAULT_ABI, 8, &ffi_type_slong, types) == FFI_OK);
	ffi_call(&cif, FFI_FN(f_wide), &got, values);
	CHECK(got == 1);
	CHECK(ffi_prep_closure_loc(cl, &cif, on_wide, NULL, code) == FFI_OK);
	CHECK(((__typeof__(&f_wide))code)(a, b, c, d, e, f, g, h) == 1);
	ffi_closure_free(cl);
	checked("vectors_int128_and_complex_arrive_both_ways");
}

/* ---- plans, version ------------------------------------------------------------------------------- */

static int f_sub(int a, int b)
{
	return a - b;
}

static void *invoke_plan(void *arg)
{
	long bad = 0;
	int i;

	for (i = 0; i < 20000; i++) {
		int a = i, b = 3 * i;
		void *values[] = { &a, &b };
		ffi_sarg r = 0;

		ffi_call_plan_invoke(arg, FFI_FN(f_sub), &r, values);
		bad += r != -2 * i;
	}
	return (void *)bad;
}

static void plans(void)
{
	ffi_type *types[] = { &ffi_type_sint, &ffi_type_sint };
	ffi_call_plan *plan;
	pthread_t threads[4];
	void *bad;
	ffi_cif cif;
	int i;

	ffi_prep_cif(&cif, FFI_DEFAULT_ABI, 2, &ffi_type_sint, types);
	plan = ffi_call_plan_alloc(&cif);
	CHECK(plan && ffi_call_plan_size(plan) >= 2 * sizeof(void *) && ffi_call_plan_size(NULL) == 0);
	for (i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, invoke_plan, plan);
	for (i = 0; i < 4; i++) {
		pthread_join(threads[i], &bad);
		CHECK(!bad);
	}
	ffi_call_plan_free(plan);
	ffi_call_plan_free(NULL);
	checked("plan_is_shared_by_threads");
	CHECK(!strcmp(ffi_get_version(), FFI_VERSION_STRING) && ffi_get_version_number() == FFI_VERSION_NUMBER);
	CHECK(ffi_get_default_abi() == FFI_DEFAULT_ABI && ffi_get_closure_size() == sizeof(ffi_closure));
	checked("version_is_the_headers");
}

/* A cif is plain data: copied, moved to another array of types, used by many threads at once. */
static void *prepare_many(void *arg)
{
	static ffi_type *const scalars[] = { &ffi_type_sint8, &ffi_type_double, &ffi_type_float, &ffi_type_uint64 };
	ffi_type *types[6];
	long bad = 0;
	unsigned i, k;

	for (i = 0; i < 3000; i++) {
		ffi_cif cif, copy;
		signed char c = -3;
		double d = 2.5;
		float f = 1.5f;
		unsigned long u = 9;
		void *values[6], *all[] = { &c, &d, &f, &u };

		for (k = 0; k < 6; k++) {
			types[k] = scalars[(i >> 2 * k) % 4];
			values[k] = all[(i >> 2 * k) % 4];
		}
		bad += ffi_prep_cif(&cif, FFI_DEFAULT_ABI, 6, &ffi_type_void, types) != FFI_OK;
		copy = cif;
		ffi_call(&copy, r_void, NULL, values);
	}
	(void)arg;
	return (void *)bad;
}

static void threads_prepare(void)
{
	pthread_t threads[4];
	void *bad;
	int i;

	for (i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, prepare_many, NULL);
	for (i = 0; i < 4; i++) {
		pthread_join(threads[i], &bad);
		CHECK(!bad);
	}
	checked("signatures_are_prepared_by_many_threads");
}

/* ---- raw, against Debian's libffi where it is ------------------------------------------------------ */

static double f_raw(signed char a, double b, long c, float d, unsigned short e, struct mixed *f, int g)
{
	return a + 2 * b + 3 * (double)c + 4 * (double)d + 5 * e + 6 * f->d + 7 * g;
}

static double f_raws(signed char a, double b, long c, float d, unsigned short e, struct mixed f, int g)
{
	return f_raw(a, b, c, d, e, &f, g);
}

static signed char va = -1;
static double vb = 2.5;
static long vc = -(1L << 33);
static float vd = 1.25f;
static unsigned short ve = 50000;
static struct mixed vf = { 8.5, 7 };
static int vg = -9;
static void *raw_values[] = { &va, &vb, &vc, &vd, &ve, &vf, &vg };
static ffi_type *raw_types[] = { &ffi_type_schar, &ffi_type_double, &ffi_type_slong, &ffi_type_float,
				 &ffi_type_ushort, &t_mixed, &ffi_type_sint };

static void on_raw(ffi_cif *cif, void *ret, ffi_raw *raw, void *data)
{
	void *args[7];

	if (data)
		ffi_java_raw_to_ptrarray(cif, raw, args);
	else
		ffi_raw_to_ptrarray(cif, raw, args);
	*(double *)ret = f_raws(*(signed char *)args[0], *(double *)args[1], *(long *)args[2], *(float *)args[3],
				*(unsigned short *)args[4], *(struct mixed *)args[5], *(int *)args[6]);
}

static void raw_calls(void)
{
	double want = f_raws(va, vb, vc, vd, ve, vf, vg), got = 0;
	ffi_raw raw[16];
	ffi_cif cif;

	CHECK(ffi_prep_cif(&cif, FFI_DEFAULT_ABI, 7, &ffi_type_double, raw_types) == FFI_OK);
	CHECK(ffi_raw_size(&cif) == 7 * sizeof(ffi_raw));
	CHECK(ffi_java_raw_size(&cif) == 9 * sizeof(ffi_raw));
	ffi_ptrarray_to_raw(&cif, raw_values, raw);
	CHECK(raw[0].sint == -1 && raw[4].uint == 50000 && raw[5].ptr == &vf);
	ffi_raw_call(&cif, FFI_FN(f_raws), &got, raw);
	CHECK(got == want);
	got = 0;
	ffi_java_ptrarray_to_raw(&cif, raw_values, raw);
	ffi_java_raw_call(&cif, FFI_FN(f_raws), &got, raw);
	CHECK(got == want);
	checked("raw_calls_unpack_words");
}

static void raw_closures(void)
{
	double want = f_raws(va, vb, vc, vd, ve, vf, vg);
	void *code, *java_code;
	ffi_raw_closure *c = ffi_closure_alloc(sizeof(*c), &code);
	ffi_java_raw_closure *java = ffi_closure_alloc(sizeof(*java), &java_code);
	ffi_cif cif;

	ffi_prep_cif(&cif, FFI_DEFAULT_ABI, 7, &ffi_type_double, raw_types);
	CHECK(ffi_prep_raw_closure_loc(c, &cif, on_raw, NULL, code) == FFI_OK);
	CHECK(((__typeof__(&f_raws))code)(va, vb, vc, vd, ve, vf, vg) == want);
	CHECK(ffi_prep_java_raw_closure_loc(java, &cif, on_raw, &cif, java_code) == FFI_OK);
	CHECK(((__typeof__(&f_raws))java_code)(va, vb, vc, vd, ve, vf, vg) == want);
	cif.abi = (ffi_abi)99;
	CHECK(ffi_prep_raw_closure_loc(c, &cif, on_raw, NULL, code) == FFI_BAD_ABI);
	CHECK(ffi_prep_closure_loc((ffi_closure *)c, &cif, make_result, NULL, code) == FFI_BAD_ABI);
	ffi_closure_free(c);
	ffi_closure_free(java);
	checked("raw_closures_pack_words");
}

/* The words that Debian's packs are ours, bit for bit; its Java unpacking is asked too. */
static void raw_as_debian(void)
{
	void *h = open_debian("raw_words_are_debians"), *fn, *ours[5], *theirs[5];
	ffi_type *types[] = { &ffi_type_schar, &ffi_type_double, &ffi_type_slong, &ffi_type_float, &ffi_type_ushort };
	ffi_raw a[8], b[8];
	ffi_cif cif;
	int i;

	if (!h)
		return;
	ffi_prep_cif(&cif, FFI_DEFAULT_ABI, 5, &ffi_type_void, types);
	static const char *const pack[] = { "ffi_ptrarray_to_raw", "ffi_java_ptrarray_to_raw" };
	static const char *const unpack[] = { "ffi_raw_to_ptrarray", "ffi_java_raw_to_ptrarray" };
	static const char *const size[] = { "ffi_raw_size", "ffi_java_raw_size" };
	for (i = 0; i < 2; i++) {
		memset(a, 0, sizeof(a));
		memset(b, 0, sizeof(b));
		(i ? ffi_java_ptrarray_to_raw : ffi_ptrarray_to_raw)(&cif, raw_values, a);
		fn = dlsym(h, pack[i]);
		((void (*)(ffi_cif *, void **, ffi_raw *))fn)(&cif, raw_values, b);
		CHECK(!memcmp(a, b, sizeof(a)));
		(i ? ffi_java_raw_to_ptrarray : ffi_raw_to_ptrarray)(&cif, a, ours);
		fn = dlsym(h, unpack[i]);
		((void (*)(ffi_cif *, ffi_raw *, void **))fn)(&cif, a, theirs);
		CHECK(!memcmp(ours, theirs, sizeof(ours)));
		fn = dlsym(h, size[i]);
		CHECK(((size_t (*)(ffi_cif *))fn)(&cif) == (i ? ffi_java_raw_size : ffi_raw_size)(&cif));
	}
	checked("raw_words_are_debians");
}

/* ---- go closures ---------------------------------------------------------------------------------- */

struct go {
	ffi_go_closure closure;
	int factor;
};

static void on_go(ffi_cif *cif, void *ret, void **args, void *closure)
{
	(void)cif;
	*(ffi_sarg *)ret = (*(int *)args[0] - *(int *)args[1]) * ((struct go *)closure)->factor;
}

/* Called with the static chain in r10, as Go's compiler would: what is behind it is added. */
int f_chain(int a, int b);
__asm__(".text\n.globl f_chain\nf_chain: leal (%rdi,%rsi), %eax\n addl (%r10), %eax\n ret\n");

static void go_closures(void)
{
	ffi_type *types[] = { &ffi_type_sint, &ffi_type_sint };
	int a = 30, b = 4, chain = 1000;
	void *values[] = { &a, &b };
	ffi_sarg got = 0;
	struct go go = { .factor = 3 };
	ffi_cif cif, bad;

	ffi_prep_cif(&cif, FFI_DEFAULT_ABI, 2, &ffi_type_sint, types);
	ffi_call_go(&cif, FFI_FN(f_chain), &got, values, &chain);
	CHECK(got == 1034);
	CHECK(ffi_prep_go_closure(&go.closure, &cif, on_go) == FFI_OK);
	ffi_call_go(&cif, FFI_FN(go.closure.tramp), &got, values, &go);
	CHECK(got == 78);
	ffi_call_go(&cif, FFI_FN(go.closure.tramp), NULL, values, &go);
	bad = cif;
	bad.abi = (ffi_abi)99;
	CHECK(ffi_prep_go_closure(&go.closure, &bad, on_go) == FFI_BAD_ABI);
	checked("go_closures_have_their_address_in_r10");
}

int main(void)
{
	abis();
	bad_types();
	vectors();
	variadics();
	offsets();
	results();
	closure_results();
	wide_arguments();
	plans();
	threads_prepare();
	raw_calls();
	raw_closures();
	raw_as_debian();
	go_closures();
	return tap_done();
}
