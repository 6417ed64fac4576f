/* SPDX-License-Identifier: MIT */
/* How long a function takes, in whatever process it runs. An object as for the kernel; read by watch.c. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define SLOTS 40

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, __u32);   /* thread */
	__type(value, __u64); /* when it entered, ns */
} entered SEC(".maps");

/* Calls that took 2^n to 2^(n+1) ns. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} took SEC(".maps");

SEC("uprobe") int enter(void *ctx)
{
	__u32 tid = (__u32)bpf_get_current_pid_tgid();
	__u64 now = bpf_ktime_get_ns();

	bpf_map_update_elem(&entered, &tid, &now, BPF_ANY);
	return 0;
}

static __u32 log2_of(__u64 v)
{
	__u32 n = 0;

	for (int bits = 32; bits; bits /= 2)
		if (v >> bits) {
			v >>= bits;
			n += bits;
		}
	return n;
}

SEC("uretprobe") int leave(void *ctx)
{
	__u32 tid = (__u32)bpf_get_current_pid_tgid(), slot;
	__u64 *since = bpf_map_lookup_elem(&entered, &tid), *count;

	if (!since)
		return 0;
	slot = log2_of(bpf_ktime_get_ns() - *since);
	if (slot >= SLOTS)
		slot = SLOTS - 1;
	count = bpf_map_lookup_elem(&took, &slot);
	if (count)
		__sync_fetch_and_add(count, 1);
	bpf_map_delete_elem(&entered, &tid);
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
