/* SPDX-License-Identifier: MIT */
/* Loops and calls whose cost with limits bench_limit.c measures. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define STEP(i) asm volatile("" : "+r"(i))

extern int bench_native(int x) __ksym;

struct args {
	unsigned long sum;
};

SEC("syscall") int tight(struct args *a)
{
	for (int i = 0; i < 10000; i++)
		STEP(i);
	return 0;
}

/* A loop of some work: FNV-1a. */
SEC("syscall") int work(struct args *a)
{
	unsigned long h = a->sum;

	for (int i = 0; i < 2000; i++) {
		for (int k = 0; k < 8; k++)
			h = (h ^ (i + k)) * 0x100000001b3ul;
		h ^= h >> 29;
		h += h << 7;
		h ^= (h << 13) ^ (h >> 41);
		STEP(i);
	}
	a->sum = h;
	return 0;
}

SEC("syscall") int native(struct args *a)
{
	int sum = 0;

	for (int i = 0; i < 1000; i++)
		sum += bench_native(i);
	a->sum = sum;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
