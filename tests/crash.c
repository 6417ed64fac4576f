/* SPDX-License-Identifier: MIT */
/*
 * Who crashes in a test says what happened where, on standard error, and dies by that signal. cmocka's own handler
 * makes a failure of a crash in the test's thread, and ends all others with exit code 255 and no word.
 *
 * Its handlers are set right before it calls a fixture or a test, so each is called through one that sets ours. They
 * make raw system calls only: what crashed may be the code that stands behind libc's functions here.
 */
#include "test.h"

#include <execinfo.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <ucontext.h>

enum { FRAMES = 16, MAPS_AT_ONCE = 4096 };

/* Those that cmocka handles, and abort's. Not SIGTRAP: that one is Ferry's, and tests look at who has it. */
static const struct {
	int sig;
	const char *name;
	int of_cmocka;
} signals[] = {
	{ SIGSEGV, "SIGSEGV", 1 }, { SIGBUS, "SIGBUS", 1 },   { SIGILL, "SIGILL", 1 },	 { SIGFPE, "SIGFPE", 1 },
	{ SIGSYS, "SIGSYS", 1 },   { SIGABRT, "SIGABRT", 0 },
};
enum { SIGNALS = sizeof(signals) / sizeof(signals[0]) };

static struct {
	const struct CMUnitTest *tests;
	CMFixtureFunction setup, teardown;
	size_t next; /* the test that is running is the one before */
	const char *now;
	struct sigaction before[SIGNALS]; /* ASan's: it says more than we do */
} group;

static int crashed; /* id of the thread that says so: the first one, others wait for the end */

static long raw(long nr, long a, long b, long c, long d)
{
#if defined(__x86_64__)
	register long r10 __asm__("r10") = d;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "0"(nr), "D"(a), "S"(b), "d"(c), "r"(r10)
			 : "rcx", "r11", "memory");
	return result;
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = nr, x0 __asm__("x0") = a, x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c, x3 __asm__("x3") = d;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
	return x0;
#endif
}

struct line {
	char text[512];
	size_t n;
};

static void add(struct line *l, const char *s)
{
	while (*s && *s != '\n' && l->n < sizeof(l->text) - 1)
		l->text[l->n++] = *s++;
}

static void add_number(struct line *l, unsigned long v, unsigned base)
{
	char digits[24], *p = digits + sizeof(digits) - 1;

	*p = '\0';
	do
		*--p = "0123456789abcdef"[v % base];
	while (v /= base);
	add(l, base == 16 ? "0x" : "");
	add(l, p);
}

static void put(struct line *l)
{
	l->text[l->n++] = '\n';
	raw(SYS_write, STDERR_FILENO, (long)l->text, l->n, 0);
	l->n = 0;
}

static unsigned long hex(const char **p)
{
	unsigned long v = 0;

	for (;; (*p)++) {
		if (**p >= '0' && **p <= '9')
			v = v * 16 + (**p - '0');
		else if (**p >= 'a' && **p <= 'f')
			v = v * 16 + (**p - 'a' + 10);
		else
			return v;
	}
}

/* A row of /proc/PID/maps: `from-to perms offset device inode  path`. Is `pc` in it? Then says the file and the place. */
static int add_if_in(struct line *l, const char *row, unsigned long pc)
{
	unsigned long from = hex(&row), to, offset;
	int spaces = 0;

	row += *row == '-';
	to = hex(&row);
	if (pc < from || pc >= to)
		return 0;
	while (*row && *row++ != ' ')
		;
	add(l, *row && row[2] == 'x' ? "" : "(not executable) ");
	while (*row && *row++ != ' ')
		;
	offset = hex(&row);
	while (*row && spaces < 3)
		spaces += *row++ == ' ';
	while (*row == ' ')
		row++;
	add(l, *row && *row != '\n' ? row : "(no file)");
	add(l, "+");
	add_number(l, pc - from + offset, 16);
	return 1;
}

/* ` module+offset` of an address, as addr2line(1) takes it for a library. Is there anything? */
static int add_place(struct line *l, unsigned long pc)
{
	static char buf[MAPS_AT_ONCE + 1]; /* one thread at a time gets here */
	int fd = raw(SYS_openat, AT_FDCWD, (long)"/proc/self/maps", O_RDONLY, 0);
	long have = 0, n;
	int found = 0;

	add(l, " ");
	while (!found && (n = raw(SYS_read, fd, (long)buf + have, MAPS_AT_ONCE - have, 0)) > 0) {
		char *row = buf, *end;

		buf[have += n] = '\0';
		while (!found && (end = strchr(row, '\n'))) {
			found = add_if_in(l, row, pc);
			row = end + 1;
		}
		have -= row - buf;
		memmove(buf, row, have);
	}
	if (!found)
		add(l, "(nothing is mapped there)");
	raw(SYS_close, fd, 0, 0, 0);
	return found;
}

static unsigned long pc_of(const ucontext_t *uc)
{
#if defined(__x86_64__)
	return uc->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
	return uc->uc_mcontext.pc;
#endif
}

