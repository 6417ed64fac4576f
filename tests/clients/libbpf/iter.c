/* SPDX-License-Identifier: MIT */
/* A libbpf client whose programs go over numbers: the same in every engine and in the kernel. */
#include "test.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <limits.h>

#include "object.h"

struct args {
	long long start, end, ret, count, sum, last;
};

static struct bpf_object *obj;

static int run(const char *name, struct args *a)
{
	/* The kernel gives a syscall program's context back in place. */
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = a, .ctx_size_in = sizeof(*a));
	struct bpf_program *p = bpf_object__find_program_by_name(obj, name);

	assert_non_null(p);
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(p), &opts), 0);
	return (int)opts.retval;
}

static void a_range_is_gone_through_from_start_to_before_end(void **state)
{
	static const struct {
		int start, end, ret;
	} cases[] = {
		{ 0, 10, 0 }, { -5, 5, 0 }, { 3, 4, 0 }, { 3, 3, 0 }, { 3, 2, -EINVAL },
		{ INT_MIN, INT_MAX, -E2BIG }, { 0, (8 << 20) + 1, -E2BIG }, { 0, 8 << 20, 0 },
		{ INT_MAX - 3, INT_MAX, 0 }, { INT_MAX, INT_MAX, 0 }, { INT_MIN + 1, INT_MIN + 9, 0 },
		{ INT_MAX, INT_MIN, -EINVAL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct args a = { .start = cases[i].start, .end = cases[i].end };
		long long n = cases[i].ret ? 0 : a.end - a.start;

		run("raw", &a);
		assert_int_equal(a.ret, cases[i].ret);
		assert_int_equal(a.count, n);
		assert_int_equal(a.sum, n * (a.start + a.end - 1) / 2);
		assert_int_equal(a.last, n ? a.end - 1 : 0);
	}
}

/* start - 1 is not an int: what comes then is what the kernel's own addition gives. */
static void a_range_from_the_lowest_number(void **state)
{
	struct args a = { .start = INT_MIN, .end = INT_MIN + 5 };

	(void)state;
	run("raw", &a);
	assert_int_equal(a.ret, 0);
	assert_int_equal(a.count, 5);
	assert_int_equal(a.last, INT_MIN + 4);
}

static void a_loop_may_be_left_early(void **state)
{
	struct args a = { .start = 2, .end = 100 };

	(void)state;
	assert_int_equal(run("until_seven", &a), 5);
	assert_int_equal(a.sum, 2 + 3 + 4 + 5 + 6);
	a = (struct args){ .start = 9, .end = 12 };
	assert_int_equal(run("until_seven", &a), 3);
	assert_int_equal(a.sum, 9 + 10 + 11);
}

static void loops_nest(void **state)
{
	struct args a = { .start = 20, .end = 50 };
	long long want = 0;

	(void)state;
	run("nested", &a);
	for (int i = 0; i < 20; i++)
		for (int k = i; k < 50; k++)
			for (int m = 0; m < 3; m++)
				want += i * 100 + k * 10 + m;
	assert_int_equal(a.sum, want);
}

static void loops_are_in_functions(void **state)
{
	struct args a = { .start = 1234, .end = 567 };

	(void)state;
	run("product", &a);
	assert_int_equal(a.ret, 1234 * 567);
}

static int setup(void **state)
{
	(void)state;
	obj = open_object("iter.bpf.o");
	return bpf_object__load(obj);
}

static int teardown(void **state)
{
	(void)state;
	bpf_object__close(obj);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_range_is_gone_through_from_start_to_before_end),
		cmocka_unit_test(a_range_from_the_lowest_number),
		cmocka_unit_test(a_loop_may_be_left_early),
		cmocka_unit_test(loops_nest),
		cmocka_unit_test(loops_are_in_functions),
	};

	if (getenv("CLIENT_KERNEL") && bpf_map_create(BPF_MAP_TYPE_ARRAY, NULL, 4, 4, 1, NULL) < 0)
		return skip_all("the kernel's bpf(2) is not usable here");
	return cmocka_run_group_tests(tests, setup, teardown);
}
