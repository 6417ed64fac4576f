/* SPDX-License-Identifier: MIT */
/* A libbpf client whose programs use loops, timers and locks. */
#include "test.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "object.h"

struct args {
	long long key, nsecs, flags, ret;
};

struct elem {
	long long fired, timer[2], rounds;
};

struct guarded {
	long long a;
	unsigned int lock;
	int b;
};

static struct bpf_object *obj;

static int map_fd(const char *name)
{
	return bpf_object__find_map_fd_by_name(obj, name);
}

static int run(const char *name, struct args *a)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts, .ctx_in = a, .ctx_size_in = sizeof(*a));
	struct bpf_program *p = bpf_object__find_program_by_name(obj, name);

	assert_non_null(p);
	/* Linux 6.18 takes memory for timers from kmalloc_nolock(), which may have none for a moment. */
	for (int tries = 0; tries < 100; tries++) {
		assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(p), &opts), 0);
		if (a->ret != -ENOMEM)
			break;
		usleep(1000);
	}
	return (int)opts.retval;
}

static struct elem look(const char *map, const void *key)
{
	struct elem e = { 0 };

	assert_int_equal(bpf_map_lookup_elem(map_fd(map), key, &e), 0);
	return e;
}

static void put(long long key, long long rounds)
{
	struct elem e = { .timer = { -1, -1 }, .rounds = rounds };

	assert_int_equal(bpf_map_update_elem(map_fd("timed"), &key, &e, 0), 0);
}

/* Waits, at most five seconds, for the element's count. */
static void expect_fired(const char *map, const void *key, long long want)
{
	for (int n = 0; n < 5000 && look(map, key).fired != want; n++)
		usleep(1000);
	assert_int_equal(look(map, key).fired, want);
}

static void a_timer_calls_back_and_starts_itself_again(void **state)
{
	struct args a = { .key = 7, .nsecs = 1000000, .ret = -1 };

	(void)state;
	put(7, 3);
	assert_int_equal(run("start", &a), 0);
	assert_int_equal(a.ret, 0);
	expect_fired("timed", &a.key, 3 * 8);
	/* What looks up sees no byte of the timer. */
	assert_int_equal(look("timed", &a.key).timer[0], 0);
	assert_int_equal(look("timed", &a.key).timer[1], 0);
	/* It is there: initialised once only. */
	assert_int_equal(run("start", &a), 0);
	assert_int_equal(a.ret, -EBUSY);
	expect_fired("timed", &a.key, 4 * 8);
}

static void a_timer_of_an_array_gets_its_index(void **state)
{
	struct args a = { .key = 2, .nsecs = 0, .ret = -1 };
	struct elem e = { .rounds = 9 };
	int key = 2;

	(void)state;
	assert_int_equal(run("start_array", &a), 0);
	expect_fired("timed_array", &key, 102);
	assert_int_equal(run("start_array", &a), 0);
	assert_int_equal(a.ret, -EBUSY);
	/* An update ends it. */
	assert_int_equal(bpf_map_update_elem(map_fd("timed_array"), &key, &e, 0), 0);
	assert_int_equal(look("timed_array", &key).rounds, 9);
	assert_int_equal(run("start_array", &a), 0);
	assert_int_equal(a.ret, 0);
	expect_fired("timed_array", &key, 102);
}

static void a_timer_that_is_cancelled_or_whose_element_goes_stays_silent(void **state)
{
	/* Long enough for six calls of a process that has to wait for its processor. */
	struct args a = { .key = 1, .nsecs = 300000000, .ret = -1 };
	struct args b = { .key = 2, .nsecs = 300000000, .ret = -1 };

	(void)state;
	put(1, 1);
	put(2, 1);
	assert_int_equal(run("start", &a), 0);
	assert_int_equal(run("start", &b), 0);
	assert_int_equal(run("cancel", &a), 1);
	assert_int_equal(run("cancel", &a), 0);
	/* Replaced: the new element has no timer. */
	put(2, 1);
	assert_int_equal(run("cancel", &b), -EINVAL);
	usleep(350000);
	assert_int_equal(look("timed", &a.key).fired, 0);
	assert_int_equal(look("timed", &b.key).fired, 0);
	/* Its place can be taken again. */
	b.nsecs = 0;
	assert_int_equal(run("start", &b), 0);
	assert_int_equal(b.ret, 0);
	expect_fired("timed", &b.key, 3);
}

