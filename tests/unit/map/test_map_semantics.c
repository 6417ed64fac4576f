/* SPDX-License-Identifier: MIT */
/* Semantics of each map type, by the words of bpf(2) and the kernel's map documentation. */
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "map_test.h"

static void array_is_preset_to_zero_and_bounded(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_ARRAY, 4, 12, 10, 0);
	u32 k = 3, next;
	u8 v[12], w[12];

	(void)state;
	assert_int_equal(map_lookup_user(m, &k, v, 0), 0);
	memset(w, 0, sizeof(w));
	assert_memory_equal(v, w, 12);
	memset(w, 0xab, sizeof(w));
	assert_int_equal(map_update_user(m, &k, w, BPF_ANY), 0);
	assert_int_equal(map_lookup_user(m, &k, v, 0), 0);
	assert_memory_equal(v, w, 12);
	assert_memory_equal(m->ops->lookup(m, &k), w, 12);
	assert_int_equal(map_update_user(m, &k, w, BPF_NOEXIST), -EEXIST);
	assert_int_equal(map_update_user(m, &k, w, 7), -EINVAL);
	assert_int_equal(map_delete_user(m, &k), -EINVAL);
	k = 10;
	assert_int_equal(map_update_user(m, &k, w, BPF_ANY), -E2BIG);
	assert_int_equal(map_lookup_user(m, &k, v, 0), -ENOENT);
	assert_null(m->ops->lookup(m, &k));
	assert_int_equal(map_next_key_user(m, &k, &next), 0);
	assert_int_equal(next, 0);
	k = 9;
	assert_int_equal(map_next_key_user(m, &k, &next), -ENOENT);
	map_put(m);
}

static void mmapable_array_shows_values_at_8_byte_steps(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_ARRAY, 4, 4, 1000, BPF_F_MMAPABLE);
	u32 k = 700, v = 42;
	u64 *view;

	(void)state;
	assert_int_equal(m->user_size, 8192);
	view = mmap(NULL, m->user_size, PROT_READ | PROT_WRITE, MAP_SHARED, m->fd, 0);
	assert_ptr_not_equal(view, MAP_FAILED);
	assert_int_equal(map_update_user(m, &k, &v, 0), 0);
	assert_int_equal(view[700], 42);
	view[700] = 43;
	assert_int_equal(map_lookup_user(m, &k, &v, 0), 0);
	assert_int_equal(v, 43);
	munmap(view, m->user_size);
	map_put(m);
}

