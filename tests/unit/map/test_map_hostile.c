/* SPDX-License-Identifier: MIT */
/*
 * Another process writes nonsense all over a map's memory while it is used: results may be nonsense
 * too, but every call returns, and nothing outside the map is touched (run under ASan).
 */
#include <linux/perf_event.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "map_test.h"

static u32 next_random(u32 *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 17;
	return *s ^= *s << 5;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* Words that are likely to hurt: small numbers, all ones, single bits, noise. */
static u64 bad_word(u32 *s)
{
	switch (next_random(s) % 6) {
	case 0: return 0;
	case 1: return ~0ull;
	case 2: return next_random(s) % 300;
	case 3: return 1ull << next_random(s) % 64;
	case 4: return (u64)next_random(s) % 300 << 32 | next_random(s) % 300;
	default: return (u64)next_random(s) << 32 | next_random(s);
	}
}

static void scribble(int fd, size_t size)
{
	u8 *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	u32 s = 12345, pages = (u32)(size / 4096);

	for (;;) {
		u32 page = next_random(&s) % pages, n;
		u64 w = bad_word(&s);
		u32 off = page * 4096 + next_random(&s) % 4096;

		n = next_random(&s) % 3 ? 8 : 1 + next_random(&s) % 8;
		if (n == 8)
			off &= ~7u;
		if (off + n <= size)
			memcpy(mem + off, &w, n);
		if (next_random(&s) % 2000 == 0) { /* as if somebody copied memory about */
			u32 from = next_random(&s) % pages * 4096;

			memmove(mem + page * 4096, mem + from + next_random(&s) % 64, 4000);
		}
	}
}

static _Atomic bool stop;

static void use_elements(struct map *m, u32 *s, u8 *value)
{
	u8 key[64], next[64];
	u32 i, size = m->attr.key_size;
	u8 *v;

	memset(key, 0, sizeof(key));
	key[0] = (u8)next_random(s);
	if (map_is_percpu(m->attr.type))
		memset(value, 1, map_user_value_size(m));
	switch (next_random(s) % 6) {
	case 0:
		v = m->ops->lookup ? m->ops->lookup(m, key) : NULL;
		if (v) {
			memset(v, v[0], m->attr.value_size);
			v[m->attr.value_size - 1]++;
		}
		break;
	case 1: map_update_user(m, key, value, next_random(s) % 3); break;
	case 2: m->ops->update(m, key, value, next_random(s) % 3); break;
	case 3: map_delete_user(m, key); break;
	case 4: map_take_user(m, key, value, 0); break;
	case 5:
		map_lookup_user(m, key, value, 0);
		for (i = 0; i < 50 && !map_next_key_user(m, i ? next : NULL, next); i++)
			memset(next + size, 0, sizeof(next) - size);
		break;
	}
}

static void use_ring(struct map *m, u32 *s)
{
	u64 size = next_random(s) % 600;
	void *rec = map_ringbuf_reserve(m, size, 0);

	if (!rec)
		return;
	memset(rec, 0x5a, size);
	map_ringbuf_commit(rec, next_random(s) % 3, next_random(s) % 2);
	map_ringbuf_query(m, next_random(s) % 5);
}

static u64 sample(void *arg, void *at, u32 size)
{
	u8 *p = at;

	for (u32 i = 0; i < size; i += 64)
		*(volatile u32 *)arg += p[i];
	return 0;
}

static struct map_perf *perf;

static void use_others(struct map *m, u32 *s, u8 *value)
{
	u8 data[64] = { 1, 2, 3 };
	struct map_trace t = { data, 16, 2, next_random(s) };
	struct map_perf_data rec = { .at = data, .size = next_random(s) % sizeof(data) };
	u32 id = next_random(s) % 20, sum = 0, tid = (u32)gettid();

	switch (m->attr.type) {
	case BPF_MAP_TYPE_USER_RINGBUF: map_user_ringbuf_drain(m, sample, &sum, 0); break;
	case BPF_MAP_TYPE_STACK_TRACE: map_stack_put(m, &t, BPF_F_REUSE_STACKID); break;
	case BPF_MAP_TYPE_PERF_EVENT_ARRAY: map_perf_output(m, 0, &rec); return;
	case BPF_MAP_TYPE_TASK_STORAGE:
		map_task_update(m, tid, value, 0);
		if (map_task_lookup(m, tid))
			memset(map_task_lookup(m, tid) ?: data, 1, 8);
		if (id == 3)
			map_task_delete(m, tid);
		return;
	}
	map_lookup_user(m, &id, value, 0);
	map_take_user(m, &id, value, 0);
	map_next_key_user(m, &id, &id);
}

static struct map *inner;
static _Atomic u32 bad_elements;

static void use_maps(struct map *m, u32 *s)
{
	u32 key = next_random(s) % 30, id, next;
	struct map *in;

	switch (next_random(s) % 5) {
	case 0: m->ops->set_obj(m, &key, inner, 7, next_random(s) % 3); break;
	case 1: m->ops->remove(m, &key); break;
	case 2: m->ops->read(m, &key, &id, 0); break;
	case 3: m->ops->next_key(m, &key, &next); break;
	default:
		in = m->ops->lookup(m, &key);
		bad_elements += in && in != inner; /* never anything but what was put in */
	}
}

/* Positions may be any, and lead nowhere. */
static void use_batches(struct map *m, u32 *s)
{
	u64 pos = next_random(s) % 2 ? 0 : next_random(s);
	u8 keys[16 * 64], *values = malloc(16 * (size_t)map_user_value_size(m));

	if (m->ops->next_batch(m, &pos, 1 + next_random(s) % 16, keys, next_random(s) % 2 ? values : NULL) > 16)
		abort();
	free(values);
}

static void *user(void *arg)
{
	struct map *m = arg;
	u32 s = (u32)(uintptr_t)&s | 1;
	u8 *value = calloc(1, map_user_value_size(m) + 8);

	while (!stop) {
		if (m->attr.type == BPF_MAP_TYPE_RINGBUF)
			use_ring(m, &s);
		else if (map_is_outer(m->attr.type))
			use_maps(m, &s);
		else if (!m->ops->lookup || m->attr.type == BPF_MAP_TYPE_USER_RINGBUF ||
			 m->attr.type == BPF_MAP_TYPE_STACK_TRACE || m->attr.type == BPF_MAP_TYPE_TASK_STORAGE ||
			 m->attr.type == BPF_MAP_TYPE_PERF_EVENT_ARRAY)
			use_others(m, &s, value);
		else if (m->ops->next_batch && next_random(&s) % 8 == 0)
			use_batches(m, &s);
		else
			use_elements(m, &s, value);
	}
	free(value);
	return NULL;
}

static void survive_in(struct map *m, int fd, size_t size)
{
	double end;
	pthread_t t[2];
	pid_t pid;
	u32 i;

	pid = fork();
	if (!pid) {
		alarm(20);
		scribble(fd, size);
	}
	stop = false;
	alarm(30); /* a call that hangs ends the test */
	for (i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, user, m);
	for (end = now() + 0.25; now() < end;)
		usleep(10000);
	stop = true;
	for (i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	alarm(0);
	map_put(m);
}

static void survive(u32 type, u32 key, u32 value, u32 entries)
{
	bool grows = type == BPF_MAP_TYPE_LPM_TRIE || type == BPF_MAP_TYPE_TASK_STORAGE;
	struct map *m = map_make(type, key, value, entries, grows ? BPF_F_NO_PREALLOC : 0);

	survive_in(m, m->fd, m->mem_size);
}

static void hash_survives_nonsense(void **state)
{
	(void)state;
	survive(BPF_MAP_TYPE_HASH, 4, 8, 20);
	survive(BPF_MAP_TYPE_HASH, 8, 8, 200);
	survive(BPF_MAP_TYPE_HASH, 64, 100, 1000);
	survive(BPF_MAP_TYPE_PERCPU_HASH, 20, 12, 100);
	survive(BPF_MAP_TYPE_LPM_TRIE, 24, 8, 100);
}

static void lru_survives_nonsense(void **state)
{
	(void)state;
	survive(BPF_MAP_TYPE_LRU_HASH, 4, 8, 20);
	survive(BPF_MAP_TYPE_LRU_HASH, 16, 8, 200);
	survive(BPF_MAP_TYPE_LRU_PERCPU_HASH, 8, 8, 100);
}

static void array_survives_nonsense(void **state)
{
	(void)state;
	survive(BPF_MAP_TYPE_ARRAY, 4, 7, 200);
	survive(BPF_MAP_TYPE_PERCPU_ARRAY, 4, 12, 200);
}

static void queue_survives_nonsense(void **state)
{
	(void)state;
	survive(BPF_MAP_TYPE_QUEUE, 0, 24, 30);
	survive(BPF_MAP_TYPE_STACK, 0, 7, 300);
}

static void ring_buffer_survives_nonsense(void **state)
{
	(void)state;
	survive(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096);
	survive(BPF_MAP_TYPE_RINGBUF, 0, 0, 65536);
}

static void filters_and_traces_survive_nonsense(void **state)
{
	(void)state;
	survive(BPF_MAP_TYPE_BLOOM_FILTER, 0, 8, 1000);
	survive(BPF_MAP_TYPE_STACK_TRACE, 4, 16, 16);
	survive(BPF_MAP_TYPE_TASK_STORAGE, 4, 16, 0);
	survive(BPF_MAP_TYPE_USER_RINGBUF, 0, 0, 8192);
}

static void drop(const struct map *m, void *obj)
{
	(void)m, (void)obj;
}

/* The buffer's own file is written over, that of the array that shows it as well. */
static void perf_buffer_survives_nonsense(void **state)
{
	struct map_perf_attr attr = {
		.kernel_fd = -1, .cpu = -1, .sample_type = PERF_SAMPLE_RAW, .wakeup = 1
	};
	struct map *m = map_make(BPF_MAP_TYPE_PERF_EVENT_ARRAY, 4, 4, 20, 0);
	u32 zero = 0;

	(void)state;
	map_drop_obj = drop;
	assert_int_equal(map_perf_create(&attr, &perf), 0);
	assert_ptr_not_equal(map_perf_mmap(perf, NULL, 3 * 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 0),
			     MAP_FAILED);
	assert_int_equal(m->ops->set_obj(m, &zero, perf, 1, 0), 0);
	survive_in(map_get(m), *map_perf_fd(perf), 4 * 4096);
	survive_in(m, m->fd, m->mem_size);
	map_perf_free(perf);
}

static void maps_of_maps_survive_nonsense(void **state)
{
	static const u32 types[] = { BPF_MAP_TYPE_ARRAY_OF_MAPS, BPF_MAP_TYPE_HASH_OF_MAPS };

	(void)state;
	map_drop_obj = drop;
	inner = map_make(BPF_MAP_TYPE_ARRAY, 4, 8, 1, 0);
	for (u32 i = 0; i < 2; i++) {
		struct map_attr a = { .type = types[i], .key_size = 4, .value_size = 4, .max_entries = 20 };
		struct map *m;

		assert_int_equal(map_create_outer(&a, inner, &m, NULL), 0);
		survive_in(m, m->fd, m->mem_size);
	}
	assert_int_equal(bad_elements, 0);
	map_put(inner);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hash_survives_nonsense),
		cmocka_unit_test(lru_survives_nonsense),
		cmocka_unit_test(array_survives_nonsense),
		cmocka_unit_test(queue_survives_nonsense),
		cmocka_unit_test(ring_buffer_survives_nonsense),
		cmocka_unit_test(filters_and_traces_survive_nonsense),
		cmocka_unit_test(perf_buffer_survives_nonsense),
		cmocka_unit_test(maps_of_maps_survive_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
