/* SPDX-License-Identifier: MIT */
/* Threads and processes that end, begin or borrow in the middle of probes: what they leave is nobody else's. */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "attach/syscall_int.h"
#include "bpf/run/run_int.h"
#include "test.h"

#define LONG 200000 /* us: who does not wait is back long before */

static void nothing(struct pt_regs *regs, void *arg)
{
	(void)regs, (void)arg;
}

static struct probe *put(const void *addr, enum probe_kind kind, probe_fn fn)
{
	struct probe_spec spec = { addr, kind, 0, fn, NULL };
	struct probe *p;

	assert_int_equal(probe_add(&spec, 1, &p, NULL), 0);
	return p;
}

/* ---- a stack that goes on with another thread ------------------------------------------------- */

static ucontext_t caller, coroutine;
static _Atomic int came_back, was_left;

/* Its return is awaited when its thread ends. */
__attribute__((noinline, noclone)) static int suspended(int x)
{
	swapcontext(&coroutine, &caller);
	__asm__ volatile("" ::: "memory");
	return x + 1;
}

static void begin(void)
{
	came_back = suspended(41);
	swapcontext(&coroutine, &caller);
}

static void *first_thread(void *stack)
{
	getcontext(&coroutine);
	coroutine.uc_stack = (stack_t){ .ss_sp = stack, .ss_size = 256 << 10 };
	makecontext(&coroutine, begin, 0);
	swapcontext(&caller, &coroutine);
	return NULL;
}

__attribute__((noinline, noclone)) static int resumes(int x)
{
	swapcontext(&caller, &coroutine);
	__asm__ volatile("" ::: "memory");
	return x + 2;
}

static void *second_thread(void *arg)
{
	was_left = resumes(5);
	return arg;
}

