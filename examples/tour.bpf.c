/* SPDX-License-Identifier: MIT */
/*
 * A tour: a program that calls native functions of a shared library (tour_module.c), counts in a
 * hash map, reports through a ring buffer and prints.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <ferry/ferry_bpf.h>

struct point {
	int x, y;
};

enum shape { SHAPE_NEAR, SHAPE_FAR };

struct event {
	unsigned int step;
	struct point at;
	unsigned long long distance;
	unsigned int checksum;
};

/* Native functions: described once in the module, checked by the verifier at each call. */
extern long norm1(const struct point *p) __ksym;
extern unsigned int checksum(const void *mem, unsigned int mem__sz) __ksym;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, enum shape);
	__type(value, unsigned long long);
} shapes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} events SEC(".maps");
FERRY_RECORDS(events, event);

const volatile int steps = 6;
unsigned long long total;

static int record(int step, const struct point *p, long distance)
{
	struct event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (!e)
		return -1;
	e->step = step;
	e->at = *p;
	e->distance = distance;
	e->checksum = checksum(p, sizeof(*p));
	bpf_ringbuf_submit(e, 0);
	return 0;
}

SEC("syscall")
int tour(void *ctx)
{
	struct point p = { 0, 0 };
	unsigned long long one = 1, *count;
	enum shape shape;
	long distance;
	int i;

	for (i = 0; i < steps && i < 64; i++) {
		p.x += i;
		p.y -= 2 * i;
		distance = norm1(&p);
		shape = distance > 12 ? SHAPE_FAR : SHAPE_NEAR;
		count = bpf_map_lookup_elem(&shapes, &shape);
		if (count)
			__sync_fetch_and_add(count, 1);
		else
			bpf_map_update_elem(&shapes, &shape, &one, BPF_NOEXIST);
		if (record(i, &p, distance))
			return -1;
		total += distance;
	}
	bpf_printk("walked %d steps, %llu in all", steps, total);
	return (int)total;
}

char LICENSE[] SEC("license") = "GPL";
