/* SPDX-License-Identifier: MIT */
/* A counter for each event, by its cookie; with `only` set, for that process alone. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

const volatile __u32 only = 0;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} hits SEC(".maps");

static __always_inline int count(void *ctx)
{
	__u32 key;
	__u64 *n;

	if (only && bpf_get_current_pid_tgid() >> 32 != only)
		return 0;
	key = bpf_get_attach_cookie(ctx);
	n = bpf_map_lookup_elem(&hits, &key);
	if (n)
		__sync_fetch_and_add(n, 1);
	return 0;
}

SEC("uprobe")
int entered(void *ctx)
{
	return count(ctx);
}

SEC("tracepoint/syscalls/sys_enter_read")
int called(void *ctx)
{
	return count(ctx);
}
