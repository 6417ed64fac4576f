/* SPDX-License-Identifier: MIT */
/* Longest prefixes against a list that is searched from end to end, for keys of many sizes. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "map_test.h"

#define PREFIXES 400

struct key {
	u32 bits;
	u8 data[32];
};

struct item {
	bool there;
	struct key key;
	u64 value;
};

static u32 next_random(u32 *s)
{
	*s ^= *s << 13;
	*s ^= *s >> 17;
	return *s ^= *s << 5;
}

/* Few bits differ, so that prefixes lie within one another. */
static void random_data(struct key *k, u32 bytes, u32 *s)
{
	static const u8 some[] = { 0, 0, 0x80, 0xff, 1, 0x10, 0x11, 0xf0 };
	u32 i;

	memset(k, 0, sizeof(*k));
	for (i = 0; i < bytes; i++)
		k->data[i] = some[next_random(s) % ARRAY_SIZE(some)];
}

static bool bit(const u8 *data, u32 i)
{
	return data[i / 8] >> (7 - i % 8) & 1;
}

static bool covers(const struct key *prefix, const struct key *k)
{
	u32 i;

	for (i = 0; i < prefix->bits; i++)
		if (bit(prefix->data, i) != bit(k->data, i))
			return false;
	return prefix->bits <= k->bits;
}

static const struct item *longest(const struct item *list, u32 n, const struct key *k)
{
	const struct item *best = NULL;
	u32 i;

	for (i = 0; i < n; i++)
		if (list[i].there && covers(&list[i].key, k) && (!best || list[i].key.bits > best->key.bits))
			best = &list[i];
	return best;
}

static void right(struct map *m, const struct item *list, u32 n, u32 bytes, u32 *s)
{
	const struct item *want;
	struct key k;
	u64 *v;

	random_data(&k, bytes, s);
	k.bits = next_random(s) % 4 ? bytes * 8 : next_random(s) % (bytes * 8 + 1);
	want = longest(list, n, &k);
	v = m->ops->lookup(m, &k);
	assert_int_equal(v != NULL, want != NULL);
	if (v)
		assert_int_equal(*v, want->value);
}

/* Adds, replaces and deletes what the list says, and looks up in between. */
static void against_list(u32 bytes)
{
	struct map *m = map_make(BPF_MAP_TYPE_LPM_TRIE, 4 + bytes, 8, PREFIXES, BPF_F_NO_PREALLOC);
	static struct item list[PREFIXES];
	u32 n = 0, s = 77 + bytes, i, step;

	memset(list, 0, sizeof(list));
	for (step = 0; step < 6000; step++) {
		struct key k;

		random_data(&k, bytes, &s);
		k.bits = next_random(&s) % (bytes * 8 + 1);
		for (i = 0; i < n; i++)
			if (list[i].key.bits == k.bits && covers(&list[i].key, &k))
				break;
		if (i == n && n < PREFIXES)
			list[n++].key = k;
		if (i < n && next_random(&s) % 3) {
			list[i].there = true;
			list[i].value = step;
			assert_int_equal(map_update_user(m, &k, &list[i].value, 0), 0);
		} else if (i < n) {
			assert_int_equal(map_delete_user(m, &k), list[i].there ? 0 : -ENOENT);
			list[i].there = false;
		}
		right(m, list, n, bytes, &s);
		right(m, list, n, bytes, &s);
	}
	for (i = 0; i < n; i++) { /* to the last one */
		right(m, list, n, bytes, &s);
		assert_int_equal(map_delete_user(m, &list[i].key), list[i].there ? 0 : -ENOENT);
		list[i].there = false;
	}
	right(m, list, n, bytes, &s);
	map_put(m);
}

static void look_ups_find_the_longest(void **state)
{
	static const u32 sizes[] = { 1, 2, 3, 4, 5, 8, 16, 32 };

	(void)state;
	for (u32 i = 0; i < ARRAY_SIZE(sizes); i++)
		against_list(sizes[i]);
}

/* Killed in the middle of changes: afterwards look-ups find the longest of those that are there. */
static void killed_writers(u32 bytes)
{
	struct map *m = map_make(BPF_MAP_TYPE_LPM_TRIE, 4 + bytes, 8, PREFIXES, BPF_F_NO_PREALLOC);
	static struct item list[PREFIXES];
	u32 s = 4711, round, n, i;
	struct key k, next;
	u64 v;

	for (round = 0; round < 40; round++) {
		pid_t pid = fork();
		u32 c = s + round * 77 + 1;

		while (!pid) {
			random_data(&k, bytes, &c);
			k.bits = next_random(&c) % (bytes * 8 + 1);
			v = (u64)k.bits << 32 | *(u32 *)(void *)k.data;
			if (next_random(&c) % 2)
				map_update_user(m, &k, &v, 0);
			else
				map_delete_user(m, &k);
		}
		usleep(500 + next_random(&s) % 1500);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		/* Any change by who is left puts things right. */
		k = (struct key){ .bits = bytes * 8, .data = { 9, 9, 9, 9 } };
		if (map_update_user(m, &k, &v, 0))
			continue; /* no room */
		assert_int_equal(map_delete_user(m, &k), 0);
		for (n = 0; n < PREFIXES && !map_next_key_user(m, n ? &list[n - 1].key : NULL, &next); n++) {
			list[n] = (struct item){ .there = true, .key = next };
			assert_int_equal(map_lookup_user(m, &next, &list[n].value, 0), 0);
		}
		for (i = 0; i < 200; i++)
			right(m, list, n, bytes, &s);
	}
	map_put(m);
}

static void killed_writers_leave_the_longest_to_be_found(void **state)
{
	(void)state;
	killed_writers(4);
	killed_writers(8); /* most are longer than the index knows */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(look_ups_find_the_longest),
		cmocka_unit_test(killed_writers_leave_the_longest_to_be_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
