/* SPDX-License-Identifier: MIT */
/*
 * A rain of signals on many threads while probes of all kinds, system calls' programs and a clock come and go: handlers
 * that count, that fault and are left by siglongjmp, that run on a stack of their own, that fork. No signal of
 * those that queue is lost, errno, results and masks stay, what restarts restarts and what is interrupted says so.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ferry/ferry.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "file_offset.h"
#include "test.h"

#define SECONDS  2
#define WORKERS  3
#define NPROGS   7
#define STACK    65536
#define QUEUED   SIGRTMIN     /* none of these gets lost */
#define LEAVING  (SIGRTMIN + 1)
#define STACKED  (SIGRTMIN + 2)

/* `middle` is an instruction inside of work(); tiny() has no room for a jump. */
long work(long a), middle(long a), tiny(long a);
__asm__(".text\n.p2align 4\n.type work, @function\nwork:\n.cfi_startproc\n"
	"lea 0x11223344(%rdi), %rax\n"
	"middle: lea -0x11223343(%rax), %rax\nadd %rdi, %rax\nret\n.cfi_endproc\n.size work, . - work\n"
	".type tiny, @function\ntiny:\n.cfi_startproc\nlea 1(%rdi), %eax\nret\n.cfi_endproc\n.size tiny, . - tiny\n"
	".type behind, @function\nbehind:\n.cfi_startproc\nlea 2(%rdi), %eax\nret\n.cfi_endproc\n");

static _Atomic bool stop, over;
static _Atomic long bad, alarms, got_queued, sent_queued, left, faults, stacked, children, restarted, interrupted;
static _Atomic unsigned int ready;
static pthread_t workers[WORKERS];
static _Thread_local sigjmp_buf back, landing;
static _Thread_local volatile sig_atomic_t may_leave, in_fault;

/* Also in handlers: says the first place. */
static void check_(bool ok, int line)
{
	long none = 0;

	if (!ok)
		atomic_compare_exchange_strong(&bad, &none, line);
}
#define check(ok) check_(ok, __LINE__)

static void call_all(long a)
{
	errno = (int)(a & 63) + 1;
	check(work(a) == 2 * a + 1);
	check(tiny(a) == (unsigned int)(a + 1));
	check(errno == (int)(a & 63) + 1);
}

/* ---- handlers ------------------------------------------------------------------------------------ */

static bool is_blocked(int sig)
{
	sigset_t now;

	pthread_sigmask(SIG_BLOCK, NULL, &now);
	return sigismember(&now, sig) == 1;
}

static void on_alarm(int sig, siginfo_t *info, void *context)
{
	int saved = errno;

	(void)info, (void)context;
	alarms++;
	call_all(alarms);
	check(is_blocked(sig) && !is_blocked(SIGUSR1));
	errno = saved;
}

static void on_queued(int sig, siginfo_t *info, void *context)
{
	int saved = errno;

	(void)context;
	check(info->si_code == SI_QUEUE && info->si_value.sival_int == 4711);
	check(is_blocked(sig) && is_blocked(SIGUSR2) && !is_blocked(SIGUSR1)); /* its sa_mask */
	call_all(7);
	got_queued++;
	errno = saved;
}

static void on_leaving(int sig)
{
	(void)sig;
	if (may_leave) {
		may_leave = 0;
		left++;
		siglongjmp(back, 1);
	}
}

static void on_fault(int sig)
{
	(void)sig;
	check(in_fault);
	if (!in_fault) {
		signal(SIGSEGV, SIG_DFL);
		return;
	}
	in_fault = 0;
	call_all(9);
	faults++;
	siglongjmp(landing, 1);
}

/* On a stack of its own; once in a while it forks. */
static void on_stacked(int sig)
{
	int saved = errno, status;
	stack_t st;
	pid_t pid;

	(void)sig;
	check(!sigaltstack(NULL, &st) && st.ss_flags & SS_ONSTACK);
	call_all(11);
	if (++stacked % 64 == 0) {
		pid = fork();
		if (!pid) {
			bad = 0;
			call_all(13);
			_exit(bad ? 1 : 42);
		}
		while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		check(pid > 0 && WIFEXITED(status) && WEXITSTATUS(status) == 42);
		children++;
	}
	errno = saved;
}

