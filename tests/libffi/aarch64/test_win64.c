/* SPDX-License-Identifier: MIT */
/*
 * FFI_WIN64 on AArch64: calls of, and closures called by, functions that clang compiles for
 * Microsoft's convention. Variadic functions differ from AAPCS64: all in general registers and in
 * order, also in part. Prints TAP.
 */
#include <ffi.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define MS __attribute__((ms_abi))

struct pair {
	double a, b;
};
struct two {
	int64_t a, b;
};
struct odd {
	char c[11];
};
struct large {
	int64_t v[5];
};
struct floats {
	float v[3];
};

static ffi_type *pair_e[] = { &ffi_type_double, &ffi_type_double, NULL };
static ffi_type *two_e[] = { &ffi_type_sint64, &ffi_type_sint64, NULL };
static ffi_type *odd_e[12];
static ffi_type *large_e[] = { &ffi_type_sint64, &ffi_type_sint64, &ffi_type_sint64,
			       &ffi_type_sint64, &ffi_type_sint64, NULL };
static ffi_type *floats_e[] = { &ffi_type_float, &ffi_type_float, &ffi_type_float, NULL };
static ffi_type pair = { 0, 0, FFI_TYPE_STRUCT, pair_e }, two = { 0, 0, FFI_TYPE_STRUCT, two_e },
		odd = { 0, 0, FFI_TYPE_STRUCT, odd_e }, large = { 0, 0, FFI_TYPE_STRUCT, large_e },
		floats = { 0, 0, FFI_TYPE_STRUCT, floats_e };

static int number, failed;

static void ok(bool good, const char *name)
{
	failed += !good;
	printf("%s %d - %s\n", good ? "ok" : "not ok", ++number, name);
}

/* The values that travel, the same both ways. */
static int i1 = -7, i2 = 77;
static double d1 = 2.5, d2 = -8.25;
static struct pair p1 = { 3, 4 }, p2 = { 13, 14 };
static struct two t1 = { -5, 6 }, t2 = { 1, -2 };
static struct odd o1 = { "0123456789" };
static struct large l1 = { { 1, 2, 3, 4, 5 } }, l2 = { { 6, 7, 8, 9, 10 } };
static struct floats f1 = { { 1.5f, 2.5f, 3.5f } };
static int8_t c1 = -3;

#define EQ(a, b) (!memcmp(&(a), &(b), sizeof(a)))

MS static struct pair named(int i, double d, struct pair p, struct floats f, struct large l,
			    struct two t, struct odd o, int8_t c)
{
	bool good = i == i1 && d == d1 && EQ(p, p1) && EQ(f, f1) && EQ(l, l1) && EQ(t, t1) &&
		    EQ(o, o1) && c == c1;

	return (struct pair){ good, 42 };
}

/* x0 i, x1 d, x2 l, x3 x4 f, x5 x6 p, x7 and the stack t; all others on the stack. */
MS static int64_t variadic(int i, double d, struct large l, ...)
{
	__builtin_ms_va_list ap;
	bool good = i == i1 && d == d1 && EQ(l, l1);

	__builtin_ms_va_start(ap, l);
	struct floats f = __builtin_va_arg(ap, struct floats);
	struct pair p = __builtin_va_arg(ap, struct pair);
	struct two t = __builtin_va_arg(ap, struct two);
	double e = __builtin_va_arg(ap, double);
	struct large m = __builtin_va_arg(ap, struct large);
	struct pair q = __builtin_va_arg(ap, struct pair);
	int j = __builtin_va_arg(ap, int);
	struct odd o = __builtin_va_arg(ap, struct odd);
	struct two u = __builtin_va_arg(ap, struct two);
	__builtin_ms_va_end(ap);
	good = good && EQ(f, f1) && EQ(p, p1) && EQ(t, t1) && e == d2 && EQ(m, l2) && EQ(q, p2) &&
	       j == i2 && EQ(o, o1) && EQ(u, t2);
	return good ? 1234567890123 : 0;
}

static ffi_type *named_types[] = { &ffi_type_sint, &ffi_type_double, &pair, &floats, &large, &two,
				   &odd,           &ffi_type_sint8 };
static void *named_values[] = { &i1, &d1, &p1, &f1, &l1, &t1, &o1, &c1 };
static ffi_type *variadic_types[] = {
	&ffi_type_sint,   &ffi_type_double, &large, &floats,        &pair, &two,
	&ffi_type_double, &large,           &pair,  &ffi_type_sint, &odd,  &two
};
static void *variadic_values[] = { &i1, &d1, &l1, &f1, &p1, &t1, &d2, &l2, &p2, &i2, &o1, &t2 };

static void handler(ffi_cif *cif, void *ret, void **args, void *data)
{
	void **want = data;
	bool good = true;

	for (unsigned i = 0; i < cif->nargs; i++)
		good = good && !memcmp(args[i], want[i], cif->arg_types[i]->size);
	if (cif->rtype == &pair)
		*(struct pair *)ret = (struct pair){ good, 43 };
	else
		*(int64_t *)ret = good;
}

static void *closure(ffi_cif *cif, void *data)
{
	void *code = NULL;
	ffi_closure *c = ffi_closure_alloc(sizeof(*c), &code);

	return ffi_prep_closure_loc(c, cif, handler, data, code) == FFI_OK ? code : NULL;
}

int main(void)
{
	struct pair r = { 0, 0 };
	int64_t n = 0;
	ffi_cif cif, var, short_var;
	void *code;

	for (int i = 0; i < 11; i++)
		odd_e[i] = &ffi_type_sint8;
	ok(ffi_prep_cif(&cif, FFI_WIN64, 8, &pair, named_types) == FFI_OK &&
		   ffi_prep_cif_var(&short_var, FFI_WIN64, 3, 5, &ffi_type_sint64,
				    variadic_types) == FFI_OK &&
		   ffi_prep_cif_var(&var, FFI_WIN64, 3, 12, &ffi_type_sint64, variadic_types) ==
			   FFI_OK,
	   "prepares");
	ffi_call(&cif, FFI_FN(named), &r, named_values);
	ok(r.a == 1 && r.b == 42, "named_arguments_as_aapcs64");
	ffi_call(&var, FFI_FN(variadic), &n, variadic_values);
	ok(n == 1234567890123, "variadic_arguments_in_order_in_general_registers");

	struct pair(MS * fn)(int, double, struct pair, struct floats, struct large, struct two,
			     struct odd, int8_t);
	code = closure(&cif, named_values);
	memcpy(&fn, &code, sizeof(fn));
	r = fn(i1, d1, p1, f1, l1, t1, o1, c1);
	ok(r.a == 1 && r.b == 43, "closure_of_named_arguments");

	int64_t(MS * vfn)(int, double, struct large, ...);
	code = closure(&short_var, variadic_values);
	memcpy(&vfn, &code, sizeof(vfn));
	n = vfn(i1, d1, l1, f1, p1);
	ok(n == 1, "closure_of_variadic_arguments");
	/*
	 * clang 14 takes an argument apart as a callee, but as a caller passes it whole: so our own
	 * call, seen right.
	 */
	code = closure(&var, variadic_values);
	memcpy(&vfn, &code, sizeof(vfn));
	n = 0;
	ffi_call(&var, FFI_FN(vfn), &n, variadic_values);
	ok(n == 1, "closure_of_an_argument_partly_on_the_stack");
	printf("1..%d\n", number);
	return failed != 0;
}
