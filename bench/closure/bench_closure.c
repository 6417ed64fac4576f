/* SPDX-License-Identifier: MIT */
/*
 * Programs as C functions against C functions called through a pointer, and qsort with either.
 *   bench_closure closure.bpf.o
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ferry/ferry.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 11
#define CALLS 200000
#define ITEMS 20000

struct item {
	int key, value;
};

static long map_cell;

#define NATIVE __attribute__((noinline, noclone))
NATIVE static long c_empty(void) { __asm__(""); return 0; }
NATIVE static long c_pointer(const struct item *a, const struct item *b) { __asm__(""); return a->key - b->key; }
NATIVE static int c_narrow(int a, short b) { __asm__(""); return a + b; }
NATIVE static double c_flip(double x) { __asm__(""); return -x; }
NATIVE static long c_counted(void) { __asm__(""); ++map_cell; return 0; }
NATIVE static long c_helper(void) { __asm__(""); return getpid(); }

static int c_by_key(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	return x->key < y->key ? -1 : x->key > y->key;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* what others do on the machine counts less */
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* Loops of calls through a pointer, of each type. */
static void loop_empty(void *fn)
{
	long (*volatile f)(void) = (long (*)(void))fn;

	for (int i = 0; i < CALLS; i++)
		f();
}

static void loop_pointer(void *fn)
{
	long (*volatile f)(const struct item *, const struct item *) =
		(long (*)(const struct item *, const struct item *))fn;
	struct item a = { 1, 2 }, b = { 3, 4 };

	for (int i = 0; i < CALLS; i++)
		f(&a, &b);
}

static void loop_narrow(void *fn)
{
	int (*volatile f)(int, short) = (int (*)(int, short))fn;

	for (int i = 0; i < CALLS; i++)
		f(i, 3);
}

static void loop_flip(void *fn)
{
	double (*volatile f)(double) = (double (*)(double))fn;

	for (int i = 0; i < CALLS; i++)
		f(1.5);
}

static const struct {
	const char *prog, *prototype;
	void *native;
	void (*loop)(void *fn);
	const char *what;
} cases[] = {
	{ "empty", "long (void)", (void *)c_empty, loop_empty, "long (void), empty" },
	{ "pointer", "long (const struct item *, const struct item *)", (void *)c_pointer, loop_pointer,
	  "long (const struct item *, const struct item *)" },
	{ "narrow", "int (int, short)", (void *)c_narrow, loop_narrow, "int (int, short)" },
	{ "flip", "double (double)", (void *)c_flip, loop_flip, "double (double)" },
	{ "counted", "long (void)", (void *)c_counted, loop_empty, "counts in a map" },
	{ "helper", "long (void)", (void *)c_helper, loop_empty, "asks for the process (C: getpid)" },
};

static int by_double(const void *a, const void *b)
{
	double d = *(const double *)a - *(const double *)b;

	return d < 0 ? -1 : d > 0;
}

static double median(double *v)
{
	qsort(v, ROUNDS, sizeof(*v), by_double);
	return v[ROUNDS / 2];
}

static void *closure(struct bpf_object *o, const char *prog, const char *prototype)
{
	static const struct ferry_closure_opts opts = { sizeof(opts), "struct item { int key, value; };", 0 };
	struct ferry_closure *c;
	int fd = bpf_program__fd(bpf_object__find_program_by_name(o, prog));

	if (ferry_closure(fd, prototype, &opts, &c)) {
		fprintf(stderr, "closure of %s failed\n", prog);
		exit(1);
	}
	return ferry_closure_code(c);
}

static double sorted(int (*cmp)(const void *, const void *))
{
	static struct item items[ITEMS];
	unsigned int x = 1;
	double t;

	for (int i = 0; i < ITEMS; i++) {
		x = x * 1664525 + 1013904223;
		items[i].key = (int)(x >> 8);
	}
	t = now();
	qsort(items, ITEMS, sizeof(items[0]), cmp);
	return now() - t;
}

int main(int argc, char **argv)
{
	struct bpf_object *o = argc > 1 ? bpf_object__open_file(argv[1], NULL) : NULL;
	double c[ROUNDS], b[ROUNDS], t;
	void *fn;

	if (!o || bpf_object__load(o))
		return 1;
	printf("%-48s %8s %8s %6s\n", "ns a call", "C", "Ferry", "ratio");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		fn = closure(o, cases[i].prog, cases[i].prototype);
		for (int r = 0; r < ROUNDS; r++) {
			t = now();
			cases[i].loop(cases[i].native);
			c[r] = (now() - t) / CALLS;
			t = now();
			cases[i].loop(fn);
			b[r] = (now() - t) / CALLS;
		}
		printf("%-48s %8.2f %8.2f %6.2f\n", cases[i].what, median(c), median(b), median(b) / median(c));
	}
	fn = closure(o, "by_key", "int (const struct item *, const struct item *)");
	for (int r = 0; r < ROUNDS; r++) {
		c[r] = sorted(c_by_key) / ITEMS;
		b[r] = sorted((int (*)(const void *, const void *))fn) / ITEMS;
	}
	printf("%-48s %8.2f %8.2f %6.2f\n", "qsort of 20,000 structs, an item", median(c), median(b),
	       median(b) / median(c));
	bpf_object__close(o);
	return 0;
}
