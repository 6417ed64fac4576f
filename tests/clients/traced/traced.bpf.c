// SPDX-License-Identifier: MIT
// System calls by BTF: tracepoints with typed arguments, and the functions that carry calls out.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct pt_regs {
	unsigned long di, si, dx, ax, orig_ax;
} __attribute__((preserve_access_index));

struct task_struct {
	int pid, tgid;
} __attribute__((preserve_access_index));

struct seen {
	__u64 calls, arg, nr, ret, count, helper;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, struct seen);
} seen SEC(".maps");

struct {
	int want;  /* the process */
	long call; /* the number */
} of;

static struct seen *here(__u32 key)
{
	if (bpf_get_current_pid_tgid() >> 32 != of.want)
		return 0;
	return bpf_map_lookup_elem(&seen, &key);
}

SEC("tp_btf/sys_enter")
int on_enter(__u64 *ctx)
{
	struct pt_regs *regs = (void *)ctx[0];
	struct seen *s = here(0);

	if (!s || ctx[1] != of.call)
		return 0;
	s->calls++;
	s->arg = regs->di;
	s->nr = regs->orig_ax;
	return 7;
}

SEC("tp_btf/sys_exit")
int on_exit(__u64 *ctx)
{
	struct pt_regs *regs = (void *)ctx[0];
	struct seen *s = here(1);

	if (!s || regs->orig_ax != of.call)
		return 0;
	s->calls++;
	s->ret = ctx[1];
	s->nr = regs->ax;
	return 0;
}

SEC("tp_btf/sched_process_fork")
int on_fork(__u64 *ctx)
{
	struct task_struct *parent = (void *)ctx[0], *child = (void *)ctx[1];
	struct seen *s = here(2);

	if (!s)
		return 0;
	s->calls++;
	s->arg = parent->tgid;
	s->ret = child->pid;
	return 0;
}

SEC("fentry/__x64_sys_getpgid")
int on_call(__u64 *ctx)
{
	struct pt_regs *regs = (void *)ctx[0];
	struct seen *s = here(3);
	__u64 arg = 0;

	if (!s)
		return 0;
	s->calls++;
	s->arg = regs->di;
	s->count = bpf_get_func_arg_cnt(ctx);
	bpf_get_func_arg(ctx, 0, &arg);
	bpf_probe_read_kernel(&s->helper, sizeof(s->helper), &((struct pt_regs *)arg)->di);
	return 0;
}

SEC("fexit/__x64_sys_getpgid")
int on_return(__u64 *ctx)
{
	struct pt_regs *regs = (void *)ctx[0];
	struct seen *s = here(4);

	if (!s)
		return 0;
	s->calls++;
	s->arg = regs->di;
	s->ret = ctx[1];
	bpf_get_func_ret(ctx, &s->helper);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
