/* SPDX-License-Identifier: MIT */
/* Budgets of programs and faults of native functions: the program ends, the host goes on. */
#include "limit_test.h"

#include <pthread.h>
#include <time.h>

static struct bpf_object *object;

static int setup(void **state)
{
	(void)state;
	limit_setup();
	object = limit_load(NULL);
	return object ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	bpf_object__close(object);
	return 0;
}

static int limited(const char *name, uint64_t insns, uint64_t time_ns, int on_fault)
{
	struct ferry_limits l = { sizeof(l), insns, time_ns, 1234, on_fault };
	int fd = limit_fd(object, name);

	limit_log[0] = '\0';
	assert_int_equal(ferry_prog_limit(fd, &l), 0);
	return fd;
}

static double now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

/* ---- budgets ------------------------------------------------------------------------------------- */

static void a_loop_ends_when_its_instructions_are_used_up(void **state)
{
	struct args a = { .n = 1000000 };
	int fd = limited("turns", 1000, 0, 0);

	(void)state;
	assert_int_equal(limit_run(fd, &a), 1234);
	/* A turn is some instructions, 3 to 9 with any compiler. */
	assert_in_range(a.done, 100, 350);
	assert_non_null(strstr(limit_log, "turns was ended"));
	/* The next run has a budget of its own; and within it the program ends by itself. */
	a = (struct args){ .n = 50 };
	assert_int_equal(limit_run(fd, &a), 5);
	assert_int_equal(a.done, 50);
}

static void limits_can_be_taken_away(void **state)
{
	struct args a = { .n = 1000000 };
	int fd = limited("turns", 1000, 0, 0);

	(void)state;
	assert_int_equal(ferry_prog_limit(fd, NULL), 0);
	assert_int_equal(limit_run(fd, &a), 6);
	assert_int_equal(a.done, 10000);
}

static void a_loop_in_a_function_ends_the_whole_program(void **state)
{
	struct args a = { 0 };
	int fd = limited("nested", 20000, 0, 0);

	(void)state;
	assert_int_equal(limit_run(fd, &a), 1234);
	assert_in_range(a.done, 1000, 20000);
	assert_int_equal(a.ret, 0);
	limited("nested", 100000000, 0, 0);
	a = (struct args){ 0 };
	assert_int_equal(limit_run(fd, &a), 7);
	assert_int_equal(a.done, 100000);
}

static void references_are_released_before_the_end(void **state)
{
	struct args a = { 0 };
	int fd = limited("holding", 1000, 0, 0);

	(void)state;
	for (int i = 0; i < 4; i++) { /* ends are logged ten at once */
		a.done = 0;
		assert_int_equal(limit_run(fd, &a), 1234);
		assert_in_range(a.done, 100, 1000);
		assert_int_equal(a.done % 100, 0); /* the inner loop, with the record, was never left */
	}
}

static void time_runs_out_also_in_native_functions(void **state)
{
	struct args a = { .n = 1000 };
	int fd = limited("waits", 0, 10000000, 0);
	double start = now_ms();

	(void)state;
	assert_int_equal(limit_run(fd, &a), 1234);
	assert_true(now_ms() - start >= 9);
	assert_in_range(a.done, 0, 10);
}

static void closures_return_what_they_were_told(void **state)
{
	struct ferry_limits l = { sizeof(l), 500, 0, 1, 0 };
	struct ferry_closure_opts opts = { sizeof(opts), NULL, (uint64_t)-55 };
	int fd = limit_fd(object, "closure_turns");
	struct ferry_closure *c;
	int (*fn)(int);

	(void)state;
	assert_int_equal(ferry_prog_limit(fd, &l), 0);
	assert_int_equal(ferry_closure(fd, "int (int)", &opts, &c), 0);
	fn = (int (*)(int))ferry_closure_code(c);
	assert_int_equal(fn(2), (0 ^ 2) + (1 ^ 2));
	assert_int_equal(fn(9999), -55);
	ferry_closure_free(c);
	assert_int_equal(ferry_prog_limit(fd, NULL), 0);
	/* Without limits it takes the short way, and cannot be compiled again while it is there. */
	assert_int_equal(ferry_closure(fd, "int (int)", &opts, &c), 0);
	if (!getenv("FERRY_NO_JIT"))
		assert_int_equal(ferry_prog_limit(fd, &l), -EBUSY);
	assert_int_not_equal(((int (*)(int))ferry_closure_code(c))(9999), -55);
	ferry_closure_free(c);
}

/* ---- faults --------------------------------------------------------------------------------------- */