static void memory_cannot_be_cut_under_a_mapping(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_HASH, 4, 4, 100, 0);

	(void)state;
	assert_int_equal(ftruncate(m->fd, 0), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(fcntl(m->fd, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
	map_put(m);
}

static void percpu_array_has_a_value_for_each_cpu(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_PERCPU_ARRAY, 4, 5, 4, 0);
	u32 k = 2, n = map_cpus(), i, cpu;
	u8 *v = calloc(n, 8), *w;
	cpu_set_t all, one;

	(void)state;
	assert_int_equal(map_user_value_size(m), 8 * n);
	for (i = 0; i < n; i++)
		v[8 * i] = (u8)(i + 1);
	assert_int_equal(map_update_user(m, &k, v, 0), 0);
	sched_getaffinity(0, sizeof(all), &all);
	for (cpu = 0; cpu < n; cpu++) {
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (sched_setaffinity(0, sizeof(one), &one))
			continue;
		assert_int_equal(map_this_cpu(), cpu);
		w = m->ops->lookup(m, &k);
		assert_int_equal(w[0], cpu + 1);
		w[0] = (u8)(cpu + 101);
	}
	sched_setaffinity(0, sizeof(all), &all);
	assert_int_equal(map_lookup_user(m, &k, v, 0), 0);
	assert_in_range(v[0], 101, 101);
	free(v);
	map_put(m);
}

/* A plain model: the oracle of the random walk below. */
struct model {
	bool there[256];
	u64 value[256];
	u32 n;
};

static void make_key(u8 *key, u32 size, u32 i)
{
	memset(key, (int)(i * 37), size);
	key[0] = (u8)i;
}

static void walk_hash(u32 type, u32 key_size, u32 entries)
{
	struct map *m = map_make(type, key_size, 8, entries, 0);
	struct model model = { 0 };
	u32 step, i, want, got, seed = key_size * 31 + entries,
				cpus = map_is_percpu(type) ? map_cpus() : 1;
	u8 key[80], next[80];
	u64 *v = calloc(cpus, 8);
	bool have;

	for (step = 0; step < 20000; step++) {
		u32 op = rand_r((unsigned int *)&seed) % 8, flags = op % 3;
		int err, expect = 0;

		i = rand_r((unsigned int *)&seed) % 256;
		make_key(key, key_size, i);
		if (op < 5) {
			*v = step;
			err = map_update_user(m, key, v, flags);
			if (model.there[i] && flags == BPF_NOEXIST)
				expect = -EEXIST;
			else if (!model.there[i] && flags == BPF_EXIST)
				expect = -ENOENT;
			else if (!model.there[i] && model.n == entries)
				expect = -E2BIG;
			assert_int_equal(err, expect);
			if (!err) {
				model.n += !model.there[i];
				model.there[i] = true;
				model.value[i] = step;
			}
		} else {
			err = op == 5 ? map_take_user(m, key, v, 0) : map_delete_user(m, key);
			assert_int_equal(err, model.there[i] ? 0 : -ENOENT);
			if (op == 5 && !err)
				assert_int_equal(*v, model.value[i]);
			model.n -= model.there[i];
			model.there[i] = false;
		}
		i = rand_r((unsigned int *)&seed) % 256;
		make_key(key, key_size, i);
		assert_int_equal(map_lookup_user(m, key, v, 0), model.there[i] ? 0 : -ENOENT);
		if (model.there[i])
			assert_int_equal(*v, model.value[i]);
		assert_int_equal(!!m->ops->lookup(m, key), model.there[i]);
	}
	for (have = false, want = 0; !map_next_key_user(m, have ? next : NULL, next); have = true) {
		assert_true(model.there[next[0]]);
		want++;
	}
	for (i = got = 0; i < 256; i++)
		got += model.there[i];
	assert_int_equal(want, got);
	free(v);
	map_put(m);
}

static void hash_does_as_a_plain_model_says(void **state)
{
	static const u32 sizes[] = { 1, 3, 4, 8, 12, 16, 20, 64, 75 };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		walk_hash(BPF_MAP_TYPE_HASH, sizes[i], 100);
		walk_hash(BPF_MAP_TYPE_PERCPU_HASH, sizes[i], 100);
		walk_hash(BPF_MAP_TYPE_HASH, sizes[i], 1);
		walk_hash(BPF_MAP_TYPE_HASH, sizes[i], 1000);
	}
}

static void lru_with_room_does_as_a_hash(void **state)
{
	(void)state;
	walk_hash(BPF_MAP_TYPE_LRU_HASH, 4, 256);
	walk_hash(BPF_MAP_TYPE_LRU_PERCPU_HASH, 8, 300);
}

static void hash_holds_exactly_max_entries(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_HASH, 4, 4, 5000, BPF_F_NO_PREALLOC);
	u32 k, v = 0, round;

	(void)state;
	for (round = 0; round < 3; round++) {
		for (k = 0; k < 5000; k++)
			assert_int_equal(map_update_user(m, &k, &v, BPF_NOEXIST), 0);
		assert_int_equal(map_update_user(m, &k, &v, 0), -E2BIG);
		k = 77; /* replacing needs no room */
		assert_int_equal(map_update_user(m, &k, &v, BPF_EXIST), 0);
		for (k = 0; k < 5000; k++)
			assert_int_equal(map_delete_user(m, &k), 0);
	}
	map_put(m);
}