static void handle(int sig, void (*fn)(int), void (*info)(int, siginfo_t *, void *), int flags)
{
	struct sigaction act = { .sa_flags = flags };

	if (info)
		act.sa_sigaction = info;
	else
		act.sa_handler = fn;
	sigemptyset(&act.sa_mask);
	sigaddset(&act.sa_mask, SIGUSR2);
	sigaddset(&act.sa_mask, LEAVING); /* who counts is not left */
	assert_int_equal(sigaction(sig, &act, NULL), 0);
}

/* ---- threads --------------------------------------------------------------------------------------- */

static volatile int *volatile nowhere = (volatile int *)8;

static void fault_once(void)
{
	if (!sigsetjmp(landing, 1)) {
		in_fault = 1;
		*nowhere = 1;
		check(false);
	}
	check(!is_blocked(SIGSEGV));
}

/* A call that a handler leaves in its middle is over: the next one is whole. */
static void leave_once(unsigned long n)
{
	volatile long i;

	if (!sigsetjmp(back, 1)) {
		may_leave = 1;
		for (i = 0; i < 50; i++)
			call_all(i);
		may_leave = 0;
	}
	check(!is_blocked(LEAVING));
	call_all((long)n);
}

static void *working(void *arg)
{
	unsigned long n;
	stack_t st = { .ss_sp = arg, .ss_size = STACK }, off = { .ss_flags = SS_DISABLE };

	check(!sigaltstack(&st, NULL));
	ready++;
	for (n = 0; !stop; n++) {
		call_all((long)n);
		leave_once(n);
		if (n % 16 == 0)
			fault_once();
		if (n % 4 == 0)
			usleep(300); /* a processor for who attaches */
	}
	while (!over) /* who is sent a signal is there to take it */
		usleep(100);
	sigaltstack(&off, NULL);
	return NULL;
}

/* Reads what comes late: SA_RESTART is for all handlers but those of SIGUSR1 and SIGSEGV. */
static int late[2];

static void *reading(void *arg)
{
	char c;

	(void)arg;
	while (read(late[0], &c, 1) == 1 && c)
		restarted++;
	check(c == 0); /* not EINTR */
	return NULL;
}

static void nothing(int sig)
{
	(void)sig;
}

static void *sleeping(void *arg)
{
	struct timespec long_time = { 1000, 0 };

	(void)arg;
	while (!stop) {
		check(nanosleep(&long_time, NULL) == -1 && errno == EINTR);
		interrupted++;
	}
	return NULL;
}

/* Alarms are for the workers: others' calls are counted. */
static void block_but(int sig)
{
	sigset_t all;

	sigfillset(&all);
	if (sig)
		sigdelset(&all, sig);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
}

struct waiting {
	pthread_t sleeper, reader;
};

static void *sending(void *arg)
{
	union sigval value = { .sival_int = 4711 };
	const struct waiting *w = arg;
	unsigned long n;

	block_but(0);
	for (n = 0; !stop; n++) {
		pthread_t to = workers[n % WORKERS];

		if (!pthread_sigqueue(to, QUEUED, value))
			sent_queued++;
		pthread_kill(to, LEAVING);
		pthread_kill(to, STACKED);
		pthread_kill(w->sleeper, SIGUSR1);
		pthread_kill(w->reader, SIGUSR2);
		check(write(late[1], "x", 1) == 1);
		usleep(200);
	}
	return NULL;
}

/* ---- programs ---------------------------------------------------------------------------------------- */

static struct bpf_object *obj;
static struct bpf_program *progs[NPROGS];

static struct bpf_link *attach(int k)
{
	static const void *const places[] = { (void *)work, (void *)work, (void *)middle, (void *)tiny };
	struct perf_event_attr clock = { .type = PERF_TYPE_SOFTWARE, .size = sizeof(clock), .sample_freq = 1000, .freq = 1,
					 .config = PERF_COUNT_SW_CPU_CLOCK };
	LIBBPF_OPTS(bpf_uprobe_opts, opts, .retprobe = k == 1);
	struct bpf_link *l;
	int fd;

	if (k < 4) {
		l = bpf_program__attach_uprobe_opts(progs[k], 0, "/proc/self/exe", file_offset(places[k]), &opts);
	} else if (k < 6) {
		l = bpf_program__attach(progs[k]);
	} else {
		fd = (int)syscall(SYS_perf_event_open, &clock, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
		assert_true(fd >= 0);
		l = bpf_program__attach_perf_event(progs[k], fd);
	}
	assert_non_null(l);
	return l;
}

static unsigned long long runs_of(unsigned int k)
{
	unsigned long long n = 0;

	assert_int_equal(bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(obj, "runs"), &k, &n), 0);
	return n;
}

