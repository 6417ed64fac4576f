/* SPDX-License-Identifier: MIT */
/*
 * What is looked at: does what stdin says, a line each, and says on stdout what it did. Options: first=N calls work()
 * so often before it says anything; busy goes on by itself.
 *
 * "call N": work(); "fire N": the USDT probe; "open N": openat(2) of /dev/null; "ask N": getppid(2); "exec N": N
 * commands; "spin MS": so much CPU time in inner(); "fork": a child goes on instead; "where": addresses.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if __has_include(<sys/sdt.h>)
#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>
__attribute__((section(".probes"))) volatile unsigned short across_guarded_semaphore;
#else
static unsigned short across_guarded_semaphore;
#define STAP_PROBE2(provider, name, a, b) (void)(b)
#endif

#define SEEN __attribute__((noinline, noclone, visibility("default")))

static long calls, computed;

SEEN long work(long a, long b);
SEEN long work(long a, long b)
{
	volatile long x[2] = { a, b };

	return x[0] * 100 + x[1];
}

SEEN unsigned long inner(unsigned long n);
SEEN unsigned long inner(unsigned long n)
{
	volatile unsigned long x = n;
	unsigned long i;

	for (i = 0; i < 200000; i++)
		x = x * 7 + i;
	return x;
}

SEEN unsigned long outer(unsigned long ms);
SEEN unsigned long outer(unsigned long ms)
{
	unsigned long x = 0;
	clock_t end = clock() + (clock_t)ms * (CLOCKS_PER_SEC / 1000);

	while (clock() < end)
		x += inner(x);
	return x;
}

__attribute__((noinline, noclone)) static void fire(long x)
{
	if (!across_guarded_semaphore)
		return;
	computed++;
	STAP_PROBE2(across, guarded, x * x, "text");
}

static void run_commands(long n)
{
	while (n--) {
		pid_t pid = fork();

		if (!pid) {
			execl("/bin/true", "true", "one", "two", NULL);
			_exit(1);
		}
		waitpid(pid, NULL, 0);
	}
}

/* By thousands, each said when it is done; half of the time, so that whoever reads comes along. */
static int be_busy(void)
{
	struct timespec t = { 0, 1000000 };
	int i;

	for (;; nanosleep(&t, NULL)) {
		for (i = 0; i < 1000; i++) {
			calls++;
			work(calls, 1);
			fire(calls);
			syscall(SYS_getppid);
		}
		printf("%ld\n", calls);
		fflush(stdout);
	}
	return 0;
}

static void carry_out(const char *what, long n)
{
	long i, sum = 0;

	for (i = 0; !strcmp(what, "call") && i < n; i++)
		sum = work(++calls, 5);
	for (i = 0; !strcmp(what, "fire") && i < n; i++)
		fire(i);
	for (i = 0; !strcmp(what, "open") && i < n; i++)
		close((int)(sum = openat(AT_FDCWD, "/dev/null", O_RDONLY | O_NOCTTY, 0)));
	for (i = 0; !strcmp(what, "ask") && i < n; i++)
		sum = syscall(SYS_getppid);
	if (!strcmp(what, "exec"))
		run_commands(n);
	if (!strcmp(what, "spin"))
		outer((unsigned long)n);
	printf("pid %d calls %ld last %ld enabled %d computed %ld\n", getpid(), calls, sum,
	       across_guarded_semaphore, computed);
}

int main(int argc, char **argv)
{
	char line[64], what[16];
	long n;
	int i;

	for (i = 1; i < argc; i++) {
		if (!strncmp(argv[i], "first=", 6))
			carry_out("call", atol(argv[i] + 6));
		else if (!strcmp(argv[i], "busy"))
			return be_busy();
	}
	if (argc == 1)
		carry_out("", 0);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		n = 0;
		if (sscanf(line, "%15s %ld", what, &n) < 1)
			continue;
		if (!strcmp(what, "fork") && fork()) {
			wait(NULL); /* the child has this conversation now */
			return 0;
		}
		if (!strcmp(what, "where"))
			printf("%lu %lu\n", (unsigned long)inner, (unsigned long)outer);
		else
			carry_out(what, n);
		fflush(stdout);
	}
	return 0;
}
