/* SPDX-License-Identifier: MIT */
/* Calls and closures from prototype text. The oracle: libc, and this compiler on the same types. */
#include <math.h>

#include "base/base.h"
#include "ferry/call.h"
#include "test.h"

#define FN(f) ((void (*)(void))(f))

static struct ferry_call *prepared(const char *prototype, const char *types)
{
	struct ferry_call *c = NULL;

	assert_int_equal(ferry_call_prepare(prototype, types, &c), 0);
	return c;
}

static void hypot_is_called_by_its_prototype(void **state)
{
	struct ferry_call *c = prepared("double hypot(double, double)", NULL);
	double x = 3, y = 4, r = 0;
	void *args[] = { &x, &y };

	(void)state;
	ferry_call_invoke(c, FN(hypot), &r, args);
	assert_true(r == 5);
	assert_int_equal(ferry_call_ret_size(c), 8);
	ferry_call_invoke(c, FN(hypot), NULL, args);
	ferry_call_free(c);
}

static void a_name_may_be_left_out(void **state)
{
	struct ferry_call *c = prepared("int (int)", NULL);
	int x = -7;
	long r = 0;
	void *args[] = { &x };

	(void)state;
	ferry_call_invoke(c, FN(abs), &r, args);
	assert_int_equal(r, 7);
	ferry_call_free(c);
}

static void structs_come_by_value(void **state)
{
	struct ferry_call *c = prepared("struct d div(int, int)", "struct d { int quot, rem; };");
	int x = -17, y = 5;
	div_t r;
	void *args[] = { &x, &y };

	(void)state;
	ferry_call_invoke(c, FN(div), &r, args);
	assert_int_equal(r.quot, -3);
	assert_int_equal(r.rem, -2);
	ferry_call_free(c);
}

static void variadic_calls_name_their_types_behind_the_dots(void **state)
{
	struct ferry_call *c = prepared("int snprintf(char *, size_t, const char *, ..., int, double, long)", NULL);
	char buf[64], *p = buf;
	const char *fmt = "%d %.2f %ld";
	size_t n = sizeof(buf);
	int i = 7, r[2];
	double d = 1.25;
	long l = -(1L << 40);
	void *args[] = { &p, &n, &fmt, &i, &d, &l };

	(void)state;
	ferry_call_invoke(c, FN(snprintf), r, args);
	assert_string_equal(buf, "7 1.25 -1099511627776");
	ferry_call_free(c);
}

union number {
	double d;
	long l;
};
struct flags {
	unsigned a : 3, b : 7;
	short c;
	float f;
};
struct lines {
	char text[3][40];
	int n;
};
struct vec {
	float x, y, z;
};
#define TYPES                                                                                      \
	"union number { double d; long l; };"                                                      \
	"struct flags { unsigned a : 3, b : 7; short c; float f; };"                               \
	"struct lines { char text[3][40]; int n; };"                                               \
	"struct vec { float x, y, z; };"

static union number take_number(union number n)
{
	n.l++;
	return n;
}

static struct flags take_flags(struct flags f)
{
	f.a++;
	f.b += 2;
	f.c = (short)-f.c;
	f.f *= 2;
	return f;
}

static struct lines take_lines(struct lines l, int by)
{
	l.n += by;
	l.text[2][39] = 'z';
	return l;
}

static struct vec take_vec(struct vec v, char tag)
{
	return (struct vec){ v.z, v.x, v.y + (float)tag };
}

static void unions_bit_fields_and_arrays_travel_as_the_abi_says(void **state)
{
	struct ferry_call *c;
	union number n = { .l = 41 };
	struct flags f = { 1, 100, 5, 1.5f };
	struct lines l = { .n = 1 };
	struct vec v = { 1, 2, 3 };
	char tag = 4;
	int by = 2;

	(void)state;
	c = prepared("union number f(union number)", TYPES);
	ferry_call_invoke(c, FN(take_number), &n, (void *[]){ &n });
	assert_int_equal(n.l, 42);
	ferry_call_free(c);
	c = prepared("struct flags f(struct flags)", TYPES);
	ferry_call_invoke(c, FN(take_flags), &f, (void *[]){ &f });
	assert_int_equal(f.a, 2);
	assert_int_equal(f.b, 102);
	assert_int_equal(f.c, -5);
	assert_true(f.f == 3);
	ferry_call_free(c);
	c = prepared("struct lines f(struct lines, int)", TYPES);
	ferry_call_invoke(c, FN(take_lines), &l, (void *[]){ &l, &by });
	assert_int_equal(l.n, 3);
	assert_int_equal(l.text[2][39], 'z');
	ferry_call_free(c);
	c = prepared("struct vec f(struct vec, char)", TYPES);
	ferry_call_invoke(c, FN(take_vec), &v, (void *[]){ &v, &tag });
	assert_true(v.x == 3 && v.y == 1 && v.z == 6);
	ferry_call_free(c);
}

