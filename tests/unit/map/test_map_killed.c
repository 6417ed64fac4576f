/* SPDX-License-Identifier: MIT */
/* Processes killed at random while they work on a map: afterwards it is whole and blocks nobody. */
#include <linux/perf_event.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "map_test.h"

#define ROUNDS 40
#define ROOM   50u

static u32 next_random(u32 *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 17;
	return *s ^= *s << 5;
}

/* Three words of which each tells the others. */
struct value {
	u64 a, b, c;
};

static struct value make(u64 n)
{
	return (struct value){ n, ~n, n * 3 };
}

static bool whole(const struct value *v)
{
	return v->b == ~v->a && v->c == v->a * 3;
}

/* Children that do `step` until they are killed, three at a time, some milliseconds each. */
static void kill_at_random(struct map *m, void (*step)(struct map *m, u32 *s))
{
	u32 seed = 4711, i;
	pid_t kids[3];

	for (u32 round = 0; round < ROUNDS; round++) {
		for (i = 0; i < ARRAY_SIZE(kids); i++) {
			kids[i] = fork();
			assert_true(kids[i] >= 0);
			if (!kids[i]) {
				u32 s = seed + i + 1;

				for (;;)
					step(m, &s);
			}
		}
		usleep(1000 + next_random(&seed) % 2000);
		for (i = 0; i < ARRAY_SIZE(kids); i++)
			kill(kids[i], SIGKILL);
		for (i = 0; i < ARRAY_SIZE(kids); i++)
			waitpid(kids[i], NULL, 0);
	}
}

static void step_queue(struct map *m, u32 *s)
{
	struct value v = make(next_random(s));

	if (next_random(s) % 2)
		m->ops->write(m, NULL, &v, next_random(s) % 2 ? BPF_EXIST : BPF_ANY);
	else
		m->ops->take(m, NULL, &v, 0);
}

static void ordered(u32 type)
{
	struct map *m = map_make(type, 0, sizeof(struct value), ROOM, 0);
	struct value v = { 0 };
	u32 n = 0;

	kill_at_random(m, step_queue);
	while (!m->ops->take(m, NULL, &v, 0)) {
		assert_true(whole(&v));
		n++;
	}
	assert_true(n <= ROOM);
	for (n = 0; n < ROOM; n++) {
		v = make(n);
		assert_int_equal(m->ops->write(m, NULL, &v, 0), 0);
	}
	assert_int_equal(m->ops->write(m, NULL, &v, 0), -E2BIG);
	map_put(m);
}

static void a_queue_stays_whole(void **state)
{
	(void)state;
	ordered(BPF_MAP_TYPE_QUEUE);
}

static void a_stack_stays_whole(void **state)
{
	(void)state;
	ordered(BPF_MAP_TYPE_STACK);
}

struct prefix {
	u32 bits;
	u8 data[4];
};

static void step_lpm(struct map *m, u32 *s)
{
	struct prefix k = { next_random(s) % 33, { 10, (u8)(next_random(s) % 4), 0, 1 } };
	struct value v = make(next_random(s));

	if (next_random(s) % 3)
		m->ops->update(m, &k, &v, BPF_ANY);
	else
		m->ops->remove(m, &k);
}

static void a_trie_stays_whole_and_keeps_its_room(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_LPM_TRIE, sizeof(struct prefix), sizeof(struct value),
				 ROOM, BPF_F_NO_PREALLOC);
	struct prefix k;
	struct value v;
	u32 n = 0;

	(void)state;
	kill_at_random(m, step_lpm);
	while (!map_next_key_user(m, NULL, &k)) {
		assert_int_equal(map_lookup_user(m, &k, &v, 0), 0);
		assert_true(whole(&v));
		assert_int_equal(map_delete_user(m, &k), 0);
		assert_true(++n <= ROOM);
	}
	for (n = 0; n < ROOM; n++) {
		k = (struct prefix){ 32, { 1, 2, 3, (u8)n } };
		v = make(n);
		assert_int_equal(map_update_user(m, &k, &v, 0), 0);
	}
	k.data[3]++;
	assert_int_equal(map_update_user(m, &k, &v, 0), -ENOSPC);
	map_put(m);
}

