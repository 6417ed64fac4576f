/* SPDX-License-Identifier: MIT */
/*
 * Native calls from a program against the same loop in C, and what running a program costs.
 *   bench_native calls.bpf.o
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ferry/ferry.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define ROUNDS 11
#define RUNS 300

struct args {
	unsigned long long n, sum;
};

__attribute__((noinline)) static int nat_add(int x, int y)
{
	__asm__("");
	return x + y;
}

__attribute__((noinline)) static unsigned long long nat_five(unsigned long long a, unsigned long long b,
							     unsigned long long c, unsigned long long d,
							     unsigned long long e)
{
	__asm__("");
	return a + b + c + d + e;
}

__attribute__((noinline)) static unsigned int nat_mem(const void *mem, unsigned int size)
{
	const unsigned int *p = mem;

	__asm__("");
	return p[0] + p[size / 4 - 1];
}

/* ---- the loops in C ------------------------------------------------------------------------------ */

static int c_none(struct args *a)
{
	unsigned long long sum = a->sum;
	int i;

	for (i = 0; i < 1000; i++) {
		sum = (unsigned int)((int)sum + i);
		__asm__("" : "+r"(sum));
	}
	a->sum = sum;
	return 0;
}

static int c_add(struct args *a)
{
	unsigned long long sum = a->sum;
	int i;

	for (i = 0; i < 1000; i++)
		sum = (unsigned int)nat_add((int)sum, i);
	a->sum = sum;
	return 0;
}

static int c_five(struct args *a)
{
	unsigned long long sum = a->sum;
	int i;

	for (i = 0; i < 1000; i++)
		sum = nat_five(sum, (unsigned long long)i, 3, 4, 5);
	a->sum = sum;
	return 0;
}

static int c_mem(struct args *a)
{
	unsigned int buf[4] = { 1, 2, 3, 4 };
	unsigned long long sum = a->sum;
	int i;

	for (i = 0; i < 1000; i++) {
		buf[0] = (unsigned int)sum;
		sum = nat_mem(buf, sizeof(buf));
	}
	a->sum = sum;
	return 0;
}

static int c_empty(struct args *a)
{
	(void)a;
	return 0;
}

struct loop {
	const char *prog, *what;
	int (*volatile native)(struct args *);
	int calls;
};

static const struct loop loops[] = {
	{ "add", "int add(int, int)", c_add, 1000 },
	{ "five", "five 64-bit arguments", c_five, 1000 },
	{ "mem", "memory and its size", c_mem, 1000 },
	{ "none", "the same loop without a call", c_none, 1000 },
	{ "empty", "an empty program, run from C", c_empty, 1 },
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v)
{
	qsort(v, ROUNDS, sizeof(*v), by_value);
	return v[ROUNDS / 2];
}

static int measure(struct bpf_object *obj, const struct loop *l)
{
	struct bpf_program *prog = bpf_object__find_program_by_name(obj, l->prog);
	int round, i, runs = l->calls == 1 ? RUNS * 1000 : RUNS;
	struct args in_c = { 0, 7 }, in_bpf = { 0, 7 };
	double c[ROUNDS], bpf[ROUNDS], start;
	struct ferry_runner *r;

	if (!prog || ferry_runner_new(bpf_program__fd(prog), sizeof(struct args), &r) < 0)
		return -1;
	for (round = 0; round < ROUNDS; round++) {
		start = now();
		for (i = 0; i < runs; i++)
			l->native(&in_c);
		c[round] = (now() - start) / runs / l->calls;
		start = now();
		for (i = 0; i < runs; i++)
			ferry_runner_run(r, &in_bpf);
		bpf[round] = (now() - start) / runs / l->calls;
	}
	ferry_runner_free(r);
	if (in_c.sum != in_bpf.sum) {
		fprintf(stderr, "bench_native: %s: %llu in C, %llu in the program\n", l->prog, in_c.sum, in_bpf.sum);
		return -1;
	}
	printf("%-32s %8.2f %8.2f %8.2fx\n", l->what, median(c), median(bpf), median(bpf) / median(c));
	return 0;
}

int main(int argc, char **argv)
{
	static const struct ferry_func funcs[] = {
		FERRY_FUNC("int nat_add(int x, int y)", nat_add),
		FERRY_FUNC("unsigned long long nat_five(unsigned long long a, unsigned long long b, "
			   "unsigned long long c, unsigned long long d, unsigned long long e)", nat_five),
		FERRY_FUNC("unsigned int nat_mem(const void *mem, unsigned int mem__sz)", nat_mem),
	};
	static const struct ferry_module mod = { sizeof(mod), "bench", NULL, funcs, 3 };
	struct bpf_object *obj;
	size_t i;

	if (argc != 2 || ferry_module_register(&mod) < 0)
		return 2;
	obj = bpf_object__open_file(argv[1], NULL);
	if (!obj || bpf_object__load(obj))
		return 1;
	printf("ns a call, median of %d rounds\n%-32s %8s %8s %9s\n", ROUNDS, "", "in C", "program", "ratio");
	for (i = 0; i < sizeof(loops) / sizeof(loops[0]); i++)
		if (measure(obj, &loops[i]))
			return 1;
	bpf_object__close(obj);
	return 0;
}
