/* SPDX-License-Identifier: MIT */
/* A profiler: who was running at each tick of a software clock, where, and with which stack. */
#include <linux/bpf.h>
#include <linux/bpf_perf_event.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

#define DEPTH 16

struct sample {
	__u64 count, period, cookie;
	__u64 ip;              /* of the last sample that had a user's stack */
	__u64 stack[DEPTH];
	__s64 size;            /* of the stack, bytes, or what bpf_get_stack() said */
	__u32 pid, cpu;
	char comm[16];
};

/* By thread; of the idle task, whose number is 0 on every processor, by 1 << 31 | processor. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct sample);
} samples SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 1024);
	__uint(key_size, 4);
	__uint(value_size, DEPTH * 8);
} traces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32); /* number of the trace */
	__type(value, __u64);
} by_trace SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} ticks SEC(".maps");

/* Only this process, and the idle task, are counted: on a kernel there are others. */
const volatile __u32 wanted SEC(".rodata.wanted");
static const struct sample zero;

static __always_inline void count(struct bpf_perf_event_data *ctx, __u32 key, __u32 pid)
{
	struct sample *s = bpf_map_lookup_elem(&samples, &key);

	if (!s) {
		bpf_map_update_elem(&samples, &key, &zero, BPF_NOEXIST);
		s = bpf_map_lookup_elem(&samples, &key);
	}
	if (!s)
		return;
	__sync_fetch_and_add(&s->count, 1);
	s->period = ctx->sample_period;
	s->cookie = bpf_get_attach_cookie(ctx);
	s->pid = pid;
	s->cpu = bpf_get_smp_processor_id();
	bpf_get_current_comm(s->comm, sizeof(s->comm));
	s->size = bpf_get_stack(ctx, s->stack, sizeof(s->stack), BPF_F_USER_STACK);
	s->ip = PT_REGS_IP(&ctx->regs);
}

SEC("perf_event")
int profile(struct bpf_perf_event_data *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	__u32 pid = id >> 32, trace;
	__u64 one = 1, *n;

	if (pid && pid != wanted)
		return 0;
	count(ctx, pid ? (__u32)id : 1u << 31 | bpf_get_smp_processor_id(), pid);
	if (!pid)
		return 0;
	trace = bpf_get_stackid(ctx, &traces, BPF_F_USER_STACK | BPF_F_REUSE_STACKID);
	n = bpf_map_lookup_elem(&by_trace, &trace);
	if (n)
		__sync_fetch_and_add(n, 1);
	else
		bpf_map_update_elem(&by_trace, &trace, &one, BPF_NOEXIST);
	return 0;
}

/* As much as a program can do, at any moment. */
SEC("perf_event")
int busy(struct bpf_perf_event_data *ctx)
{
	__u64 *r = bpf_ringbuf_reserve(&ticks, 8, 0);
	char comm[16];
	__u32 key = bpf_get_prandom_u32() % 512 + 512;
	struct sample *s;

	bpf_get_current_comm(comm, sizeof(comm));
	if (r) {
		*r = bpf_ktime_get_ns() + !bpf_get_current_task();
		bpf_ringbuf_submit(r, 0);
	}
	if (bpf_map_update_elem(&samples, &key, &zero, BPF_ANY) == 0 && key % 2)
		bpf_map_delete_elem(&samples, &key);
	bpf_get_stackid(ctx, &traces, BPF_F_USER_STACK | BPF_F_REUSE_STACKID);
	key = 0;
	s = bpf_map_lookup_elem(&samples, &key);
	if (!s)
		bpf_map_update_elem(&samples, &key, &zero, BPF_NOEXIST);
	else
		__sync_fetch_and_add(&s->count, 1);
	return 0;
}
