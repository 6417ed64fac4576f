/* SPDX-License-Identifier: MIT */
/* Maps of every kind as elements of arrays and of hashes, used by a target in another process. */
#include <linux/bpf.h>
#include <linux/ptrace.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

struct locked {
	struct bpf_spin_lock lock;
	__u32 pad;
	__u64 n;
};


/* clang describes a type of values in full if an ordinary map that is used has it first. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct locked);
} a_locked SEC(".maps");
SEC("tc")
int describe(void *ctx)
{
	__u32 key = 0;

	return !bpf_map_lookup_elem(&a_locked, &key);
}

/* Two of a type, one for an array of maps, one for a hash of maps. */
#define OUTER(name, what)                                                                          \
	struct {                                                                                   \
		__uint(type, BPF_MAP_TYPE_##what##_OF_MAPS);                                       \
		__uint(max_entries, 2);                                                            \
		__type(key, __u32);                                                                \
		__array(values, struct name##_map);                                                \
	}
#define MAPS(name) MAPS_OF(name, "uprobe", struct pt_regs, PT_REGS_PARM1(ctx))
/* Tracing programs take no locks. */
#define MAPS_RUN(name) MAPS_OF(name, "tc", struct __sk_buff, 2)
#define MAPS_OF(name, section, context, number)                                                    \
	struct name##_map name##_1 SEC(".maps"), name##_2 SEC(".maps");                            \
	OUTER(name, ARRAY) name##_array SEC(".maps");                                              \
	OUTER(name, HASH) name##_hash SEC(".maps");                                                \
	SEC(section) int name(context *ctx)                                                        \
	{                                                                                          \
		__u64 n = number;                                                                  \
		__u32 at = 1;                                                                      \
		void *inner = bpf_map_lookup_elem(&name##_array, &at);                             \
                                                                                                   \
		if (inner)                                                                         \
			name##_do(ctx, inner, n);                                                  \
		inner = bpf_map_lookup_elem(&name##_hash, &at);                                    \
		if (inner)                                                                         \
			name##_do(ctx, inner, n);                                                  \
		return 0;                                                                          \
	}
#define KIND(name, kind, entries, key_type, value_type)                                            \
	struct name##_map {                                                                        \
		__uint(type, BPF_MAP_TYPE_##kind);                                                 \
		__uint(max_entries, entries);                                                      \
		__type(key, key_type);                                                             \
		__type(value, value_type);                                                         \
	};                                                                                         \
	static __always_inline void name##_do(void *ctx, void *inner, __u64 n)

/* Sums n under key 0, which may have to be made first. */
#define SUM(name, key_type)                                                                        \
	key_type key = { 0 };                                                                      \
	__u64 *sum = bpf_map_lookup_elem(inner, &key);                                             \
                                                                                                   \
	if (sum)                                                                                   \
		__sync_fetch_and_add(sum, n);                                                      \
	else                                                                                       \
		bpf_map_update_elem(inner, &key, &n, BPF_ANY)

KIND(hash, HASH, 8, __u64, __u64)
{
	SUM(hash, __u64);
}
MAPS(hash)

KIND(lru, LRU_HASH, 64, __u32, __u64)
{
	SUM(lru, __u32);
}
MAPS(lru)

KIND(array, ARRAY, 4, __u32, __u64)
{
	SUM(array, __u32);
}
MAPS(array)

struct lpm_key {
	__u32 len, bits;
};
struct lpm_map {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 8);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(key_size, 8);
	__uint(value_size, 8);
};
static __always_inline void lpm_do(void *ctx, void *inner, __u64 n)
{
	SUM(lpm, struct lpm_key);
}
MAPS(lpm)

KIND(percpu_array, PERCPU_ARRAY, 4, __u32, __u64)
{
	SUM(percpu_array, __u32);
}
MAPS(percpu_array)

KIND(percpu_hash, PERCPU_HASH, 8, __u32, __u64)
{
	SUM(percpu_hash, __u32);
}
MAPS(percpu_hash)

KIND(locked_hash, HASH, 8, __u32, struct locked)
{
	__u32 key = 0;
	struct locked new = {}, *v = bpf_map_lookup_elem(inner, &key);

	if (!v) {
		bpf_map_update_elem(inner, &key, &new, BPF_NOEXIST);
		v = bpf_map_lookup_elem(inner, &key);
	}
	if (!v)
		return;
	bpf_spin_lock(&v->lock);
	v->n += n;
	bpf_spin_unlock(&v->lock);
}
MAPS_RUN(locked_hash)

KIND(locked_array, ARRAY, 2, __u32, struct locked)
{
	__u32 key = 0;
	struct locked *v = bpf_map_lookup_elem(inner, &key);

	if (!v)
		return;
	bpf_spin_lock(&v->lock);
	v->n += n;
	bpf_spin_unlock(&v->lock);
}
MAPS_RUN(locked_array)

struct queue_map {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 8);
	__uint(value_size, 8);
};
static __always_inline void queue_do(void *ctx, void *inner, __u64 n)
{
	bpf_map_push_elem(inner, &n, BPF_ANY);
}
MAPS(queue)

struct stack_map {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 8);
	__uint(value_size, 8);
};
static __always_inline void stack_do(void *ctx, void *inner, __u64 n)
{
	bpf_map_push_elem(inner, &n, BPF_ANY);
}
MAPS(stack)

struct bloom_map {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(max_entries, 64);
	__uint(value_size, 8);
};
static __always_inline void bloom_do(void *ctx, void *inner, __u64 n)
{
	bpf_map_push_elem(inner, &n, BPF_ANY);
}
MAPS(bloom)

struct ring_map {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
};
static __always_inline void ring_do(void *ctx, void *inner, __u64 n)
{
	bpf_ringbuf_output(inner, &n, sizeof(n), 0);
}
MAPS(ring)

struct buffers_map {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(max_entries, 256);
	__uint(key_size, 4);
	__uint(value_size, 4);
};
static __always_inline void buffers_do(void *ctx, void *inner, __u64 n)
{
	bpf_perf_event_output(ctx, inner, BPF_F_CURRENT_CPU, &n, sizeof(n));
}
MAPS(buffers)

struct traces_map {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 64);
	__uint(key_size, 4);
	__uint(value_size, 127 * 8);
};
static __always_inline void traces_do(void *ctx, void *inner, __u64 n)
{
	bpf_get_stackid(ctx, inner, BPF_F_USER_STACK);
}
MAPS(traces)
