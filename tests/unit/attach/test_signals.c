/* SPDX-License-Identifier: MIT */
/*
 * Probes and signals: those that are traps share SIGTRAP with the host, whatever it blocks; handlers hit
 * probes from any stack, and leave hooks by longjmp.
 */
#include <ferry/ferry.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>
#include <unistd.h>

#include "attach/attach.h"
#include "code/code.h"
#include "test.h"

#define NOCLONE __attribute__((noinline, noclone))

static NOCLONE int add(int a, int b)
{
	volatile int x[4] = { a, b };

	return x[0] + x[1];
}

/* Three bytes, another function right behind: only a trap fits. */
__asm__(".text\n.p2align 4\ntiny:\n.cfi_startproc\nlea 1(%rdi), %eax\nret\n.cfi_endproc\n"
	"behind_tiny:\n.cfi_startproc\nlea 2(%rdi), %eax\nret\n.cfi_endproc\n");
int tiny(int);

static void count(struct pt_regs *regs, void *arg)
{
	(void)regs;
	__atomic_fetch_add((u64 *)arg, 1, __ATOMIC_RELAXED);
}

static struct probe *probe(const void *addr, enum probe_kind kind, volatile u64 *hits)
{
	struct probe_spec spec = { addr, kind, 0, count, (void *)hits };
	struct probe *p = NULL;

	assert_int_equal(probe_add(&spec, 1, &p, NULL), 0);
	return p;
}

static volatile int host_got;
static void host_handler(int sig)
{
	(void)sig;
	host_got++;
}

static void handler_set_later_gets_its_own_traps_and_no_other(void **state)
{
	struct sigaction act = { .sa_handler = host_handler }, old, now;
	volatile u64 hits = 0;
	struct probe *p = probe((void *)tiny, PROBE_ENTRY, &hits);

	(void)state;
	assert_int_equal(probe_how(p), PROBE_TRAP);
	assert_int_equal(sigaction(SIGTRAP, &act, &old), 0);
	assert_true(old.sa_handler == SIG_DFL);
	assert_int_equal(tiny(7), 8);
	assert_int_equal(hits, 1);
	assert_int_equal(host_got, 0);
	raise(SIGTRAP);
	__asm__ volatile("int3");
	assert_int_equal(host_got, 2);
	assert_int_equal(hits, 1);
	assert_int_equal(sigaction(SIGTRAP, NULL, &now), 0);
	assert_true(now.sa_handler == host_handler);
	assert_int_equal(signal(SIGTRAP, SIG_DFL) == host_handler, 1);
	assert_int_equal(tiny(7), 8);
	probe_remove(&p, 1);
}

static void signals_that_the_host_blocks_leave_traps_through(void **state)
{
	volatile u64 hits = 0;
	struct probe *p = probe((void *)tiny, PROBE_RETURN, &hits);
	sigset_t all, old, now;

	(void)state;
	sigfillset(&all);
	assert_int_equal(pthread_sigmask(SIG_BLOCK, &all, &old), 0);
	assert_int_equal(tiny(1), 2);
	assert_int_equal(sigprocmask(SIG_SETMASK, &all, NULL), 0);
	assert_int_equal(tiny(2), 3);
	assert_int_equal(sigprocmask(SIG_SETMASK, NULL, &now), 0);
	assert_true(sigismember(&now, SIGUSR1) && sigismember(&now, SIGTRAP)); /* as it was set */
	assert_int_equal(code_syscall(SYS_rt_sigprocmask, SIG_SETMASK, 0, (long)&now, 8, 0), 0);
	assert_true(sigismember(&now, SIGUSR1) && !sigismember(&now, SIGTRAP)); /* as it is */
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	assert_int_equal(hits, 2);
	probe_remove(&p, 1);
}

static _Atomic int turn;
static int from_thread;

