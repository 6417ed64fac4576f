/* SPDX-License-Identifier: MIT */
/* Who calls. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} who SEC(".maps");

static __always_inline int note(__u32 key)
{
	__u64 *id = bpf_map_lookup_elem(&who, &key);

	if (id)
		*id = bpf_get_current_pid_tgid();
	return 0;
}

SEC("uprobe")
int function(void *ctx)
{
	return note(0);
}

SEC("ksyscall/getpgrp")
int call(void *ctx)
{
	return note(1);
}
