/* SPDX-License-Identifier: MIT */
/*
 * Another process writes nonsense all over a map's memory while it is used: results may be nonsense
 * too, but every call returns, and nothing outside the map is touched (run under ASan).
 */
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

static void scribble(const struct map *m)
{
	u8 *mem = mmap(NULL, m->mem_size, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
	u32 s = 12345, pages = (u32)(m->mem_size / 4096);

	for (;;) {
		u32 page = next_random(&s) % pages, n;
		u64 w = bad_word(&s);
		u32 off = page * 4096 + next_random(&s) % 4096;

		n = next_random(&s) % 3 ? 8 : 1 + next_random(&s) % 8;
		if (n == 8)
			off &= ~7u;
		if (off + n <= m->mem_size)
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

static void *user(void *arg)
{
	struct map *m = arg;
	u32 s = (u32)(uintptr_t)&s | 1;
	u8 *value = calloc(1, map_user_value_size(m) + 8);

	while (!stop) {
		if (m->attr.type == BPF_MAP_TYPE_RINGBUF)
			use_ring(m, &s);
		else
			use_elements(m, &s, value);
	}
	free(value);
	return NULL;
}

static void survive(u32 type, u32 key, u32 value, u32 entries)
{
	struct map *m = map_make(type, key, value, entries,
				 type == BPF_MAP_TYPE_LPM_TRIE ? BPF_F_NO_PREALLOC : 0);
	double end;
	pthread_t t[2];
	pid_t pid;
	u32 i;

	pid = fork();
	if (!pid) {
		alarm(20);
		scribble(m);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hash_survives_nonsense),
		cmocka_unit_test(lru_survives_nonsense),
		cmocka_unit_test(array_survives_nonsense),
		cmocka_unit_test(queue_survives_nonsense),
		cmocka_unit_test(ring_buffer_survives_nonsense),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