static void faults_become_an_error_that_the_program_sees(void **state)
{
	static const char *const signals[] = { NULL, "SIGSEGV", "SIGSEGV", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSEGV" };
	int fd = limited("calls_crash", 0, 0, FERRY_FAULT_ERROR);

	(void)state;
	for (unsigned long how = 1; how <= 6; how++) {
		struct args a = { .n = how };

		limit_log[0] = '\0';
		assert_int_equal(limit_run(fd, &a), 9);
		assert_int_equal((int)a.ret, -EFAULT);
		assert_int_equal(a.done, 1);
		if (how < 4) { /* later ones come too soon after to be logged in any case */
			assert_non_null(strstr(limit_log, signals[how]));
			assert_non_null(strstr(limit_log, "calls_crash"));
			assert_non_null(strstr(limit_log, "crash()"));
			assert_non_null(strstr(limit_log, "limit.bpf.c:"));
		}
	}
	struct args a = { .n = 33 };

	assert_int_equal(limit_run(fd, &a), 9);
	assert_int_equal(a.ret, 33);
}

static void faults_end_the_program_with_its_value(void **state)
{
	struct args a = { .n = 1 };
	int fd = limited("calls_crash", 0, 0, FERRY_FAULT_END);

	(void)state;
	assert_int_equal(limit_run(fd, &a), 1234);
	assert_int_equal(a.done, 0);
	assert_non_null(strstr(limit_log, "calls_crash was ended"));
}

static void with_a_reference_held_the_program_goes_on_to_release_it(void **state)
{
	int fd = limited("crash_holding", 0, 0, FERRY_FAULT_END);

	(void)state;
	for (int i = 0; i < 3; i++) {
		struct args a = { .n = 1 };

		assert_int_equal(limit_run(fd, &a), 9);
		assert_int_equal((int)a.ret, -EFAULT);
		assert_int_equal(a.done, 1);
	}
}

static void what_a_function_did_not_write_is_zero(void **state)
{
	struct args a = { .done = 99 };
	int fd = limited("calls_fill", 0, 0, FERRY_FAULT_ERROR);

	(void)state;
	assert_int_equal(limit_run(fd, &a), 1);
	assert_int_equal((int)a.ret, -EFAULT);
	assert_int_equal(a.done, 0);
}

static void *storm(void *arg)
{
	int fd = *(int *)arg;

	for (int i = 0; i < 2000; i++) {
		struct args a = { .n = (unsigned long)(1 + i % 3) };
		uint64_t ret;

		if (ferry_prog_run(fd, &a, sizeof(a), &ret) || ret != 9 || (int)a.ret != -EFAULT)
			return (void *)1;
	}
	return NULL;
}

static void a_storm_of_faults_in_threads_is_survived(void **state)
{
	int fd = limited("calls_crash", 0, 0, FERRY_FAULT_ERROR);
	pthread_t threads[4];
	void *bad;

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, storm, &fd), 0);
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], &bad);
		assert_null(bad);
	}
}

static void functions_of_a_module_that_is_gone_are_not_called(void **state)
{
	int fd = limited("calls_crash", 0, 0, FERRY_FAULT_ERROR);
	struct args a = { .n = 40 };

	(void)state;
	assert_int_equal(limit_run(fd, &a), 9);
	assert_int_equal(a.ret, 40);
	assert_int_equal(ferry_module_unregister("limit_test"), 0);
	assert_int_equal(limit_run(fd, &a), 9);
	assert_int_equal((int)a.ret, -EFAULT);
	limit_module();
}

static void limits_are_checked(void **state)
{
	struct ferry_limits l = { sizeof(l), 1, 0, 0, 3 };

	(void)state;
	assert_int_equal(ferry_limits_default(&l), -EINVAL);
	assert_int_equal(ferry_prog_limit(-1, NULL), -EBADF);
	l.on_fault = 0;
	l.sz = 8;
	assert_int_equal(ferry_limits_default(&l), -EINVAL);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_loop_ends_when_its_instructions_are_used_up),
		cmocka_unit_test(limits_can_be_taken_away),
		cmocka_unit_test(a_loop_in_a_function_ends_the_whole_program),
		cmocka_unit_test(references_are_released_before_the_end),
		cmocka_unit_test(time_runs_out_also_in_native_functions),
		cmocka_unit_test(closures_return_what_they_were_told),
		cmocka_unit_test(faults_become_an_error_that_the_program_sees),
		cmocka_unit_test(faults_end_the_program_with_its_value),
		cmocka_unit_test(with_a_reference_held_the_program_goes_on_to_release_it),
		cmocka_unit_test(what_a_function_did_not_write_is_zero),
		cmocka_unit_test(a_storm_of_faults_in_threads_is_survived),
		cmocka_unit_test(functions_of_a_module_that_is_gone_are_not_called),
		cmocka_unit_test(limits_are_checked),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
