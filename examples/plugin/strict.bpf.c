/* SPDX-License-Identifier: MIT */
/* Two plug-ins in one object: SEC(".struct_ops") tables, as libbpf knows them from the kernel. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "filter.h"

SEC("struct_ops/strict_accept") int BPF_PROG(strict_accept, const struct query *r, int level)
{
	return r->port == 443 && r->size < 1000 ? level : -1;
}

SEC("struct_ops/strict_count") void BPF_PROG(strict_count, struct query *r)
{
	r->size += 1;
}

SEC("struct_ops/lax_accept") int BPF_PROG(lax_accept, const struct query *r, int level)
{
	return level + 100;
}

SEC(".struct_ops") struct filter_ops strict = {
	.accept = (void *)strict_accept,
	.count = (void *)strict_count,
	.version = 2,
	.name = "strict",
};

SEC(".struct_ops") struct filter_ops lax = {
	.accept = (void *)lax_accept,
	.version = 3,
	.name = "lax",
};

char LICENSE[] SEC("license") = "GPL";
