/* SPDX-License-Identifier: MIT */
/* Programs that say where they got by what they find in elements which the loader changes before each call. */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

/* What rounds.c looks at: how often each was reached. */
enum { FIRST, SECOND, NOTHING, PLACES };

struct counts {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, PLACES);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} first_inner SEC(".maps"), second_inner SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} jumps SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} arrays SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct inner);
} hashes SEC(".maps");

static __always_inline void count(void *map, __u32 key)
{
	__u64 *n = bpf_map_lookup_elem(map, &key);

	if (n)
		__sync_fetch_and_add(n, 1);
}

SEC("uprobe")
int counted(struct pt_regs *ctx)
{
	count(&counts, FIRST);
	return 0;
}

SEC("uprobe")
int output(struct pt_regs *ctx)
{
	__u64 n = PT_REGS_PARM1(ctx);

	if (bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &n, sizeof(n)))
		count(&counts, NOTHING);
	return 0;
}

SEC("uprobe")
int first(struct pt_regs *ctx)
{
	count(&counts, FIRST);
	return 0;
}

SEC("uprobe")
int second(struct pt_regs *ctx)
{
	count(&counts, SECOND);
	return 0;
}

SEC("uprobe")
int tailed(struct pt_regs *ctx)
{
	bpf_tail_call(ctx, &jumps, 1);
	count(&counts, NOTHING);
	return 0;
}

static __always_inline void inner_of(void *outer)
{
	__u32 at = 1;
	void *inner = bpf_map_lookup_elem(outer, &at);

	if (inner)
		count(inner, 0);
	else
		count(&counts, NOTHING);
}

SEC("uprobe")
int nested(struct pt_regs *ctx)
{
	inner_of(&arrays);
	return 0;
}

SEC("uprobe")
int hashed(struct pt_regs *ctx)
{
	inner_of(&hashes);
	return 0;
}
