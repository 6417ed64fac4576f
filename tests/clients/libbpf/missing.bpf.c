// SPDX-License-Identifier: MIT
/* Calls a function that nobody registered, though one of nearly that name is. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

extern int client_ad(int x, int y) __ksym;

SEC("xdp") int prog(struct xdp_md *ctx)
{
	return client_ad(1, 2);
}
