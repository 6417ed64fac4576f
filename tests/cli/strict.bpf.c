/* SPDX-License-Identifier: MIT */
/* What an owner may do and a stranger may not: keep an address where it can be read. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} seen SEC(".maps");

SEC("xdp") int leak(struct xdp_md *ctx)
{
	__u32 key = 0;
	__u64 *v = bpf_map_lookup_elem(&seen, &key);

	if (v)
		*v = (unsigned long)ctx;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "GPL";
