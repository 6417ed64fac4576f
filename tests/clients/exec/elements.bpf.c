// SPDX-License-Identifier: MIT
/* An iterator for `bpftool iter pin`: each element of a map as a line. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define RELOCATED __attribute__((preserve_access_index))

struct seq_file;
struct bpf_iter_meta {
	struct seq_file *seq;
} RELOCATED;
struct bpf_map {
	char name[16];
} RELOCATED;
struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	void *key, *value;
} RELOCATED;

SEC("iter/bpf_map_elem")
int elements(struct bpf_iter__bpf_map_elem *ctx)
{
	__u32 *key = ctx->key;
	__u64 *value = ctx->value;

	if (key && value)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%s %u %llu\n", ctx->map->name, *key, *value);
	return 0;
}

char _license[] SEC("license") = "GPL";
