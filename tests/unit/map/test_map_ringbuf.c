/* SPDX-License-Identifier: MIT */
/*
 * The ring buffer as a consumer sees it through its own mapping: bpf(2)'s protocol, that of
 * libbpf's ring_buffer__consume (consumer position, producer position, header with busy and discard
 * bits).
 */
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "map_test.h"

#define SIZE 65536u

struct consumer {
	u64 *cons;
	const u8 *prod; /* producer page, then the data twice */
	u64 size;
};

static void consumer_open(struct consumer *c, struct map *m)
{
	c->size = m->attr.max_entries;
	c->cons = map_ringbuf_mmap(m, NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	assert_ptr_not_equal(c->cons, MAP_FAILED);
	c->prod = map_ringbuf_mmap(m, NULL, 4096 + 2 * c->size, PROT_READ, MAP_SHARED, 4096);
	assert_ptr_not_equal(c->prod, MAP_FAILED);
}

static void consumer_close(struct consumer *c)
{
	munmap(c->cons, 4096);
	munmap((void *)c->prod, 4096 + 2 * c->size);
}

/* The next record: 1, 0 when there is none, -1 when it was discarded. */
static int consume(struct consumer *c, void *out, u32 *len)
{
	u64 pos = __atomic_load_n(c->cons, __ATOMIC_RELAXED);
	u64 prod = __atomic_load_n((const u64 *)(const void *)c->prod, __ATOMIC_ACQUIRE);
	const u8 *rec = c->prod + 4096 + (pos & (c->size - 1));
	u32 hdr, n;

	if (pos >= prod)
		return 0;
	hdr = __atomic_load_n((const u32 *)(const void *)rec, __ATOMIC_ACQUIRE);
	if (hdr & BPF_RINGBUF_BUSY_BIT)
		return 0;
	n = hdr & ~BPF_RINGBUF_DISCARD_BIT;
	assert_true(n <= c->size);
	if (!(hdr & BPF_RINGBUF_DISCARD_BIT))
		memcpy(out, rec + 8, n);
	*len = n;
	__atomic_store_n(c->cons, pos + ((n + 8 + 7) & ~7ull), __ATOMIC_RELEASE);
	return hdr & BPF_RINGBUF_DISCARD_BIT ? -1 : 1;
}

static bool readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	u64 n;

	if (poll(&p, 1, 0) != 1)
		return false;
	assert_int_equal(read(fd, &n, 8), 8);
	return true;
}

static void records_come_out_as_they_went_in(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_RINGBUF, 0, 0, SIZE, 0);
	u8 in[3000], out[4096];
	struct consumer c;
	u32 i, len, n;

	(void)state;
	consumer_open(&c, m);
	for (i = 1; i < 2000; i++) { /* many times round, records across the end included */
		n = i * 7 % 3000;
		memset(in, (int)i, n);
		assert_int_equal(map_ringbuf_output(m, in, n, 0), 0);
		assert_int_equal(consume(&c, out, &len), 1);
		assert_int_equal(len, n);
		assert_memory_equal(in, out, n);
	}
	assert_int_equal(consume(&c, out, &len), 0);
	consumer_close(&c);
	map_put(m);
}

static void order_is_that_of_reservation_and_discarded_are_marked(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0);
	u32 *a = map_ringbuf_reserve(m, 4, 0), *b = map_ringbuf_reserve(m, 12, 0);
	u32 *d = map_ringbuf_reserve(m, 1, 0), got = 0, len;
	struct consumer c;

	(void)state;
	consumer_open(&c, m);
	*a = 1;
	*b = 2;
	map_ringbuf_commit(b, 0, false);
	assert_int_equal(consume(&c, &got, &len), 0); /* a is still being written */
	map_ringbuf_commit(a, 0, false);
	assert_int_equal(consume(&c, &got, &len), 1);
	assert_int_equal(got, 1);
	u32 three[3];

	assert_int_equal(consume(&c, three, &len), 1);
	assert_int_equal(three[0], 2);
	assert_int_equal(len, 12);
	map_ringbuf_commit(d, 0, true);
	assert_int_equal(consume(&c, &got, &len), -1);
	assert_int_equal(map_ringbuf_query(m, BPF_RB_PROD_POS), 16 + 24 + 16);
	assert_int_equal(map_ringbuf_query(m, BPF_RB_CONS_POS), 56);
	assert_int_equal(map_ringbuf_query(m, BPF_RB_AVAIL_DATA), 0);
	assert_int_equal(map_ringbuf_query(m, BPF_RB_RING_SIZE), 4096);
	assert_int_equal(map_ringbuf_query(m, 99), 0);
	consumer_close(&c);
	map_put(m);
}

static void full_ring_refuses_and_size_is_limited(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0);
	u32 n = 0;
	u64 v = 0;

	(void)state;
	assert_null(map_ringbuf_reserve(m, 8, 1));
	assert_null(map_ringbuf_reserve(m, 4096, 0));
	assert_null(map_ringbuf_reserve(m, 4089, 0));
	assert_null(map_ringbuf_reserve(m, ~0ull, 0));
	while (!map_ringbuf_output(m, &v, 8, 0))
		n++;
	assert_int_equal(n, 255); /* never quite full: 4096 / 16 - 1 */
	assert_int_equal(map_ringbuf_output(m, &v, 8, 0), -EAGAIN);
	assert_int_equal(map_ringbuf_output(m, &v, 8, 4), -EINVAL);
	map_put(m);
}

