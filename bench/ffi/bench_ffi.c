/* SPDX-License-Identifier: MIT */
/*
 * ffi_call, closures and their preparation: ours against the system's libffi.so.8, and against a direct call
 * through a volatile function pointer, in one run. Both libraries are opened side by side: the interface is the same.
 *   bench_ffi OURS.so [THEIRS.so]
 */
#define LIBFFI_HIDE_BASIC_TYPES
#include <dlfcn.h>
#include <ffi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "callees.h"

#define ROUNDS 21

/* One library's interface. */
struct lib {
	const char *name;
	ffi_status (*prep_cif)(ffi_cif *, ffi_abi, unsigned, ffi_type *, ffi_type **);
	void (*call)(ffi_cif *, void (*)(void), void *, void **);
	void *(*closure_alloc)(size_t, void **);
	void (*closure_free)(void *);
	ffi_status (*prep_closure_loc)(ffi_closure *, ffi_cif *, void (*)(ffi_cif *, void *, void **, void *),
				       void *, void *);
	ffi_call_plan *(*plan_alloc)(ffi_cif *); /* NULL in older libraries */
	void (*plan_invoke)(ffi_call_plan *, void (*)(void), void *, void **);
	ffi_type *i32, *i64, *f64, *f32, *i8, *i16, *u32;
};

/* In the program, near the loops that call it; the others are in a library, as are most that FFI calls. */
static int f_near(int a, int b)
{
	return a + b;
}

static int (*volatile p_near)(int, int) = f_near;
static int (*volatile p_ii)(int, int) = f_ii;
static int (*volatile p_i6)(int, int, int, int, int, int) = f_i6;
static double (*volatile p_d8)(double, double, double, double, double, double, double, double) = f_d8;
static double (*volatile p_mix)(int, double, long, float, signed char, short, unsigned, double, long, long) = f_mix;
static long (*volatile p_s16)(struct s16) = f_s16;
static long (*volatile p_s32)(struct s32) = f_s32;
static struct s32 (*volatile p_rs)(long) = f_rs;

/* ---- cases --------------------------------------------------------------------------------------- */

enum sig { II, NEAR, I6, D8, MIX, S16, S32, RS, NSIGS };
static const char *const sig_names[] = { "(int, int)", "(int, int) in the program", "six ints", "eight doubles", "ten mixed",
					 "16-byte struct in registers", "32-byte struct in memory",
					 "struct return" };

