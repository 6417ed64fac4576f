/* SPDX-License-Identifier: MIT */
/* A map that no machine has memory for: refused when it is created. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 0x7fffffff);
	__uint(key_size, 4);
	__uint(value_size, 1 << 24);
} huge SEC(".maps");

SEC("syscall") int use(void *ctx)
{
	int key = 0;

	return bpf_map_lookup_elem(&huge, &key) != 0;
}

char LICENSE[] SEC("license") = "GPL";
