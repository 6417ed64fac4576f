// SPDX-License-Identifier: MIT
/* Loops, elements, timers and locks as clang compiles them. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define CLOCK_MONOTONIC 1

struct elem {
	long long fired;
	struct bpf_timer timer;
	long long rounds;
};

struct guarded {
	long long a;
	struct bpf_spin_lock lock;
	int b;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, long long);
	__type(value, struct elem);
} timed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, int);
	__type(value, struct elem);
} timed_array SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, int);
	__type(value, struct guarded);
} guarded SEC(".maps");

struct args {
	long long key, nsecs, flags, ret;
};

static int on_time(void *map, long long *key, struct elem *e)
{
	__sync_fetch_and_add(&e->fired, 1 + *key);
	if (e->rounds > 1) {
		e->rounds--;
		bpf_timer_start(&e->timer, 1000000, 0);
	}
	return 0;
}

SEC("syscall")
int start(struct args *a)
{
	long long key = a->key;
	struct elem *e = bpf_map_lookup_elem(&timed, &key);

	if (!e)
		return -1;
	a->ret = bpf_timer_init(&e->timer, &timed, CLOCK_MONOTONIC);
	bpf_timer_set_callback(&e->timer, on_time);
	return bpf_timer_start(&e->timer, a->nsecs, a->flags);
}

SEC("syscall")
int cancel(struct args *a)
{
	long long key = a->key;
	struct elem *e = bpf_map_lookup_elem(&timed, &key);

	return e ? bpf_timer_cancel(&e->timer) : -1;
}

SEC("syscall")
int not_ready(struct args *a)
{
	long long key = a->key;
	struct elem *e = bpf_map_lookup_elem(&timed, &key);

	if (!e)
		return -1;
	a->ret = bpf_timer_cancel(&e->timer);
	a->nsecs = bpf_timer_init(&e->timer, &timed, 99);
	return bpf_timer_start(&e->timer, 1, 0);
}

static int on_array_time(void *map, int *key, struct elem *e)
{
	e->fired = 100 + *key;
	return 0;
}

SEC("syscall")
int start_array(struct args *a)
{
	int key = a->key;
	struct elem *e = bpf_map_lookup_elem(&timed_array, &key);

	if (!e)
		return -1;
	a->ret = bpf_timer_init(&e->timer, &timed_array, CLOCK_MONOTONIC);
	bpf_timer_set_callback(&e->timer, on_array_time);
	return bpf_timer_start(&e->timer, a->nsecs, 0);
}

static int add_one(__u32 i, void *ctx)
{
	int key = 0;
	struct guarded *g = bpf_map_lookup_elem(&guarded, &key);

	if (!g)
		return 1;
	bpf_spin_lock(&g->lock);
	g->a++;
	g->b++;
	bpf_spin_unlock(&g->lock);
	return 0;
}

SEC("syscall")
int count(struct args *a)
{
	return bpf_loop(a->key, add_one, 0, 0);
}

/* Long in the lock, so that whoever is killed is killed there. */
SEC("syscall")
int hold(struct args *a)
{
	int key = 0;
	struct guarded *g = bpf_map_lookup_elem(&guarded, &key);

	if (!g)
		return 1;
	bpf_spin_lock(&g->lock);
	for (int i = 0; i < 100000; i++)
		asm volatile("" : "+r"(i));
	g->b++;
	bpf_spin_unlock(&g->lock);
	return 0;
}

static long each(void *map, long long *key, struct elem *e, struct args *a)
{
	a->ret += *key * e->rounds;
	return 0;
}

SEC("syscall")
int walk(struct args *a)
{
	struct args sum = {};
	int n = bpf_for_each_map_elem(&timed, each, &sum, 0);

	a->ret = sum.ret;
	return n;
}

unsigned long long load_byte(void *skb, unsigned long long off) asm("llvm.bpf.load.byte");

static __attribute__((noinline)) int byte_at(struct __sk_buff *skb, __u32 off)
{
	return (int)load_byte(skb, off) + 1;
}

/* Loads from the packet in functions: one outside of it ends its function, which returns 0. */
SEC("socket")
int loads(struct __sk_buff *skb)
{
	return byte_at(skb, 3) * 1000000 + byte_at(skb, 13) * 1000 + byte_at(skb, 17);
}

char _license[] SEC("license") = "GPL";
