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

SEC("syscall") int empty(struct args *a)
{
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