static void compare_ints(void *ret, void **args, void *data)
{
	const int *a = *(const int **)args[0], *b = *(const int **)args[1];

	++*(int *)data;
	*(long *)ret = (*a > *b) - (*a < *b);
}

static void qsort_calls_a_closure(void **state)
{
	int v[] = { 5, 2, 9, -1, 7 }, calls = 0;
	struct ferry_closure *c = NULL;
	int (*compare)(const void *, const void *);

	(void)state;
	assert_int_equal(ferry_closure_new("int (const void *, const void *)", NULL, compare_ints, &calls, &c), 0);
	compare = (int (*)(const void *, const void *))(uintptr_t)ferry_closure_code(c);
	qsort(v, 5, sizeof(v[0]), compare);
	assert_true(v[0] == -1 && v[1] == 2 && v[2] == 5 && v[3] == 7 && v[4] == 9);
	assert_true(calls >= 4);
	ferry_closure_free(c);
}

static void quiet(void *arg, int level, const char *msg)
{
	(void)level;
	snprintf(arg, 200, "%s", msg);
}

static void what_cannot_be_called_is_refused_with_the_reason(void **state)
{
	static const struct {
		const char *prototype, *says;
		int err;
	} cases[] = {
		{ "double hypot(duble, double)", "duble", -EINVAL },
		{ "int f(struct nowhere)", "nowhere", -EOPNOTSUPP },
		{ "int f(int, ...)", "behind the dots", -EOPNOTSUPP },
		{ "int f(int, ..., float)", "float", -EOPNOTSUPP },
		{ "int f(int", "", -EINVAL },
		{ "", "", -EINVAL },
		{ "(", "", -EINVAL },
		{ "...,", "", -EINVAL },
		{ "int (...,", "", -EINVAL },
	};
	struct ferry_closure *closure;
	struct ferry_call *call;
	char said[200] = "";
	size_t i;

	(void)state;
	log_to(quiet, said);
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		int err = ferry_call_prepare(cases[i].prototype, NULL, &call);

		if (err != cases[i].err || !strstr(said, cases[i].says))
			fail_msg("%s: %d, %s", cases[i].prototype, err, said);
		assert_int_equal(ferry_closure_new(cases[i].prototype, NULL, compare_ints, NULL, &closure), err);
	}
	assert_int_equal(ferry_call_prepare(NULL, NULL, &call), -EINVAL);
	assert_int_equal(ferry_closure_new("int (int)", NULL, NULL, NULL, &closure), -EINVAL);
	log_to(NULL, NULL);
	ferry_call_free(NULL);
	ferry_closure_free(NULL);
}

/* Each allocation fails in turn: an error, nothing leaked, nothing broken. */
static size_t allowed, live;

static void *limited(void *old, size_t size)
{
	void *p;

	if (!size) {
		live -= old != NULL;
		free(old);
		return NULL;
	}
	if (!allowed)
		return NULL;
	allowed--;
	p = realloc(old, size);
	live += p && !old;
	return p;
}

static void out_of_memory_is_an_error(void **state)
{
	void *(*saved)(void *, size_t) = base_allocator;
	struct ferry_call *call;
	char said[200];
	size_t i, before;
	int err = -ENOMEM;

	(void)state;
	/* The shape and its thunk are made first: they stay. */
	ferry_call_free(prepared("struct vec f(struct vec, char)", TYPES));
	log_to(quiet, said);
	base_allocator = limited;
	for (i = 0; err == -ENOMEM && i < 10000; i++) {
		allowed = i;
		before = live;
		err = ferry_call_prepare("struct vec f(struct vec, char)", TYPES, &call);
		allowed = SIZE_MAX;
		if (!err)
			ferry_call_free(call);
		assert_int_equal(live, before);
	}
	base_allocator = saved;
	log_to(NULL, NULL);
	assert_int_equal(err, 0);
	assert_true(i > 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hypot_is_called_by_its_prototype),
		cmocka_unit_test(a_name_may_be_left_out),
		cmocka_unit_test(structs_come_by_value),
		cmocka_unit_test(variadic_calls_name_their_types_behind_the_dots),
		cmocka_unit_test(unions_bit_fields_and_arrays_travel_as_the_abi_says),
		cmocka_unit_test(qsort_calls_a_closure),
		cmocka_unit_test(what_cannot_be_called_is_refused_with_the_reason),
		cmocka_unit_test(out_of_memory_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
