/* SPDX-License-Identifier: MIT */
/*
 * Threads on a map of every type. Built with ThreadSanitizer where the compiler has it: then it also
 * says which two accesses no rule orders.
 */
#include <linux/perf_event.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "map/map_int.h"
#include "map_test.h"

#define THREADS 3
#ifdef __SANITIZE_THREAD__
#define STEPS 4000
#else
#define STEPS 15000
#endif
#define KEYS    96u
#define ROOM    64u

static u32 next_random(u32 *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 17;
	return *s ^= *s << 5;
}

/* Two words of which one tells the other. */
struct value {
	u64 a, b;
};

static struct value make(u64 n)
{
	return (struct value){ n, ~n };
}

static _Atomic u32 torn;
static void (*step_fn)(struct map *m, u32 *s);

static void *work(void *arg)
{
	u32 s = (u32)syscall(SYS_gettid) * 2654435761u | 1, i;

	for (i = 0; i < STEPS; i++)
		step_fn(arg, &s);
	return NULL;
}

/* All threads do `step`, THREADS * STEPS times in total; nobody may see half a value. */
static void together(struct map *m, void (*step)(struct map *m, u32 *s))
{
	pthread_t t[THREADS];
	u32 i;

	torn = 0;
	step_fn = step;
	for (i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, work, m), 0);
	for (i = 0; i < THREADS; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(torn, 0);
}

/* ---- by key ---------------------------------------------------------------------------------- */

static void step_keys(struct map *m, u32 *s)
{
	u64 key = next_random(s) % KEYS, next;
	struct value v[64] = { make(next_random(s)) };
	u64 pos = 0;
	u8 keys[8 * 16], *all = (u8 *)v;
	void *at;

	switch (next_random(s) % 9) {
	case 0:
	case 1: map_update_user(m, &key, v, BPF_ANY); break;
	case 2: m->ops->update(m, &key, v, next_random(s) % 3); break;
	case 3: map_delete_user(m, &key); break;
	case 4: map_take_user(m, &key, v, 0); break;
	case 5: map_next_key_user(m, &key, &next); break;
	case 6:
		if (m->ops->next_batch)
			m->ops->next_batch(m, &pos, 4, keys, all);
		break;
	case 7: /* as a program reads it: one word, which may be another key's next moment */
		at = m->ops->lookup(m, &key);
		if (at)
			v[0].a += __atomic_load_n((u64 *)at, __ATOMIC_RELAXED);
		break;
	default:
		if (!map_lookup_user(m, &key, v, 0) && !map_is_percpu(m->attr.type) &&
		    m->attr.type != BPF_MAP_TYPE_ARRAY)
			torn += v[0].b != ~v[0].a;
	}
}

static void by_key(u32 type, u32 key_size, u32 flags)
{
	struct map *m = map_make(type, key_size, sizeof(struct value), ROOM, flags);

	together(m, step_keys);
	map_put(m);
}

static void hashes(void **state)
{
	(void)state;
	by_key(BPF_MAP_TYPE_HASH, 8, 0);
	by_key(BPF_MAP_TYPE_PERCPU_HASH, 8, 0);
	by_key(BPF_MAP_TYPE_LRU_HASH, 8, 0);
	by_key(BPF_MAP_TYPE_LRU_HASH, 8, BPF_F_NO_COMMON_LRU);
	by_key(BPF_MAP_TYPE_LRU_PERCPU_HASH, 8, 0);
}

static void arrays(void **state)
{
	(void)state;
	by_key(BPF_MAP_TYPE_ARRAY, 4, 0);
	by_key(BPF_MAP_TYPE_PERCPU_ARRAY, 4, 0);
}

static void step_lpm(struct map *m, u32 *s)
{
	struct {
		u32 bits;
		u8 data[4];
	} k = { next_random(s) % 33, { 10, (u8)(next_random(s) % 4), 0, 1 } }, next;
	struct value v = make(next_random(s));

	switch (next_random(s) % 4) {
	case 0: map_update_user(m, &k, &v, 0); break;
	case 1: map_delete_user(m, &k); break;
	case 2: map_next_key_user(m, &k, &next); break;
	default:
		map_lookup_user(m, &k, &v, 0);
	}
}