static void iterating_a_large_empty_map_takes_no_memory(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_HASH, 8, 8, 1u << 28, BPF_F_NO_PREALLOC);
	u64 k, next, seen = 0;
	bool have = false;
	struct stat st;

	(void)state;
	assert_int_equal(map_next_key_user(m, NULL, &k), -ENOENT);
	for (k = 0; k < 50; k++)
		assert_int_equal(map_update_user(m, &k, &k, 0), 0);
	for (; !map_next_key_user(m, have ? &k : NULL, &next); k = next, have = true)
		seen |= 1ull << next;
	assert_int_equal(seen, (1ull << 50) - 1);
	assert_int_equal(fstat(m->fd, &st), 0);
	assert_true(st.st_blocks * 512 < 64 << 20);
	map_put(m);
}

static void address_of_a_value_stays_while_others_come_and_go(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_HASH, 8, 8, 1000, 0);
	u64 k = 1, v = 99, *at;

	(void)state;
	assert_int_equal(map_update_user(m, &k, &v, 0), 0);
	at = m->ops->lookup(m, &k);
	for (k = 2; k < 900; k++)
		assert_int_equal(map_update_user(m, &k, &k, 0), 0);
	for (k = 2; k < 900; k++)
		assert_int_equal(map_delete_user(m, &k), 0);
	k = 1;
	assert_ptr_equal(m->ops->lookup(m, &k), at);
	assert_int_equal(*at, 99);
	map_put(m);
}

static void lru_never_refuses_and_keeps_what_is_used(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_LRU_HASH, 4, 4, 1000, 0);
	u32 k, v = 1, hot, alive = 0;

	(void)state;
	for (k = 0; k < 100000; k++) {
		assert_int_equal(map_update_user(m, &k, &v, 0), 0);
		for (hot = 0; hot < 100 && hot <= k; hot += 5)
			assert_non_null(m->ops->lookup(m, &hot));
	}
	for (k = 0; k < 100000; k++)
		alive += !map_lookup_user(m, &k, &v, 0);
	assert_int_equal(alive, 1000);
	map_put(m);
}

static void frozen_and_read_only_maps_refuse_writes(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_HASH, 4, 4, 10, BPF_F_RDONLY);
	u32 k = 0, v = 0;

	(void)state;
	assert_int_equal(map_update_user(m, &k, &v, 0), -EPERM);
	assert_int_equal(map_lookup_user(m, &k, &v, 0), -ENOENT);
	assert_int_equal(m->ops->update(m, &k, &v, 0), 0); /* programs may */
	map_put(m);
	m = map_make(BPF_MAP_TYPE_ARRAY, 4, 4, 10, BPF_F_WRONLY);
	assert_int_equal(map_update_user(m, &k, &v, 0), 0);
	assert_int_equal(map_lookup_user(m, &k, &v, 0), -EPERM);
	m->frozen = 1;
	assert_int_equal(map_update_user(m, &k, &v, 0), -EPERM);
	map_put(m);
}

static int dropped;

static void drop(const struct map *m, void *obj)
{
	(void)m;
	dropped += *(int *)obj;
}

static void prog_array_gives_objects_back(void **state)
{
	struct map *m = map_make(BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 3, 0);
	u32 k = 1, v = 0;
	int a = 1, b = 10;

	(void)state;
	map_drop_obj = drop;
	dropped = 0;
	assert_int_equal(map_lookup_user(m, &k, &v, 0), -ENOENT);
	assert_int_equal(m->ops->set_obj(m, &k, &a, 17, 0), 0);
	assert_ptr_equal(m->objs[1], &a);
	assert_int_equal(map_lookup_user(m, &k, &v, 0), 0);
	assert_int_equal(v, 17);
	assert_int_equal(m->ops->set_obj(m, &k, &b, 18, 0), 0);
	assert_int_equal(dropped, 1);
	assert_int_equal(map_delete_user(m, &k), 0);
	assert_int_equal(dropped, 11);
	assert_int_equal(map_delete_user(m, &k), -ENOENT);
	assert_int_equal(m->ops->set_obj(m, &k, &b, 18, 0), 0);
	k = 3;
	assert_int_equal(m->ops->set_obj(m, &k, &b, 18, 0), -E2BIG);
	map_put(m);
	assert_int_equal(dropped, 21);
}

