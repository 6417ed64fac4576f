/* SPDX-License-Identifier: MIT */
/*
 * Records from programs to a client, ring buffer and perf buffer, against the kernel's in the same run:
 * what one that arrives costs its producer when the client reads all the time, and how late it is when
 * the client sleeps.
 */
#include <linux/perf_event.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "kernel.h"
#include "map/map.h"

#define RING    (1u << 20)
#define CPUS    8
#define LATE    400 /* records of a latency row */
#define SECONDS 0.15

static u64 now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000000000 + (u64)ts.tv_nsec;
}

/* ---- a place to read from: one ring buffer, or a perf buffer for each CPU ----------------------- */

struct source {
	bool perf;
	u32 n; /* buffers */
	u8 *mem[CPUS]; /* ring: the producer's page and data; perf: the user's page and data */
	u64 *cons;     /* ring */
	int epoll;
	struct map *m; /* Ferry's; NULL: the kernel's */
	int prog, late_prog;
	struct map_perf *events[CPUS];
};

/* Reads all there is: how many; *sent is the first word of the last. */
static u32 read_ring(struct source *s, u64 *sent)
{
	u64 pos = *s->cons, end = __atomic_load_n((u64 *)(void *)s->mem[0], __ATOMIC_ACQUIRE);
	u32 n = 0;

	while (pos < end) {
		const u8 *rec = s->mem[0] + 4096 + (pos & (RING - 1));
		u32 len = __atomic_load_n((const u32 *)(const void *)rec, __ATOMIC_ACQUIRE);

		if (len & BPF_RINGBUF_BUSY_BIT)
			break;
		memcpy(sent, rec + 8, 8);
		n++;
		pos += (len & ~BPF_RINGBUF_DISCARD_BIT) + 8;
		__atomic_store_n(s->cons, pos, __ATOMIC_RELEASE);
	}
	return n;
}

static u32 read_perf(struct source *s, u64 *sent)
{
	u32 n = 0, i;

	for (i = 0; i < s->n; i++) {
		struct perf_event_mmap_page *page = (void *)s->mem[i];
		u64 head = __atomic_load_n(&page->data_head, __ATOMIC_ACQUIRE), tail = page->data_tail;

		while (tail < head) {
			u8 *rec = s->mem[i] + 4096 + (tail & (RING - 1));
			struct perf_event_header h;

			memcpy(&h, rec, sizeof(h));
			if (h.type == PERF_RECORD_SAMPLE)
				memcpy(sent, s->mem[i] + 4096 + ((tail + 12) & (RING - 1)), 4);
			if (h.type == PERF_RECORD_SAMPLE)
				memcpy((u8 *)sent + 4, s->mem[i] + 4096 + ((tail + 16) & (RING - 1)), 4);
			n += h.type == PERF_RECORD_SAMPLE;
			tail += h.size;
		}
		__atomic_store_n(&page->data_tail, tail, __ATOMIC_RELEASE);
	}
	return n;
}

static u32 read_all(struct source *s, u64 *sent)
{
	return s->perf ? read_perf(s, sent) : read_ring(s, sent);
}

static void watch(struct source *s, int fd, bool edge)
{
	struct epoll_event e = { .events = EPOLLIN | (edge ? EPOLLET : 0) };

	epoll_ctl(s->epoll, EPOLL_CTL_ADD, fd, &e);
}

static void drop(const struct map *m, void *obj)
{
	(void)m, (void)obj;
}

static bool open_ring(struct source *s, bool ferry)
{
	struct map_attr attr = { .type = BPF_MAP_TYPE_RINGBUF, .max_entries = RING, .name = "bench" };
	int kmap = ferry ? -1 : kernel_map(BPF_MAP_TYPE_RINGBUF, 0, 0, RING);

	if (ferry ? map_create(&attr, &s->m, NULL) : kmap < 0)
		return false;
	if (ferry) {
		watch(s, map_ringbuf_eventfd(s->m), true);
		s->cons = map_ringbuf_mmap(s->m, NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
		s->mem[0] = map_ringbuf_mmap(s->m, NULL, 4096 + 2 * RING, PROT_READ, MAP_SHARED, 4096);
	} else {
		watch(s, kmap, false);
		s->cons = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, kmap, 0);
		s->mem[0] = mmap(NULL, 4096 + 2 * RING, PROT_READ, MAP_SHARED, kmap, 4096);
		s->prog = kernel_prog(KERNEL_RINGBUF, kmap, 8, 1000);
		s->late_prog = kernel_prog_loop(KERNEL_RINGBUF_TIME, kmap, 8, 1000, 1);
	}
	return s->cons != MAP_FAILED && s->mem[0] != MAP_FAILED && (ferry || s->prog >= 0);
}

