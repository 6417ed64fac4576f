// SPDX-License-Identifier: MIT
// Processes that begin and end, as tracepoints and raw tracepoints tell of them.
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#include "life.h"

#define READS __attribute__((preserve_access_index))

struct task_struct {
	int pid, tgid;
	struct task_struct *real_parent;
	int exit_code;
	char comm[16];
	unsigned long long start_time;
} READS;

struct linux_binprm {
	const char *filename;
} READS;

struct trace_entry {
	unsigned short type;
	unsigned char flags, preempt_count;
	int pid;
} READS;

struct trace_event_raw_sched_process_exec {
	struct trace_entry ent;
	unsigned int __data_loc_filename;
	int pid, old_pid;
} READS;

struct trace_event_raw_sched_process_fork {
	struct trace_entry ent;
	int parent_pid, child_pid;
} READS;

/* Newer kernels have one of its own, with the same beginning. */
struct ended {
	long common;
	char comm[16];
	int pid, prio;
};

struct trace_event_raw_task_newtask {
	struct trace_entry ent;
	int pid;
	char comm[16];
	unsigned long clone_flags;
} READS;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} rb SEC(".maps");

static struct life *begin(int what)
{
	unsigned long long id = bpf_get_current_pid_tgid();
	struct task_struct *task = (void *)bpf_get_current_task();
	struct life *l = bpf_ringbuf_reserve(&rb, sizeof(*l), 0);

	if (!l)
		return 0;
	__builtin_memset(l, 0, sizeof(*l));
	l->what = what;
	l->pid = id >> 32;
	l->tid = (int)id;
	l->ppid = BPF_CORE_READ(task, real_parent, tgid);
	l->age = bpf_ktime_get_ns() - BPF_CORE_READ(task, start_time);
	bpf_get_current_comm(l->comm, sizeof(l->comm));
	return l;
}

SEC("tp/sched/sched_process_exec")
int on_exec(struct trace_event_raw_sched_process_exec *ctx)
{
	struct life *l = begin(EXEC);

	if (!l)
		return 0;
	l->a = ctx->pid;
	l->b = ctx->old_pid;
	bpf_probe_read_str(l->name, sizeof(l->name), (void *)ctx + (ctx->__data_loc_filename & 0xffff));
	l->flags = ctx->__data_loc_filename >> 16;
	bpf_ringbuf_submit(l, 0);
	return 0;
}

SEC("tp/sched/sched_process_fork")
int on_fork(struct trace_event_raw_sched_process_fork *ctx)
{
	struct life *l = begin(FORK);

	if (!l)
		return 0;
	l->a = ctx->parent_pid;
	l->b = ctx->child_pid;
	bpf_ringbuf_submit(l, 0);
	return 0;
}

SEC("tp/task/task_newtask")
int on_new(struct trace_event_raw_task_newtask *ctx)
{
	struct life *l = begin(NEW);

	if (!l)
		return 0;
	l->a = l->tid;
	l->b = ctx->pid;
	l->flags = ctx->clone_flags;
	bpf_probe_read_kernel(l->name, sizeof(ctx->comm), ctx->comm);
	bpf_ringbuf_submit(l, 0);
	return 0;
}

SEC("tp/sched/sched_process_exit")
int on_exit(struct ended *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct life *l = begin(EXIT);

	if (!l)
		return 0;
	l->a = BPF_CORE_READ(task, exit_code);
	l->b = ctx->prio;
	l->flags = ctx->pid == l->tid;
	bpf_probe_read_kernel(l->name, sizeof(ctx->comm), ctx->comm);
	bpf_ringbuf_submit(l, 0);
	return 0;
}

SEC("raw_tp/sched_process_exec")
int on_raw_exec(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (void *)ctx->args[0];
	struct linux_binprm *bprm = (void *)ctx->args[2];
	struct life *l = begin(RAW_EXEC);

	if (!l)
		return 0;
	l->a = BPF_CORE_READ(task, pid);
	l->b = ctx->args[1];
	bpf_probe_read_str(l->name, sizeof(l->name), BPF_CORE_READ(bprm, filename));
	bpf_ringbuf_submit(l, 0);
	return 0;
}

static void children(int what, struct task_struct *parent, struct task_struct *child, unsigned long long flags)
{
	struct life *l = begin(what);

	if (!l)
		return;
	l->a = parent ? BPF_CORE_READ(parent, pid) : l->tid;
	l->b = BPF_CORE_READ(child, pid);
	l->flags = flags;
	BPF_CORE_READ_STR_INTO(&l->name, child, comm);
	bpf_ringbuf_submit(l, 0);
}

SEC("raw_tp/sched_process_fork")
int on_raw_fork(struct bpf_raw_tracepoint_args *ctx)
{
	children(RAW_FORK, (void *)ctx->args[0], (void *)ctx->args[1], 0);
	return 0;
}

SEC("raw_tp/task_newtask")
int on_raw_new(struct bpf_raw_tracepoint_args *ctx)
{
	children(RAW_NEW, 0, (void *)ctx->args[0], ctx->args[1]);
	return 0;
}

SEC("raw_tp/sched_process_exit")
int on_raw_exit(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (void *)ctx->args[0];
	struct life *l = begin(RAW_EXIT);

	if (!l)
		return 0;
	l->a = BPF_CORE_READ(task, exit_code);
	BPF_CORE_READ_STR_INTO(&l->name, task, comm);
	bpf_ringbuf_submit(l, 0);
	return 0;
}

SEC("tp/syscalls/sys_exit_execve")
int on_execve(void *ctx)
{
	long ret = *(long *)(ctx + 16);
	struct life *l;

	if (ret)
		return 0;
	l = begin(EXECVE_DONE);
	if (l)
		bpf_ringbuf_submit(l, 0);
	return 0;
}

char _license[] SEC("license") = "GPL";
