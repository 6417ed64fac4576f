/* SPDX-License-Identifier: MIT */
/*
 * Whoever frees waits for all threads that are inside of programs, wherever in its life the thread is: the oracle is
 * the thread itself, which says when it leaves.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bpf/run/run_int.h"
#include "bpf/sys_int.h"
#include "test.h"

#define LONG 200000 /* us: who does not wait is back long before */

static _Atomic bool inside, waiting, back, early, leave;

static void reset(void)
{
	inside = waiting = back = early = leave = false;
}

/* Inside until told, or until whoever waits for it has waited for long, or has come back, which is wrong. */
static void stay(void)
{
	int i;

	sys_run_enter();
	inside = true;
	while (!waiting && !leave)
		sched_yield();
	for (i = 0; i < LONG / 1000 && !back && !leave; i++)
		usleep(1000);
	early = back;
	sys_run_leave();
}

static void wait_and_say(void)
{
	while (!inside)
		sched_yield();
	waiting = true;
	sys_run_wait();
	back = true;
}

/* ---- behind destructors ----------------------------------------------------------------------- */

static pthread_key_t late;

static void destructor(void *arg)
{
	(void)arg;
	stay();
}

static void *ends(void *arg)
{
	sys_run_enter(); /* it has run programs before, and so a destructor of Ferry's */
	sys_run_leave();
	pthread_setspecific(late, &late);
	return arg;
}

/* Keys' destructors run in the order of their making: that one of this test's behind Ferry's. */
static void test_behind_destructors(void **state)
{
	pthread_t t;

	(void)state;
	reset();
	assert_int_equal(pthread_create(&t, NULL, ends, NULL), 0);
	wait_and_say();
	pthread_join(t, NULL);
	assert_false(early);
}

/* ---- children that share the memory ----------------------------------------------------------- */

static void *vforks_then_stays(void *arg)
{
	pid_t pid = vfork();

	if (!pid) {
		sys_run_enter(); /* the first of this storage's, in the child */
		sys_run_leave();
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	stay();
	return arg;
}

static void test_first_run_in_vfork(void **state)
{
	pthread_t t;

	(void)state;
	reset();
	assert_int_equal(pthread_create(&t, NULL, vforks_then_stays, NULL), 0);
	wait_and_say();
	pthread_join(t, NULL);
	assert_false(early);
}

static void *stays(void *arg)
{
	stay();
	return arg;
}

static void test_wait_in_vfork(void **state)
{
	pthread_t t;
	pid_t pid;

	(void)state;
	reset();
	assert_int_equal(pthread_create(&t, NULL, stays, NULL), 0);
	pid = vfork();
	if (!pid) {
		wait_and_say();
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	pthread_join(t, NULL);
	assert_false(early);
}

/* ---- children with a copy --------------------------------------------------------------------- */

/* The copy has nothing of the other threads, so that there is nothing to wait for. */
static void test_fork_while_behind_destructors(void **state)
{
	pthread_t t;
	int status;
	pid_t pid;

	(void)state;
	reset();
	assert_int_equal(pthread_create(&t, NULL, ends, NULL), 0);
	while (!inside)
		sched_yield();
	pid = fork();
	if (!pid) {
		alarm(10);
		sys_run_wait();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	leave = true;
	pthread_join(t, NULL);
	assert_true(WIFEXITED(status));
}

/* ---- without membarrier(2) -------------------------------------------------------------------- */

static int forbid(u32 nr)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0), /* seccomp_data.nr */
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog p = { ARRAY_SIZE(f), f };

	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &p);
}

static void on_alarm(int sig)
{
	(void)sig;
}

static u64 now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

/* Then time has to do it: 20 ms, whatever signals come meanwhile. 0, or what is wrong. */
static int waits_for_stores(void)
{
	struct sigaction act = { .sa_handler = on_alarm };
	struct itimerval often = { { 0, 1000 }, { 0, 1000 } };
	u64 start;

	if (forbid(SYS_membarrier))
		return 2;
	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	start = now();
	sys_run_wait();
	return now() - start < 20000000;
}

static void test_membarrier_forbidden_later(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	pid = fork();
	if (!pid)
		_exit(waits_for_stores());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == 2)
		print_message("# no seccomp here\n");
	else
		assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_behind_destructors),
		cmocka_unit_test(test_first_run_in_vfork),
		cmocka_unit_test(test_wait_in_vfork),
		cmocka_unit_test(test_fork_while_behind_destructors),
		cmocka_unit_test(test_membarrier_forbidden_later),
	};

	sys_run_init();
	pthread_atfork(NULL, NULL, sys_run_forked);
	pthread_key_create(&late, destructor);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
