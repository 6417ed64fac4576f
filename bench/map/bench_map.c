/* SPDX-License-Identifier: MIT */
/*
 * Map look-up, update and ring buffer against the kernel's in the same run. `bench_map
 * [ENTRIES...]`, 10000 when none is given. Ferry's column is a call of the operation as generated
 * code makes it; the kernel's is the same loop as a program under BPF_PROG_TEST_RUN, and, from user
 * space, bpf(2).
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "kernel.h"
#include "map/map.h"

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

static void cell(double v)
{
	if (v > 0)
		printf(" %9.1f", v);
	else
		printf(" %9s", "-");
}

static void row(const char *what, u32 key, u32 entries, int threads, double ferry, double kernel)
{
	printf("%-18s %4u %9u %7d", what, key, entries, threads);
	cell(ferry);
	cell(kernel);
	if (ferry > 0 && kernel > 0)
		printf(" %8.2f", ferry / kernel);
	printf("\n");
	fflush(stdout);
}

/*
 * Time that this thread ran: the kernel's figure leaves out the time that others had the CPU, so
 * Ferry's does.
 */
static double now_on_cpu(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (double)ts.tv_sec * 1e9 + (double)ts.tv_nsec;
}

/* ---- one measurement: a loop over random keys, on some threads ------------------------------ */

struct job {
	struct map *m;
	int prog; /* the kernel's; -1 for Ferry */
	u32 key_size, entries, seed;
	enum kernel_op op;
	u64 n;
	double ns; /* for one operation */
	u64 sum;
};

static void *run_ferry(void *arg)
{
	struct job *j = arg;
	u64 key[8] = { 0 }, state = j->seed, i, value = 1, sum = 0;
	double start = now_on_cpu();

	for (i = 0; i < j->n; i++) {
		state = state * 1103515245 + 12345;
		key[0] = (state >> 32) * j->entries >> 32;
		if (j->op == KERNEL_LOOKUP) {
			u64 *v = j->m->ops->lookup(j->m, key);

			if (v)
				sum += *v;
		} else {
			j->m->ops->update(j->m, key, &value, BPF_ANY);
		}
	}
	j->ns = (now_on_cpu() - start) / (double)j->n;
	j->sum = sum;
	return NULL;
}

static void *run_kernel(void *arg)
{
	struct job *j = arg;
	double d = kernel_run(j->prog, (u32)(j->n / KERNEL_LOOP));

	j->ns = d / KERNEL_LOOP;
	return NULL;
}

/* ns for an operation on each thread, all running at once; -1 when it did not work. */
static double measure(const struct job *proto, int threads, double seconds)
{
	struct job jobs[8];
	pthread_t ids[8];
	double ns = 0;
	int i;

	jobs[0] = *proto;
	jobs[0].n = 20 * KERNEL_LOOP; /* how many fit in the time */
	(proto->prog < 0 ? run_ferry : run_kernel)(&jobs[0]);
	if (jobs[0].ns <= 0)
		return -1;
	for (i = 0; i < threads; i++) {
		double n = seconds * 1e9 / jobs[0].ns;

		jobs[i] = i ? *proto : jobs[0];
		jobs[i].n = (u64)n / KERNEL_LOOP * KERNEL_LOOP + KERNEL_LOOP;
		jobs[i].seed = 77u + (u32)i * 7919;
	}
	jobs[0].ns = 0;
	for (i = 1; i < threads; i++) {
		jobs[i].n = jobs[0].n;
	}
	for (i = 0; i < threads; i++)
		pthread_create(&ids[i], NULL, proto->prog < 0 ? run_ferry : run_kernel, &jobs[i]);
	for (i = 0; i < threads; i++) {
		pthread_join(ids[i], NULL);
		ns += jobs[i].ns / threads;
	}
	return ns;
}

static void fill(struct map *m, int kmap, u32 key_size, u32 entries)
{
	const u32 batch = 100000;
	u8 *keys = calloc(batch, key_size);
	u64 *values = calloc(batch, 8);
	u32 i, at = 0;

	for (i = 0; i < entries; i++) {
		u64 key[8] = { i }, v = i;

		m->ops->update(m, key, &v, BPF_ANY);
		memcpy(keys + (size_t)at * key_size, key, key_size);
		values[at++] = i;
		if (at == batch || i + 1 == entries) {
			if (kmap >= 0)
				kernel_fill(kmap, keys, values, at);
			at = 0;
		}
	}
	free(keys);
	free(values);
}

static void from_user_space(struct map *m, int kmap, u32 key_size, u32 entries)
{
	u64 key[8] = { 0 }, v, i;
	double t0, ferry, kernel = -1;

	t0 = now_on_cpu();
	for (i = 0; i < 200000; i++) {
		key[0] = i * 7919 % entries;
		map_lookup_user(m, key, &v, 0);
	}
	ferry = (now_on_cpu() - t0) / 200000;
	if (kmap >= 0) {
		t0 = now_on_cpu();
		for (i = 0; i < 200000; i++) {
			key[0] = i * 7919 % entries;
			kernel_lookup(kmap, key, &v);
		}
		kernel = (now_on_cpu() - t0) / 200000;
	}
	row("user lookup", key_size, entries, 1, ferry, kernel);
}