/* What has been added is found; what has not, seldom. */
static void bloom_filter_finds_what_was_added(void **state)
{
	struct map_attr attr = {
		.type = BPF_MAP_TYPE_BLOOM_FILTER, .value_size = 8, .max_entries = 1000, .extra = 3
	};
	struct map *m;
	u32 wrong = 0;
	u64 v, next;

	(void)state;
	assert_int_equal(map_create(&attr, &m, NULL), 0);
	for (v = 0; v < 1000; v++)
		assert_int_equal(map_update_user(m, NULL, &v, 0), 0);
	for (v = 0; v < 1000; v++)
		assert_int_equal(map_lookup_user(m, NULL, &v, 0), 0);
	for (v = 1000; v < 11000; v++)
		wrong += !map_lookup_user(m, NULL, &v, 0);
	/* (1 - e^(-kn/m))^k with k = 3, n = 1000, m = 8192 is 3 % */
	assert_in_range(wrong, 100, 600);
	assert_int_equal(map_update_user(m, NULL, &v, BPF_EXIST), -EINVAL);
	assert_int_equal(map_delete_user(m, NULL), -EOPNOTSUPP);
	assert_int_equal(map_next_key_user(m, NULL, &next), -EOPNOTSUPP);
	map_put(m);
}

static void refusal_says_why(void **state)
{
	struct map_attr attr = { .type = BPF_MAP_TYPE_ARRAY,
				 .key_size = 8,
				 .value_size = 4,
				 .max_entries = 1,
				 .name = "x" };
	struct text why = { 0 };
	struct map *m = NULL;

	(void)state;
	assert_int_equal(map_create(&attr, &m, &why), -EINVAL);
	assert_non_null(strstr(text_str(&why), "key_size must be 4"));
	text_free(&why);
}

static int allocations, fail_at;

static void *failing(void *old, size_t size)
{
	if (!size) {
		free(old);
		return NULL;
	}
	return allocations++ == fail_at ? NULL : realloc(old, size);
}

static void each_allocation_may_fail(void **state)
{
	static const u32 types[] = { BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_ARRAY, BPF_MAP_TYPE_PROG_ARRAY,
				     BPF_MAP_TYPE_LRU_HASH, BPF_MAP_TYPE_RINGBUF };
	void *(*saved)(void *, size_t) = base_allocator;
	struct map *m;
	size_t i;
	int err, fds = dup(0), after;

	(void)state;
	close(fds);
	base_allocator = failing;
	for (i = 0; i < ARRAY_SIZE(types); i++) {
		bool ring = types[i] == BPF_MAP_TYPE_RINGBUF;

		for (fail_at = 0;; fail_at++) {
			allocations = 0;
			err = map_try(types[i], ring ? 0 : 4, ring ? 0 : 4, 4096, 0, &m);
			if (!err)
				break;
			assert_int_equal(err, -ENOMEM);
		}
		map_put(m);
		assert_true(fail_at > 0);
	}
	base_allocator = saved;
	after = dup(0);
	close(after);
	assert_int_equal(after, fds); /* nothing leaked */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(array_is_preset_to_zero_and_bounded),
		cmocka_unit_test(mmapable_array_shows_values_at_8_byte_steps),
		cmocka_unit_test(memory_cannot_be_cut_under_a_mapping),
		cmocka_unit_test(percpu_array_has_a_value_for_each_cpu),
		cmocka_unit_test(hash_does_as_a_plain_model_says),
		cmocka_unit_test(lru_with_room_does_as_a_hash),
		cmocka_unit_test(hash_holds_exactly_max_entries),
		cmocka_unit_test(iterating_a_large_empty_map_takes_no_memory),
		cmocka_unit_test(address_of_a_value_stays_while_others_come_and_go),
		cmocka_unit_test(lru_never_refuses_and_keeps_what_is_used),
		cmocka_unit_test(frozen_and_read_only_maps_refuse_writes),
		cmocka_unit_test(prog_array_gives_objects_back),
		cmocka_unit_test(bloom_filter_finds_what_was_added),
		cmocka_unit_test(refusal_says_why),
		cmocka_unit_test(each_allocation_may_fail),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