static void *blocks_all(void *arg)
{
	u64 all = ~0ull;

	(void)arg;
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, NULL, sizeof(all));
	turn = 1;
	while (turn != 2)
		usleep(1000);
	from_thread = tiny(5);
	return NULL;
}

/* By a system call that nobody sees, before there was a probe. */
static void thread_that_blocks_everything_already_runs_into_a_trap(void **state)
{
	volatile u64 hits = 0;
	struct probe *p;
	pthread_t t;

	(void)state;
	turn = 0;
	pthread_create(&t, NULL, blocks_all, NULL);
	while (turn != 1)
		usleep(1000);
	p = probe((void *)tiny, PROBE_ENTRY, &hits);
	turn = 2;
	pthread_join(t, NULL);
	assert_int_equal(from_thread, 6);
	assert_int_equal(hits, 1);
	probe_remove(&p, 1);
}

static volatile int from_handler;
static void calls_probed(int sig)
{
	(void)sig;
	from_handler += tiny(10) + add(1, 2);
}

static void handler_that_blocks_everything_hits_probes(void **state)
{
	struct sigaction act = { .sa_handler = calls_probed, .sa_flags = SA_ONSTACK }, old;
	volatile u64 hits = 0, returns = 0;
	struct probe *p[] = { probe((void *)tiny, PROBE_ENTRY, &hits), probe((void *)add, PROBE_RETURN, &returns) };
	sigset_t most;

	(void)state;
	from_handler = 0;
	sigfillset(&act.sa_mask);
	sigaction(SIGUSR1, &act, &old);
	raise(SIGUSR1);
	assert_int_equal(from_handler, 14);
	/* The mask of sigsuspend(2) is that of handlers meanwhile. */
	sigfillset(&most);
	sigdelset(&most, SIGALRM);
	sigaction(SIGALRM, &act, NULL);
	alarm(1);
	sigsuspend(&most);
	assert_int_equal(from_handler, 28);
	assert_int_equal(hits, 2);
	assert_int_equal(returns, 2);
	sigaction(SIGUSR1, &old, NULL);
	sigaction(SIGALRM, &old, NULL);
	probe_remove(p, 2);
}

static void tick(int on)
{
	struct itimerval t = { { 0, on }, { 0, on } };

	setitimer(ITIMER_REAL, &t, NULL);
}

static volatile u64 ticks;
static void on_tick(int sig)
{
	(void)sig;
	ticks++;
	if (add(20, 3) != 23 || tiny(4) != 5)
		abort();
}

/* An alternate stack lies above the thread's or below it. */
static void handlers_on_an_alternate_stack_hit_probes(void **state)
{
	struct sigaction act = { .sa_handler = on_tick, .sa_flags = SA_ONSTACK }, old;
	static char low[65536];
	char high[65536];
	volatile u64 hits = 0, returns = 0, calls, stacks;
	struct probe *p[] = { probe((void *)add, PROBE_ENTRY, &hits), probe((void *)add, PROBE_RETURN, &returns),
			      probe((void *)tiny, PROBE_ENTRY, &hits) };
	int i;

	(void)state;
	sigaction(SIGALRM, &act, &old);
	for (stacks = 0; stacks < 2; stacks++) {
		stack_t st = { .ss_sp = stacks ? high : low, .ss_size = sizeof(low) };

		assert_int_equal(sigaltstack(&st, NULL), 0);
		hits = returns = ticks = 0;
		tick(100);
		for (i = calls = 0; i < 300000 || ticks < 20; i++, calls++)
			if (add(i, 1) != i + 1)
				break;
		tick(0);
		assert_true(i >= 300000);
		/* Every call is seen, but for those of handlers that came while a hook ran. */
		assert_true(hits + probe_missed(p[0]) + probe_missed(p[2]) >= calls + 2 * ticks);
		assert_true(hits >= calls && hits <= calls + 2 * ticks);
		assert_true(returns >= calls - ticks && returns <= calls + ticks);
	}
	sigaction(SIGALRM, &old, NULL);
	sigaltstack(&(stack_t){ .ss_flags = SS_DISABLE }, NULL);
	probe_remove(p, 3);
}

