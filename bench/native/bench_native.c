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
#define TYPES                                                                                      \
	struct point {                                                                             \
		double x, y;                                                                       \
	};                                                                                         \
	struct pair {                                                                              \
		long first, second;                                                                \
	};                                                                                         \
	struct large {                                                                             \
		long v[8];                                                                         \
	};
TYPES
#define TEXT_OF(...) #__VA_ARGS__
#define TEXT(...)    TEXT_OF(__VA_ARGS__)

/* As functions of another file are called: no copies for constants, nothing known of the registers that they leave alone. */
#ifdef __clang__
#define NATIVE __attribute__((noinline))
#else
#define NATIVE __attribute__((noipa))
#endif

NATIVE static int nat_add(int x, int y)
{
	__asm__("");
	return x + y;
}

NATIVE static unsigned long long nat_five(unsigned long long a, unsigned long long b,
							     unsigned long long c, unsigned long long d,
							     unsigned long long e)
{
	__asm__("");
	return a + b + c + d + e;
}

NATIVE static unsigned int nat_mem(const void *mem, unsigned int size)
{
	const unsigned int *p = mem;

	__asm__("");
	return p[0] + p[size / 4 - 1];
}

NATIVE static int nat_digit(int n)
{
	__asm__("");
	return n + 1;
}

NATIVE static long nat_eight(int a, long b, int c, long d, int e, long f, int g, long h)
{
	__asm__("");
	return a + b + c + d + e + f + g + h;
}

NATIVE static double nat_double(double x, double y)
{
	__asm__("");
	return x * 0.5 + y;
}

NATIVE static double nat_mixed(int n, double x, long k, float y)
{
	__asm__("");
	return (double)n + x * 0.5 + (double)k + (double)y;
}

NATIVE static struct point nat_mid(struct point a, struct point b)
{
	__asm__("");
	return (struct point){ (a.x + b.x) * 0.5, (a.y + b.y) * 0.5 };
}

NATIVE static struct pair nat_pair(struct pair p, long k)
{
	__asm__("");
	return (struct pair){ p.first + k, p.second ^ k };
}

NATIVE static struct large nat_large(struct large l, long k)
{
	__asm__("");
	l.v[k & 7] += k;
	return l;
}

NATIVE static unsigned int nat_string(const char *s)
{
	__asm__("");
	return (unsigned int)s[0] + (unsigned int)s[4];
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

static int c_digit(struct args *a)
{
	unsigned long long sum = a->sum;
	int i;

	for (i = 0; i < 1000; i++)
		sum = (unsigned int)nat_digit((int)(sum & 7));
	a->sum = sum;
	return 0;
}

static int c_eight(struct args *a)
{
	unsigned long long sum = a->sum;
	int i;

	for (i = 0; i < 1000; i++)
		sum = (unsigned long long)nat_eight(i, (long)sum, 3, 4, 5, 6, 7, 8);
	a->sum = sum;
	return 0;
}

static int c_double(struct args *a)
{
	double x = 1;
	int i;

	for (i = 0; i < 1000; i++)
		x = nat_double(x, 2.5);
	memcpy(&a->sum, &x, 8);
	return 0;
}

static int c_mixed(struct args *a)
{
	double x = 1;
	int i;

	for (i = 0; i < 1000; i++)
		x = nat_mixed(i, x, 7, 1.5f);
	memcpy(&a->sum, &x, 8);
	return 0;
}

static int c_mid(struct args *a)
{
	struct point p = { 1, 2 }, q = { 3, 4 };
	int i;

	for (i = 0; i < 1000; i++)
		p = nat_mid(p, q);
	memcpy(&a->sum, &p.y, 8);
	return 0;
}

static int c_pair(struct args *a)
{
	struct pair p = { (long)a->sum, 2 };
	int i;

	for (i = 0; i < 1000; i++)
		p = nat_pair(p, i);
	a->sum = (unsigned long long)(p.first + p.second);
	return 0;
}

static int c_large(struct args *a)
{
	struct large l = { { (long)a->sum, 1, 2, 3, 4, 5, 6, 7 } };
	int i;

	for (i = 0; i < 1000; i++)
		l = nat_large(l, i);
	a->sum = (unsigned long long)(l.v[0] + l.v[7]);
	return 0;
}

static int c_string(struct args *a)
{
	char s[8] = "a word";
	unsigned long long sum = a->sum;
	int i;

	for (i = 0; i < 1000; i++) {
		s[0] = (char)(1 + (sum & 63));
		sum = nat_string(s);
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
	{ "string", "a string", c_string, 1000 },
	{ "digit", "an int whose range is checked", c_digit, 1000 },
	{ "eight", "eight integers", c_eight, 1000 },
	{ "dbl", "two doubles", c_double, 1000 },
	{ "mixed", "int, double, long, float", c_mixed, 1000 },
	{ "mid", "two structs of two doubles", c_mid, 1000 },
	{ "pair", "struct of two integers", c_pair, 1000 },
	{ "large", "struct of 64 bytes", c_large, 1000 },
	{ "none", "the same loop without a call", c_none, 1000 },
	{ "empty", "an empty program, run from C", c_empty, 1 },
};

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* what others do on the machine counts less */
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
		FERRY_FUNC("unsigned int nat_string(const char *s__str)", nat_string),
		FERRY_FUNC("int nat_digit(int n __range(0, 9) __check)", nat_digit),
		FERRY_FUNC("long nat_eight(int a, long b, int c, long d, int e, long f, int g, long h)", nat_eight),
		FERRY_FUNC("double nat_double(double x, double y)", nat_double),
		FERRY_FUNC("double nat_mixed(int n, double x, long k, float y)", nat_mixed),
		FERRY_FUNC("struct point nat_mid(struct point a, struct point b)", nat_mid),
		FERRY_FUNC("struct pair nat_pair(struct pair p, long k)", nat_pair),
		FERRY_FUNC("struct large nat_large(struct large l, long k)", nat_large),
	};
	static const struct ferry_module mod = { sizeof(mod), "bench", TEXT(TYPES), funcs,
						 sizeof(funcs) / sizeof(funcs[0]) };
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
