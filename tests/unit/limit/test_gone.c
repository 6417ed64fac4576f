/* SPDX-License-Identifier: MIT */
/*
 * A module is unregistered while programs that use it run: its code is unmapped then, so that any later
 * call would end the test. And limits inside callbacks, of helpers and timers.
 */
#include "limit_test.h"

#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#define THREADS 3

static struct bpf_object *object;
static void *code; /* int far(int x) { return x + 1; } and where(), in a page of their own */
static int *data;

static const int here;

static int leave(int x)
{
	(void)x;
	return ferry_module_unregister("gone_test");
}

static void map_code(void)
{
#if defined(__x86_64__)
	static const unsigned char far_code[] = { 0x8d, 0x47, 0x01, 0xc3 }; /* lea eax, [rdi + 1]; ret */
	unsigned char where_code[11] = { 0x48, 0xb8 };                      /* mov rax, data; ret */

	code = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	data = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_ptr_not_equal(code, MAP_FAILED);
	assert_ptr_not_equal(data, MAP_FAILED);
	*data = 77;
	memcpy(where_code + 2, &data, 8);
	where_code[10] = 0xc3;
	memcpy(code, far_code, sizeof(far_code));
	memcpy((char *)code + 64, where_code, sizeof(where_code));
	assert_int_equal(mprotect(code, 4096, PROT_READ | PROT_EXEC), 0);
#endif
}

static int setup(void **state)
{
	struct ferry_func funcs[] = {
		FERRY_FUNC("int far(int x)", leave),
		FERRY_FUNC("const int *where(void)", leave),
		FERRY_VAR("const int number", NULL),
	};
	const struct ferry_module mod = { sizeof(mod), "gone_test", NULL, funcs, 3 };
	char path[4096];

	(void)state;
	map_code();
	funcs[0].fn = (void (*)(void))(uintptr_t)code;
	funcs[1].fn = (void (*)(void))(uintptr_t)((char *)code + 64);
	funcs[2].fn = (void (*)(void))(uintptr_t)data;
	assert_int_equal(ferry_module_register(&mod), 0);
	snprintf(path, sizeof(path), "%s/gone.bpf.o", getenv("LIMIT_OBJECTS"));
	object = bpf_object__open_file(path, NULL);
	assert_non_null(object);
	assert_int_equal(bpf_object__load(object), 0);
	limit_log[0] = '\0';
	return 0;
}

static void unmap(void)
{
	assert_int_equal(ferry_module_unregister("gone_test"), 0);
	assert_int_equal(munmap(code, 4096), 0);
	assert_int_equal(munmap(data, 4096), 0);
	code = NULL;
}

static int teardown(void **state)
{
	(void)state;
	bpf_object__close(object);
	if (code)
		unmap();
	return 0;
}

static struct args run(const char *name, unsigned long n, unsigned long want)
{
	struct args a = { .n = n };

	assert_int_equal(limit_run(limit_fd(object, name), &a), want);
	return a;
}

static struct args counted(void)
{
	struct args a;
	uint32_t key = 0;

	assert_int_equal(bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(object, "counts"), &key, &a), 0);
	return a;
}

/* ---- a module that goes ---------------------------------------------------------------------------- */

static volatile int stop;
static _Atomic long turns;

static void *call_often(void *arg)
{
	long calls = 0, bad = 0;

	for (; !stop; turns++) {
		struct args a = { .n = 5 };
		uint64_t ret;

		bad += ferry_prog_run(*(int *)arg, &a, sizeof(a), &ret) != 0;
		/* It was called, or the program ended before the call. */
		bad += !(ret == 9 && a.ret == 6 && a.done == 1) && !(ret == 0 && a.done == 0);
		calls += ret == 9;
	}
	return (void *)(bad ? -1l : calls);
}

static void wait_turns(long more)
{
	for (long want = turns + more; turns < want;)
		usleep(100);
}

static void functions_may_be_unmapped_under_threads_that_call_them(void **state)
{
	int fd = limit_fd(object, "calls");
	pthread_t threads[THREADS];
	void *calls;

	(void)state;
	stop = 0;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, call_often, &fd), 0);
	wait_turns(1000);
	unmap();
	wait_turns(2 * THREADS); /* one of those has begun behind it */
	stop = 1;
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &calls);
		assert_true((long)calls >= 0);
	}
	assert_non_null(strstr(limit_log, "far() was unregistered"));
	assert_non_null(strstr(limit_log, "gone.bpf.c:"));
}

static void a_program_that_cannot_end_at_the_call_gets_an_error(void **state)
{
	(void)state;
	assert_int_equal(run("calls_holding", 5, 9).ret, 6);
	unmap();
	assert_int_equal((int)run("calls_holding", 5, 9).ret, -EFAULT);
	assert_int_equal(run("calls", 5, 0).done, 0);
}

static void a_program_that_cannot_go_on_is_not_begun(void **state)
{
	struct ferry_limits l = { sizeof(l), 1000, 0, 55, 0 };

	(void)state;
	assert_int_equal(run("needs", 0, 9).ret, 77);
	assert_int_equal(run("reads", 0, 9).ret, 77);
	unmap();
	assert_int_equal(run("needs", 0, 0).done, 0);
	assert_int_equal(run("reads", 0, 0).done, 0);
	assert_non_null(strstr(limit_log, "a module that it needs was unregistered"));
	/* Other limits do not bring it back. */
	assert_int_equal(ferry_prog_limit(limit_fd(object, "reads"), &l), 0);
	assert_int_equal(run("reads", 0, 55).done, 0);
	assert_int_equal(ferry_prog_limit(limit_fd(object, "reads"), NULL), 0);
	assert_int_equal(run("reads", 0, 0).done, 0);
}