static void a_timer_that_was_not_initialised_is_refused(void **state)
{
	struct args a = { .key = 5 };

	(void)state;
	put(5, 1);
	assert_int_equal(run("not_ready", &a), -EINVAL);
	assert_int_equal(a.ret, -EINVAL);
	assert_int_equal(a.nsecs, -EINVAL);
	a = (struct args){ .key = 5, .flags = 100 };
	assert_int_equal(run("start", &a), -EINVAL);
}

static void *counting(void *arg)
{
	struct args a = { .key = 20000 };

	(void)arg;
	assert_int_equal(run("count", &a), 20000);
	return NULL;
}

static void a_lock_keeps_two_threads_apart(void **state)
{
	pthread_t threads[2];
	struct guarded g = { .lock = 77 };
	int key = 0;

	(void)state;
	assert_int_equal(bpf_map_update_elem(map_fd("guarded"), &key, &g, 0), 0);
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, counting, NULL);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(bpf_map_lookup_elem_flags(map_fd("guarded"), &key, &g, BPF_F_LOCK), 0);
	assert_int_equal(g.a, 40000);
	assert_int_equal(g.b, 40000);
	assert_int_equal(g.lock, 0);
	g = (struct guarded){ .a = 5, .lock = 99, .b = 6 };
	assert_int_equal(bpf_map_update_elem(map_fd("guarded"), &key, &g, BPF_F_LOCK), 0);
	assert_int_equal(bpf_map_lookup_elem(map_fd("guarded"), &key, &g), 0);
	assert_int_equal(g.a + g.b + (int)g.lock, 11);
	/* The lock is free: the update did not write it. */
	assert_int_equal(run("count", &(struct args){ .key = 1 }), 1);
}

static void a_map_without_a_lock_knows_no_flag_for_it(void **state)
{
	long long key = 7;
	struct elem e = { 0 };

	(void)state;
	assert_int_equal(bpf_map_update_elem(map_fd("timed"), &key, &e, BPF_F_LOCK), -EINVAL);
	assert_int_equal(bpf_map_lookup_elem_flags(map_fd("timed"), &key, &e, BPF_F_LOCK), -EINVAL);
}

static void a_lock_survives_who_is_killed_inside(void **state)
{
	struct guarded g = { 0 };
	int key = 0;

	(void)state;
	assert_int_equal(bpf_map_update_elem(map_fd("guarded"), &key, &g, 0), 0);
	for (int i = 1; i <= 10; i++) {
		pid_t pid = fork();

		assert_true(pid >= 0);
		while (!pid)
			run("hold", &(struct args){ 0 });
		usleep(20000 + 700 * (unsigned int)i);
		kill(pid, SIGKILL);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		/* Both by a program and by bpf(2). */
		assert_int_equal(run("count", &(struct args){ .key = 10 }), 10);
		assert_int_equal(bpf_map_lookup_elem_flags(map_fd("guarded"), &key, &g, BPF_F_LOCK), 0);
		assert_int_equal(g.a, 10 * i);
	}
	assert_true(g.b > 10 * 10); /* they were there */
}

static void batches_take_the_lock_of_each_value(void **state)
{
	LIBBPF_OPTS(bpf_map_batch_opts, lock, .elem_flags = BPF_F_LOCK);
	LIBBPF_OPTS(bpf_map_batch_opts, other, .elem_flags = BPF_F_LOCK | BPF_NOEXIST);
	struct guarded g = { .a = 3, .lock = 9, .b = 4 };
	struct elem e;
	long long long_key = 1;
	int key = 0, next;
	__u32 n = 1;

	(void)state;
	assert_int_equal(bpf_map_update_batch(map_fd("guarded"), &key, &g, &n, &lock), 0);
	assert_int_equal(n, 1);
	g = (struct guarded){ .lock = 5 };
	assert_int_equal(bpf_map_lookup_batch(map_fd("guarded"), NULL, &next, &key, &g, &n, &lock), 0);
	assert_int_equal(n, 1);
	assert_int_equal(g.a, 3);
	assert_int_equal(g.b, 4);
	assert_int_equal(g.lock, 0);
	/* It was left free. */
	assert_int_equal(run("count", &(struct args){ .key = 1 }), 1);
	assert_int_equal(bpf_map_update_batch(map_fd("guarded"), &key, &g, &n, &other), -EINVAL);
	assert_int_equal(bpf_map_update_batch(map_fd("timed"), &long_key, &e, &n, &lock), -EINVAL);
	assert_int_equal(bpf_map_lookup_batch(map_fd("timed"), NULL, &next, &long_key, &e, &n, &lock), -EINVAL);
}