static void step_trace(struct map *m, u32 *s)
{
	struct value v = make(next_random(s));
	struct map_trace t = { &v, sizeof(v), 3, (u32)v.a };
	u32 id = next_random(s) % 16;

	if (next_random(s) % 4)
		map_stack_put(m, &t, BPF_F_REUSE_STACKID);
	else
		m->ops->remove(m, &id);
}

static void stack_traces_stay_whole(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_STACK_TRACE, 4, sizeof(struct value), 16, 0);
	struct value v;

	(void)state;
	kill_at_random(m, step_trace);
	for (u32 id = 0; id < 16; id++) {
		int err = map_lookup_user(m, &id, &v, 0);

		assert_true(!err || err == -ENOENT);
		assert_true(err || whole(&v));
		assert_true(err || v.a % 16 == id);
	}
	map_put(m);
}

static struct map_perf *perf;

static void drop(const struct map *m, void *obj)
{
	(void)m, (void)obj;
}

static void step_perf(struct map *m, u32 *s)
{
	struct value v = make(next_random(s));
	struct map_perf_data data = { .at = &v, .size = sizeof(v) };

	map_perf_output(m, 0, &data);
}

/* Reads all records: each is one of those that were sent, or says how many were lost. */
static u32 read_records(struct perf_event_mmap_page *page, bool check)
{
	u64 head = __atomic_load_n(&page->data_head, __ATOMIC_ACQUIRE), tail = page->data_tail;
	u8 rec[64];
	u32 n = 0;

	while (tail < head) {
		struct perf_event_header h;
		struct value v;

		for (u32 i = 0; i < sizeof(rec); i++)
			rec[i] = ((u8 *)page)[4096 + (tail + i) % page->data_size];
		memcpy(&h, rec, sizeof(h));
		memcpy(&v, rec + 12, sizeof(v));
		if (check) {
			assert_true(h.type == PERF_RECORD_SAMPLE || h.type == PERF_RECORD_LOST);
			assert_int_equal(h.size, h.type == PERF_RECORD_LOST ? 24 : 40);
			assert_true(h.type == PERF_RECORD_LOST || whole(&v));
		}
		tail += h.size;
		n += h.type == PERF_RECORD_SAMPLE;
	}
	assert_int_equal(tail, head);
	__atomic_store_n(&page->data_tail, tail, __ATOMIC_RELEASE);
	return n;
}

static void a_perf_buffer_flows_on(void **state)
{
	struct map_perf_attr attr = {
		.kernel_fd = -1, .cpu = -1, .sample_type = PERF_SAMPLE_RAW, .wakeup = 1
	};
	struct map *m = map_make(BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 1, 0);
	struct perf_event_mmap_page *page;
	u32 zero = 0, s = 1;

	(void)state;
	map_drop_obj = drop;
	assert_int_equal(map_perf_create(&attr, &perf), 0);
	page = map_perf_mmap(perf, NULL, 9 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	assert_ptr_not_equal(page, MAP_FAILED);
	assert_int_equal(m->ops->set_obj(m, &zero, perf, 1, 0), 0);
	kill_at_random(m, step_perf);
	assert_true(read_records(page, true) > 0);
	step_perf(m, &s);
	assert_int_equal(read_records(page, true), 1);
	/* A reader that lies about its position loses records and nothing else. */
	page->data_tail = page->data_head + 8;
	step_perf(m, &s);
	page->data_tail = 0;
	step_perf(m, &s);
	page->data_tail = page->data_head;
	step_perf(m, &s);
	assert_int_equal(read_records(page, true), 1);
	munmap(page, 9 * 4096);
	map_put(m);
	map_perf_free(perf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_queue_stays_whole),
		cmocka_unit_test(a_stack_stays_whole),
		cmocka_unit_test(a_trie_stays_whole_and_keeps_its_room),
		cmocka_unit_test(stack_traces_stay_whole),
		cmocka_unit_test(a_perf_buffer_flows_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
