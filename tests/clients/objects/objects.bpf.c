/* SPDX-License-Identifier: MIT */
/* Programs on a function of another process whose maps hold objects of the loader's: each counts in `counts`. */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

enum { TAIL_A, TAIL_B, NO_TAIL, INNER, SENT, STACKS };

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4);
	__uint(key_size, 4);
	__uint(value_size, 4);
} progs SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} first SEC(".maps"), second SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct inner);
} outer SEC(".maps") = { .values = { [0] = &first } };

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 64);
	__uint(key_size, 4);
	__uint(value_size, 127 * 8);
} stacks SEC(".maps");

static __always_inline void count(__u32 key, __u64 n)
{
	__u64 *value = bpf_map_lookup_elem(&counts, &key);

	if (value)
		__sync_fetch_and_add(value, n);
}

SEC("uprobe")
int tail_a(struct pt_regs *ctx)
{
	count(TAIL_A, 1);
	return 0;
}

SEC("uprobe")
int tail_b(struct pt_regs *ctx)
{
	count(TAIL_B, 1);
	return 0;
}

SEC("uprobe")
int jumps(struct pt_regs *ctx)
{
	bpf_tail_call(ctx, &progs, 1);
	count(NO_TAIL, 1);
	return 0;
}

static __always_inline void count_in(void *inner, __u32 key)
{
	__u32 zero = 0;
	__u64 *value = inner ? bpf_map_lookup_elem(inner, &zero) : NULL;

	if (!value)
		return;
	__sync_fetch_and_add(value, 1);
	count(key, 1);
}

SEC("uprobe")
int nests(struct pt_regs *ctx)
{
	__u32 zero = 0;

	count_in(bpf_map_lookup_elem(&outer, &zero), INNER);
	return 0;
}

SEC("uprobe")
int sends(struct pt_regs *ctx)
{
	__u64 record[2] = { bpf_get_current_pid_tgid() >> 32, ctx->rdi };

	if (!bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, record, sizeof(record)))
		count(SENT, 1);
	return 0;
}

SEC("uprobe")
int traces(struct pt_regs *ctx)
{
	if (bpf_get_stackid(ctx, &stacks, BPF_F_USER_STACK) >= 0)
		count(STACKS, 1);
	return 0;
}
