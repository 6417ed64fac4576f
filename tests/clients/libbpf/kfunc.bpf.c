// SPDX-License-Identifier: MIT
/* Calls into a registered module. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

extern int client_add(int x, int y) __ksym;
extern long client_twice(long x) __ksym;

SEC("xdp") int prog(struct xdp_md *ctx)
{
	return client_add(ctx->data_end - ctx->data, client_twice(4));
}
