/* SPDX-License-Identifier: MIT */
/* Loops around native calls, the same as bench_native.c does in C. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct args {
	unsigned long long n, sum;
};

extern int nat_add(int x, int y) __ksym;
extern unsigned long long nat_five(unsigned long long a, unsigned long long b, unsigned long long c,
				   unsigned long long d, unsigned long long e) __ksym;
extern unsigned int nat_mem(const void *mem, unsigned int mem__sz) __ksym;
extern unsigned int nat_string(const char *s__str) __ksym;
extern int nat_digit(int n) __ksym;
extern double nat_double(double x, double y) __ksym;
extern double nat_mixed(int n, double x, long k, float y) __ksym;

struct nat_eight_args {
	int a;
	long b;
	int c;
	long d;
	int e;
	long f;
	int g;
	long h;
};
extern long nat_eight(const struct nat_eight_args *args) __ksym;

struct point {
	double x, y;
};
struct pair {
	long first, second;
};
struct large {
	long v[8];
};
extern void nat_mid(struct point *result, const struct point *a, const struct point *b) __ksym;
extern void nat_pair(struct pair *result, const struct pair *p, long k) __ksym;
extern void nat_large(struct large *result, const struct large *l, long k) __ksym;

SEC("syscall") int none(struct args *a)
{
	unsigned long long sum = a->sum;
	int i;

	for (i = 0; i < 1000; i++)
		sum = (unsigned int)((int)sum + i);
	a->sum = sum;
	return 0;
}

SEC("syscall") int add(struct args *a)
{
	unsigned long long sum = a->sum;
	int i;

	for (i = 0; i < 1000; i++)
		sum = (unsigned int)nat_add((int)sum, i);
	a->sum = sum;
	return 0;
}

SEC("syscall") int five(struct args *a)
{
	unsigned long long sum = a->sum;
	int i;

	for (i = 0; i < 1000; i++)
		sum = nat_five(sum, i, 3, 4, 5);
	a->sum = sum;
	return 0;
}

SEC("syscall") int mem(struct args *a)
{
	unsigned int buf[4] = { 1, 2, 3, 4 };
	unsigned long long sum = a->sum;
	int i;

	for (i = 0; i < 1000; i++) {
		buf[0] = sum;
		sum = nat_mem(buf, sizeof(buf));
	}
	a->sum = sum;
	return 0;
}

SEC("syscall") int string(struct args *a)
{
	char s[8] = "a word";
	unsigned long long sum = a->sum;
	int i;

	for (i = 0; i < 1000; i++) {
		s[0] = 1 + (sum & 63);
		sum = nat_string(s);
	}
	a->sum = sum;
	return 0;
}

SEC("syscall") int digit(struct args *a)
{
	unsigned long long sum = a->sum;
	int i;

	for (i = 0; i < 1000; i++)
		sum = (unsigned int)nat_digit(sum & 7);
	a->sum = sum;
	return 0;
}

SEC("syscall") int eight(struct args *a)
{
	struct nat_eight_args args = { 0, 0, 3, 4, 5, 6, 7, 8 };
	unsigned long long sum = a->sum;
	int i;

	for (i = 0; i < 1000; i++) {
		args.a = i;
		args.b = sum;
		sum = nat_eight(&args);
	}
	a->sum = sum;
	return 0;
}

SEC("syscall") int dbl(struct args *a)
{
	double x = 1;
	int i;

	for (i = 0; i < 1000; i++)
		x = nat_double(x, 2.5);
	__builtin_memcpy(&a->sum, &x, 8);
	return 0;
}

SEC("syscall") int mixed(struct args *a)
{
	double x = 1;
	int i;

	for (i = 0; i < 1000; i++)
		x = nat_mixed(i, x, 7, 1.5f);
	__builtin_memcpy(&a->sum, &x, 8);
	return 0;
}

SEC("syscall") int mid(struct args *a)
{
	struct point p = { 1, 2 }, q = { 3, 4 };
	int i;

	for (i = 0; i < 1000; i++)
		nat_mid(&p, &p, &q);
	__builtin_memcpy(&a->sum, &p.y, 8);
	return 0;
}

SEC("syscall") int pair(struct args *a)
{
	struct pair p = { a->sum, 2 };
	int i;

	for (i = 0; i < 1000; i++)
		nat_pair(&p, &p, i);
	a->sum = p.first + p.second;
	return 0;
}

SEC("syscall") int large(struct args *a)
{
	struct large l = { { a->sum, 1, 2, 3, 4, 5, 6, 7 } };
	int i;

	for (i = 0; i < 1000; i++)
		nat_large(&l, &l, i);
	a->sum = l.v[0] + l.v[7];
	return 0;
}

SEC("syscall") int empty(struct args *a)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
