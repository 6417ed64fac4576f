// SPDX-License-Identifier: MIT
// On many functions at once: which one it was, and with which cookie.
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>

struct hit {
	__u64 calls, ip, cookie;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, struct hit);
} hits SEC(".maps");

int want; /* the process */

static int note(void *ctx, int base)
{
	__u64 cookie = bpf_get_attach_cookie(ctx);
	__u32 key = base + (cookie & 7);
	struct hit *h;

	if (want && bpf_get_current_pid_tgid() >> 32 != want)
		return 0;
	h = bpf_map_lookup_elem(&hits, &key);
	if (!h)
		return 0;
	__sync_fetch_and_add(&h->calls, 1);
	h->ip = bpf_get_func_ip(ctx);
	h->cookie = cookie;
	return 0;
}

SEC("kprobe.multi")
int at_entry(struct pt_regs *ctx)
{
	return note(ctx, 0);
}

SEC("kretprobe.multi")
int at_return(struct pt_regs *ctx)
{
	return note(ctx, 8);
}

SEC("kprobe")
int in_user(struct pt_regs *ctx)
{
	return note(ctx, 16);
}

SEC("kprobe")
int out_user(struct pt_regs *ctx)
{
	return note(ctx, 24);
}

SEC("kprobe")
int alone(struct pt_regs *ctx)
{
	return note(ctx, 32);
}

char LICENSE[] SEC("license") = "GPL";
