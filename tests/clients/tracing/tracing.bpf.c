// SPDX-License-Identifier: MIT
/* Programs on functions of the host's module; see tracing.c. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct item {
	int id;
	struct item *next;
} __attribute__((preserve_access_index));

/* Shared with the host. */
struct {
	__u64 calls, args[8], ret, count, past, func_ip, cookie, pid;
} seen;

SEC("fentry/mix")
int BPF_PROG(mix_entry, signed char a, unsigned short b, int c, long d, _Bool e)
{
	seen.calls++;
	seen.args[0] = (__u64)(long long)a;
	seen.args[1] = b;
	seen.args[2] = (__u64)(long long)c;
	seen.args[3] = (__u64)d;
	seen.args[4] = e;
	seen.func_ip = bpf_get_func_ip(ctx);
	seen.cookie = bpf_get_attach_cookie(ctx);
	return 0;
}

SEC("fexit/mix")
int BPF_PROG(mix_exit, signed char a, unsigned short b, int c, long d, _Bool e, int ret)
{
	__u64 value = 0;

	seen.calls++;
	seen.ret = (__u64)(long long)ret;
	seen.args[0] = (__u64)(long long)a;
	seen.args[1] = b;
	seen.count = bpf_get_func_arg_cnt(ctx);
	bpf_get_func_arg(ctx, 3, &value);
	seen.args[6] = value;
	seen.past = (__u64)bpf_get_func_arg(ctx, 5, &value);
	bpf_get_func_ret(ctx, &value);
	seen.args[5] = value;
	return 0;
}

SEC("fentry/wide")
int wide_entry(__u64 *ctx)
{
	__u64 value = 0;

	seen.calls++;
	for (int i = 0; i < 7; i++)
		seen.args[i] = ctx[i];
	bpf_get_func_arg(ctx, 7, &value);
	seen.args[7] = value;
	seen.ret = ctx[8];
	seen.past = (__u64)bpf_get_func_arg(ctx, 9, &value);
	seen.count = bpf_get_func_arg_cnt(ctx);
	return 0;
}

SEC("fexit/wide")
int wide_exit(__u64 *ctx)
{
	seen.calls++;
	seen.args[7] = ctx[7];
	seen.args[0] = ctx[8];
	seen.ret = ctx[9];
	return 0;
}

/* What is pointed to is read as if by bpf_probe_read_kernel(). */
SEC("fentry/walk")
int BPF_PROG(walk_entry, struct item *first, const char *name)
{
	char text[8] = "";

	seen.calls++;
	seen.args[0] = (__u64)first->id;
	seen.args[1] = (__u64)first->next->id;
	seen.args[2] = (__u64)first->next->next->id; /* NULL: 0 */
	bpf_probe_read_kernel_str(text, sizeof(text), name);
	seen.args[3] = *(__u64 *)text;
	return 0;
}

SEC("fexit/fact")
int BPF_PROG(fact_exit, int n, int ret)
{
	seen.calls++;
	seen.args[n & 7] = (__u64)ret;
	return 0;
}

SEC("fexit/leave")
int BPF_PROG(leave_exit, int n, int ret)
{
	seen.calls++;
	seen.args[0] = (__u64)n;
	seen.ret = (__u64)ret;
	return 0;
}

SEC("fentry/scale")
int BPF_PROG(scale_entry)
{
	return 0;
}

char _license[] SEC("license") = "GPL";
