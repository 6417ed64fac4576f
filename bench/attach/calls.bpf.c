/* SPDX-License-Identifier: MIT */
/* A counter, and a record in a ring buffer, on system calls. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} hits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} records SEC(".maps");

static __always_inline int count(void)
{
	__u32 zero = 0;
	__u64 *n = bpf_map_lookup_elem(&hits, &zero);

	if (n)
		__sync_fetch_and_add(n, 1);
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_getppid")
int tp_enter(void *ctx)
{
	return count();
}

SEC("tracepoint/syscalls/sys_exit_getppid")
int tp_exit(void *ctx)
{
	return count();
}

SEC("tracepoint/raw_syscalls/sys_enter")
int all_enter(void *ctx)
{
	return count();
}

SEC("raw_tp/sys_enter")
int raw_enter(void *ctx)
{
	return count();
}

SEC("raw_tp/sys_exit")
int raw_exit(void *ctx)
{
	return count();
}

SEC("tracepoint/syscalls/sys_enter_getppid")
int record(void *ctx)
{
	__u64 *r = bpf_ringbuf_reserve(&records, 8, 0);

	if (!r)
		return 0;
	*r = bpf_ktime_get_ns();
	bpf_ringbuf_submit(r, BPF_RB_NO_WAKEUP);
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_mount")
int other(void *ctx)
{
	return count();
}

/* Of a process that is not meant. */
SEC("tracepoint/syscalls/sys_enter_getppid")
int filter(void *ctx)
{
	return bpf_get_current_pid_tgid() >> 32 == 1 ? count() : 0;
}
