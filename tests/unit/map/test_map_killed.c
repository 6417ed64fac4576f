/* SPDX-License-Identifier: MIT */
/* Processes killed at random while they work on a map: afterwards it is whole and blocks nobody. */
#include <linux/perf_event.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "map/map_int.h"
#include "map_test.h"

#define ROUNDS 30
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

/* ---- by key: per-CPU types ------------------------------------------------------------------- */

static void step_key(struct map *m, u32 *s)
{
	struct value v[256];
	u32 key = next_random(s) % (ROOM + 20), cpu;

	for (cpu = 0; cpu < map_cpus() && cpu < ARRAY_SIZE(v); cpu++)
		v[cpu] = make(next_random(s));
	switch (next_random(s) % 4) {
	case 0: m->ops->remove(m, &key); break;
	case 1: m->ops->update(m, &key, v, BPF_ANY); break; /* as a program: this CPU's */
	default: map_update_user(m, &key, v, BPF_ANY); break;
	}
}

static void keyed(u32 type, u32 flags)
{
	struct map *m = map_make(type, 4, sizeof(struct value), ROOM, flags);
	bool seen[ROOM + 20] = { false };
	struct value v[256];
	u32 key, next, n = 0;

	if (map_cpus() > ARRAY_SIZE(v))
		return;
	kill_at_random(m, step_key);
	for (; !map_next_key_user(m, n ? &key : NULL, &next); key = next, n++) {
		assert_true(next < ARRAY_SIZE(seen) && !seen[next]);
		seen[next] = true;
		assert_int_equal(map_lookup_user(m, &next, v, 0), 0);
	}
	for (key = 0; key < ARRAY_SIZE(seen); key++)
		assert_int_equal(map_delete_user(m, &key), seen[key] ? 0 : -ENOENT);
	memset(v, 0, sizeof(v));
	for (n = key = 0; key < ARRAY_SIZE(seen); key++)
		assert_int_equal(map_update_user(m, &key, v, 0),
				 key < ROOM || type == BPF_MAP_TYPE_LRU_PERCPU_HASH ? 0 : -E2BIG);
	for (key = 0; key < ARRAY_SIZE(seen); key++)
		n += !map_lookup_user(m, &key, v, 0);
	assert_int_equal(n, ROOM);
	map_put(m);
}

static void per_cpu_hashes_stay_whole(void **state)
{
	(void)state;
	keyed(BPF_MAP_TYPE_PERCPU_HASH, 0);
	keyed(BPF_MAP_TYPE_LRU_PERCPU_HASH, 0);
	keyed(BPF_MAP_TYPE_LRU_PERCPU_HASH, BPF_F_NO_COMMON_LRU);
}

/* ---- filters, users' rings, task storage ------------------------------------------------------ */

static _Atomic u8 *added; /* shared with the children: this value's update has returned */

static void step_bloom(struct map *m, u32 *s)
{
	u64 v = next_random(s) % 500;

	map_update_user(m, NULL, &v, 0);
	added[v] = 1;
}

static void a_filter_keeps_what_was_added(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_BLOOM_FILTER, 0, 8, 500, 0);
	u32 n = 0;

	(void)state;
	added = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	kill_at_random(m, step_bloom);
	for (u64 v = 0; v < 500; v++) {
		n += added[v];
		assert_true(!added[v] || !map_lookup_user(m, NULL, &v, 0));
	}
	assert_true(n > 0);
	munmap((void *)added, 4096);
	map_put(m);
}

static u8 *users_ring;

static u64 drain_one(void *arg, void *sample, u32 size)
{
	struct value v;

	memcpy(&v, sample, sizeof(v));
	if (size != sizeof(v) || !whole(&v))
		abort();
	*(u32 *)arg += 1;
	return 0;
}

/* All of a ring's room is filled, then children that drain it are killed. */
static void step_drain(struct map *m, u32 *s)
{
	u32 n = 0;

	(void)s;
	map_user_ringbuf_drain(m, drain_one, &n, 0);
	/* As if new records came: the same ones again. */
	__atomic_fetch_add((u64 *)(void *)users_ring, n * 32, __ATOMIC_RELEASE);
}

static void a_users_ring_is_drained_by_who_is_left(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_USER_RINGBUF, 0, 0, 4096, 0);
	u32 head[2] = { sizeof(struct value), 0 }, i, n = 0;

	(void)state;
	users_ring = map_ringbuf_mmap(m, NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 4096);
	for (i = 0; i < 128; i++) {
		struct value v = make(i);

		memcpy(users_ring + 4096 + i * 32, head, 8);
		memcpy(users_ring + 4096 + i * 32 + 8, &v, sizeof(v));
	}
	*(u64 *)(void *)users_ring = 4096;
	kill_at_random(m, step_drain);
	assert_in_range(map_user_ringbuf_drain(m, drain_one, &n, 0), 0, 128);
	assert_int_equal(map_user_ringbuf_drain(m, drain_one, &n, 0), 0);
	map_put(m);
}

static void step_task(struct map *m, u32 *s)
{
	struct value v = make(next_random(s));
	u64 self = map_self();

	if (next_random(s) % 4)
		map_task_update(m, (u32)self, &v, BPF_ANY);
	else
		map_task_delete(m, (u32)self);
}

