/* SPDX-License-Identifier: MIT */
/*
 * What a program without libc pays for a call: by the seccomp listener of `ferry exec`, by the kernel, and by syscall
 * user dispatch (prctl(2)), the other way to take such calls over: a signal in the same process. And what a call that
 * is none of Ferry's pays in each. `bench_remote [SECONDS-A-ROW]`, linked statically; medians of rounds taken in turns.
 */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <linux/bpf.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "../../tests/kernel_bpf.h"

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_OFF	     0
#define PR_SYS_DISPATCH_ON	     1
#endif

#define ROUNDS 7

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static int map;

static int make_map(void)
{
	union bpf_attr a = { .map_type = BPF_MAP_TYPE_HASH, .key_size = 4, .value_size = 8, .max_entries = 16 };
	unsigned key = 1;
	unsigned long long value = 2;
	int fd = (int)raw_bpf(BPF_MAP_CREATE, &a, sizeof(a));

	memset(&a, 0, sizeof(a));
	a.map_fd = (unsigned)fd;
	a.key = (uintptr_t)&key;
	a.value = (uintptr_t)&value;
	if (fd >= 0 && raw_bpf(BPF_MAP_UPDATE_ELEM, &a, sizeof(a)))
		return -1;
	return fd;
}

static long look_up(void)
{
	unsigned key = 1;
	unsigned long long value = 0;
	union bpf_attr a = { .map_fd = (unsigned)map, .key = (uintptr_t)&key, .value = (uintptr_t)&value };

	return raw_bpf(BPF_MAP_LOOKUP_ELEM, &a, sizeof(a)) || value != 2;
}

static long other(void)
{
	return syscall(SYS_getppid) < 0;
}

/* ---- syscall user dispatch ------------------------------------------------------------------ */

#if defined(__x86_64__)
static volatile char selector;

/* Answers bpf(2) with what a look-up would give; all else is done from here, where it is allowed. */
static void on_sys(int sig, siginfo_t *info, void *context)
{
	greg_t *r = ((ucontext_t *)context)->uc_mcontext.gregs;

	(void)sig;
	selector = PR_SYS_DISPATCH_OFF;
	if (info->si_syscall == SYS_bpf) {
		union bpf_attr *a = (union bpf_attr *)r[REG_RSI];

		*(unsigned long long *)(uintptr_t)a->value = 2;
		r[REG_RAX] = 0;
	} else {
		r[REG_RAX] = syscall(info->si_syscall, r[REG_RDI], r[REG_RSI], r[REG_RDX], r[REG_R10], r[REG_R8], r[REG_R9]);
	}
	selector = PR_SYS_DISPATCH_ON;
	/* sigreturn(2) itself must pass: by an instruction in the region that is always allowed. */
}

extern const char allowed_start[], allowed_end[];
extern void allowed_return(void);
__asm__(".text\n"
	".globl allowed_start, allowed_end, allowed_return\n"
	"allowed_start:\n"
	"allowed_return: mov $15, %eax\n"
	"	syscall\n"
	"	nop\n" /* the address that counts is the one behind the instruction */
	"allowed_end:\n");

struct kernel_action {
	void (*handler)(int, siginfo_t *, void *);
	unsigned long flags;
	void (*restorer)(void);
	unsigned long mask;
};

static int dispatch(int on)
{
	struct kernel_action act = { on_sys, SA_SIGINFO | SA_NODEFER | 0x04000000 /* SA_RESTORER */, allowed_return, 0 };

	selector = PR_SYS_DISPATCH_OFF;
	if (on && syscall(SYS_rt_sigaction, SIGSYS, &act, NULL, 8))
		return -1;
	if (!on)
		return prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_OFF, 0, 0, 0);
	if (prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, allowed_start, allowed_end - allowed_start, &selector))
		return -1;
	selector = PR_SYS_DISPATCH_ON;
	return 0;
}
#else
static int dispatch(int on)
{
	return on ? -1 : 0;
}
#endif

/* ---- rounds --------------------------------------------------------------------------------- */

static double round_of(long (*fn)(void), unsigned n)
{
	double start = now();
	unsigned i;

	for (i = 0; i < n; i++)
		if (fn())
			return -1;
	return (now() - start) / n;
}

static int by_size(const void *a, const void *b)
{
	return *(const double *)a < *(const double *)b ? -1 : *(const double *)a > *(const double *)b;
}

static double median(long (*fn)(void), double seconds)
{
	double ns[ROUNDS], each = round_of(fn, 100);
	int r;

	for (r = 0; each > 0 && r < ROUNDS; r++)
		ns[r] = round_of(fn, (unsigned)(seconds * 1e9 / ROUNDS / each) + 1);
	if (each <= 0)
		return -1;
	qsort(ns, ROUNDS, sizeof(ns[0]), by_size);
	return ns[ROUNDS / 2];
}

/* Under `ferry exec`: two numbers on stdout. */
static int listened(double seconds)
{
	map = make_map();
	printf("%.1f %.1f\n", map < 0 ? -1.0 : median(look_up, seconds), median(other, seconds));
	return 0;
}

static void ask_listener(const char *self, double seconds, double out[2])
{
	char path[PATH_MAX], command[3 * PATH_MAX];
	FILE *f;

	snprintf(path, sizeof(path), "%s", self);
	snprintf(command, sizeof(command), "'%s/../../src/cli/ferry' exec --private -- '%s' listened %g", dirname(path), self,
		 seconds);
	out[0] = out[1] = -1;
	f = popen(command, "r");
	if (!f || fscanf(f, "%lf %lf", &out[0], &out[1]) != 2)
		fprintf(stderr, "bench_remote: ferry exec does not answer\n");
	if (f)
		pclose(f);
}

static void row(const char *name, double ns, double kernel)
{
	if (ns <= 0)
		printf("%-44s %10s\n", name, "not here");
	else if (kernel <= 0)
		printf("%-44s %10.0f\n", name, ns);
	else
		printf("%-44s %10.0f %8.1fx\n", name, ns, ns / kernel);
}

int main(int argc, char **argv)
{
	double seconds = argc > 1 ? atof(argv[1]) : 0.5, kernel, plain, by[2], trapped = -1, others = -1;
	char self[PATH_MAX];
	ssize_t n;

	if (argc > 2 && !strcmp(argv[1], "listened"))
		return listened(atof(argv[2]));
	n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	self[n < 0 ? 0 : n] = '\0';
	plain = median(other, seconds);
	map = make_map();
	kernel = map < 0 ? -1 : median(look_up, seconds);
	ask_listener(self, seconds, by);
	if (!dispatch(1)) {
		trapped = median(look_up, seconds);
		others = median(other, seconds);
		dispatch(0);
	}
	printf("# a program without libc, ns a call, against the kernel\n");
	row("look-up, the kernel", kernel, 0);
	row("look-up, listener of ferry exec", by[0], kernel);
	row("look-up, syscall user dispatch (signal only)", trapped, kernel);
	row("getppid, the kernel", plain, 0);
	row("getppid, below the listener's filter", by[1], plain);
	row("getppid, syscall user dispatch", others, plain);
	return 0;
}