static sigjmp_buf away;
static void leave(int sig)
{
	(void)sig;
	siglongjmp(away, 1);
}

static void long_hook(struct pt_regs *regs, void *arg)
{
	volatile int i;

	count(regs, arg);
	for (i = 0; i < 2000; i++)
		;
}

/* As programs do that give up by alarm: whatever was under way is left, a hook like anything else. */
static void hooks_that_handlers_leave_by_longjmp_are_over(void **state)
{
	struct sigaction act = { .sa_handler = leave, .sa_flags = SA_NODEFER }, old;
	volatile u64 hits = 0, before;
	struct probe_spec specs[] = { { (void *)add, PROBE_ENTRY, 0, long_hook, (void *)&hits },
				      { (void *)add, PROBE_RETURN, 0, long_hook, (void *)&hits } };
	struct probe *p[2];
	volatile int i, left = 0;

	(void)state;
	assert_int_equal(probe_add(specs, 2, p, NULL), 0);
	sigaction(SIGALRM, &act, &old);
	for (i = 0; i < 200; i++) {
		if (!sigsetjmp(away, 1)) {
			tick(300);
			for (;;)
				add(i, 1);
		}
		tick(0);
		left++;
		before = hits;
		add(1, 1);
		/* From further down than the hook was, too. */
		assert_true(hits > before);
	}
	sigaction(SIGALRM, &old, NULL);
	assert_int_equal(left, 200);
	probe_remove(p, 2); /* waits for nobody */
	before = hits;
	add(1, 1);
	assert_true(hits == before);
}

/* A bad address in the middle of what a jump covers: the handler waits there, and returns behind it. */
long victim(void *bad);
__asm__(".text\n.p2align 4\nvictim:\n.cfi_startproc\nxor %eax, %eax\n.globl victim_inside\nvictim_inside:\nmovb (%rdi), %cl\n"
	"inc %eax\nadd $40, %eax\nret\n.cfi_endproc\n");

static _Atomic int interrupted;
static void wait_inside(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)sig, (void)info;
	uc->uc_mcontext.gregs[REG_RIP] += 2; /* at inc, still among the bytes */
	interrupted = 1;
	while (interrupted != 2)
		usleep(1000);
}

static void *call_victim(void *arg)
{
	*(long *)arg = victim(NULL);
	return NULL;
}

static void handler_returns_into_the_middle_of_what_was_probed_meanwhile(void **state)
{
	struct sigaction act = { .sa_sigaction = wait_inside, .sa_flags = SA_SIGINFO }, old;
	volatile u64 hits = 0;
	long result = 0;
	struct probe *p;
	pthread_t t;

	(void)state;
	interrupted = 0;
	sigaction(SIGSEGV, &act, &old);
	pthread_create(&t, NULL, call_victim, &result);
	while (interrupted != 1)
		usleep(1000);
	p = probe((void *)victim, PROBE_ENTRY, &hits);
	assert_int_equal(probe_how(p), PROBE_JUMP);
	interrupted = 2;
	pthread_join(t, NULL);
	assert_int_equal(result, 41);
	assert_int_equal(hits, 0);
	sigaction(SIGSEGV, &old, NULL);
	probe_remove(&p, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(handler_set_later_gets_its_own_traps_and_no_other),
		cmocka_unit_test(signals_that_the_host_blocks_leave_traps_through),
		cmocka_unit_test(thread_that_blocks_everything_already_runs_into_a_trap),
		cmocka_unit_test(handler_that_blocks_everything_hits_probes),
		cmocka_unit_test(handlers_on_an_alternate_stack_hit_probes),
		cmocka_unit_test(hooks_that_handlers_leave_by_longjmp_are_over),
		cmocka_unit_test(handler_returns_into_the_middle_of_what_was_probed_meanwhile),
	};

	ferry_hook();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
