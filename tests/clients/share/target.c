/* SPDX-License-Identifier: MIT */
/*
 * Calls work(1), work(2)... as told on stdin, a number a line, and says on stdout how many calls
 * there were. `target OPTION...`: first=N: calls before anything else in main; hidden: nobody may trace it;
 * full: it has no descriptors left, until it is told "free" instead of a number;
 * pipes=R,W: instead calls work() with each number (8 bytes) that it reads from R, and then writes it to W.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

__attribute__((noinline, noclone, visibility("default"))) long work(long n);
long work(long n)
{
	volatile long x[2] = { n, 1 };

	return x[0] * 2 + x[1];
}

static int serve(int in, int out)
{
	long n;

	while (read(in, &n, sizeof(n)) == sizeof(n)) {
		work(n);
		if (write(out, &n, sizeof(n)) != sizeof(n))
			return 1;
	}
	return 0;
}

/* Opens all descriptors there are, or closes them. */
static void fill(int on)
{
	static int first = -1, last;
	int fd;

	while (on && (fd = dup(1)) >= 0) {
		first = first < 0 ? fd : first;
		last = fd;
	}
	for (fd = first; !on && fd >= 0 && fd <= last; fd++)
		close(fd);
}

int main(int argc, char **argv)
{
	int in, out;
	long calls = 0, n;
	char line[64];
	int i;

	for (i = 1; i < argc; i++)
		if (!strncmp(argv[i], "first=", 6))
			for (n = atol(argv[i] + 6); n > 0; n--)
				work(++calls);
		else if (!strcmp(argv[i], "hidden"))
			prctl(PR_SET_DUMPABLE, 0);
		else if (!strcmp(argv[i], "full"))
			fill(1);
		else if (sscanf(argv[i], "pipes=%d,%d", &in, &out) == 2)
			return serve(in, out);
	printf("%ld\n", calls);
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		if (!strncmp(line, "closefrom", 9))
			closefrom(3);
		else if (!strncmp(line, "closeall", 8))
			for (i = 3; i < 4096; i++)
				close(i);
		else if (!strncmp(line, "free", 4))
			fill(0);
		else if (!strncmp(line, "fork", 4) && fork()) {
			wait(NULL); /* the child goes on with this conversation */
			return 0;
		}
		for (n = atol(line); n > 0; n--)
			work(++calls);
		printf("%d %ld\n", getpid(), calls);
		fflush(stdout);
	}
	return 0;
}
