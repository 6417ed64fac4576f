// SPDX-License-Identifier: MIT
/* Programs that go through objects, elements and threads; see iterators.c. */
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

typedef __u8 u8;
#define RELOCATED __attribute__((preserve_access_index))

struct seq_file {
	__u64 count;
} RELOCATED;
struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 session_id, seq_num;
} RELOCATED;
struct bpf_map {
	enum bpf_map_type map_type;
	__u32 key_size, value_size, max_entries, id;
	char name[16];
} RELOCATED;
struct bpf_prog_aux {
	__u32 id;
	char name[16];
} RELOCATED;
struct bpf_prog {
	enum bpf_prog_type type;
	enum bpf_attach_type expected_attach_type;
	struct bpf_prog_aux *aux;
} RELOCATED;
struct bpf_link {
	__u32 id;
	enum bpf_link_type type;
	struct bpf_prog *prog;
} RELOCATED;
struct task_struct {
	int pid, tgid;
	char comm[16];
	struct task_struct *group_leader;
} RELOCATED;
struct bpf_iter__bpf_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
} RELOCATED;
struct bpf_iter__bpf_prog {
	struct bpf_iter_meta *meta;
	struct bpf_prog *prog;
} RELOCATED;
struct bpf_iter__bpf_link {
	struct bpf_iter_meta *meta;
	struct bpf_link *link;
} RELOCATED;
struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	void *key, *value;
} RELOCATED;
struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
} RELOCATED;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __u64);
} walked SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, __u64);
} row SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} percpu SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} percpu_hash SEC(".maps");

/* Shared with the client. */
struct {
	__u32 width, retries, tgid, unused;
	__u64 calls, ends, sum, last_seq_num;
} data;

static __always_inline int ours(const char *name)
{
	/* The maps of this object are named in full; data sections have its name in front. */
	return name[0] == 'w' || name[0] == 'p' || name[0] == 'r';
}

SEC("iter/bpf_map")
int maps(struct bpf_iter__bpf_map *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct bpf_map *map = ctx->map;
	char name[16];

	if (!map) {
		data.ends++;
		BPF_SEQ_PRINTF(seq, "end %llu\n", ctx->meta->seq_num);
		return 0;
	}
	if (!ctx->meta->seq_num)
		BPF_SEQ_PRINTF(seq, "start\n");
	bpf_probe_read_kernel_str(name, sizeof(name), map->name);
	if (ours(name))
		BPF_SEQ_PRINTF(seq, "%u: %s type %u key %u value %u max %u\n", map->id, name, map->map_type,
			       map->key_size, map->value_size, map->max_entries);
	return 0;
}

SEC("iter/bpf_prog")
int progs(struct bpf_iter__bpf_prog *ctx)
{
	struct bpf_prog *prog = ctx->prog;

	if (!prog)
		return 0;
	BPF_SEQ_PRINTF(ctx->meta->seq, "%u: %s type %u for %u\n", prog->aux->id, prog->aux->name, prog->type,
		       prog->expected_attach_type);
	return 0;
}

SEC("iter/bpf_link")
int links(struct bpf_iter__bpf_link *ctx)
{
	struct bpf_link *link = ctx->link;

	if (!link)
		return 0;
	BPF_SEQ_PRINTF(ctx->meta->seq, "%u: type %u prog %u\n", link->id, link->type, link->prog->aux->id);
	return 0;
}

SEC("iter/bpf_map_elem")
int elems(struct bpf_iter__bpf_map_elem *ctx)
{
	__u32 *key = ctx->key;
	__u64 *value = ctx->value;

	data.calls++;
	data.last_seq_num = ctx->meta->seq_num;
	if (!key || !value) {
		data.ends++;
		return 0;
	}
	data.sum += *value;
	*value += 1000;
	BPF_SEQ_PRINTF(ctx->meta->seq, "%08u\n", *key);
	return 0;
}

/* Each element takes 4 bytes and `width` lines of 64. */
SEC("iter/bpf_map_elem")
int wide(struct bpf_iter__bpf_map_elem *ctx)
{
	static const char line[64] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde\n";
	struct seq_file *seq = ctx->meta->seq;
	__u32 *key = ctx->key, i;

	if (!key)
		return 0;
	bpf_seq_write(seq, key, sizeof(*key));
	for (i = 0; i < 1000 && i < data.width; i++)
		if (bpf_seq_write(seq, line, sizeof(line)))
			break;
	return 0;
}

SEC("iter/bpf_map_elem")
int again(struct bpf_iter__bpf_map_elem *ctx)
{
	__u32 *key = ctx->key;

	data.calls++;
	if (!key)
		return 0;
	if (data.retries && *key == 1) {
		data.retries--;
		bpf_seq_write(ctx->meta->seq, "x", 1);
		return 1;
	}
	BPF_SEQ_PRINTF(ctx->meta->seq, "%u\n", *key);
	return 0;
}

SEC("iter/bpf_map_elem")
int all_cpus(struct bpf_iter__bpf_map_elem *ctx)
{
	__u64 *value = ctx->value;
	__u32 *key = ctx->key;

	if (!key || !value)
		return 0;
	BPF_SEQ_PRINTF(ctx->meta->seq, "%u: %llu\n", *key, value[0]);
	*value = 7; /* of a copy */
	return 0;
}

/* More of the value than the maps here have. */
SEC("iter/bpf_map_elem")
int beyond(struct bpf_iter__bpf_map_elem *ctx)
{
	__u64 *value = ctx->value;

	if (value)
		data.sum += value[900];
	return 0;
}

SEC("iter/bpf_map_elem")
int beyond_key(struct bpf_iter__bpf_map_elem *ctx)
{
	__u64 *key = ctx->key;

	if (key)
		data.sum += key[0];
	return 0;
}

SEC("iter/task")
int tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (!task || task->tgid != data.tgid)
		return 0;
	BPF_SEQ_PRINTF(ctx->meta->seq, "%d %d %s %d\n", task->pid, task->tgid, task->comm, task->group_leader->pid);
	return 0;
}

SEC("iter/bpf_map")
int other_maps(struct bpf_iter__bpf_map *ctx)
{
	if (!ctx->map)
		BPF_SEQ_PRINTF(ctx->meta->seq, "other\n");
	return 0;
}

struct iovec {
	void *iov_base;
	unsigned long iov_len;
} RELOCATED;

SEC("iter/bpf_map")
int shown(struct bpf_iter__bpf_map *ctx)
{
	struct iovec v = { 0, 42 };
	struct btf_ptr p = { .ptr = &v, .type_id = bpf_core_type_id_kernel(struct iovec) };
	char text[64];

	if (ctx->map)
		return 0;
	bpf_seq_printf_btf(ctx->meta->seq, &p, sizeof(p), 0);
	if (bpf_snprintf_btf(text, sizeof(text), &p, sizeof(p), BTF_F_COMPACT) > 0)
		bpf_seq_write(ctx->meta->seq, text, 20);
	return 0;
}

SEC("iter.s/bpf_map")
int sleepable_maps(struct bpf_iter__bpf_map *ctx)
{
	return 0;
}

SEC("iter.s/task")
int sleepable_tasks(struct bpf_iter__task *ctx)
{
	return 0;
}

char _license[] SEC("license") = "GPL";