static int ints[6] = { 1, 2, 3, 4, 5, 6 };
static double doubles[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
static struct s16 v16 = { 1, 2 };
static struct s32 v32 = { 1, 2, 3, 4 };
static int m_a = 1;
static double m_b = 2, m_h = 8;
static long m_c = 3, m_i = 9, m_j = 10;
static float m_d = 4;
static signed char m_e = 5;
static short m_f = 6;
static unsigned m_g = 7;

struct prepared {
	ffi_type *types[11], *rtype, t16, t32, *e16[3], *e32[5];
	void *values[11], *result_of;
	unsigned n;
	void (*fn)(void);
	ffi_cif cif;
};

static void set(struct prepared *p, unsigned i, ffi_type *t, void *value)
{
	p->types[i] = t;
	p->values[i] = value;
	p->n = i + 1;
}

static void describe(const struct lib *l, enum sig sig, struct prepared *p)
{
	ffi_type *mix[] = { l->i32, l->f64, l->i64, l->f32, l->i8, l->i16, l->u32, l->f64, l->i64, l->i64 };
	void *values[] = { &m_a, &m_b, &m_c, &m_d, &m_e, &m_f, &m_g, &m_h, &m_i, &m_j };
	static void (*const fns[])(void) = { FFI_FN(f_ii), FFI_FN(f_near), FFI_FN(f_i6), FFI_FN(f_d8), FFI_FN(f_mix),
					     FFI_FN(f_s16), FFI_FN(f_s32), FFI_FN(f_rs) };
	unsigned i;

	memset(p, 0, sizeof(*p));
	p->fn = fns[sig];
	p->rtype = sig == D8 || sig == MIX ? l->f64 : sig == II || sig == NEAR || sig == I6 ? l->i32 : l->i64;
	p->e16[0] = l->i64;
	p->e16[1] = l->f64;
	for (i = 0; i < 4; i++)
		p->e32[i] = l->i64;
	p->t16 = (ffi_type){ 0, 0, FFI_TYPE_STRUCT, p->e16 };
	p->t32 = (ffi_type){ 0, 0, FFI_TYPE_STRUCT, p->e32 };
	for (i = 0; i < 10; i++) {
		if (((sig == II || sig == NEAR) && i < 2) || (sig == I6 && i < 6))
			set(p, i, l->i32, &ints[i]);
		else if (sig == D8 && i < 8)
			set(p, i, l->f64, &doubles[i]);
		else if (sig == MIX)
			set(p, i, mix[i], values[i]);
	}
	if (sig == S16)
		set(p, 0, &p->t16, &v16);
	if (sig == S32)
		set(p, 0, &p->t32, &v32);
	if (sig == RS) {
		set(p, 0, l->i64, &m_c);
		p->rtype = &p->t32;
	}
	if (l->prep_cif(&p->cif, FFI_DEFAULT_ABI, p->n, p->rtype, p->types) != FFI_OK)
		exit(1);
}

/* Of this thread: what other processes of the machine do is left out as far as can be. */
static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* A loop for each signature, with nothing but the call in it. */
#define LOOP(result, call)              \
	do {                            \
		for (i = 0; i < n; i++) \
			result = call;  \
	} while (0)

static double time_direct(enum sig sig, int n)
{
	volatile double d;
	volatile long r;
	double start = now();
	int i;

	switch (sig) {
	case II: LOOP(r, p_ii(ints[0], ints[1])); break;
	case NEAR: LOOP(r, p_near(ints[0], ints[1])); break;
	case I6: LOOP(r, p_i6(ints[0], ints[1], ints[2], ints[3], ints[4], ints[5])); break;
	case D8:
		LOOP(d, p_d8(doubles[0], doubles[1], doubles[2], doubles[3], doubles[4], doubles[5], doubles[6],
			     doubles[7]));
		break;
	case MIX: LOOP(d, p_mix(m_a, m_b, m_c, m_d, m_e, m_f, m_g, m_h, m_i, m_j)); break;
	case S16: LOOP(r, p_s16(v16)); break;
	case S32: LOOP(r, p_s32(v32)); break;
	default: LOOP(r, p_rs(m_c).a); break;
	}
	(void)d;
	(void)r;
	return (now() - start) / n;
}

static double time_call(const struct lib *l, struct prepared *p, int n)
{
	union { ffi_arg word; double d; struct s32 s; } r;
	double start = now();
	int i;

	for (i = 0; i < n; i++)
		l->call(&p->cif, p->fn, &r, p->values);
	return (now() - start) / n;
}

static double time_plan(const struct lib *l, struct prepared *p, int n)
{
	union { ffi_arg word; double d; struct s32 s; } r;
	ffi_call_plan *plan = l->plan_alloc ? l->plan_alloc(&p->cif) : NULL;
	double start = now();
	int i;

	if (!plan)
		return 0;
	for (i = 0; i < n; i++)
		l->plan_invoke(plan, p->fn, &r, p->values);
	return (now() - start) / n;
}

static double time_closure(const struct lib *l, enum sig sig, struct prepared *p, int n)
{
	double (*volatile mix)(int, double, long, float, signed char, short, unsigned, double, long, long);
	int (*volatile ii)(int, int);
	volatile double d;
	volatile int r;
	void *code;
	ffi_closure *c = l->closure_alloc(sizeof(*c), &code);
	double start;
	int i;

	if (!c || l->prep_closure_loc(c, &p->cif, sig == II ? on_ii : on_mix, NULL, code) != FFI_OK)
		exit(1);
	ii = (int (*)(int, int))code;
	mix = (double (*)(int, double, long, float, signed char, short, unsigned, double, long, long))code;
	start = now();
	if (sig == II)
		LOOP(r, ii(ints[0], ints[1]));
	else
		LOOP(d, mix(m_a, m_b, m_c, m_d, m_e, m_f, m_g, m_h, m_i, m_j));
	(void)r;
	(void)d;
	start = (now() - start) / n;
	l->closure_free(c);
	return start;
}

static double time_prep(const struct lib *l, struct prepared *p, int n)
{
	double start = now();
	ffi_cif cif;
	int i;

	for (i = 0; i < n; i++)
		l->prep_cif(&cif, FFI_DEFAULT_ABI, p->n, p->rtype, p->types);
	return (now() - start) / n;
}

static double time_alloc(const struct lib *l, int n)
{
	void **all = malloc((size_t)n * sizeof(*all)), *code;
	double start = now();
	int i;

	for (i = 0; i < n; i++)
		all[i] = l->closure_alloc(sizeof(ffi_closure), &code);
	for (i = 0; i < n; i++)
		l->closure_free(all[i]);
	start = (now() - start) / n;
	free(all);
	return start;
}

/* ---- report -------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Figures of one row, a round each: the median counts, as the machine may be noisy. */
struct row {
	double direct[ROUNDS], ours[ROUNDS], plan[ROUNDS], theirs[ROUNDS];
};

static double median(double *v)
{
	qsort(v, ROUNDS, sizeof(*v), by_value);
	return v[ROUNDS / 2];
}

static void print_row(const char *name, struct row *r)
{
	double d = median(r->direct), o = median(r->ours), p = median(r->plan), t = median(r->theirs);

	printf("%-32s", name);
	d > 0 ? printf(" %7.2f", d) : printf(" %7s", "-");
	printf(" %7.2f %7.2f", o, t);
	p > 0 ? printf(" %7.2f", p) : printf(" %7s", "-");
	printf(" %8.1fx", t / o);
	d > 0 ? printf(" %8.2fx", o / d) : printf(" %9s", "-");
	d > 0 && p > 0 ? printf(" %8.2fx\n", p / d) : printf(" %9s\n", "-");
}

static void *need(void *h, const char *name)
{
	void *p = dlsym(h, name);

	if (!p) {
		fprintf(stderr, "bench_ffi: no %s\n", name);
		exit(1);
	}
	return p;
}

static int open_lib(struct lib *l, const char *path)
{
	void *h = dlopen(path, RTLD_NOW | RTLD_LOCAL);

	if (!h) {
		fprintf(stderr, "bench_ffi: %s\n", dlerror());
		return -1;
	}
	l->name = path;
	*(void **)&l->prep_cif = need(h, "ffi_prep_cif");
	*(void **)&l->call = need(h, "ffi_call");
	*(void **)&l->closure_alloc = need(h, "ffi_closure_alloc");
	*(void **)&l->closure_free = need(h, "ffi_closure_free");
	*(void **)&l->prep_closure_loc = need(h, "ffi_prep_closure_loc");
	*(void **)&l->plan_alloc = dlsym(h, "ffi_call_plan_alloc");
	*(void **)&l->plan_invoke = dlsym(h, "ffi_call_plan_invoke");
	l->i32 = need(h, "ffi_type_sint32");
	l->i64 = need(h, "ffi_type_sint64");
	l->f64 = need(h, "ffi_type_double");
	l->f32 = need(h, "ffi_type_float");
	l->i8 = need(h, "ffi_type_sint8");
	l->i16 = need(h, "ffi_type_sint16");
	l->u32 = need(h, "ffi_type_uint32");
	return 0;
}

int main(int argc, char **argv)
{
	static struct row calls[NSIGS], closures[2], prep, alloc;
	struct lib ours, theirs;
	static struct prepared po[NSIGS], pt[NSIGS];
	int round, s;

	if (argc < 2 || open_lib(&ours, argv[1]))
		return 2;
	if (open_lib(&theirs, argc > 2 ? argv[2] : "/usr/lib/x86_64-linux-gnu/libffi.so.8"))
		return 77;
	for (s = 0; s < NSIGS; s++) {
		describe(&ours, (enum sig)s, &po[s]);
		describe(&theirs, (enum sig)s, &pt[s]);
	}
	for (round = 0; round < ROUNDS; round++) {
		for (s = 0; s < NSIGS; s++) {
			calls[s].direct[round] = time_direct((enum sig)s, 1000000);
			calls[s].ours[round] = time_call(&ours, &po[s], 500000);
			calls[s].plan[round] = time_plan(&ours, &po[s], 500000);
			calls[s].theirs[round] = time_call(&theirs, &pt[s], 100000);
		}
		for (s = 0; s < 2; s++) {
			enum sig sig = s ? MIX : II;

			closures[s].direct[round] = time_direct(sig, 1000000);
			closures[s].ours[round] = time_closure(&ours, sig, &po[sig], 500000);
			closures[s].theirs[round] = time_closure(&theirs, sig, &pt[sig], 100000);
		}
		prep.ours[round] = time_prep(&ours, &po[MIX], 100000);
		prep.theirs[round] = time_prep(&theirs, &pt[MIX], 100000);
		alloc.ours[round] = time_alloc(&ours, 20000);
		alloc.theirs[round] = time_alloc(&theirs, 20000);
	}
	printf("ns a call, median of %d rounds\n%-32s %7s %7s %7s %7s %9s %9s %9s\n", ROUNDS, "", "direct",
	       "ferry", "libffi", "plan", "libffi/f.", "ferry/d.", "plan/d.");
	for (s = 0; s < NSIGS; s++)
		print_row(sig_names[s], &calls[s]);
	print_row("closure (int, int)", &closures[0]);
	print_row("closure ten mixed", &closures[1]);
	print_row("ffi_prep_cif, ten mixed", &prep);
	print_row("closure alloc and free", &alloc);
	return 0;
}
