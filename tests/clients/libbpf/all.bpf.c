// SPDX-License-Identifier: MIT
/* Maps of each kind, global variables, subprograms, CO-RE and a ring buffer. */
#include <linux/bpf.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "GPL";

struct event {
	__u32 seq, size;
};

#define MAP(map, kind, max)                                                                         \
	struct {                                                                                   \
		__uint(type, kind);                                                                \
		__uint(max_entries, max);                                                          \
		__type(key, __u32);                                                                \
		__type(value, __u64);                                                              \
	} map SEC(".maps")

MAP(hash, BPF_MAP_TYPE_HASH, 64);
MAP(array, BPF_MAP_TYPE_ARRAY, 8);
MAP(percpu_hash, BPF_MAP_TYPE_PERCPU_HASH, 64);
MAP(percpu_array, BPF_MAP_TYPE_PERCPU_ARRAY, 8);
MAP(lru, BPF_MAP_TYPE_LRU_HASH, 64);

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 65536);
} events SEC(".maps");

int second(struct xdp_md *ctx);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, 4);
	__array(values, int(void *));
} jumps SEC(".maps") = { .values = { [1] = (void *)&second } };

const volatile __u32 factor = 3; /* .rodata */
__u64 runs = 0;                  /* .bss */
__u64 total = 1000;              /* .data */

static __attribute__((noinline)) __u64 scaled(__u64 x)
{
	return x * factor;
}

__attribute__((noinline)) int global_sub(__u32 x)
{
	return scaled(x) + 1;
}

static void count(void *map)
{
	__u32 key = 1;
	__u64 one = 1, *v = bpf_map_lookup_elem(map, &key);

	if (v)
		__sync_fetch_and_add(v, 1);
	else
		bpf_map_update_elem(map, &key, &one, BPF_ANY);
}

SEC("xdp") int work(struct xdp_md *ctx)
{
	__u32 size = ctx->data_end - ctx->data;
	struct event *e;

	runs++;
	total += scaled(size);
	count(&hash);
	count(&array);
	count(&percpu_hash);
	count(&percpu_array);
	count(&lru);
	e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);
	if (e) {
		e->seq = runs;
		e->size = size;
		bpf_ringbuf_submit(e, 0);
	}
	return global_sub(size);
}

SEC("xdp") int first(struct xdp_md *ctx)
{
	bpf_tail_call(ctx, &jumps, 1);
	return 1;
}

SEC("xdp") int second(struct xdp_md *ctx)
{
	return 77;
}

/* A task as no kernel has it: fields move, one is new. */
struct task_struct___other {
	char pad[100];
	int not_there;
	int tgid;
	char comm[16];
} __attribute__((preserve_access_index));

SEC("socket") int core(void *ctx)
{
	struct task_struct___other *t = (void *)0;

	/* What relocation puts in: offsets and existence in the BTF that is shown as the kernel's. */
	return bpf_core_field_exists(t->not_there) * 10000 +
	       bpf_core_field_exists(t->tgid) * 1000 + bpf_core_field_offset(t->tgid) +
	       bpf_core_field_size(t->comm) * 10;
}
