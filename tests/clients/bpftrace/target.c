/* SPDX-License-Identifier: MIT */
/*
 * Does what stdin says, a line each: "spin MS" spends so much CPU time in inner(), called by middle() and outer(), with
 * frame pointers.
 */
#include <stdio.h>
#include <time.h>

static unsigned long long cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

__attribute__((noinline, noclone)) unsigned long inner(unsigned long n);
__attribute__((noinline, noclone)) unsigned long middle(unsigned long n);
__attribute__((noinline, noclone)) unsigned long outer(unsigned long long ns);

unsigned long inner(unsigned long n)
{
	volatile unsigned long x = n;
	unsigned long i;

	for (i = 0; i < 200000; i++)
		x = x * 7 + i;
	return x;
}

unsigned long middle(unsigned long n)
{
	return inner(n) + 1;
}

unsigned long outer(unsigned long long ns)
{
	unsigned long long end = cpu_ns() + ns;
	unsigned long x = 0;

	while (cpu_ns() < end)
		x += middle(x);
	return x;
}

int main(void)
{
	unsigned long x = 0, ms;
	char line[64];

	printf("ready\n");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "spin %lu", &ms) == 1) {
			x += outer(ms * 1000000ull);
			printf("spun\n");
			fflush(stdout);
		}
	}
	return x == 1;
}
