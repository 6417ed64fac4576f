/* SPDX-License-Identifier: MIT */
/* Programs that use a module which goes away, and callbacks that use too much: for test_gone.c. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

extern int far(int x) __ksym;
extern const int *where(void) __ksym;
extern const int number __ksym;

#define STEP(i) asm volatile("" : "+r"(i) : : "memory")

struct args {
	unsigned long n, done, ret;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} ring SEC(".maps");

struct element {
	struct bpf_timer timer;
	unsigned long ticks, steps, last;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct element);
} clocks SEC(".maps");

SEC("syscall") int calls(struct args *a)
{
	a->ret = far((int)a->n);
	a->done = 1;
	return 9;
}

SEC("syscall") int calls_holding(struct args *a)
{
	unsigned long *r = bpf_ringbuf_reserve(&ring, 8, 0);

	if (!r)
		return 3;
	a->ret = far((int)a->n);
	bpf_ringbuf_submit(r, 0);
	a->done = 1;
	return 9;
}

/* Can neither go on without the pointer nor end while the record is reserved. */
SEC("syscall") int needs(struct args *a)
{
	unsigned long *r;

	a->done = 1;
	r = bpf_ringbuf_reserve(&ring, 8, 0);
	if (!r)
		return 3;
	a->ret = *where();
	bpf_ringbuf_submit(r, 0);
	return 9;
}

SEC("syscall") int reads(struct args *a)
{
	a->done = 1;
	a->ret = number;
	return 9;
}

SEC("closure") int next(int n)
{
	return far(n);
}

/* What loops do is counted in memory that is read after the end. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct args);
} counts SEC(".maps");

static int far_again(__u32 i, void *unused)
{
	__u32 key = 0;
	struct args *a = bpf_map_lookup_elem(&counts, &key);

	if (!a)
		return 1;
	a->ret = far((int)i);
	a->done++;
	return 0;
}

SEC("syscall") int loops(struct args *a)
{
	bpf_loop((__u32)a->n, far_again, (void *)0, 0);
	return 9;
}

static int count(__u32 i, void *unused)
{
	__u32 key = 0;
	struct args *a = bpf_map_lookup_elem(&counts, &key);

	if (!a)
		return 1;
	a->done++;
	return 0;
}

static int count_many(__u32 i, void *unused)
{
	__u32 key = 0;
	struct args *a = bpf_map_lookup_elem(&counts, &key);

	if (!a)
		return 1;
	a->ret++;
	bpf_loop(1000, count, (void *)0, 0);
	return 0;
}

SEC("syscall") int loops_in_loops(struct args *a)
{
	bpf_loop(1000, count_many, (void *)0, 0);
	return 9;
}

static int tick(void *map, __u32 *key, struct element *e)
{
	e->ticks++;
	for (int i = 0; i < 10000; i++) {
		e->steps++;
		STEP(i);
	}
	e->last = far(41);
	bpf_timer_start(&e->timer, 1000000, 0);
	return 0;
}

SEC("syscall") int starts(struct args *a)
{
	__u32 key = 0;
	struct element *e = bpf_map_lookup_elem(&clocks, &key);

	if (!e)
		return 1;
	bpf_timer_init(&e->timer, &clocks, 1);
	if (bpf_timer_set_callback(&e->timer, tick))
		return 2;
	return bpf_timer_start(&e->timer, a->n, 0) ? 3 : 9;
}

char LICENSE[] SEC("license") = "GPL";