static void tries(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_LPM_TRIE, 8, sizeof(struct value), ROOM, BPF_F_NO_PREALLOC);

	(void)state;
	together(m, step_lpm);
	map_put(m);
}

/* ---- without keys ---------------------------------------------------------------------------- */

static void step_ends(struct map *m, u32 *s)
{
	struct value v = make(next_random(s));

	switch (next_random(s) % 3) {
	case 0: map_update_user(m, NULL, &v, next_random(s) % 2 ? BPF_EXIST : BPF_ANY); break;
	case 1: torn += !map_take_user(m, NULL, &v, 0) && v.b != ~v.a; break;
	default: torn += !map_lookup_user(m, NULL, &v, 0) && v.b != ~v.a; break;
	}
}

static void queues_and_stacks(void **state)
{
	static const u32 types[] = { BPF_MAP_TYPE_QUEUE, BPF_MAP_TYPE_STACK };

	(void)state;
	for (u32 i = 0; i < 2; i++) {
		struct map *m = map_make(types[i], 0, sizeof(struct value), ROOM, 0);

		together(m, step_ends);
		map_put(m);
	}
}

static void step_bloom(struct map *m, u32 *s)
{
	struct value v = make(next_random(s) % 50);

	map_update_user(m, NULL, &v, 0);
	torn += map_lookup_user(m, NULL, &v, 0) != 0;
}

static void filters(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_BLOOM_FILTER, 0, sizeof(struct value), 100, 0);

	(void)state;
	together(m, step_bloom);
	map_put(m);
}

static void step_trace(struct map *m, u32 *s)
{
	struct value v = make(next_random(s));
	struct map_trace t = { &v, sizeof(v), 2, (u32)v.a };
	u32 id = next_random(s) % 16;

	switch (next_random(s) % 4) {
	case 0: map_delete_user(m, &id); break;
	case 1: torn += !map_lookup_user(m, &id, &v, 0) && v.b != ~v.a; break;
	case 2: torn += !map_take_user(m, &id, &v, 0) && v.b != ~v.a; break;
	default: map_stack_put(m, &t, BPF_F_REUSE_STACKID);
	}
}

static void stack_traces(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_STACK_TRACE, 4, sizeof(struct value), 16, 0);

	(void)state;
	together(m, step_trace);
	map_put(m);
}

static void step_task(struct map *m, u32 *s)
{
	struct value v = make(next_random(s));
	u32 self = (u32)syscall(SYS_gettid);
	u64 *at;

	switch (next_random(s) % 3) {
	case 0: map_task_update(m, self, &v, BPF_ANY); break;
	case 1: map_task_delete(m, self); break;
	default:
		at = map_task_lookup(m, self);
		torn += at && at[1] != ~at[0]; /* nobody else's */
	}
}

static void task_storage(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_TASK_STORAGE, 4, sizeof(struct value), 0, BPF_F_NO_PREALLOC);

	(void)state;
	together(m, step_task);
	map_put(m);
}

/* ---- rings ----------------------------------------------------------------------------------- */

static _Atomic u32 working;

static void step_output(struct map *m, u32 *s)
{
	struct value v = make(next_random(s));
	struct value *rec;

	if (next_random(s) % 2) {
		map_ringbuf_output(m, &v, sizeof(v), 0);
		return;
	}
	rec = map_ringbuf_reserve(m, sizeof(v), 0);
	if (rec) {
		*rec = v;
		map_ringbuf_commit(rec, 0, next_random(s) % 8 == 0);
	}
}

