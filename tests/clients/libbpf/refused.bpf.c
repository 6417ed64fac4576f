// SPDX-License-Identifier: MIT
/* Reads a packet without a look at its end. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

SEC("xdp") int prog(struct xdp_md *ctx)
{
	return *(int *)(long)ctx->data;
}