static bool open_perf_ferry(struct source *s)
{
	struct map_attr attr = { .type = BPF_MAP_TYPE_PERF_EVENT_ARRAY, .key_size = 4, .value_size = 4,
				 .max_entries = s->n, .name = "bench" };
	struct map_perf_attr pa = { .kernel_fd = -1, .cpu = -1, .sample_type = PERF_SAMPLE_RAW, .wakeup = 1 };
	u32 i;

	map_drop_obj = drop;
	if (map_create(&attr, &s->m, NULL))
		return false;
	for (i = 0; i < s->n; i++) {
		if (map_perf_create(&pa, &s->events[i]))
			return false;
		s->mem[i] = map_perf_mmap(s->events[i], NULL, 4096 + RING, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
		watch(s, map_perf_eventfd(s->events[i]), true);
		s->m->ops->set_obj(s->m, &i, s->events[i], i + 1, 0);
	}
	return true;
}

static bool open_perf_kernel(struct source *s)
{
	struct perf_event_attr pa = { .type = PERF_TYPE_SOFTWARE, .config = PERF_COUNT_SW_BPF_OUTPUT,
				      .size = sizeof(pa), .sample_type = PERF_SAMPLE_RAW, .wakeup_events = 1 };
	int kmap = kernel_map(BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, s->n), fd;
	u32 i;

	for (i = 0; kmap >= 0 && i < s->n; i++) {
		fd = kernel_event(&pa, (int)i);
		s->mem[i] = fd < 0 ? MAP_FAILED : mmap(NULL, 4096 + RING, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (s->mem[i] == MAP_FAILED || kernel_update(kmap, &i, &fd, 0))
			return false;
		watch(s, fd, false);
	}
	s->prog = kernel_prog(KERNEL_PERF, kmap, 8, 1000);
	s->late_prog = kernel_prog_loop(KERNEL_PERF_TIME, kmap, 8, 1000, 1);
	return s->prog >= 0;
}

static bool open_source(struct source *s, bool perf, bool ferry)
{
	memset(s, 0, sizeof(*s));
	s->perf = perf;
	s->n = perf ? map_cpus() : 1;
	s->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (s->n > CPUS)
		return false;
	return !perf ? open_ring(s, ferry) : ferry ? open_perf_ferry(s) : open_perf_kernel(s);
}

/* ---- producers ---------------------------------------------------------------------------------- */

static _Atomic bool stop;

static void send_one(struct source *s, u64 word)
{
	u64 rec[2] = { word };
	struct map_perf_data data = { .at = rec, .size = sizeof(rec) };

	if (s->perf)
		map_perf_output(s->m, BPF_F_CURRENT_CPU, &data);
	else
		map_ringbuf_output(s->m, rec, sizeof(rec), 0);
}

static _Atomic u64 cpu_ns; /* that producers took: others may keep the machine busy */

static void *produce(void *arg)
{
	struct source *s = arg;
	struct timespec ts;

	while (!stop) {
		if (s->m)
			send_one(s, 1);
		else
			kernel_run(s->prog, 5);
	}
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	cpu_ns += (u64)ts.tv_sec * 1000000000 + (u64)ts.tv_nsec;
	return NULL;
}

/* One now and then: with the time in it. */
static void *produce_late(void *arg)
{
	struct source *s = arg;

	while (!stop) {
		usleep(300);
		if (s->m)
			send_one(s, now());
		else
			kernel_run(s->late_prog, 1);
	}
	return NULL;
}

/* ---- rows ---------------------------------------------------------------------------------------- */

static double each(struct source *s, int producers)
{
	u64 start, n = 0, sent;
	pthread_t t[2];
	int i;

	stop = false;
	cpu_ns = 0;
	for (i = 0; i < producers; i++)
		pthread_create(&t[i], NULL, produce, s);
	for (start = now(); (double)(now() - start) < SECONDS * 1e9;)
		n += read_all(s, &sent);
	stop = true;
	for (i = 0; i < producers; i++)
		pthread_join(t[i], NULL);
	n += read_all(s, &sent);
	return (double)cpu_ns / (double)(n ? n : 1);
}

static int by_size(const void *a, const void *b)
{
	return *(const u64 *)a < *(const u64 *)b ? -1 : *(const u64 *)a > *(const u64 *)b;
}

static double late(struct source *s)
{
	static u64 ns[LATE];
	struct epoll_event e;
	pthread_t t;
	u64 sent;
	u32 n = 0;

	read_all(s, &sent);
	stop = false;
	pthread_create(&t, NULL, produce_late, s);
	while (n < LATE && epoll_wait(s->epoll, &e, 1, 1000) > 0) {
		u64 at = now();

		if (read_all(s, &sent) == 1)
			ns[n++] = at - sent;
	}
	stop = true;
	pthread_join(t, NULL);
	qsort(ns, n, sizeof(ns[0]), by_size);
	return n ? (double)ns[n / 2] : -1;
}

static void row(const char *what, int producers, double ferry, double kernel)
{
	printf("%-26s %9d %9.1f", what, producers, ferry);
	if (kernel > 0)
		printf(" %9.1f %6.2f", kernel, ferry / kernel);
	printf("\n");
	fflush(stdout);
}

int main(void)
{
	static const char *const names[] = { "ring buffer", "perf buffer" };
	struct source ferry, kernel;
	char what[64];
	int perf, n;
	bool both;

	printf("%-26s %9s %9s %9s %6s\n", "ns", "producers", "ferry", "kernel", "ratio");
	for (perf = 0; perf < 2; perf++) {
		if (!open_source(&ferry, perf, true))
			continue;
		both = open_source(&kernel, perf, false);
		for (n = 1; n <= 2; n++) {
			snprintf(what, sizeof(what), "%s, a record", names[perf]);
			row(what, n, each(&ferry, n), both ? each(&kernel, n) : 0);
		}
		snprintf(what, sizeof(what), "%s, latency", names[perf]);
		row(what, 1, late(&ferry), both ? late(&kernel) : 0);
	}
	return 0;
}
