/* SPDX-License-Identifier: MIT */
/* Programs that use too much, or call what fails: for test_limit.c and test_policy.c. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern int crash(int how) __ksym;
extern int fine(int x) __ksym;
extern int slow(int us) __ksym;
extern int fill(void *out__uninit, unsigned int out__sz) __ksym;
extern int wipe_disk(int x) __ksym;

/* Keeps the compiler from doing all turns of a loop at once. */
#define STEP(i) asm volatile("" : "+r"(i) : : "memory")

struct args {
	unsigned long n, done, ret;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} hash SEC(".maps");

SEC("syscall") int turns(struct args *a)
{
	for (int i = 0; i < 10000; i++) {
		a->done = i + 1;
		if (a->done >= a->n)
			return 5;
	}
	return 6;
}

static __attribute__((noinline)) int inner(struct args *a, int from)
{
	for (int i = 0; i < 1000; i++) {
		a->done++;
		STEP(i);
	}
	return from + 1;
}

SEC("syscall") int nested(struct args *a)
{
	int sum = 0;

	for (int i = 0; i < 100; i++)
		sum += inner(a, i);
	a->ret = sum;
	return 7;
}

/* While a record is reserved, the program cannot be ended: it is submitted first. */
SEC("syscall") int holding(struct args *a)
{
	for (int k = 0; k < 100; k++) {
		unsigned long *r = bpf_ringbuf_reserve(&ring, 8, 0);

		if (!r)
			return 3;
		for (int i = 0; i < 100; i++) {
			a->done++;
			STEP(i);
		}
		*r = a->done;
		bpf_ringbuf_submit(r, 0);
	}
	return 4;
}

SEC("syscall") int calls_crash(struct args *a)
{
	a->ret = crash((int)a->n);
	a->done = 1;
	return 9;
}

SEC("syscall") int crash_holding(struct args *a)
{
	unsigned long *r = bpf_ringbuf_reserve(&ring, 8, 0);

	if (!r)
		return 3;
	a->ret = crash((int)a->n);
	bpf_ringbuf_submit(r, 0);
	a->done = 1;
	return 9;
}

SEC("syscall") int calls_fill(struct args *a)
{
	unsigned long buf[4];

	a->ret = fill(buf, sizeof(buf));
	a->done = buf[0] | buf[1] | buf[2] | buf[3];
	return 1;
}

SEC("syscall") int waits(struct args *a)
{
	for (int i = 0; i < 1000; i++) {
		slow((int)a->n);
		a->done++;
	}
	return 2;
}

SEC("syscall") int calls_fine(struct args *a)
{
	a->ret = fine((int)a->n);
	return 0;
}

SEC("syscall") int destroys(struct args *a)
{
	a->ret = wipe_disk((int)a->n);
	return 0;
}

SEC("syscall") int counts(struct args *a)
{
	__u32 key = (__u32)a->n;
	__u64 one = 1;

	a->ret = bpf_map_update_elem(&hash, &key, &one, 0);
	a->done = bpf_get_current_pid_tgid() >> 32;
	return 0;
}

SEC("closure") int closure_turns(int n)
{
	int sum = 0;

	for (int i = 0; i < 10000; i++) {
		if (i >= n)
			break;
		sum += i ^ n;
	}
	return sum;
}

char LICENSE[] SEC("license") = "GPL";
