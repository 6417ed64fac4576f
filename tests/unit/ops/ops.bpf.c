/* SPDX-License-Identifier: MIT */
/* Plug-ins for test_ops.c; those named bad_ must not load. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#include "ops_types.h"

SEC("struct_ops/score") int BPF_PROG(score, const struct pair *p, int by)
{
	return (p->a + p->b) * by;
}

SEC("struct_ops/is_big") _Bool BPF_PROG(is_big, unsigned char x)
{
	return x > 100;
}

SEC("struct_ops/reset") void BPF_PROG(reset, struct pair *p)
{
	p->a = 0;
}

SEC("struct_ops/score") int BPF_PROG(bad_score, const struct pair *p, int by)
{
	return ctx[5];
}

SEC("struct_ops/is_big") int BPF_PROG(bad_is_big, unsigned char x)
{
	return x; /* a bool is 0 or 1 */
}

SEC("struct_ops/score") int BPF_PROG(bad_store, const struct pair *p, int by)
{
	((struct pair *)p)->a = 1;
	return 0;
}

SEC(".struct_ops") struct test_ops good = { .score = (void *)score, .is_big = (void *)is_big, .number = 5 };
SEC(".struct_ops") struct test_ops other = { .score = (void *)score, .reset = (void *)reset, .number = 6 };
SEC(".struct_ops") struct test_ops unlucky = { .score = (void *)score, .number = 13 };
SEC(".struct_ops") struct test_ops bad1 = { .score = (void *)bad_score };
SEC(".struct_ops") struct test_ops bad2 = { .is_big = (void *)bad_is_big };
SEC(".struct_ops") struct test_ops bad3 = { .score = (void *)bad_store };

char LICENSE[] SEC("license") = "GPL";
