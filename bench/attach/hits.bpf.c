/* SPDX-License-Identifier: MIT */
/* A counter, and a record in a ring buffer: what a probe's program usually does. */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/usdt.bpf.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} hits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} own_hits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, __u64);
} hits_by SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, __u64);
} own_hits_by SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} records SEC(".maps");

SEC("uprobe")
int count(void *ctx)
{
	__u32 zero = 0;
	__u64 *n = bpf_map_lookup_elem(&hits, &zero);

	if (n)
		__sync_fetch_and_add(n, 1);
	return 0;
}

SEC("uprobe")
int count_own(void *ctx)
{
	__u32 zero = 0;
	__u64 *n = bpf_map_lookup_elem(&own_hits, &zero);

	if (n)
		++*n;
	return 0;
}

/* As bcc's increment(): by the first argument of the function. */
SEC("uprobe")
int count_by(struct pt_regs *ctx)
{
	__u64 key = ctx->rdi & 7, one = 1, *n = bpf_map_lookup_elem(&hits_by, &key);

	if (n)
		__sync_fetch_and_add(n, 1);
	else
		bpf_map_update_elem(&hits_by, &key, &one, BPF_NOEXIST);
	return 0;
}

SEC("uprobe")
int count_own_by(struct pt_regs *ctx)
{
	__u64 key = ctx->rdi & 7, one = 1, *n = bpf_map_lookup_elem(&own_hits_by, &key);

	if (n)
		++*n;
	else
		bpf_map_update_elem(&own_hits_by, &key, &one, BPF_NOEXIST);
	return 0;
}

/* Calls a helper that may use vector registers. */
SEC("uprobe")
int general(void *ctx)
{
	__u32 zero = 0;
	__u64 one = 1;

	bpf_map_update_elem(&hits, &zero, &one, BPF_ANY);
	return 0;
}

SEC("uprobe")
int record(void *ctx)
{
	__u64 *r = bpf_ringbuf_reserve(&records, 8, 0);

	if (!r)
		return 0;
	*r = bpf_ktime_get_ns();
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	return 0;
}

/* Of a process that is not meant. */
SEC("uprobe")
int filter(void *ctx)
{
	return bpf_get_current_pid_tgid() >> 32 == 1 ? count(ctx) : 0;
}

/* Two arguments by the note's specification. */
SEC("usdt")
int noted(struct pt_regs *ctx)
{
	long a, b;

	return bpf_usdt_arg(ctx, 0, &a) || bpf_usdt_arg(ctx, 1, &b) || a + b == -1 ? 0 : count(ctx);
}