/* 0: the process ended well. */
static int child_end(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid ? status : -1;
}

static void a_timer_fires_once_and_in_a_child_too(void **state)
{
	struct args a = { .key = 4, .nsecs = 30000000, .ret = -1 }, b = { .key = 6, .nsecs = 1000000 };
	pid_t pid;

	(void)state;
	put(4, 1);
	put(6, 1);
	assert_int_equal(run("start", &a), 0);
	pid = fork();
	if (!pid) {
		/* One that the child starts, and the other stays the parent's. */
		if (run("start", &b))
			_exit(1);
		for (int n = 0; n < 5000 && look("timed", &b.key).fired != 7; n++)
			usleep(1000);
		usleep(60000);
		_exit(look("timed", &b.key).fired != 7);
	}
	assert_int_equal(child_end(pid), 0);
	expect_fired("timed", &a.key, 5);
	usleep(40000);
	assert_int_equal(look("timed", &a.key).fired, 5);
}

static void each_element_is_walked_over(void **state)
{
	struct args a = { 0 };
	long long key = 0;

	(void)state;
	while (!bpf_map_get_next_key(map_fd("timed"), NULL, &key))
		bpf_map_delete_elem(map_fd("timed"), &key);
	for (key = 1; key <= 10; key++)
		put(key, key);
	assert_int_equal(run("walk", &a), 10);
	assert_int_equal(a.ret, 385);
}

static __u32 run_on_packet(__u32 size)
{
	unsigned char packet[64];
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = size);
	struct bpf_program *p = bpf_object__find_program_by_name(obj, "loads");

	for (unsigned char i = 0; i < sizeof(packet); i++)
		packet[i] = i;
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(p), &opts), 0);
	return opts.retval;
}

/*
 * A socket filter sees what is behind the Ethernet header: of 64 bytes 50, of 24 ten. A load of outside leaves the function
 * with 0, and its caller goes on.
 */
static void loads_from_a_packet_end_their_function(void **state)
{
	(void)state;
	assert_int_equal(run_on_packet(64), 18 * 1000000 + 28 * 1000 + 32);
	assert_int_equal(run_on_packet(24), 18 * 1000000);
}

static int setup(void **state)
{
	(void)state;
	obj = open_object("callbacks.bpf.o");
	return bpf_object__load(obj);
}

/* With timers armed: nothing may fire into memory that is gone. */
static int teardown(void **state)
{
	struct args a = { .key = 3, .nsecs = 20000000 };

	(void)state;
	put(3, 1);
	assert_int_equal(run("start", &a), 0);
	bpf_object__close(obj);
	usleep(60000);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loads_from_a_packet_end_their_function),
		cmocka_unit_test(a_timer_calls_back_and_starts_itself_again),
		cmocka_unit_test(a_timer_of_an_array_gets_its_index),
		cmocka_unit_test(a_timer_that_is_cancelled_or_whose_element_goes_stays_silent),
		cmocka_unit_test(a_timer_that_was_not_initialised_is_refused),
		cmocka_unit_test(a_lock_keeps_two_threads_apart),
		cmocka_unit_test(a_map_without_a_lock_knows_no_flag_for_it),
		cmocka_unit_test(a_lock_survives_who_is_killed_inside),
		cmocka_unit_test(batches_take_the_lock_of_each_value),
		cmocka_unit_test(a_timer_fires_once_and_in_a_child_too),
		cmocka_unit_test(each_element_is_walked_over),
	};

	/* Against the machine's kernel, where there is nothing else to answer. */
	if (getenv("CLIENT_KERNEL") && bpf_map_create(BPF_MAP_TYPE_ARRAY, NULL, 4, 4, 1, NULL) < 0)
		return skip_all("the kernel's bpf(2) is not usable here");
	return cmocka_run_group_tests(tests, setup, teardown);
}
