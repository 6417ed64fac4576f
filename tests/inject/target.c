/* SPDX-License-Identifier: MIT */
/*
 * A process to be attached to, which checks itself. It does not know of Ferry.
 *
 *   target work ROUNDS    threads that allocate, hash, sleep and handle signals; prints what they computed
 *   target alone ROUNDS   the same by the only thread, whose allocator takes no locks, and mostly in the handler
 *   target stuck          its only thread waits for a line in a handler that interrupted malloc(); then goes on
 *   target wait WAY       prints "ready", waits for stdin's end in one way, prints what that returned
 *   target traced PID     traces PID until stdin ends
 *   target undumpable     may not be looked at; until stdin ends
 *   target calls [other]  calls tiny() and getppid(), this by another thread, prints which library close() is in,
 *                         whenever a line comes
 */
#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/select.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#define THREADS 4

static volatile sig_atomic_t alarms;
static long rounds;

static void on_alarm(int sig)
{
	(void)sig;
	alarms++;
}

/* FNV-1a over memory that is allocated, grown and freed all the time; doubles too, for their registers. */
static void *work(void *arg)
{
	uint64_t hash = 0xcbf29ce484222325ull + (uintptr_t)arg, *result;
	struct timespec ts = { 0, 1000 };
	double sum = 0;
	char *p;
	long i;
	size_t n, k;

	for (i = 0; i < rounds; i++) {
		n = 16 + hash % 3000;
		p = malloc(n);
		if (!p)
			abort();
		memset(p, (int)(hash & 0xff), n);
		p = realloc(p, n * 2);
		if (!p)
			abort();
		memset(p + n, (int)(i & 0xff), n);
		for (k = 0; k < n * 2; k++)
			hash = (hash ^ (uint8_t)p[k]) * 0x100000001b3ull;
		free(p);
		sum = sum * 0.5 + (double)(hash >> 40);
		if (i % 64 == 0 && nanosleep(&ts, NULL) && errno != EINTR)
			abort();
	}
	result = malloc(2 * sizeof(*result));
	result[0] = hash;
	memcpy(&result[1], &sum, 8);
	return result;
}

/* Busy in a handler, which may have interrupted the allocator. */
static void on_alarm_slow(int sig)
{
	struct timespec begin, now;

	(void)sig;
	clock_gettime(CLOCK_MONOTONIC, &begin);
	do {
		for (volatile int i = 0; i < 20000; i++)
			;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - begin.tv_sec) * 1000000000l + now.tv_nsec - begin.tv_nsec < 1000000);
	alarms++;
}

static int do_alone(void)
{
	struct itimerval every = { { 0, 1200 }, { 0, 1200 } };
	struct sigaction act = { .sa_handler = on_alarm_slow, .sa_flags = SA_RESTART };
	struct {
		uint64_t *p;
		size_t n;
	} slot[64] = { { NULL, 0 } };
	uint64_t hash = 1, k;
	long i;

	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
	puts("ready");
	fflush(stdout);
	/* Too large for what malloc() keeps for the thread, and marked at both ends. */
	for (i = 0; i < rounds * 100; i++) {
		hash = hash * 6364136223846793005ull + 1442695040888963407ull;
		k = hash >> 58;
		if (slot[k].p && (slot[k].p[0] != k || slot[k].p[slot[k].n - 1] != k))
			abort();
		free(slot[k].p);
		slot[k].n = 140 + (hash >> 40) % 1000;
		slot[k].p = malloc(slot[k].n * 8);
		slot[k].p[0] = slot[k].p[slot[k].n - 1] = k;
	}
	printf("%016llx\n", (unsigned long long)hash);
	return !alarms;
}

static volatile sig_atomic_t is_stuck;

static void on_alarm_stuck(int sig, siginfo_t *info, void *ctx)
{
	uintptr_t rip = (uintptr_t)((ucontext_t *)ctx)->uc_mcontext.gregs[REG_RIP], at = (uintptr_t)malloc;
	char c;

	(void)sig;
	(void)info;
	/* malloc(3) and what it is made of lie together. */
	if (is_stuck || rip < at - 0x3000 || rip > at + 0x3000)
		return;
	is_stuck = 1;
	if (write(1, "ready\n", 6) != 6 || read(0, &c, 1) < 0)
		abort();
	is_stuck = 2;
}

static int do_stuck(void)
{
	struct itimerval every = { { 0, 1000 }, { 0, 1000 } }, never = { { 0, 0 }, { 0, 0 } };
	struct sigaction act = { .sa_sigaction = on_alarm_stuck, .sa_flags = SA_RESTART | SA_SIGINFO };
	void *p[64] = { NULL };
	char c;
	long i;

	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
	for (i = 0; is_stuck != 2; i++) {
		free(p[i % 64]);
		p[i % 64] = malloc(1100 + (size_t)i * 7919 % 8000);
	}
	setitimer(ITIMER_REAL, &never, NULL);
	puts("on");
	fflush(stdout);
	return read(0, &c, 1) != 0;
}