static void come_and_go(void)
{
	struct bpf_link *links[NPROGS] = { NULL };
	unsigned long attached = 0;
	time_t end = time(NULL) + SECONDS;
	unsigned int k;

	srand(2);
	/* Until some have come and gone, whatever else the machine does. */
	while (time(NULL) < end || attached < 20) {
		k = (unsigned int)rand() % NPROGS;
		if (links[k]) {
			bpf_link__destroy(links[k]);
			links[k] = NULL;
		} else {
			links[k] = attach((int)k);
			attached++;
		}
	}
	for (k = 0; k < NPROGS; k++)
		bpf_link__destroy(links[k]);
	print_message("# attached %lu times; alarms %ld, queued %ld, left %ld, faults %ld, stacked %ld, children %ld, "
		      "restarted %ld, interrupted %ld\n", attached, alarms, got_queued, left, faults, stacked, children,
		      restarted, interrupted);
}

/* What the storm left behind works, and counts exactly. */
static void all_is_as_before(void)
{
	struct bpf_link *links[4];
	unsigned long long before[4];
	unsigned int k;
	long i;

	for (k = 0; k < 4; k++) {
		links[k] = attach((int)k);
		before[k] = runs_of(k);
	}
	for (i = 0; i < 1000; i++)
		call_all(i);
	for (k = 0; k < 4; k++) {
		assert_int_equal(runs_of(k) - before[k], 1000);
		bpf_link__destroy(links[k]);
	}
}

static void a_storm_of_signals_changes_nothing(void **state)
{
	const struct itimerval every = { { 0, 1000 }, { 0, 1000 } }, never = { { 0, 0 }, { 0, 0 } };
	static char stacks[WORKERS][STACK];
	struct waiting w;
	pthread_t sender;
	sigset_t old;
	int i;

	(void)state;
	handle(SIGALRM, NULL, on_alarm, SA_RESTART | SA_SIGINFO);
	handle(QUEUED, NULL, on_queued, SA_RESTART | SA_SIGINFO);
	handle(LEAVING, on_leaving, NULL, SA_RESTART);
	handle(STACKED, on_stacked, NULL, SA_RESTART | SA_ONSTACK);
	handle(SIGSEGV, on_fault, NULL, 0);
	handle(SIGUSR1, nothing, NULL, 0);
	handle(SIGUSR2, nothing, NULL, SA_RESTART);
	assert_int_equal(pipe(late), 0);
	for (i = 0; i < WORKERS; i++)
		assert_int_equal(pthread_create(&workers[i], NULL, working, stacks[i]), 0);
	while (ready != WORKERS)
		usleep(100);
	pthread_sigmask(SIG_BLOCK, NULL, &old);
	block_but(SIGUSR1);
	assert_int_equal(pthread_create(&w.sleeper, NULL, sleeping, NULL), 0);
	block_but(SIGUSR2);
	assert_int_equal(pthread_create(&w.reader, NULL, reading, NULL), 0);
	assert_int_equal(pthread_create(&sender, NULL, sending, &w), 0);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	setitimer(ITIMER_REAL, &every, NULL);
	come_and_go();
	setitimer(ITIMER_REAL, &never, NULL);
	stop = true;
	pthread_join(sender, NULL);
	over = true;
	while (pthread_tryjoin_np(w.sleeper, NULL)) {
		pthread_kill(w.sleeper, SIGUSR1);
		usleep(1000);
	}
	assert_int_equal(write(late[1], "", 1), 1);
	pthread_join(w.reader, NULL);
	for (i = 0; i < WORKERS; i++)
		pthread_join(workers[i], NULL);
	if (bad)
		print_message("# storm.c:%ld\n", (long)bad);
	assert_int_equal(bad, 0);
	assert_int_equal(got_queued, sent_queued);
	assert_true(alarms && got_queued && left && faults && stacked && children && restarted && interrupted);
	all_is_as_before();
	assert_int_equal(bad, 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_storm_of_signals_changes_nothing),
	};
	struct bpf_program *p;
	int n = 0;

	if (ferry_hook())
		return 1;
	obj = bpf_object__open_file(getenv("STORM_OBJECT"), NULL);
	if (!obj || bpf_object__load(obj))
		return 1;
	bpf_object__for_each_program(p, obj)
		progs[n++] = p;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
