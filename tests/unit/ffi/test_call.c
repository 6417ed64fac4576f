/* SPDX-License-Identifier: MIT */
/* Calls and closures at their limits: no memory, a full table of shapes, very many arguments. The oracle: C's calls. */
#include <string.h>

#include "ffi/call_int.h"
#include "test.h"

#define NARGS 8

static long weigh(long a, long b, long c, long d, long e, long f, long g, long h)
{
	return a + 10 * b + 100 * c + 1000 * d + 10000 * e + 100000 * f + 1000000 * g + 10000000 * h;
}

static void on_weigh(ffi_cif *cif, void *ret, void **args, void *data)
{
	long v[NARGS] = { 0 };
	unsigned i;

	(void)data;
	for (i = 0; i < NARGS; i++)
		memcpy(&v[i], args[i], cif->arg_types[i]->size);
	*(long *)ret = weigh(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]);
}

static ffi_type *const ints[] = { &ffi_type_uint8, &ffi_type_sint8, &ffi_type_uint16, &ffi_type_sint16,
				  &ffi_type_uint32, &ffi_type_sint32, &ffi_type_uint64 };

/* Signature number n of 7^8, each of another shape. */
static void signature(u32 n, ffi_type **types)
{
	u32 i;

	for (i = 0; i < NARGS; i++, n /= ARRAY_SIZE(ints))
		types[i] = ints[n % ARRAY_SIZE(ints)];
}

static void call_and_close(ffi_cif *cif)
{
	u64 values[NARGS] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	void *args[NARGS], *code;
	ffi_closure *c;
	long got = 0;
	u32 i;

	for (i = 0; i < NARGS; i++)
		args[i] = &values[i];
	ffi_call(cif, FFI_FN(weigh), &got, args);
	assert_int_equal(got, 87654321);
	c = ffi_closure_alloc(sizeof(*c), &code);
	assert_non_null(c);
	assert_int_equal(ffi_prep_closure_loc(c, cif, on_weigh, NULL, code), FFI_OK);
	assert_int_equal(((__typeof__(&weigh))(uintptr_t)code)(1, 2, 3, 4, 5, 6, 7, 8), 87654321);
	ffi_closure_free(c);
}

static void signatures_past_a_full_table_work_all_the_same(void **state)
{
	ffi_type *types[NARGS];
	u32 n, last = CALL_MAX_SHAPES + 50;
	ffi_cif cif;

	(void)state;
	for (n = 0; n < last; n++) {
		signature(n, types);
		assert_int_equal(ffi_prep_cif(&cif, FFI_DEFAULT_ABI, NARGS, &ffi_type_slong, types), FFI_OK);
		if (n < 10 || n > last - 10)
			call_and_close(&cif);
	}
	assert_int_equal(cif.flags % CALL_MAX_SHAPES, 0);
	/* Those that are in it are found again. */
	signature(5, types);
	assert_int_equal(ffi_prep_cif(&cif, FFI_DEFAULT_ABI, NARGS, &ffi_type_slong, types), FFI_OK);
	assert_int_not_equal(cif.flags % CALL_MAX_SHAPES, 0);
}

/* ---- no memory -------------------------------------------------------------------------------------- */

static size_t allowed;

static void *limited(void *old, size_t size)
{
	if (!size) {
		free(old);
		return NULL;
	}
	if (!allowed)
		return NULL;
	allowed--;
	return realloc(old, size);
}

static void quiet(void *arg, int level, const char *msg)
{
	(void)arg, (void)level, (void)msg;
}

/* Whatever fails, a cif that was prepared can be called once there is memory again. */
static void out_of_memory_leaves_signatures_that_work(void **state)
{
	void *(*saved)(void *, size_t) = base_allocator;
	ffi_type *types[NARGS];
	ffi_closure *c;
	ffi_status st;
	ffi_cif cif;
	void *code;
	size_t i;

	(void)state;
	log_to(quiet, NULL);
	for (i = 0; i < 12; i++) {
		signature((u32)i * 331 + 100000, types);
		base_allocator = limited;
		allowed = i;
		st = ffi_prep_cif(&cif, FFI_DEFAULT_ABI, NARGS, &ffi_type_slong, types);
		allowed = 0;
		c = ffi_closure_alloc(100000, &code);
		assert_null(c);
		assert_null(ffi_call_plan_alloc(&cif));
		base_allocator = saved;
		assert_int_equal(st, FFI_OK);
		call_and_close(&cif);
	}
	log_to(NULL, NULL);
}

