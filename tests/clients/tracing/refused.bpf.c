// SPDX-License-Identifier: MIT
/* Programs that the verifier refuses, each loaded by itself. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

struct item {
	int id;
	struct item *next;
} __attribute__((preserve_access_index));

SEC("fentry/fact")
int too_many(__u64 *ctx)
{
	return ctx[1] != 0;
}

SEC("fentry/fact")
int returns_one(__u64 *ctx)
{
	return 1;
}

SEC("fentry/walk")
int writes(__u64 *ctx)
{
	struct item *i = (struct item *)ctx[0];

	i->id = 1;
	return 0;
}

SEC("fentry/fact")
int asks_for_the_result(__u64 *ctx)
{
	__u64 v;

	bpf_get_func_ret(ctx, &v);
	return 0;
}

SEC("fexit/nothing")
int result_of_nothing(__u64 *ctx)
{
	return ctx[1] != 0;
}

char _license[] SEC("license") = "GPL";
