/* SPDX-License-Identifier: MIT */
/*
 * Signals that Ferry needs are never blocked, by whatever call; programs see the masks that they set, and get the
 * signals that they wait for. Code that is no library's makes calls wherever a handler may run.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ferry/ferry.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "test.h"

static struct bpf_object *obj;

static struct bpf_link *attach(void)
{
	struct bpf_link *l = bpf_program__attach(bpf_object__find_program_by_name(obj, "raw_enter"));

	assert_non_null(l);
	return l;
}

/* getppid() as no library has it. */
static int (*own_call)(void);

static void make_own_call(void)
{
	static const unsigned char code[] = { 0xb8, SYS_getppid, 0, 0, 0, 0x0f, 0x05, 0xc3 };
	void *p = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED);
	memcpy(p, code, sizeof(code));
	assert_false(mprotect(p, 4096, PROT_READ | PROT_EXEC));
	own_call = (int (*)(void))p;
}

static unsigned long bits(const sigset_t *s)
{
	unsigned long b;

	memcpy(&b, s, sizeof(b));
	return b;
}

static unsigned long mask_now(bool raw)
{
	unsigned long b = 0;
	sigset_t now;

	if (raw) {
		assert_int_equal(syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &b, sizeof(b)), 0);
		return b;
	}
	assert_int_equal(sigprocmask(SIG_BLOCK, NULL, &now), 0);
	return bits(&now);
}

static void *mask_of_thread(void *arg)
{
	(void)arg;
	return (void *)mask_now(false);
}

/* SIGKILL, SIGSTOP; and 32 and 33, which libc keeps for itself. */
#define FULL (~0ul & ~(1ul << (SIGKILL - 1)) & ~(1ul << (SIGSTOP - 1)) & ~(3ul << 31))

/* With programs the kernel's own calls are seen too, and what threads begin with. */
static void see_masks(bool programs)
{
	sigset_t full, none, old, two;
	pthread_t t;
	void *ret;

	sigfillset(&full);
	sigemptyset(&none);
	sigemptyset(&two);
	sigaddset(&two, SIGSYS);
	sigaddset(&two, SIGUSR2);
	assert_int_equal(sigprocmask(SIG_SETMASK, &full, &old), 0);
	assert_int_equal(bits(&old) & FULL, 0);
	assert_int_equal(mask_now(false) & FULL, FULL);
	if (programs) {
		assert_int_equal(mask_now(true) & FULL, FULL);
		assert_int_equal(pthread_create(&t, NULL, mask_of_thread, NULL), 0);
		pthread_join(t, &ret);
		assert_int_equal((unsigned long)ret & FULL, FULL);
	}
	assert_int_equal(own_call(), getppid());
	assert_int_equal(sigprocmask(SIG_UNBLOCK, &two, &old), 0);
	assert_int_equal(bits(&old) & FULL, FULL);
	assert_int_equal(mask_now(false) & FULL, FULL & ~bits(&two));
	if (programs) { /* and one word for both sets */
		assert_int_equal(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &two, &two, 8), 0);
		assert_int_equal(bits(&two) & FULL, FULL & ~(1ul << (SIGSYS - 1) | 1ul << (SIGUSR2 - 1)));
		assert_int_equal(mask_now(true), 1ul << (SIGSYS - 1) | 1ul << (SIGUSR2 - 1));
		assert_int_equal(own_call(), getppid());
	}
	assert_int_equal(pthread_sigmask(SIG_SETMASK, &none, NULL), 0);
	assert_int_equal(mask_now(false), 0);
	assert_int_equal(mask_now(true), 0);
}

static void masks_are_seen_as_they_were_set(void **state)
{
	struct bpf_link *l;

	(void)state;
	see_masks(false);
	l = attach();
	see_masks(true);
	bpf_link__destroy(l);
	see_masks(false);
}

