/* SPDX-License-Identifier: MIT */
/* Programs that the verifier refuses, each for one reason, beside one that it accepts. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

SEC("xdp") int good(struct xdp_md *ctx)
{
	return XDP_PASS;
}

SEC("xdp") int no_null_check(struct xdp_md *ctx)
{
	__u32 key = ctx->ingress_ifindex;
	__u64 *value = bpf_map_lookup_elem(&counts, &key);

	return (int)*value;
}

SEC("xdp") int past_the_packet(struct xdp_md *ctx)
{
	unsigned char *data = (void *)(long)ctx->data;

	return data[20];
}

SEC("xdp") int endless(struct xdp_md *ctx)
{
	volatile int x = 1;

	while (x)
		x |= 2;
	return 0;
}

char LICENSE[] SEC("license") = "GPL";
