/* SPDX-License-Identifier: MIT */
/* What a program sees at a USDT probe, by its cookie: every argument, how many, how often. */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/usdt.bpf.h>

char LICENSE[] SEC("license") = "GPL";

struct seen {
	__u64 calls;
	__s64 count;
	__s64 err[12]; /* of bpf_usdt_arg(); the last one is for an argument that no probe has */
	__s64 arg[12];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u64);
	__type(value, struct seen);
} seen SEC(".maps");

static __always_inline struct seen *of(__u64 key)
{
	static const struct seen zero;
	struct seen *s = bpf_map_lookup_elem(&seen, &key);

	if (s)
		return s;
	bpf_map_update_elem(&seen, &key, &zero, BPF_NOEXIST);
	return bpf_map_lookup_elem(&seen, &key);
}

static __always_inline void look(struct pt_regs *ctx, struct seen *s)
{
	long v;
	int i;

	__sync_fetch_and_add(&s->calls, 1);
	s->count = bpf_usdt_arg_cnt(ctx);
#pragma unroll
	for (i = 0; i < 12; i++) {
		v = -1;
		s->err[i] = bpf_usdt_arg(ctx, i, &v);
		s->arg[i] = v;
	}
}

SEC("usdt")
int all(struct pt_regs *ctx)
{
	struct seen *s = of(bpf_usdt_cookie(ctx));

	if (s)
		look(ctx, s);
	return 0;
}

/* Attached by its section's name alone, with arguments as parameters. */
SEC("usdt//proc/self/exe:ferry:automatic")
int BPF_USDT(automatic, long a, int b)
{
	struct seen *s = of(1000);

	if (!s)
		return 0;
	__sync_fetch_and_add(&s->calls, 1);
	s->arg[0] = a;
	s->arg[1] = b;
	return 0;
}