static void consumer_that_has_caught_up_is_woken(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0);
	int fd = map_ringbuf_eventfd(m);
	struct consumer c;
	u32 len;
	u64 v = 0;

	(void)state;
	consumer_open(&c, m);
	assert_false(readable(fd));
	map_ringbuf_output(m, &v, 8, 0);
	assert_true(readable(fd));
	map_ringbuf_output(m, &v, 8, 0); /* it has not looked at the first yet */
	assert_false(readable(fd));
	map_ringbuf_output(m, &v, 8, BPF_RB_FORCE_WAKEUP);
	assert_true(readable(fd));
	while (consume(&c, &v, &len))
		;
	map_ringbuf_output(m, &v, 8, BPF_RB_NO_WAKEUP);
	assert_false(readable(fd));
	consumer_close(&c);
	map_put(m);
}

static void user_may_write_the_consumer_page_only(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0);
	u8 *p;

	(void)state;
	assert_ptr_equal(map_ringbuf_mmap(m, NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 4096),
			 MAP_FAILED);
	assert_int_equal(errno, EPERM);
	assert_ptr_equal(map_ringbuf_mmap(m, NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, 0),
			 MAP_FAILED);
	assert_ptr_equal(map_ringbuf_mmap(m, NULL, 5 * 4096, PROT_READ, MAP_SHARED, 0), MAP_FAILED);
	assert_ptr_equal(map_ringbuf_mmap(m, NULL, 4096, PROT_READ, MAP_PRIVATE, 0), MAP_FAILED);
	p = map_ringbuf_mmap(m, NULL, 4 * 4096, PROT_READ, MAP_SHARED, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	assert_int_equal(mprotect(p, 4 * 4096, PROT_READ | PROT_WRITE), -1);
	munmap(p, 4 * 4096);
	map_put(m);
}

static void lying_consumer_cannot_make_records_overlap(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0);
	u8 *first = map_ringbuf_reserve(m, 1000, 0), *p;
	struct consumer c;
	u32 i;

	(void)state;
	consumer_open(&c, m);
	memset(first, 0x11, 1000);
	for (i = 0; i < 100; i++) {
		*c.cons = map_ringbuf_query(m, BPF_RB_PROD_POS); /* "all consumed" */
		p = map_ringbuf_reserve(m, 500, 0);
		if (p) {
			memset(p, 0x22, 500);
			map_ringbuf_commit(p, 0, false);
		}
	}
	for (i = 0; i < 1000; i++)
		assert_int_equal(first[i], 0x11);
	map_ringbuf_commit(first, 0, false);
	consumer_close(&c);
	map_put(m);
}

/* ---- several producers ---------------------------------------------------------------------- */

#define EACH 50000u

struct item {
	u32 who, n;
	u64 check;
};

static void *produce(void *arg)
{
	static _Atomic u32 names;
	u32 who = names++ % 2, i;
	struct map *m = arg;

	for (i = 0; i < EACH;) {
		struct item *it = map_ringbuf_reserve(m, sizeof(*it) + i % 5 * 8, 0);

		if (!it) {
			usleep(10);
			continue;
		}
		*it = (struct item){ who, i, (u64)who << 40 ^ i * 0x9e3779b9ull };
		map_ringbuf_commit(it, 0, false);
		i++;
	}
	return NULL;
}

static void each_producer_keeps_its_order(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_RINGBUF, 0, 0, SIZE, 0);
	int fd = map_ringbuf_eventfd(m), got;
	u32 next[2] = { 0, 0 }, len;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	struct consumer c;
	pthread_t t[2];
	u8 buf[4096];
	u64 n;

	(void)state;
	consumer_open(&c, m);
	pthread_create(&t[0], NULL, produce, m);
	pthread_create(&t[1], NULL, produce, m);
	while (next[0] + next[1] < 2 * EACH) {
		struct item it;

		got = consume(&c, buf, &len);
		if (!got) {
			/* Sleeps as a real consumer: a lost wakeup would show. */
			assert_true(poll(&p, 1, 10000) == 1);
			assert_int_equal(read(fd, &n, 8), 8);
			continue;
		}
		memcpy(&it, buf, sizeof(it));
		assert_true(it.who < 2);
		assert_int_equal(it.n, next[it.who]++);
		assert_int_equal(it.check, (u64)it.who << 40 ^ it.n * 0x9e3779b9ull);
		assert_int_equal(len, sizeof(it) + it.n % 5 * 8);
	}
	pthread_join(t[0], NULL);
	pthread_join(t[1], NULL);
	consumer_close(&c);
	map_put(m);
}

static void record_of_a_killed_producer_is_thrown_away(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0);
	int fd = map_ringbuf_eventfd(m), status;
	struct consumer c;
	u64 v = 7, seen = 0;
	u32 len, i;
	pid_t pid;

	(void)state;
	consumer_open(&c, m);
	pid = fork();
	if (!pid) {
		map_ringbuf_reserve(m, 100, 0);
		kill(getpid(), SIGKILL);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(consume(&c, &v, &len), 0);
	for (i = 0; i < 300; i++) {
		v = i;
		map_ringbuf_output(m, &v, 8, 0);
		if (readable(fd))
			while (consume(&c, &v, &len))
				seen++;
	}
	assert_true(seen > 200);
	consumer_close(&c);
	map_put(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_come_out_as_they_went_in),
		cmocka_unit_test(order_is_that_of_reservation_and_discarded_are_marked),
		cmocka_unit_test(full_ring_refuses_and_size_is_limited),
		cmocka_unit_test(consumer_that_has_caught_up_is_woken),
		cmocka_unit_test(user_may_write_the_consumer_page_only),
		cmocka_unit_test(lying_consumer_cannot_make_records_overlap),
		cmocka_unit_test(each_producer_keeps_its_order),
		cmocka_unit_test(record_of_a_killed_producer_is_thrown_away),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
