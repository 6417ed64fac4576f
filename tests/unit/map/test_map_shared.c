/* SPDX-License-Identifier: MIT */
/* Threads and processes on one map at once, some of them killed in the middle of it. */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "map_test.h"

#define KEYS 300u
#define ROOM 200u /* fewer: E2BIG and eviction take part */

static u32 next_random(u32 *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 17;
	return *s ^= *s << 5;
}

/* A value that tells its key and whether it is whole. */
struct value {
	u64 key, n, check;
};

static void make_value(struct value *v, u64 key, u64 n)
{
	*v = (struct value){ key, n, key * 0x9e3779b97f4a7c15ull ^ n };
}

static bool whole(const struct value *v, u64 key)
{
	return v->key == key && v->check == (key * 0x9e3779b97f4a7c15ull ^ v->n);
}

/* One random operation; false when a value read was not whole. */
static bool step(struct map *m, u32 *s)
{
	u64 key = next_random(s) % KEYS, next;
	struct value v;

	switch (next_random(s) % 8) {
	case 0:
	case 1:
	case 2:
		make_value(&v, key, next_random(s));
		map_update_user(m, &key, &v, BPF_ANY);
		return true;
	case 3:
		make_value(&v, key, next_random(s));
		m->ops->update(m, &key, &v, BPF_EXIST);
		return true;
	case 4: map_delete_user(m, &key); return true;
	case 5: return map_take_user(m, &key, &v, 0) || whole(&v, key);
	case 6: return map_next_key_user(m, &key, &next) || next < KEYS;
	default: return map_lookup_user(m, &key, &v, 0) || whole(&v, key);
	}
}

/* Everything holds: each key once, values whole, no lock left, room for exactly max_entries. */
static void check_map(struct map *m, bool lru)
{
	bool seen[KEYS] = { false }, have = false;
	struct value v;
	u64 key, next;
	u32 n = 0;

	for (; !map_next_key_user(m, have ? &key : NULL, &next); key = next, have = true) {
		assert_true(next < KEYS);
		assert_false(seen[next]);
		seen[next] = true;
		assert_int_equal(map_lookup_user(m, &next, &v, 0), 0);
		assert_true(whole(&v, next));
	}
	for (key = 0; key < KEYS; key++) {
		assert_int_equal(map_delete_user(m, &key), seen[key] ? 0 : -ENOENT);
		assert_int_equal(map_delete_user(m, &key), -ENOENT);
	}
	for (key = 0; key < KEYS; key++) {
		make_value(&v, key, 1);
		assert_int_equal(map_update_user(m, &key, &v, BPF_NOEXIST),
				 key < ROOM || lru ? 0 : -E2BIG);
	}
	for (key = 0; key < KEYS; key++)
		n += !map_lookup_user(m, &key, &v, 0);
	assert_int_equal(n, ROOM);
}

/* ---- threads -------------------------------------------------------------------------------- */

static _Atomic u32 torn;

static void *work(void *arg)
{
	u32 s = (u32)(uintptr_t)&s | 1, i;

	for (i = 0; i < 40000; i++)
		torn += !step(arg, &s);
	return NULL;
}

static void run_threads(u32 type)
{
	struct map *m = map_make(type, 8, sizeof(struct value), ROOM, 0);
	pthread_t t[4];
	u32 i;

	torn = 0;
	for (i = 0; i < 4; i++)
		pthread_create(&t[i], NULL, work, m);
	for (i = 0; i < 4; i++)
		pthread_join(t[i], NULL);
	assert_int_equal(torn, 0);
	check_map(m, type == BPF_MAP_TYPE_LRU_HASH);
	map_put(m);
}

static void threads_see_whole_values_and_leave_a_sound_map(void **state)
{
	(void)state;
	run_threads(BPF_MAP_TYPE_HASH);
	run_threads(BPF_MAP_TYPE_LRU_HASH);
}

static void *count(void *arg)
{
	struct map *m = arg;
	u32 k, i;

	for (i = 0; i < 20000; i++) {
		k = i % 16;
		__atomic_fetch_add((u64 *)m->ops->lookup(m, &k), 1, __ATOMIC_RELAXED);
	}
	return NULL;
}

static void atomic_adds_of_threads_add_up(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_HASH, 4, 8, 16, 0);
	pthread_t t[3];
	u64 v = 0, sum = 0;
	u32 i;

	(void)state;
	for (i = 0; i < 16; i++)
		assert_int_equal(map_update_user(m, &i, &v, 0), 0);
	for (i = 0; i < 3; i++)
		pthread_create(&t[i], NULL, count, m);
	for (i = 0; i < 3; i++)
		pthread_join(t[i], NULL);
	for (i = 0; i < 16; i++) {
		assert_int_equal(map_lookup_user(m, &i, &v, 0), 0);
		sum += v;
	}
	assert_int_equal(sum, 60000);
	map_put(m);
}

/* A key that is only ever replaced must never be missed, whatever happens around it. */
static _Atomic bool stop;

static void *churn(void *arg)
{
	struct map *m = arg;
	u32 s = (u32)(uintptr_t)&s | 1;
	struct value v;
	u64 key;

	while (!stop) {
		key = 1 + next_random(&s) % 30;
		if (next_random(&s) % 2) {
			make_value(&v, key, 0);
			map_update_user(m, &key, &v, BPF_ANY);
		} else {
			map_delete_user(m, &key);
		}
		key = 0;
		make_value(&v, key, next_random(&s));
		map_update_user(m, &key, &v, BPF_EXIST);
	}
	return NULL;
}