static void *consume(void *arg)
{
	struct map *m = arg;
	u8 *mem = map_ringbuf_mmap(m, NULL, 2 * 4096 + 2 * m->attr.max_entries, PROT_READ, MAP_SHARED, 0);
	u64 *cons = map_ringbuf_mmap(m, NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 0), pos = 0, prod;
	struct value *v;

	do {
		prod = __atomic_load_n((u64 *)(void *)(mem + 4096), __ATOMIC_ACQUIRE);
		while (pos < prod) {
			u8 *rec = mem + 2 * 4096 + (pos & (m->attr.max_entries - 1));
			u32 len = __atomic_load_n((u32 *)(void *)rec, __ATOMIC_ACQUIRE);

			if (len & BPF_RINGBUF_BUSY_BIT)
				break;
			v = (struct value *)(void *)(rec + 8);
			torn += !(len & BPF_RINGBUF_DISCARD_BIT) && v->b != ~v->a;
			pos += 8 + sizeof(*v);
			__atomic_store_n(cons, pos, __ATOMIC_RELEASE);
		}
	} while (working);
	return NULL;
}

static void ring_buffer(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0);
	pthread_t t;

	(void)state;
	working = 1;
	assert_true(map_ringbuf_eventfd(m) >= 0);
	pthread_create(&t, NULL, consume, m);
	together(m, step_output);
	working = 0;
	pthread_join(t, NULL);
	assert_int_equal(torn, 0);
	map_put(m);
}

static u64 drained(void *arg, void *sample, u32 size)
{
	struct value *v = sample;

	(void)arg;
	torn += size != sizeof(*v) || v->b != ~v->a;
	return 0;
}

static void *fill_users_ring(void *arg)
{
	struct map *m = arg;
	u8 *mem = map_ringbuf_mmap(m, NULL, 4096 + 2 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 4096);
	u64 *cons = map_ringbuf_mmap(m, NULL, 4096, PROT_READ, MAP_SHARED, 0), pos = 0;

	while (working) {
		struct value v = make(pos);

		if (pos + 24 - __atomic_load_n(cons, __ATOMIC_ACQUIRE) > 4096)
			continue;
		memcpy(mem + 4096 + (pos & 4095) + 8, &v, sizeof(v));
		__atomic_store_n((u32 *)(void *)(mem + 4096 + (pos & 4095)), sizeof(v), __ATOMIC_RELEASE);
		pos += 24;
		__atomic_store_n((u64 *)(void *)mem, pos, __ATOMIC_RELEASE);
	}
	return NULL;
}

static void step_drain(struct map *m, u32 *s)
{
	(void)s;
	map_user_ringbuf_drain(m, drained, NULL, 0);
}

static void users_ring(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_USER_RINGBUF, 0, 0, 4096, 0);
	pthread_t t;

	(void)state;
	working = 1;
	pthread_create(&t, NULL, fill_users_ring, m);
	together(m, step_drain);
	working = 0;
	pthread_join(t, NULL);
	map_put(m);
}

static void step_event(struct map *m, u32 *s)
{
	struct value v = make(next_random(s));
	struct map_perf_data data = { .at = &v, .size = sizeof(v) };

	map_perf_output(m, 0, &data);
}

static void *read_events(void *arg)
{
	struct perf_event_mmap_page *page = arg;
	u64 tail = 0, head;
	u8 rec[64];

	do {
		head = __atomic_load_n(&page->data_head, __ATOMIC_ACQUIRE);
		while (tail < head) {
			struct perf_event_header h;
			struct value v;

			for (u32 i = 0; i < sizeof(rec); i++)
				rec[i] = i < head - tail ? ((u8 *)page)[4096 + (tail + i) % 4096] : 0;
			memcpy(&h, rec, sizeof(h));
			memcpy(&v, rec + 12, sizeof(v));
			torn += h.type == PERF_RECORD_SAMPLE && v.b != ~v.a;
			tail += h.size;
			__atomic_store_n(&page->data_tail, tail, __ATOMIC_RELEASE);
		}
	} while (working);
	return NULL;
}

static void drop(const struct map *m, void *obj)
{
	(void)m, (void)obj;
}