static void a_mask_from_before_is_seen_with_programs(void **state)
{
	struct bpf_link *l;
	sigset_t full, old;

	(void)state;
	sigfillset(&full);
	assert_int_equal(sigprocmask(SIG_SETMASK, &full, &old), 0);
	l = attach();
	assert_int_equal(mask_now(false) & FULL, FULL);
	assert_int_equal(mask_now(true) & FULL, FULL);
	assert_int_equal(own_call(), getppid());
	bpf_link__destroy(l);
	assert_int_equal(mask_now(false) & FULL, FULL);
	assert_int_equal(sigprocmask(SIG_SETMASK, &old, NULL), 0);
	assert_int_equal(mask_now(true), 0);
}

static volatile sig_atomic_t handled;

/* With what the call or the action blocks. */
static void on_usr1(int sig)
{
	(void)sig;
	handled += own_call() == getppid() ? 1 : 1000;
}

static void see_actions(void)
{
	struct sigaction act = { .sa_handler = on_usr1 }, old;
	unsigned long raw[4];

	sigfillset(&act.sa_mask);
	assert_int_equal(sigaction(SIGUSR1, &act, NULL), 0);
	assert_int_equal(sigaction(SIGUSR1, NULL, &old), 0);
	assert_int_equal(bits(&old.sa_mask) & FULL, FULL);
	assert_int_equal(syscall(SYS_rt_sigaction, SIGUSR1, NULL, raw, 8), 0);
	handled = 0;
	raise(SIGUSR1);
	assert_int_equal(handled, 1);
}

static void masks_of_actions_are_seen_as_they_were_set(void **state)
{
	struct bpf_link *l;

	(void)state;
	see_actions();
	l = attach();
	see_actions();
	bpf_link__destroy(l);
}

/* ---- calls that wait with a mask of their own -------------------------------------------------------- */

enum way { PPOLL, PSELECT, EPOLL, SUSPEND, RAW_PPOLL, RAW_PSELECT, RAW_EPOLL, RAW_SUSPEND, WAYS };

static long wait_with(enum way way, int fd, int ep, const sigset_t *mask)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct timespec limit = { 10, 0 };
	struct epoll_event ev;
	struct {
		const sigset_t *set;
		size_t size;
	} six = { mask, 8 };
	fd_set set;

	FD_ZERO(&set);
	FD_SET(fd, &set);
	switch (way) {
	case PPOLL: return ppoll(&p, 1, &limit, mask);
	case PSELECT: return pselect(fd + 1, &set, NULL, NULL, &limit, mask);
	case EPOLL: return epoll_pwait(ep, &ev, 1, 10000, mask);
	case SUSPEND: return sigsuspend(mask);
	case RAW_PPOLL: return syscall(SYS_ppoll, &p, 1, &limit, mask, 8);
	case RAW_PSELECT: return syscall(SYS_pselect6, fd + 1, &set, NULL, NULL, &limit, &six);
	case RAW_EPOLL: return syscall(SYS_epoll_pwait, ep, &ev, 1, 10000, mask, 8);
	default: return syscall(SYS_rt_sigsuspend, mask, 8);
	}
}

struct waiter {
	pthread_t t;
	_Atomic bool stop;
};

static void *send(void *arg)
{
	struct waiter *w = arg;

	while (!w->stop) {
		usleep(3000);
		pthread_kill(w->t, SIGUSR1);
	}
	return NULL;
}