static void bench_type(const char *name, u32 type, u32 key_size, u32 entries, double seconds)
{
	static const char *const ops[] = { "lookup", "update" };
	struct map_attr attr = { .type = type,
				 .key_size = key_size,
				 .value_size = 8,
				 .max_entries = entries,
				 .name = "bench" };
	int kmap = kernel_map(type, key_size, 8, entries), threads;
	struct map *m;
	char what[32];
	u32 op;

	if (map_create(&attr, &m, NULL) < 0) {
		printf("cannot make a map of %u entries\n", entries);
		return;
	}
	fill(m, kmap, key_size, entries);
	for (op = KERNEL_LOOKUP; op <= KERNEL_UPDATE; op++) {
		int prog = kmap >= 0 ? kernel_prog(op, kmap, key_size, entries) : -1;
		struct job f = {
			.m = m, .prog = -1, .key_size = key_size, .entries = entries, .op = op
		};
		struct job k = f;

		k.prog = prog;
		snprintf(what, sizeof(what), "%s %s", name, ops[op]);
		for (threads = 1; threads <= 2; threads++)
			row(what, key_size, entries, threads, measure(&f, threads, seconds),
			    prog >= 0 ? measure(&k, threads, seconds) : -1);
		if (prog >= 0)
			close(prog);
	}
	if (type == BPF_MAP_TYPE_HASH)
		from_user_space(m, kmap, key_size, entries);
	map_put(m);
	if (kmap >= 0)
		close(kmap);
}

/* ---- ring buffer ---------------------------------------------------------------------------- */

#define RING (1u << 20)

static _Atomic int ring_stop;

struct ring_job {
	struct map *m;
	int prog;
	u64 flags;
};

static void *ring_produce(void *arg)
{
	struct ring_job *j = arg;
	u64 rec[2] = { 1, 2 };

	while (!ring_stop) {
		if (j->prog >= 0)
			kernel_run(j->prog, 20);
		else
			map_ringbuf_output(j->m, rec, 16, j->flags);
	}
	return NULL;
}

/* Consumes as libbpf does for `seconds`: ns for a record. */
static double ring_consume(volatile u64 *cons, const u8 *prod, double seconds)
{
	u64 pos = *cons, end, n = 0;
	double start = now(), stop = start + seconds * 1e9;

	while (now() < stop) {
		end = __atomic_load_n((const u64 *)(const void *)prod, __ATOMIC_ACQUIRE);
		while (pos < end) {
			const u8 *rec = prod + 4096 + (pos & (RING - 1));
			u32 len = __atomic_load_n((const u32 *)(const void *)rec, __ATOMIC_ACQUIRE);

			if (len & BPF_RINGBUF_BUSY_BIT)
				break;
			n += !(len & BPF_RINGBUF_DISCARD_BIT);
			pos += ((len & ~BPF_RINGBUF_DISCARD_BIT) + 8 + 7) & ~7u;
			__atomic_store_n(cons, pos, __ATOMIC_RELEASE);
		}
	}
	return n ? (now() - start) / (double)n : -1;
}

static double ring_measure(struct ring_job *j, volatile u64 *cons, const u8 *prod, int producers)
{
	pthread_t ids[2];
	double ns;
	int i;

	ring_stop = 0;
	for (i = 0; i < producers; i++)
		pthread_create(&ids[i], NULL, ring_produce, j);
	ns = ring_consume(cons, prod, 0.2);
	ring_stop = 1;
	for (i = 0; i < producers; i++)
		pthread_join(ids[i], NULL);
	return ns;
}

static void bench_ring(const char *name, enum kernel_op op, u64 flags)
{
	struct map_attr attr = { .type = BPF_MAP_TYPE_RINGBUF,
				 .max_entries = RING,
				 .name = "bench" };
	int kmap = kernel_map(BPF_MAP_TYPE_RINGBUF, 0, 0, RING), producers;
	struct ring_job f = { .prog = -1, .flags = flags }, k = { .prog = -1 };
	void *fc, *fp, *kc = NULL, *kp = NULL;

	if (map_create(&attr, &f.m, NULL) < 0)
		return;
	map_ringbuf_eventfd(f.m);
	fc = map_ringbuf_mmap(f.m, NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	fp = map_ringbuf_mmap(f.m, NULL, 4096 + 2 * RING, PROT_READ, MAP_SHARED, 4096);
	if (kmap >= 0) {
		kc = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, kmap, 0);
		kp = mmap(NULL, 4096 + 2 * RING, PROT_READ, MAP_SHARED, kmap, 4096);
		k.prog = kernel_prog(op, kmap, 8, 1000);
	}
	for (producers = 1; producers <= 2; producers++)
		row(name, 16, RING, producers, ring_measure(&f, fc, fp, producers),
		    k.prog >= 0 && kc != MAP_FAILED && kp != MAP_FAILED
			    ? ring_measure(&k, kc, kp, producers)
			    : -1);
	map_put(f.m);
	if (kmap >= 0)
		close(kmap);
}

int main(int argc, char **argv)
{
	static const u32 keys[] = { 4, 8, 64 };
	int a, n = argc > 1 ? argc - 1 : 1;
	size_t i;

	printf("%-18s %4s %9s %7s %9s %9s %8s\n", "operation", "key", "entries", "threads",
	       "ferry ns", "kernel ns", "ratio");
	for (a = 0; a < n; a++) {
		u32 entries = argc > 1 ? (u32)strtoul(argv[a + 1], NULL, 0) : 10000;

		for (i = 0; i < ARRAY_SIZE(keys); i++)
			bench_type("hash", BPF_MAP_TYPE_HASH, keys[i], entries, 0.06);
		bench_type("percpu hash", BPF_MAP_TYPE_PERCPU_HASH, 8, entries, 0.05);
		bench_type("lru", BPF_MAP_TYPE_LRU_HASH, 8, entries, 0.05);
		bench_type("array", BPF_MAP_TYPE_ARRAY, 4, entries, 0.05);
	}
	bench_ring("ring, wakeups", KERNEL_RINGBUF, 0);
	bench_ring("ring, none", KERNEL_RINGBUF_QUIET, BPF_RB_NO_WAKEUP);
	return 0;
}