/* Of a function that did not get to do anything. */
static unsigned long return_address(const ucontext_t *uc)
{
#if defined(__x86_64__)
	return *(unsigned long *)uc->uc_mcontext.gregs[REG_RSP];
#elif defined(__aarch64__)
	return uc->uc_mcontext.regs[30];
#endif
}

static void say_what(const char *name, const siginfo_t *info, const ucontext_t *uc, long tid)
{
	struct line l = { .n = 0 };
	char thread[16] = "";
	int mapped;

	raw(SYS_prctl, PR_GET_NAME, (long)thread, 0, 0);
	add(&l, "# CRASH: ");
	add(&l, name);
	add(&l, " in test ");
	add(&l, group.now ? group.now : "(none)");
	add(&l, ", process ");
	add_number(&l, raw(SYS_getpid, 0, 0, 0, 0), 10);
	add(&l, ", thread ");
	add_number(&l, tid, 10);
	add(&l, " '");
	add(&l, thread);
	add(&l, info->si_code > 0 ? "', at address " : "', sent by ");
	if (info->si_code > 0)
		add_number(&l, (unsigned long)info->si_addr, 16);
	else
		add_number(&l, info->si_pid, 10);
	add(&l, ", code ");
	add_number(&l, info->si_code & 0xffffffff, 10);
	put(&l);
	add(&l, "# CRASH: pc ");
	add_number(&l, pc_of(uc), 16);
	mapped = add_place(&l, pc_of(uc));
	put(&l);
	if (mapped)
		return;
	add(&l, "# CRASH: from ");
	add_number(&l, return_address(uc), 16);
	add_place(&l, return_address(uc));
	put(&l);
}

static void say_frames(void)
{
	void *frames[FRAMES];
	int n = backtrace(frames, FRAMES);

	for (int i = 0; i < n; i++) {
		struct line l = { .n = 0 };

		add(&l, "# CRASH: frame ");
		add_number(&l, i, 10);
		add(&l, " ");
		add_number(&l, (unsigned long)frames[i], 16);
		add_place(&l, (unsigned long)frames[i]);
		put(&l);
	}
}

/* The handler stays until all is said, for threads that crash meanwhile; who crashes while he says it ends at once. */
static void on_crash(int sig, siginfo_t *info, void *context)
{
	struct {
		void *handler;
		unsigned long flags, restorer, mask;
	} by_default = { 0 };
	int tid = raw(SYS_gettid, 0, 0, 0, 0), first = 0;
	const char *name = "?";

	for (int i = 0; i < SIGNALS; i++)
		if (signals[i].sig == sig)
			name = signals[i].name;
	while (!__atomic_compare_exchange_n(&crashed, &first, tid, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST) && first != tid) {
		first = 0;
		raw(SYS_sched_yield, 0, 0, 0, 0);
	}
	if (first != tid) {
		say_what(name, info, context, tid);
		say_frames();
	}
	raw(SYS_rt_sigaction, sig, (long)&by_default, 0, sizeof(by_default.mask));
	raw(SYS_tgkill, raw(SYS_getpid, 0, 0, 0, 0), tid, sig, 0);
}

static void handle_crashes(void)
{
	struct sigaction ours = { .sa_sigaction = on_crash, .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER }, now;

	for (int i = 0; i < SIGNALS; i++) {
		int sig = signals[i].sig;

		if (group.before[i].sa_handler != SIG_DFL)
			sigaction(sig, &group.before[i], NULL);
		else if (signals[i].of_cmocka || (!sigaction(sig, NULL, &now) && now.sa_handler == SIG_DFL))
			sigaction(sig, &ours, NULL);
	}
}

static int group_setup(void **state)
{
	handle_crashes();
	return group.setup ? group.setup(state) : 0;
}

static int group_teardown(void **state)
{
	handle_crashes();
	return group.teardown(state);
}

static int test_setup(void **state)
{
	const struct CMUnitTest *t = &group.tests[group.next++];

	group.now = t->name;
	handle_crashes();
	return t->setup_func ? t->setup_func(state) : 0;
}

static void test_run(void **state)
{
	handle_crashes();
	group.tests[group.next - 1].test_func(state);
}

static int test_teardown(void **state)
{
	handle_crashes();
	return group.tests[group.next - 1].teardown_func(state);
}

int crash_run_group(const char *name, const struct CMUnitTest *tests, size_t n, CMFixtureFunction setup,
		    CMFixtureFunction teardown)
{
	struct CMUnitTest *through = calloc(n ? n : 1, sizeof(*through));
	void *frame;
	int failed;

	if (!through)
		return -1;
	backtrace(&frame, 1); /* loads the unwinder, which is nothing to do in a handler */
	group.tests = tests;
	group.next = 0;
	group.setup = setup;
	group.teardown = teardown;
	for (int i = 0; i < SIGNALS; i++)
		sigaction(signals[i].sig, NULL, &group.before[i]);
	for (size_t i = 0; i < n; i++) {
		through[i] = tests[i];
		through[i].test_func = test_run;
		through[i].setup_func = test_setup;
		if (tests[i].teardown_func)
			through[i].teardown_func = test_teardown;
	}
	failed = _cmocka_run_group_tests(name, through, n, group_setup, teardown ? group_teardown : NULL);
	group.now = NULL;
	free(through);
	return failed;
}
