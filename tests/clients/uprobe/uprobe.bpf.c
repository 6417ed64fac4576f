/* SPDX-License-Identifier: MIT */
/* Programs on functions of the client itself: what they see goes into maps. */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

struct seen {
	__u64 calls, a, b, ret, ip, cookie;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u64);
	__type(value, struct seen);
} seen SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} records SEC(".maps");

static __always_inline struct seen *of(__u64 key)
{
	struct seen zero = {}, *s = bpf_map_lookup_elem(&seen, &key);

	if (s)
		return s;
	bpf_map_update_elem(&seen, &key, &zero, BPF_NOEXIST);
	return bpf_map_lookup_elem(&seen, &key);
}

SEC("uprobe")
int BPF_KPROBE(entered, long a, long b)
{
	struct seen *s = of(1);

	if (!s)
		return 0;
	__sync_fetch_and_add(&s->calls, 1);
	s->a = a;
	s->b = b;
	s->ip = bpf_get_func_ip(ctx);
	s->cookie = bpf_get_attach_cookie(ctx);
	return 0;
}

SEC("uretprobe")
int BPF_KRETPROBE(returned, long ret)
{
	struct seen *s = of(2);
	__u64 *r;

	if (!s)
		return 0;
	__sync_fetch_and_add(&s->calls, 1);
	s->ret = ret;
	s->cookie = bpf_get_attach_cookie(ctx);
	r = bpf_ringbuf_reserve(&records, 8, 0);
	if (r) {
		*r = ret;
		bpf_ringbuf_submit(r, 0);
	}
	return 0;
}

SEC("uprobe")
int count(void *ctx)
{
	struct seen *s = of(3);

	if (s)
		__sync_fetch_and_add(&s->calls, 1);
	return 0;
}

/* The function is left out where its first argument is 13. */
SEC("uprobe")
int instead(struct pt_regs *ctx)
{
	if (PT_REGS_PARM1(ctx) == 13)
		bpf_override_return(ctx, 99);
	return 0;
}

SEC("uprobe")
int ids(void *ctx)
{
	struct seen *s = of(4);

	if (s)
		s->a = bpf_get_current_uid_gid();
	if (s)
		__sync_fetch_and_add(&s->calls, 1);
	return 0;
}
