/* SPDX-License-Identifier: MIT */
/* What programs on a function see: all registers, the function's address, the cookie. */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct seen {
	__u64 calls, func_ip, cookies, sum;
	struct pt_regs regs;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct seen);
} seen SEC(".maps");

static __always_inline int note(struct pt_regs *ctx, __u32 key)
{
	struct seen *s = bpf_map_lookup_elem(&seen, &key);

	if (!s)
		return 0;
	__sync_fetch_and_add(&s->calls, 1);
	s->func_ip = bpf_get_func_ip(ctx);
	s->cookies += bpf_get_attach_cookie(ctx);
	s->sum += ctx->rax;
	bpf_probe_read_kernel(&s->regs, sizeof(s->regs), ctx);
	return 0;
}

SEC("uprobe")
int at_entry(struct pt_regs *ctx)
{
	return note(ctx, 0);
}

SEC("uretprobe")
int at_return(struct pt_regs *ctx)
{
	return note(ctx, 1);
}

/* The same by the context's fields. */
SEC("uprobe")
int fields(struct pt_regs *ctx)
{
	__u32 key = 2;
	struct seen *s = bpf_map_lookup_elem(&seen, &key);

	if (!s)
		return 0;
	s->calls++;
	s->cookies += bpf_get_attach_cookie(ctx);
	s->regs.r15 = ctx->r15;
	s->regs.r14 = ctx->r14;
	s->regs.r13 = ctx->r13;
	s->regs.r12 = ctx->r12;
	s->regs.rbp = ctx->rbp;
	s->regs.rbx = ctx->rbx;
	s->regs.r11 = ctx->r11;
	s->regs.r10 = ctx->r10;
	s->regs.r9 = ctx->r9;
	s->regs.r8 = ctx->r8;
	s->regs.rax = ctx->rax;
	s->regs.rcx = ctx->rcx;
	s->regs.rdx = ctx->rdx;
	s->regs.rsi = ctx->rsi;
	s->regs.rdi = ctx->rdi;
	s->regs.rip = ctx->rip;
	s->regs.cs = ctx->cs;
	s->regs.eflags = ctx->eflags;
	s->regs.rsp = ctx->rsp;
	s->regs.ss = ctx->ss;
	return 0;
}

/* The same by helper, and by what BTF says of its result. */
SEC("uprobe")
int of_task(struct pt_regs *ctx)
{
	__u32 key = 3;
	struct seen *s = bpf_map_lookup_elem(&seen, &key);
	struct pt_regs *regs = (void *)bpf_task_pt_regs(bpf_get_current_task_btf());

	if (!s)
		return 0;
	s->calls++;
	s->sum += regs->rdi + regs->rip;
	bpf_probe_read_kernel(&s->regs, sizeof(s->regs), regs);
	return 0;
}
