/* SPDX-License-Identifier: MIT */
/*
 * Limits that come while a program is at a probe, a system call or in a closure: they hold from then on, however it
 * was entered before, and what runs then leaves the vector registers of the probed code alone.
 */
#include "limit_test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct bpf_object *object, *closures;

double probed(double a, double b);

__attribute__((noinline)) double probed(double a, double b)
{
	__asm__ volatile("" : "+x"(a), "+x"(b));
	return a + 2 * b;
}

/* Any function may use what the ABI leaves to it. */
static int scribble(int how)
{
#if defined(__x86_64__)
	__asm__ volatile("pcmpeqd %%xmm0, %%xmm0\n\tpcmpeqd %%xmm1, %%xmm1" : : : "xmm0", "xmm1");
#endif
	return how;
}

static int setup(void **state)
{
	static const struct ferry_func funcs[] = { FERRY_FUNC("int scribble(int how)", scribble) };
	static const struct ferry_module mod = { sizeof(mod), "limit_probed", NULL, funcs, 1 };
	char path[4096];

	(void)state;
	limit_setup();
	assert_int_equal(ferry_module_register(&mod), 0);
	closures = limit_load("closure_turns");
	snprintf(path, sizeof(path), "%s/probed.bpf.o", getenv("LIMIT_OBJECTS"));
	object = bpf_object__open_file(path, NULL);
	assert_non_null(object);
	return closures ? bpf_object__load(object) : -1;
}

static int teardown(void **state)
{
	(void)state;
	bpf_object__close(object);
	bpf_object__close(closures);
	return 0;
}

static void limit(const char *name, uint64_t insns, uint64_t time_ns)
{
	struct ferry_limits l = { sizeof(l), insns, time_ns, 0, 0 };

	limit_log[0] = '\0';
	assert_int_equal(ferry_prog_limit(limit_fd(object, name), insns || time_ns ? &l : NULL), 0);
}

static unsigned int *counters(void)
{
	static unsigned int bss[2];
	struct bpf_map *m = bpf_object__find_map_by_name(object, ".bss");
	unsigned int zero = 0;

	assert_non_null(m);
	assert_int_equal(bpf_map_lookup_elem(bpf_map__fd(m), &zero, bss), 0);
	return bss;
}

/* What one call of the function, or one getppid(2), counts. */
static unsigned int turns_of(bool call)
{
	unsigned int before = counters()[0];

	if (call)
		syscall(SYS_getppid);
	else
		assert_true(probed(1.5, 2.25) == 6);
	return counters()[0] - before;
}

static void limits_are_given_and_taken(const char *name, bool call)
{
	assert_int_equal(turns_of(call), 10000);
	limit(name, 1000, 0);
	for (int i = 0; i < 4; i++) /* ends are logged ten at once */
		assert_in_range(turns_of(call), 100, 1000);
	limit(name, 0, 1000000000);
	assert_int_equal(turns_of(call), 10000);
	limit(name, 0, 0);
	assert_int_equal(turns_of(call), 10000);
}

static struct bpf_link *attach(const char *name, bool retprobe)
{
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .func_name = "probed", .retprobe = retprobe);
	struct bpf_link *l = bpf_program__attach_uprobe_opts(bpf_object__find_program_by_name(object, name), 0,
							     "/proc/self/exe", 0, &opts);

	assert_non_null(l);
	return l;
}

static void at_an_entry_they_hold_from_then_on(void **state)
{
	struct bpf_link *l = attach("on_entry", false);

	(void)state;
	limits_are_given_and_taken("on_entry", false);
	limit("on_entry", 1000, 0);
	assert_in_range(turns_of(false), 100, 1000);
	assert_non_null(strstr(limit_log, "on_entry was ended"));
	limit("on_entry", 0, 0);
	bpf_link__destroy(l);
}

static void at_a_return_they_hold_from_then_on(void **state)
{
	struct bpf_link *l = attach("on_return", true);

	(void)state;
	limits_are_given_and_taken("on_return", false);
	bpf_link__destroy(l);
}

static void at_a_system_call_they_hold_from_then_on(void **state)
{
	struct bpf_link *l = bpf_program__attach(bpf_object__find_program_by_name(object, "on_call"));

	(void)state;
	assert_non_null(l);
	limits_are_given_and_taken("on_call", true);
	bpf_link__destroy(l);
}

/* Its caller changes no vector register, so nothing but what is called could keep them. */
static void vector_registers_stay_when_another_program_goes_on(void **state)
{
	int next = bpf_map__fd(bpf_object__find_map_by_name(object, "next")), fd = limit_fd(object, "target");
	unsigned int zero = 0, before = counters()[1];
	struct bpf_link *l = attach("calls_target", false);

	(void)state;
	assert_int_equal(bpf_map_update_elem(next, &zero, &fd, 0), 0);
	assert_true(probed(1.5, 2.25) == 6);
	assert_int_equal(counters()[1] - before, 1);
	bpf_link__destroy(l);
}

/* ---- while others call -------------------------------------------------------------------------- */

static _Atomic bool stop;

static void *keep_calling(void *bad)
{
	while (!stop)
		if (probed(1.5, 2.25) != 6)
			*(_Atomic int *)bad = 1;
	return NULL;
}

static void they_come_and_go_while_others_hit(void **state)
{
	struct bpf_link *l = attach("on_entry", false);
	_Atomic int bad = 0;
	pthread_t t[2];

	(void)state;
	stop = false;
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&t[i], NULL, keep_calling, &bad), 0);
	for (int i = 0; i < 100; i++) {
		limit("on_entry", 500 + (uint64_t)i, 0);
		if (i % 2)
			limit("on_entry", 0, 0);
	}
	stop = true;
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(bad, 0);
	bpf_link__destroy(l);
}

static void *keep_limiting(void *fd)
{
	struct ferry_limits l = { sizeof(l), 500, 0, 0, 0 };

	while (!stop) {
		int err = ferry_prog_limit(*(int *)fd, &l);

		if (err && err != -EBUSY)
			return (void *)1;
		err = ferry_prog_limit(*(int *)fd, NULL);
		if (err && err != -EBUSY)
			return (void *)1;
	}
	return NULL;
}

/* Either the closure is there first, and the limits are refused; or it obeys them. */
static void a_closure_that_is_made_meanwhile_runs_no_code_that_is_gone(void **state)
{
	struct ferry_closure_opts opts = { sizeof(opts), NULL, (uint64_t)-55 };
	int fd = limit_fd(closures, "closure_turns");
	pthread_t t;
	void *bad;

	(void)state;
	stop = false;
	assert_int_equal(pthread_create(&t, NULL, keep_limiting, &fd), 0);
	for (int i = 0; i < 1500; i++) {
		struct ferry_closure *c;
		int got;

		assert_int_equal(ferry_closure(fd, "int (int)", &opts, &c), 0);
		got = ((int (*)(int))ferry_closure_code(c))(2);
		assert_int_equal(got, (0 ^ 2) + (1 ^ 2));
		ferry_closure_free(c);
	}
	stop = true;
	pthread_join(t, &bad);
	assert_null(bad);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(at_an_entry_they_hold_from_then_on),
		cmocka_unit_test(at_a_return_they_hold_from_then_on),
		cmocka_unit_test(at_a_system_call_they_hold_from_then_on),
		cmocka_unit_test(vector_registers_stay_when_another_program_goes_on),
		cmocka_unit_test(they_come_and_go_while_others_hit),
		cmocka_unit_test(a_closure_that_is_made_meanwhile_runs_no_code_that_is_gone),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