/* All but SIGUSR1, for the time of the call; it is blocked at any other. */
static void wait_in_every_way(void)
{
	struct waiter w = { .t = pthread_self() };
	struct epoll_event ev = { .events = EPOLLIN };
	sigset_t usr1, others, old;
	int fd[2], ep = epoll_create1(0), i;
	pthread_t t;
	long ret;

	assert_int_equal(pipe(fd), 0);
	assert_int_equal(epoll_ctl(ep, EPOLL_CTL_ADD, fd[0], &ev), 0);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigfillset(&others);
	sigdelset(&others, SIGUSR1);
	assert_int_equal(sigprocmask(SIG_BLOCK, &usr1, &old), 0);
	assert_int_equal(pthread_create(&t, NULL, send, &w), 0);
	for (i = 0; i < 2 * WAYS; i++) {
		handled = 0;
		errno = 0;
		ret = wait_with((enum way)(i % WAYS), fd[0], ep, &others);
		assert_int_equal(ret, -1);
		assert_int_equal(errno, EINTR);
		assert_int_equal(handled, 1);
		assert_true(sigismember(&others, SIGSYS) == 1);
		assert_int_equal(mask_now(false), bits(&usr1));
	}
	w.stop = true;
	pthread_join(t, NULL);
	sigprocmask(SIG_SETMASK, &old, NULL);
	close(fd[0]);
	close(fd[1]);
	close(ep);
}

static void handlers_of_calls_with_masks_may_make_calls(void **state)
{
	struct sigaction act = { .sa_handler = on_usr1 };
	struct bpf_link *l;

	(void)state;
	sigaction(SIGUSR1, &act, NULL);
	wait_in_every_way();
	l = attach();
	wait_in_every_way();
	bpf_link__destroy(l);
}

/* One that waits already with such a mask when a program comes. */
static void *suspend(void *arg)
{
	const sigset_t *others = arg;

	return (void *)(long)sigsuspend(others);
}

static void who_waits_with_a_mask_survives_programs_that_come(void **state)
{
	struct sigaction act = { .sa_handler = on_usr1 };
	struct bpf_link *l;
	sigset_t others, usr1, old;
	pthread_t t;
	void *ret;
	int i;

	(void)state;
	sigaction(SIGUSR1, &act, NULL);
	sigfillset(&others);
	sigdelset(&others, SIGUSR1);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &usr1, &old); /* kept for who does not wait yet */
	for (i = 0; i < 5; i++) {
		handled = 0;
		assert_int_equal(pthread_create(&t, NULL, suspend, &others), 0);
		usleep(20000);
		l = attach();
		usleep(5000);
		pthread_kill(t, SIGUSR1);
		pthread_join(t, &ret);
		assert_int_equal((long)ret, -1);
		assert_int_equal(handled, 1);
		bpf_link__destroy(l);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void a_signal_that_is_waited_for_comes(void **state)
{
	struct bpf_link *l = attach();
	struct timespec limit = { 10, 0 };
	sigset_t set, old;
	int sig = 0;

	(void)state;
	sigfillset(&set);
	sigprocmask(SIG_BLOCK, &set, &old);
	raise(SIGUSR2);
	assert_int_equal(sigwait(&set, &sig), 0);
	assert_int_equal(sig, SIGUSR2);
	raise(SIGUSR2);
	assert_int_equal(sigtimedwait(&set, NULL, &limit), SIGUSR2);
	raise(SIGUSR2);
	assert_int_equal(syscall(SYS_rt_sigtimedwait, &set, NULL, &limit, 8), SIGUSR2);
	sigprocmask(SIG_SETMASK, &old, NULL);
	bpf_link__destroy(l);
}

static int setup(void **state)
{
	(void)state;
	if (ferry_hook())
		return -1;
	make_own_call();
	obj = bpf_object__open_file(getenv("STRESS_OBJECT"), NULL);
	return obj && !bpf_object__load(obj) ? 0 : -1;
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
		cmocka_unit_test(masks_are_seen_as_they_were_set),
		cmocka_unit_test(a_mask_from_before_is_seen_with_programs),
		cmocka_unit_test(masks_of_actions_are_seen_as_they_were_set),
		cmocka_unit_test(handlers_of_calls_with_masks_may_make_calls),
		cmocka_unit_test(who_waits_with_a_mask_survives_programs_that_come),
		cmocka_unit_test(a_signal_that_is_waited_for_comes),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