static void perf_buffer(void **state)
{
	struct map_perf_attr attr = {
		.kernel_fd = -1, .cpu = -1, .sample_type = PERF_SAMPLE_RAW, .wakeup = 1
	};
	struct map *m = map_make(BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 1, 0);
	struct map_perf *perf;
	pthread_t t;
	void *page;
	u32 zero = 0;

	(void)state;
	map_drop_obj = drop;
	assert_int_equal(map_perf_create(&attr, &perf), 0);
	page = map_perf_mmap(perf, NULL, 2 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	assert_ptr_not_equal(page, MAP_FAILED);
	assert_int_equal(m->ops->set_obj(m, &zero, perf, 1, 0), 0);
	working = 1;
	pthread_create(&t, NULL, read_events, page);
	together(m, step_event);
	working = 0;
	pthread_join(t, NULL);
	assert_int_equal(torn, 0);
	map_put(m);
	map_perf_free(perf);
}

/* ---- elements that are objects, which the map's user counts ------------------------------------ */

static struct map *inner[2];
static _Atomic s64 given, back;

static void count_back(const struct map *m, void *obj)
{
	(void)m, (void)obj;
	back++;
}

static void step_objects(struct map *m, u32 *s)
{
	u32 key = next_random(s) % 8, id;
	struct map *in;

	switch (next_random(s) % 4) {
	case 0: m->ops->remove(m, &key); break;
	case 1:
		in = m->ops->lookup(m, &key);
		torn += in && in != inner[0] && in != inner[1];
		break;
	case 2: m->ops->read(m, &key, &id, 0); break;
	default:
		given++;
		if (m->ops->set_obj(m, &key, inner[next_random(s) % 2], 1 + next_random(s) % 2, 0))
			back++;
	}
}

static void maps_of_maps(void **state)
{
	static const u32 types[] = { BPF_MAP_TYPE_ARRAY_OF_MAPS, BPF_MAP_TYPE_HASH_OF_MAPS };
	u32 i;

	(void)state;
	map_drop_obj = count_back;
	inner[0] = map_make(BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0);
	inner[1] = map_make(BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0);
	for (i = 0; i < 2; i++) {
		struct map_attr attr = { .type = types[i], .key_size = 4, .value_size = 4, .max_entries = 8 };
		struct map *m;

		assert_int_equal(map_create_outer(&attr, inner[0], &m, NULL), 0);
		together(m, step_objects);
		map_put(m);
		assert_int_equal(given, back);
	}
	map_put(inner[0]);
	map_put(inner[1]);
}

/* ---- values with a lock ------------------------------------------------------------------------ */

static void step_locked(struct map *m, u32 *s)
{
	struct {
		u32 lock, pad;
		struct value v;
	} v = { .v = make(next_random(s)) };
	u32 key = next_random(s) % 4;

	if (next_random(s) % 2)
		map_update_user(m, &key, &v, BPF_F_LOCK);
	else if (!map_lookup_user(m, &key, &v, BPF_F_LOCK))
		torn += (v.v.a || v.v.b) && v.v.b != ~v.v.a;
}

static void values_with_locks(void **state)
{
	static const u32 types[] = { BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_HASH };

	(void)state;
	for (u32 i = 0; i < 2; i++) {
		struct map *m = map_make(types[i], 4, 24, 8, 0);
		u64 zero[3] = { 0 };

		assert_int_equal(map_set_fields(m, 1, 0), 0);
		for (u32 key = 0; key < 4; key++)
			map_update_user(m, &key, zero, 0);
		together(m, step_locked);
		map_put(m);
	}
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hashes),	cmocka_unit_test(arrays),
		cmocka_unit_test(tries),	cmocka_unit_test(queues_and_stacks),
		cmocka_unit_test(filters),	cmocka_unit_test(stack_traces),
		cmocka_unit_test(task_storage), cmocka_unit_test(ring_buffer),
		cmocka_unit_test(users_ring),	cmocka_unit_test(perf_buffer),
		cmocka_unit_test(maps_of_maps), cmocka_unit_test(values_with_locks),
	};

	/* ThreadSanitizer's shadow wants addresses where they were before kernels spread them wider. */
	if (argc == 1 && personality(ADDR_NO_RANDOMIZE) >= 0) {
		execl("/proc/self/exe", argv[0], "again", NULL);
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