static void closures_and_loops_end_too(void **state)
{
	struct ferry_closure_opts opts = { sizeof(opts), NULL, (uint64_t)-55 };
	struct ferry_closure *c;
	int (*next)(int);

	(void)state;
	assert_int_equal(ferry_closure(limit_fd(object, "next"), "int (int)", &opts, &c), 0);
	next = (int (*)(int))ferry_closure_code(c);
	assert_int_equal(next(1), 2);
	run("loops", 10, 9);
	assert_int_equal(counted().done, 10);
	unmap();
	assert_int_equal(next(1), -55);
	run("loops", 10, 0);
	assert_int_equal(counted().done, 10);
	ferry_closure_free(c);
}

static void not_by_a_function_that_a_program_called(void **state)
{
	static const struct ferry_func funcs[] = {
		FERRY_FUNC("int far(int x)", leave),
		FERRY_FUNC("const int *where(void)", leave),
		FERRY_VAR("const int number", &here),
	};
	static const struct ferry_module mod = { sizeof(mod), "gone_test", NULL, funcs, 3 };
	struct bpf_object *o;
	struct args a = { 0 };
	char path[4096];

	(void)state;
	unmap();
	assert_int_equal(ferry_module_register(&mod), 0);
	snprintf(path, sizeof(path), "%s/gone.bpf.o", getenv("LIMIT_OBJECTS"));
	o = bpf_object__open_file(path, NULL);
	assert_int_equal(bpf_object__load(o), 0);
	assert_int_equal(limit_run(limit_fd(o, "calls"), &a), 9);
	assert_int_equal((int)a.ret, -EBUSY);
	assert_int_equal(limit_run(limit_fd(o, "calls"), &a), 9);
	assert_int_equal(ferry_module_unregister("gone_test"), 0);
	assert_int_equal(limit_run(limit_fd(o, "calls"), &a), 0);
	bpf_object__close(o);
}

/* ---- limits in callbacks --------------------------------------------------------------------------- */

static void limit(const char *name, uint64_t insns)
{
	struct ferry_limits l = { sizeof(l), insns, 0, 1234, 0 };

	assert_int_equal(ferry_prog_limit(limit_fd(object, name), insns ? &l : NULL), 0);
}

static void loops_in_loops_end_with_the_budget(void **state)
{
	struct args a, before;

	(void)state;
	run("loops_in_loops", 0, 9);
	before = counted();
	assert_int_equal(before.done, 1000000);
	limit("loops_in_loops", 50000);
	run("loops_in_loops", 0, 1234);
	a = counted();
	/* A turn is 5 to 20 instructions. The outer loop ends in the turn in which the inner one did. */
	assert_in_range(a.done - before.done, 2500, 10000);
	assert_int_equal(a.ret - before.ret, (a.done - before.done) / 1000 + 1);
}

struct element {
	uint64_t timer[2];
	unsigned long ticks, steps, last;
};

static struct element look(void)
{
	struct element e;
	uint32_t key = 0;

	assert_int_equal(bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(object, "clocks"), &key, &e), 0);
	return e;
}

static struct element wait_ticks(unsigned long more)
{
	unsigned long want = look().ticks + more;

	for (int i = 0; i < 2000 && look().ticks < want; i++)
		usleep(1000);
	return look();
}

/* A callback is over when it is said that it was ended; at most two seconds. */
static void wait_said(const char *what)
{
	for (int i = 0; i < 2000 && !strstr(limit_log, what); i++)
		usleep(1000);
	assert_non_null(strstr(limit_log, what));
}

static void timers_callbacks_end_with_the_budget(void **state)
{
	struct element e;

	(void)state;
	limit("starts", 2000);
	run("starts", 1000000, 9);
	wait_said("starts was ended");
	e = look();
	/* Ended before it could start the timer again. */
	assert_int_equal(e.ticks, 1);
	assert_in_range(e.steps, 200, 2000);
	assert_int_equal(e.last, 0);
}

static void timers_go_on_in_programs_that_get_other_limits(void **state)
{
	struct element e;

	(void)state;
	run("starts", 1000000, 9);
	e = wait_ticks(2);
	assert_true(e.ticks >= 2);
	assert_int_equal(e.last, 42);
	for (int i = 0; i < 10; i++) {
		limit("starts", i & 1 ? 0 : 100000000);
		usleep(2000);
	}
	assert_true(wait_ticks(3).ticks > e.ticks);
	limit("starts", 2000);
	wait_said("starts was ended");
	e = look();
	usleep(20000);
	assert_int_equal(look().ticks, e.ticks);
}

static void timers_of_a_module_that_goes_end(void **state)
{
	struct element e;

	(void)state;
	run("starts", 1000000, 9);
	assert_int_equal(wait_ticks(2).last, 42);
	unmap();
	wait_said("far() was unregistered");
	e = look();
	usleep(20000);
	assert_int_equal(look().ticks, e.ticks);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST(a_program_that_cannot_end_at_the_call_gets_an_error),
		TEST(a_program_that_cannot_go_on_is_not_begun),
		TEST(closures_and_loops_end_too),
		TEST(not_by_a_function_that_a_program_called),
		TEST(loops_in_loops_end_with_the_budget),
		TEST(timers_callbacks_end_with_the_budget),
		TEST(timers_go_on_in_programs_that_get_other_limits),
		TEST(timers_of_a_module_that_goes_end),
		/* Last: so many ends are not all logged, nor is what follows soon. */
		TEST(functions_may_be_unmapped_under_threads_that_call_them),
	};

#if !defined(__x86_64__)
	return skip_all("native code of its own is written for x86-64");
#endif
	limit_setup();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
