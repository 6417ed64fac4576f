/* SPDX-License-Identifier: MIT */
/* Programs that come and go while signals rain: each counts its runs, and reads where nothing is. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} runs SEC(".maps");

static __always_inline int count(__u32 key)
{
	__u64 *n = bpf_map_lookup_elem(&runs, &key), got;

	/* Also in handlers of SIGSEGV; the second is no address at all (not canonical). */
	if (n && bpf_probe_read_user(&got, sizeof(got), (void *)16) &&
	    bpf_probe_read_user(&got, sizeof(got), (void *)(1ull << 62)))
		__sync_fetch_and_add(n, 1);
	return 0;
}

SEC("uprobe") int at_entry(void *ctx)
{
	return count(0);
}

SEC("uretprobe") int at_return(void *ctx)
{
	return count(1);
}

SEC("uprobe") int at_middle(void *ctx)
{
	return count(2);
}

SEC("uprobe") int at_trap(void *ctx)
{
	return count(3);
}

SEC("tracepoint/raw_syscalls/sys_enter") int at_call(void *ctx)
{
	return count(4);
}

SEC("tracepoint/raw_syscalls/sys_exit") int at_call_end(void *ctx)
{
	return count(5);
}

SEC("perf_event") int at_tick(void *ctx)
{
	return count(6);
}
