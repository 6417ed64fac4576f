/* SPDX-License-Identifier: MIT */
/* Writes down system calls of one process by every kind of event: who, which, with what, what came of it. */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <stdbool.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "calls.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 22);
} calls SEC(".maps");

unsigned long long lost;
/* In the kernel others are around: only processes whose names begin with these eight bytes are looked at. */
const volatile __u64 named;

static __always_inline struct call *begin(int kind)
{
	__u64 id = bpf_get_current_pid_tgid();
	char comm[16] = "";
	struct call *c;

	if (named) {
		bpf_get_current_comm(comm, sizeof(comm));
		if (*(__u64 *)comm != named)
			return 0;
	}
	c = bpf_ringbuf_reserve(&calls, sizeof(*c), 0);
	if (!c) {
		__sync_fetch_and_add(&lost, 1);
		return 0;
	}
	__builtin_memset(c, 0, sizeof(*c));
	c->kind = kind;
	c->tid = (unsigned int)id;
	return c;
}

SEC("raw_tp/sys_enter")
int raw_enter(struct bpf_raw_tracepoint_args *ctx)
{
	struct call *c = begin(RAW_ENTER);
	struct pt_regs *r = (void *)ctx->args[0];
	struct pt_regs copy;

	if (!c)
		return 0;
	c->nr = (long)ctx->args[1];
	if (!bpf_probe_read_kernel(&copy, sizeof(copy), r)) {
		c->args[0] = copy.rdi;
		c->args[1] = copy.rsi;
		c->args[2] = copy.rdx;
		c->args[3] = copy.r10;
		c->args[4] = copy.r8;
		c->args[5] = copy.r9;
		c->nargs = 6;
		c->orig = (long)copy.orig_rax;
		c->ret = (long)copy.rax;
		c->sane = copy.rcx == copy.rip && copy.cs == 0x33 && copy.ss == 0x2b &&
			  copy.r11 == copy.eflags;
	}
	bpf_ringbuf_submit(c, BPF_RB_NO_WAKEUP);
	return 0;
}

SEC("raw_tp/sys_exit")
int raw_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct call *c = begin(RAW_EXIT);
	struct pt_regs *r = (void *)ctx->args[0];
	struct pt_regs copy;

	if (!c)
		return 0;
	c->ret = (long)ctx->args[1];
	if (!bpf_probe_read_kernel(&copy, sizeof(copy), r)) {
		c->nr = c->orig = (long)copy.orig_rax;
		c->sane = (long)copy.rax == c->ret;
	}
	bpf_ringbuf_submit(c, BPF_RB_NO_WAKEUP);
	return 0;
}

/* struct trace_event_raw_sys_enter and _exit, as raw_syscalls' format files say. */
struct enter_args {
	__u64 common;
	long id;
	unsigned long args[6];
};
struct exit_args {
	__u64 common;
	long id, ret;
};

SEC("tracepoint/raw_syscalls/sys_enter")
int tp_enter(struct enter_args *ctx)
{
	struct call *c = begin(TP_ENTER);
	int i;

	if (!c)
		return 0;
	c->nr = ctx->id;
	for (i = 0; i < 6; i++)
		c->args[i] = ctx->args[i];
	c->nargs = 6;
	bpf_ringbuf_submit(c, BPF_RB_NO_WAKEUP);
	return 0;
}

SEC("tracepoint/raw_syscalls/sys_exit")
int tp_exit(struct exit_args *ctx)
{
	struct call *c = begin(TP_EXIT);

	if (!c)
		return 0;
	c->nr = ctx->id;
	c->ret = ctx->ret;
	bpf_ringbuf_submit(c, BPF_RB_NO_WAKEUP);
	return 0;
}

/* As syscalls' format files say: the number has four bytes. */
struct one_enter_args {
	__u64 common;
	int nr, pad;
	unsigned long args[6];
};
struct one_exit_args {
	__u64 common;
	int nr, pad;
	long ret;
};

#define ONE_ENTER(name, n)                                                                         \
	SEC("tracepoint/syscalls/sys_enter_" #name)                                                \
	int enter_##name(struct one_enter_args *ctx)                                               \
	{                                                                                          \
		struct call *c = begin(ONE_ENTER);                                                 \
                                                                                                   \
		if (!c)                                                                            \
			return 0;                                                                  \
		c->nr = ctx->nr;                                                                   \
		for (int i = 0; i < n; i++)                                                        \
			c->args[i] = ctx->args[i];                                                 \
		c->nargs = n;                                                                      \
		bpf_ringbuf_submit(c, BPF_RB_NO_WAKEUP);                                           \
		return 0;                                                                          \
	}
#define ONE_EXIT(name)                                                                             \
	SEC("tracepoint/syscalls/sys_exit_" #name)                                                 \
	int exit_##name(struct one_exit_args *ctx)                                                 \
	{                                                                                          \
		struct call *c = begin(ONE_EXIT);                                                  \
                                                                                                   \
		if (!c)                                                                            \
			return 0;                                                                  \
		c->nr = ctx->nr;                                                                   \
		c->ret = ctx->ret;                                                                 \
		bpf_ringbuf_submit(c, BPF_RB_NO_WAKEUP);                                           \
		return 0;                                                                          \
	}
ONE_ENTER(openat, 4)
ONE_EXIT(openat)
ONE_ENTER(read, 3)
ONE_EXIT(read)
ONE_ENTER(getppid, 0)
ONE_EXIT(getppid)

/* The kernel's function for a call gets the registers that the program made it with. */
SEC("?kprobe/__x64_sys_openat")
int func_enter(struct pt_regs *ctx)
{
	struct pt_regs *user = (struct pt_regs *)ctx->rdi, copy;
	struct call *c = begin(FUNC_ENTER);

	if (!c)
		return 0;
	c->nr = (long)ctx->rsi;
	c->orig = (long)bpf_get_func_ip(ctx);
	if (!bpf_probe_read_kernel(&copy, sizeof(copy), user)) {
		c->args[0] = copy.rdi;
		c->args[1] = copy.rsi;
		c->args[2] = copy.rdx;
		c->args[3] = copy.r10;
		c->nargs = 4;
	}
	bpf_ringbuf_submit(c, BPF_RB_NO_WAKEUP);
	return 0;
}

SEC("?kretprobe/__x64_sys_openat")
int func_exit(struct pt_regs *ctx)
{
	struct call *c = begin(FUNC_EXIT);

	if (!c)
		return 0;
	c->nr = 257;
	c->ret = (long)ctx->rax;
	bpf_ringbuf_submit(c, BPF_RB_NO_WAKEUP);
	return 0;
}

SEC("?ksyscall/mkdir")
int refuse(struct pt_regs *ctx)
{
	bpf_override_return(ctx, -28L); /* ENOSPC */
	return 0;
}