static void storage_of_killed_tasks_is_nobodys(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_TASK_STORAGE, 4, sizeof(struct value), 0, BPF_F_NO_PREALLOC);
	u32 self = (u32)map_self(), pid;
	struct value v = make(5);
	int status;

	(void)state;
	kill_at_random(m, step_task);
	assert_null(map_task_lookup(m, self));
	assert_int_equal(map_task_update(m, self, &v, BPF_NOEXIST), 0);
	assert_true(whole(map_task_lookup(m, self)));
	pid = (u32)fork();
	if (!pid) {
		map_task_update(m, (u32)map_self(), &v, BPF_ANY);
		kill(getpid(), SIGKILL);
	}
	waitpid((pid_t)pid, &status, 0);
	assert_null(map_task_lookup(m, pid));
	assert_int_equal(map_task_update(m, pid, &v, BPF_ANY), -ENOENT);
	assert_int_equal(map_task_delete(m, self), 0);
	map_put(m);
}

/* Locks of shared memory are held in this name: under that of a dead thread they would be taken away from the living. */
static void a_thread_is_itself_after_children_that_had_its_memory(void **state)
{
	static u64 self, child;
	int status;
	pid_t pid;

	(void)state;
	pid = fork(); /* in which nobody has asked yet */
	if (!pid) {
		map_self_forget();
		pid = vfork();
		if (!pid) {
			child = map_self();
			_exit(0);
		}
		waitpid(pid, NULL, 0);
		_exit((u32)child == (u32)pid && (u32)map_self() == (u32)getpid() ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	self = map_self();
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); /* pthread_atfork(3) does not hear of it */
	if (!pid)
		_exit((u32)map_self() == (u32)syscall(SYS_getpid) && map_self() != self ? 0 : 1);
	waitpid(pid, &status, 0);
	assert_int_equal(status, 0);
	assert_true(map_self() == self);
	assert_true((u32)self == (u32)getpid());
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

/* ---- elements that are maps: ids in shared memory, each process's own objects ------------------ */

static struct map *elements[2]; /* of ids 1 and 2 */

static void step_elements(struct map *m, u32 *s)
{
	u32 key = next_random(s) % ROOM, i = next_random(s) % 2;

	if (next_random(s) % 3)
		m->ops->set_obj(m, &key, elements[i], i + 1, next_random(s) % 8 ? BPF_ANY : BPF_NOEXIST);
	else
		m->ops->remove(m, &key);
}

static u32 id_here(const struct map *m, u32 i)
{
	const void *obj = m->objs[i];

	return obj == elements[0] ? 1 : obj == elements[1] ? 2 : 0;
}

/* What src/bpf does when another process changed some. */
static void look_again(struct map *m)
{
	u32 i, id;

	for (i = 0; i < map_objs_count(m); i++) {
		if (!map_objs_stale(m, i, id_here(m, i), &id))
			continue;
		assert_true(id <= 2);
		assert_true(map_objs_take(m, i, id ? elements[id - 1] : NULL, id));
	}
}

static void elements_are_maps(u32 type)
{
	struct map_attr attr = { .type = type, .key_size = 4, .value_size = 4, .max_entries = ROOM };
	u32 key, id, round, n, s = 5;
	struct map *m;

	map_drop_obj = drop;
	elements[0] = map_make(BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0);
	elements[1] = map_make(BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0);
	assert_int_equal(map_create_outer(&attr, elements[0], &m, NULL), 0);
	kill_at_random(m, step_elements);
	look_again(m);
	for (key = n = 0; key < ROOM; key++) {
		if (m->ops->read(m, &key, &id, 0))
			continue;
		n++;
		assert_true(id == 1 || id == 2);
		assert_ptr_equal(m->ops->lookup(m, &key), elements[id - 1]);
	}
	assert_true(n > 0);
	/* The dead have kept no room. */
	for (key = 0; key < ROOM; key++)
		m->ops->remove(m, &key);
	for (round = 0; round < 4; round++)
		for (key = 0; key < ROOM; key++) {
			assert_int_equal(m->ops->set_obj(m, &key, elements[round % 2], round % 2 + 1, 0), 0);
			assert_ptr_equal(m->ops->lookup(m, &key), elements[round % 2]);
		}
	key = ROOM;
	assert_int_equal(m->ops->set_obj(m, &key, elements[0], 1, 0), -E2BIG);
	for (n = 0; n < 1000; n++)
		step_elements(m, &s);
	map_put(m);
	map_put(elements[0]);
	map_put(elements[1]);
}

static void an_array_of_maps_stays_whole(void **state)
{
	(void)state;
	elements_are_maps(BPF_MAP_TYPE_ARRAY_OF_MAPS);
}

static void a_hash_of_maps_stays_whole_and_keeps_its_room(void **state)
{
	(void)state;
	elements_are_maps(BPF_MAP_TYPE_HASH_OF_MAPS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_queue_stays_whole),
		cmocka_unit_test(a_stack_stays_whole),
		cmocka_unit_test(a_trie_stays_whole_and_keeps_its_room),
		cmocka_unit_test(stack_traces_stay_whole),
		cmocka_unit_test(a_perf_buffer_flows_on),
		cmocka_unit_test(per_cpu_hashes_stay_whole),
		cmocka_unit_test(a_filter_keeps_what_was_added),
		cmocka_unit_test(a_users_ring_is_drained_by_who_is_left),
		cmocka_unit_test(storage_of_killed_tasks_is_nobodys),
		cmocka_unit_test(a_thread_is_itself_after_children_that_had_its_memory),
		cmocka_unit_test(an_array_of_maps_stays_whole),
		cmocka_unit_test(a_hash_of_maps_stays_whole_and_keeps_its_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
