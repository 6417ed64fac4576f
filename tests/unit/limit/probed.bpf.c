/* SPDX-License-Identifier: MIT */
/* Programs at probes and system calls that are given limits while they are there: for test_probed.c. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	unsigned int turns, tails;
} count;

/* Not done at once by the compiler. */
static __attribute__((always_inline)) int turn(void)
{
	for (int i = 0; i < 10000; i++) {
		count.turns++;
		asm volatile("" : "+r"(i) : : "memory");
	}
	return 0;
}

SEC("uprobe") int on_entry(void *ctx)
{
	return turn();
}

SEC("uretprobe") int on_return(void *ctx)
{
	return turn();
}

SEC("tracepoint/syscalls/sys_enter_getppid") int on_call(void *ctx)
{
	return turn();
}

extern int scribble(int how) __ksym;

SEC("uprobe") int target(void *ctx)
{
	count.tails++;
	scribble(1);
	return 0;
}

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} next SEC(".maps");

SEC("uprobe") int calls_target(void *ctx)
{
	bpf_tail_call(ctx, &next, 0);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