/* ---- size --------------------------------------------------------------------------------------------- */

struct large {
	char c[100000];
};

static long take_large(struct large a, int b)
{
	return a.c[0] + a.c[99999] + b;
}

static void on_large(ffi_cif *cif, void *ret, void **args, void *data)
{
	(void)cif, (void)data;
	*(long *)ret = take_large(*(struct large *)args[0], *(int *)args[1]);
}

static void a_large_struct_is_passed_by_value(void **state)
{
	static struct large v;
	static ffi_type *elements[100001];
	ffi_type t = { 0, 0, FFI_TYPE_STRUCT, elements }, *types[] = { &t, &ffi_type_sint };
	ffi_closure *c;
	void *code, *args[] = { &v, &(int){ 5 } };
	ffi_cif cif;
	long got = 0;
	int i;

	(void)state;
	for (i = 0; i < 100000; i++)
		elements[i] = &ffi_type_schar;
	v.c[0] = 20;
	v.c[99999] = 30;
	assert_int_equal(ffi_prep_cif(&cif, FFI_DEFAULT_ABI, 2, &ffi_type_slong, types), FFI_OK);
	assert_int_equal(t.size, sizeof(v));
	ffi_call(&cif, FFI_FN(take_large), &got, args);
	assert_int_equal(got, 55);
	c = ffi_closure_alloc(sizeof(*c), &code);
	assert_int_equal(ffi_prep_closure_loc(c, &cif, on_large, NULL, code), FFI_OK);
	assert_int_equal(((__typeof__(&take_large))(uintptr_t)code)(v, 6), 56);
	ffi_closure_free(c);
}

#define MANY 2000

static void on_many(ffi_cif *cif, void *ret, void **args, void *data)
{
	unsigned i;

	(void)data;
	*(double *)ret = 0;
	for (i = 0; i < cif->nargs; i++)
		*(double *)ret += (i + 1) * (i % 2 ? *(double *)args[i] : (double)*(int *)args[i]);
}

/* A closure as the callee: what it sees of two thousand arguments. */
static void thousands_of_arguments_arrive(void **state)
{
	static ffi_type *types[MANY];
	static double doubles[MANY];
	static int numbers[MANY];
	static void *args[MANY];
	double want = 0, got = 0;
	ffi_closure *c;
	void *code;
	ffi_cif cif;
	unsigned i;

	(void)state;
	for (i = 0; i < MANY; i++) {
		doubles[i] = i / 4.0;
		numbers[i] = -(int)i;
		types[i] = i % 2 ? &ffi_type_double : &ffi_type_sint;
		args[i] = i % 2 ? (void *)&doubles[i] : &numbers[i];
		want += (i + 1) * (i % 2 ? doubles[i] : numbers[i]);
	}
	assert_int_equal(ffi_prep_cif(&cif, FFI_DEFAULT_ABI, MANY, &ffi_type_double, types), FFI_OK);
	c = ffi_closure_alloc(sizeof(*c), &code);
	assert_int_equal(ffi_prep_closure_loc(c, &cif, on_many, NULL, code), FFI_OK);
	ffi_call(&cif, FFI_FN(code), &got, args);
	assert_true(got == want);
	ffi_closure_free(c);
}

int main(void)
{
	/* The full table is last: it stays full. */
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_large_struct_is_passed_by_value),
		cmocka_unit_test(thousands_of_arguments_arrive),
		cmocka_unit_test(out_of_memory_leaves_signatures_that_work),
		cmocka_unit_test(signatures_past_a_full_table_work_all_the_same),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
