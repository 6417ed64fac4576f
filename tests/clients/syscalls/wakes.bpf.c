/* SPDX-License-Identifier: MIT */
/* Tells of what children do, by a ring buffer and by a perf buffer, and wakes whoever waits for it. */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 16);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} perf SEC(".maps");

/* In the kernel others are around: only processes whose names begin with these eight bytes are looked at. */
const volatile __u64 named;

static __always_inline int tell(void *ctx)
{
	char comm[16] = "";
	__u64 id = bpf_get_current_pid_tgid() >> 32;

	bpf_get_current_comm(comm, sizeof(comm));
	if (*(__u64 *)comm != named)
		return 0;
	bpf_ringbuf_output(&ring, &id, sizeof(id), 0);
	bpf_perf_event_output(ctx, &perf, BPF_F_CURRENT_CPU, &id, sizeof(id));
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_execve")
int at_execve(void *ctx)
{
	return tell(ctx);
}

SEC("uprobe//proc/self/exe:probed")
int at_probed(struct pt_regs *ctx)
{
	return tell(ctx);
}