static int do_work(void)
{
	struct itimerval every = { { 0, 1500 }, { 0, 1500 } };
	struct sigaction act = { .sa_handler = on_alarm, .sa_flags = SA_RESTART };
	pthread_t t[THREADS];
	uint64_t *result;
	uintptr_t i;

	sigaction(SIGALRM, &act, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
	puts("ready");
	fflush(stdout);
	for (i = 0; i < THREADS; i++)
		if (pthread_create(&t[i], NULL, work, (void *)i))
			abort();
	for (i = 0; i < THREADS; i++) {
		pthread_join(t[i], (void **)&result);
		printf("%016llx %016llx\n", (unsigned long long)result[0], (unsigned long long)result[1]);
		free(result);
	}
	return !alarms;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static int ended;

static void *at_end(void *arg)
{
	char c;

	while (read(0, &c, 1) > 0)
		;
	if (arg) {
		kill(getpid(), SIGUSR1);
		return NULL;
	}
	pthread_mutex_lock(&lock);
	ended = 1;
	pthread_cond_signal(&cond);
	pthread_mutex_unlock(&lock);
	return NULL;
}

/* None of these may return for any other reason than the end of stdin. */
static int do_wait(const char *way)
{
	struct sigaction act = { .sa_handler = on_alarm };
	struct pollfd p = { .fd = 0, .events = POLLIN };
	struct epoll_event ev = { .events = EPOLLIN };
	struct timespec hour = { 3600, 0 };
	sigset_t usr1, old;
	pthread_t t;
	fd_set set;
	char c;
	int ret = -1, ep;

	sigaction(SIGUSR1, &act, NULL);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &usr1, &old);
	if (!strcmp(way, "cond") || !strcmp(way, "sigwait") || !strcmp(way, "sigsuspend") || !strcmp(way, "sleep"))
		pthread_create(&t, NULL, at_end, strcmp(way, "cond") ? "signal" : NULL);
	puts("ready");
	fflush(stdout);
	errno = 0;
	if (!strcmp(way, "poll")) {
		ret = poll(&p, 1, -1);
	} else if (!strcmp(way, "ppoll")) {
		ret = ppoll(&p, 1, &hour, &old);
	} else if (!strcmp(way, "epoll")) {
		ep = epoll_create1(0);
		epoll_ctl(ep, EPOLL_CTL_ADD, 0, &ev);
		ret = epoll_wait(ep, &ev, 1, -1);
	} else if (!strcmp(way, "select")) {
		FD_ZERO(&set);
		FD_SET(0, &set);
		ret = select(1, &set, NULL, NULL, NULL);
	} else if (!strcmp(way, "read")) {
		ret = (int)read(0, &c, 1);
	} else if (!strcmp(way, "sigwait")) {
		ret = sigtimedwait(&usr1, NULL, &hour);
	} else if (!strcmp(way, "sigsuspend")) {
		ret = sigsuspend(&old);
	} else if (!strcmp(way, "sleep")) {
		pthread_sigmask(SIG_SETMASK, &old, NULL);
		ret = nanosleep(&hour, NULL);
	} else if (!strcmp(way, "cond")) {
		pthread_mutex_lock(&lock);
		for (ret = 0; !ended; ret++)
			pthread_cond_wait(&cond, &lock);
		ret = 1; /* it may wake up for nothing */
		pthread_mutex_unlock(&lock);
	} else if (!strcmp(way, "child")) {
		if (!fork()) {
			while (read(0, &c, 1) > 0)
				;
			_exit(7);
		}
		wait(&ret);
	}
	printf("%d %d %d\n", ret, errno, (int)alarms);
	return 0;
}

static int do_trace(pid_t pid)
{
	char c;

	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL))
		return 1;
	puts("ready");
	fflush(stdout);
	while (read(0, &c, 1) > 0)
		;
	return 0;
}

/* Each time from the import table. */
static __attribute__((noinline)) const char *where(void)
{
	int (*volatile fn)(int) = close;
	Dl_info info;

	__asm__ volatile("" ::: "memory");
	return dladdr((void *)(uintptr_t)fn, &info) ? info.dli_fname : "nowhere";
}

/* One byte, and others behind it: no room for a jump. */
void tiny(void);
__asm__(".text\n.globl tiny, tiny_next\n.type tiny, @function\ntiny: ret\n.size tiny, 1\n"
	".type tiny_next, @function\ntiny_next: ret\n.size tiny_next, 1\n");

/* A thread that was there before anybody attached, and waits in a call that has no end of its own. */
static int asked[2], answered[2];

static void *call_when_asked(void *arg)
{
	char c;

	while (read(asked[0], &c, 1) == 1) {
		if (arg)
			getppid();
		if (write(answered[1], &c, 1) != 1)
			abort();
	}
	return NULL;
}

/* Who calls getppid(): the main thread, or another. */
static int do_calls(bool other)
{
	char line[64], c = 0;
	pthread_t t;

	if (pipe(asked) || pipe(answered) || pthread_create(&t, NULL, call_when_asked, other ? "it" : NULL))
		abort();
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		tiny();
		if (!other)
			getppid();
		if (write(asked[1], &c, 1) != 1 || read(answered[0], &c, 1) != 1)
			abort();
		puts(where());
		fflush(stdout);
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "work") && argc > 2) {
		rounds = atol(argv[2]);
		return do_work();
	}
	if (!strcmp(what, "alone") && argc > 2) {
		rounds = atol(argv[2]);
		return do_alone();
	}
	if (!strcmp(what, "stuck"))
		return do_stuck();
	if (!strcmp(what, "wait") && argc > 2)
		return do_wait(argv[2]);
	if (!strcmp(what, "traced") && argc > 2)
		return do_trace(atoi(argv[2]));
	if (!strcmp(what, "undumpable")) {
		prctl(PR_SET_DUMPABLE, 0);
		return do_wait("read");
	}
	if (!strcmp(what, "calls"))
		return do_calls(argc > 2);
	return 2;
}