static void reader_never_misses_a_key_that_is_replaced(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_HASH, 8, sizeof(struct value), 40, 0);
	struct value v;
	pthread_t t[2];
	u64 key = 0;
	u32 i;

	(void)state;
	make_value(&v, 0, 0);
	assert_int_equal(map_update_user(m, &key, &v, 0), 0);
	stop = false;
	for (i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, churn, m);
	for (i = 0; i < 200000; i++) {
		assert_non_null(m->ops->lookup(m, &key));
		if (i % 16 == 0) {
			assert_int_equal(map_lookup_user(m, &key, &v, 0), 0);
			assert_true(whole(&v, key));
		}
	}
	stop = true;
	for (i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	map_put(m);
}

/* ---- processes ------------------------------------------------------------------------------ */

static pid_t start_worker(struct map *m)
{
	pid_t pid = fork();
	u32 s;

	if (pid)
		return pid;
	alarm(20);
	s = (u32)getpid() * 2654435761u | 1;
	while (step(m, &s))
		;
	_exit(1); /* a value was not whole */
}

static void kill_workers(u32 type)
{
	struct map *m = map_make(type, 8, sizeof(struct value), ROOM, 0);
	u32 s = 99 + type, round, i;
	pid_t pids[3];
	int status;

	alarm(60);
	for (i = 0; i < 3; i++)
		pids[i] = start_worker(m);
	for (round = 0; round < 150; round++) {
		usleep(next_random(&s) % 2000);
		i = next_random(&s) % 3;
		kill(pids[i], SIGKILL);
		waitpid(pids[i], &status, 0);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		pids[i] = start_worker(m);
	}
	for (i = 0; i < 3; i++)
		kill(pids[i], SIGKILL);
	for (i = 0; i < 3; i++)
		waitpid(pids[i], &status, 0);
	alarm(0);
	check_map(m, type == BPF_MAP_TYPE_LRU_HASH);
	map_put(m);
}

static void killed_processes_leave_a_sound_hash(void **state)
{
	(void)state;
	kill_workers(BPF_MAP_TYPE_HASH);
}

static void killed_processes_leave_a_sound_lru(void **state)
{
	(void)state;
	kill_workers(BPF_MAP_TYPE_LRU_HASH);
}

static void killed_producers_leave_a_ring_that_flows(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0);
	volatile u64 *cons;
	u32 round, i, s = 5;
	pid_t pid;

	(void)state;
	alarm(60);
	cons = map_ringbuf_mmap(m, NULL, 4096, 3, 1 /* MAP_SHARED */, 0);
	for (round = 0; round < 100; round++) {
		pid = fork();
		if (!pid) {
			for (alarm(20);;) {
				void *rec = map_ringbuf_reserve(m, 24, 0);

				if (rec)
					map_ringbuf_commit(rec, 0, false);
				*cons = map_ringbuf_query(m, BPF_RB_PROD_POS);
			}
		}
		usleep(500 + next_random(&s) % 1000);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	*cons = map_ringbuf_query(m, BPF_RB_PROD_POS);
	for (i = 0; i < 1000; i++) {
		assert_int_equal(map_ringbuf_output(m, &s, 4, 0), 0);
		*cons = map_ringbuf_query(m, BPF_RB_PROD_POS);
	}
	alarm(0);
	map_put(m);
}

/* ---- a signal handler meets its own thread's lock ------------------------------------------- */

static struct map *shared_map;
static _Atomic u32 busy, done;

static void on_signal(int sig)
{
	u64 key = 1;
	struct value v;
	int err;

	(void)sig;
	make_value(&v, key, 5);
	err = map_update_user(shared_map, &key, &v, BPF_ANY);
	if (err == -EBUSY)
		busy++;
	else if (!err)
		done++;
}

static void update_in_a_signal_handler_does_not_wait_for_itself(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_HASH, 8, sizeof(struct value), 4, 0);
	struct sigaction sa = { .sa_handler = on_signal };
	struct sigevent ev = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1 };
	struct itimerspec every = { { 0, 50000 }, { 0, 50000 } };
	struct value v;
	timer_t timer;
	u64 key = 1;
	u32 i;

	(void)state;
	shared_map = m;
	busy = done = 0;
	sigaction(SIGUSR1, &sa, NULL);
	assert_int_equal(timer_create(CLOCK_MONOTONIC, &ev, &timer), 0);
	timer_settime(timer, 0, &every, NULL);
	alarm(30);
	for (i = 0; i < 4000000 && busy + done < 2000; i++) {
		make_value(&v, key, i);
		assert_int_equal(map_update_user(m, &key, &v, BPF_ANY), 0);
	}
	timer_delete(timer);
	alarm(0);
	signal(SIGUSR1, SIG_IGN);
	assert_true(busy + done > 0);
	assert_int_equal(map_lookup_user(m, &key, &v, 0), 0);
	assert_true(whole(&v, key));
	map_put(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_see_whole_values_and_leave_a_sound_map),
		cmocka_unit_test(atomic_adds_of_threads_add_up),
		cmocka_unit_test(reader_never_misses_a_key_that_is_replaced),
		cmocka_unit_test(killed_processes_leave_a_sound_hash),
		cmocka_unit_test(killed_processes_leave_a_sound_lru),
		cmocka_unit_test(killed_producers_leave_a_ring_that_flows),
		cmocka_unit_test(update_in_a_signal_handler_does_not_wait_for_itself),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
