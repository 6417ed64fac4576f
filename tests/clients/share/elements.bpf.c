/* SPDX-License-Identifier: MIT */
/* Programs that use elements which are objects, on a function of other processes: perf events, programs. */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

struct calls {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} calls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} records SEC(".maps");

struct record {
	__u32 pid, pad;
	__u64 arg, cookie;
};

static __always_inline void count(__u32 key)
{
	__u64 *n, one = 1;

	n = bpf_map_lookup_elem(&calls, &key);
	if (n)
		__sync_fetch_and_add(n, 1);
	else if (bpf_map_update_elem(&calls, &key, &one, BPF_NOEXIST) &&
		 (n = bpf_map_lookup_elem(&calls, &key)))
		__sync_fetch_and_add(n, 1);
}

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__type(key, __u32);
	__type(value, __u32);
} events SEC(".maps");

SEC("uprobe")
int output(struct pt_regs *ctx)
{
	struct record r = { bpf_get_current_pid_tgid() >> 32, 2, PT_REGS_PARM1(ctx),
			    bpf_get_attach_cookie(ctx) };

	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &r, sizeof(r));
	return 0;
}

SEC("uprobe")
int behind(struct pt_regs *ctx)
{
	count(PT_REGS_PARM1(ctx)); /* by argument */
	return 0;
}

SEC("uprobe")
int beside(struct pt_regs *ctx)
{
	count(1000 + PT_REGS_PARM1(ctx));
	return 0;
}

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, int(struct pt_regs *));
} jumps SEC(".maps") = {
	.values = { [1] = (void *)&behind },
};

SEC("uprobe")
int tailed(struct pt_regs *ctx)
{
	bpf_tail_call(ctx, &jumps, 1);
	count(9999); /* there was nothing at 1 */
	return 0;
}

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 2);
	__type(key, __u32);
	__array(values, struct calls);
} outer SEC(".maps") = {
	.values = { [1] = &calls },
};

SEC("uprobe")
int nested(struct pt_regs *ctx)
{
	__u32 at = 1, pid = bpf_get_current_pid_tgid() >> 32;
	void *inner = bpf_map_lookup_elem(&outer, &at);
	__u64 one = 1, *n;

	if (!inner)
		return 0;
	n = bpf_map_lookup_elem(inner, &pid);
	if (n)
		__sync_fetch_and_add(n, 1);
	else
		bpf_map_update_elem(inner, &pid, &one, BPF_ANY);
	return 0;
}