static void test_stack_goes_on_elsewhere(void **state)
{
	void *stack = mmap(NULL, 256 << 10, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	struct probe *p[2];
	pthread_t t;

	(void)state;
	signal(SIGSEGV, SIG_DFL);
	p[0] = put(suspended, PROBE_RETURN, nothing);
	p[1] = put(resumes, PROBE_RETURN, nothing);
	pthread_create(&t, NULL, first_thread, stack);
	pthread_join(t, NULL);
	pthread_create(&t, NULL, second_thread, NULL);
	pthread_join(t, NULL);
	assert_int_equal(came_back, 42);
	assert_int_equal(was_left, 7);
	probe_remove(p, 2);
	munmap(stack, 256 << 10);
}

/* ---- locks of those who have gone ------------------------------------------------------------- */

static u64 held;
static _Atomic bool has_it, let_go;

static void *takes_and_keeps(void *arg)
{
	code_lock(&held);
	has_it = true;
	while (arg && !let_go)
		sched_yield();
	return arg;
}

/* By whoever takes slots while another thread forks: that thread is not in the child. */
static void test_lock_does_not_come_along_into_child(void **state)
{
	pthread_t t;
	int status;
	pid_t pid;

	(void)state;
	pthread_create(&t, NULL, takes_and_keeps, &held);
	while (!has_it)
		sched_yield();
	pid = fork();
	if (!pid) {
		alarm(10);
		code_lock(&held);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_true(held);
	let_go = true;
	pthread_join(t, NULL);
	code_unlock(&held);
}

static void test_lock_ends_with_its_thread(void **state)
{
	pthread_t t;

	(void)state;
	pthread_create(&t, NULL, takes_and_keeps, NULL);
	pthread_join(t, NULL);
	alarm(10);
	code_lock(&held); /* of one that ended */
	code_lock(&held); /* of one that jumped away */
	alarm(0);
	code_unlock(&held);
	assert_int_equal(held, 0);
}

__attribute__((noinline, noclone)) static int probed(int x)
{
	volatile int a[4] = { x, 1 };

	return a[0] + a[1];
}

/* ---- two that change code at once ------------------------------------------------------------- */

#define ROUNDS 60

static u8 *room[2][ROUNDS];
static _Atomic int errors, ready;

/* As probes and system calls do, which have a lock each. */
static void *changes_code(void *arg)
{
	u32 which = (u32)(uintptr_t)arg, i;
	struct world_patch p = { .len = 1, .bytes = { 0x90 } };

	ready++;
	while (ready < 2)
		sched_yield();
	for (i = 0; i < ROUNDS; i++) {
		room[which][i] = p.addr = area_alloc((const void *)(uintptr_t)probed, 32);
		errors += !p.addr || world_patch(&p, 1);
	}
	return NULL;
}

static void test_two_change_code(void **state)
{
	pthread_t t[2];
	u32 i, k;

	(void)state;
	assert_int_equal(probe_init(), 0);
	for (i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, changes_code, (void *)(uintptr_t)i);
	for (i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(errors, 0);
	for (i = 0; i < ROUNDS; i++)
		for (k = 0; k < ROUNDS; k++)
			assert_true(room[0][i] + 32 <= room[1][k] || room[1][k] + 32 <= room[0][i]);
}

/* ---- vfork(2) --------------------------------------------------------------------------------- */

static _Atomic bool inside, waiting, back, early, stays;

/* In a hook, until who waits for it has waited for long, or has come back, which is wrong. */
static void stay(struct pt_regs *regs, void *arg)
{
	int i;

	(void)regs, (void)arg;
	if (!stays)
		return;
	inside = true;
	while (!waiting)
		sched_yield();
	for (i = 0; i < LONG / 1000 && !back; i++)
		usleep(1000);
	early = back;
}

static void *vforks_then_stays(void *arg)
{
	pid_t pid = vfork();

	if (!pid) {
		probed(1); /* the first hit of this storage's, in the child */
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	stays = true;
	probed(2);
	return arg;
}

static void test_first_hit_in_vfork(void **state)
{
	struct probe *p = put(probed, PROBE_ENTRY, stay);
	pthread_t t;

	(void)state;
	pthread_create(&t, NULL, vforks_then_stays, NULL);
	while (!inside)
		sched_yield();
	waiting = true;
	thread_wait();
	back = true;
	pthread_join(t, NULL);
	probe_remove(&p, 1);
	assert_false(early);
}

/* In a program, as far as anybody can tell. */
static void die(struct pt_regs *regs, void *arg)
{
	(void)regs, (void)arg;
	sys_run_enter();
	code_syscall(SYS_kill, code_syscall(SYS_getpid, 0, 0, 0, 0, 0), SIGKILL, 0, 0, 0);
}

static void *waits(void *arg)
{
	sys_run_wait_all(true);
	thread_wait();
	return arg;
}

static void test_vfork_child_killed_in_program(void **state)
{
	struct probe *p = put(probed, PROBE_ENTRY, die);
	struct text why = { 0 };
	pthread_t t;
	pid_t pid;

	(void)state;
	signal(SIGSEGV, SIG_DFL);
	syscall_want[SYS_vfork] = syscall_want[SYS_clone] = syscall_want[SYS_clone3] = SC_SPECIAL;
	assert_int_equal(syscall_patch(&why), 0);
	pid = vfork();
	if (!pid) {
		probed(1);
		_exit(0);
	}
	alarm(20);
	pthread_create(&t, NULL, waits, NULL);
	pthread_join(t, NULL); /* of what the child was in nobody is inside any more */
	alarm(0);
	waitpid(pid, NULL, 0);
	assert_int_equal(sys_runner.depth, 0);
	syscall_unpatch();
	probe_remove(&p, 1);
	text_free(&why);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stack_goes_on_elsewhere),
		cmocka_unit_test(test_lock_does_not_come_along_into_child),
		cmocka_unit_test(test_lock_ends_with_its_thread),
		cmocka_unit_test(test_two_change_code),
		cmocka_unit_test(test_first_hit_in_vfork),
		cmocka_unit_test(test_vfork_child_killed_in_program),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
