/* SPDX-License-Identifier: MIT */
/* A program of many instructions, refused at its very end. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} m SEC(".maps");

#define ONE x += 3; x ^= x << 5;
#define TEN ONE ONE ONE ONE ONE ONE ONE ONE ONE ONE
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN
#define THOUSAND HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED HUNDRED

SEC("xdp") int at_length(struct xdp_md *ctx)
{
	volatile __u64 x = ctx->ingress_ifindex;
	__u32 key = ctx->ingress_ifindex;

	THOUSAND
	THOUSAND
	THOUSAND
	THOUSAND
	THOUSAND
	THOUSAND
	return (int)*(__u64 *)bpf_map_lookup_elem(&m, &key);
}

char LICENSE[] SEC("license") = "GPL";
