/* SPDX-License-Identifier: MIT */
/* Programs on a function of other processes: how often, by whom, and a record of each call. */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} calls SEC(".maps"); /* by process */

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

SEC("uprobe")
int entered(struct pt_regs *ctx)
{
	count(bpf_get_current_pid_tgid() >> 32);
	return 0;
}

SEC("uprobe")
int recorded(struct pt_regs *ctx)
{
	struct record *r = bpf_ringbuf_reserve(&records, sizeof(*r), 0);

	if (!r)
		return 0;
	r->pid = bpf_get_current_pid_tgid() >> 32;
	r->pad = 0;
	r->arg = PT_REGS_PARM1(ctx);
	r->cookie = bpf_get_attach_cookie(ctx);
	bpf_ringbuf_submit(r, 0);
	return 0;
}

SEC("uretprobe")
int returned(struct pt_regs *ctx)
{
	struct record *r = bpf_ringbuf_reserve(&records, sizeof(*r), 0);

	if (!r)
		return 0;
	r->pid = bpf_get_current_pid_tgid() >> 32;
	r->pad = 1;
	r->arg = PT_REGS_RC(ctx);
	r->cookie = bpf_get_attach_cookie(ctx);
	bpf_ringbuf_submit(r, 0);
	return 0;
}
