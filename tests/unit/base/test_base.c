/* SPDX-License-Identifier: MIT */
#include "test.h"
#include "base/base.h"

static void hash_finds_what_was_put_and_not_what_was_deleted(void **state)
{
	struct hash h = { 0 };
	char items[5000];
	size_t pos = 0, n = 0;
	u64 key;
	u32 i;

	(void)state;
	for (i = 0; i < 5000; i++)
		assert_int_equal(hash_put(&h, i * 7919ull, &items[i]), 0);
	for (i = 0; i < 5000; i += 2)
		assert_ptr_equal(hash_del(&h, i * 7919ull), &items[i]);
	for (i = 0; i < 5000; i++)
		assert_ptr_equal(hash_get(&h, i * 7919ull), i % 2 ? &items[i] : NULL);
	while (hash_next(&h, &pos, &key, NULL))
		n++;
	assert_int_equal(n, 2500);
	/* Deletion and insertion in turn must not fill the table with the deleted. */
	for (i = 0; i < 100000; i++) {
		assert_int_equal(hash_put(&h, 1ull << 40 | i, &items[0]), 0);
		assert_non_null(hash_del(&h, 1ull << 40 | i));
	}
	assert_null(hash_get(&h, 1));
	hash_free(&h);
}

static void text_keeps_to_its_limit_and_counts_the_rest(void **state)
{
	struct text t = { .limit = 5 };

	(void)state;
	text_puts(&t, "abc");
	text_printf(&t, "%d", 123456);
	assert_string_equal(text_str(&t), "abc12");
	assert_int_equal(t.full, 9);
	text_free(&t);
}

static void text_json_escapes(void **state)
{
	struct text t = { 0 };

	(void)state;
	text_json(&t, "a\"b\\c\nd\x01");
	assert_string_equal(text_str(&t), "\"a\\\"b\\\\c\\nd\\u0001\"");
	text_free(&t);
}

static void arena_stops_at_its_limit(void **state)
{
	struct arena a = { .limit = 100000 };
	size_t n = 0;
	char *p;

	(void)state;
	while ((p = arena_alloc(&a, 1000))) {
		assert_int_equal((uintptr_t)p % 16, 0);
		assert_int_equal(p[0] | p[999], 0);
		memset(p, 0xff, 1000);
		n++;
	}
	assert_in_range(n, 80, 100);
	assert_null(arena_alloc(&a, SIZE_MAX));
	arena_free(&a);
}

static void sizes_that_overflow_are_refused(void **state)
{
	size_t out = 1, cap = 0;

	(void)state;
	assert_false(base_mul(SIZE_MAX / 2, 3, &out));
	assert_false(base_add(SIZE_MAX, 1, &out));
	assert_int_equal(out, 1);
	assert_null(base_array(SIZE_MAX / 2, 3));
	assert_null(base_grow(NULL, &cap, SIZE_MAX / 2, 16));
}

static void distance_counts_edits(void **state)
{
	(void)state;
	assert_int_equal(text_distance("kitten", "sitting"), 3);
	assert_int_equal(text_distance("", "abc"), 3);
	assert_int_equal(text_distance("same", "same"), 0);
}

static void grown_room_is_zero(void **state)
{
	size_t cap = 0, i;
	u32 *p = NULL;

	(void)state;
	for (i = 0; i < 1000; i++) {
		p = base_grow(p, &cap, i + 1, sizeof(*p));
		assert_non_null(p);
		assert_int_equal(p[i], 0);
		p[i] = ~0u;
	}
	base_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hash_finds_what_was_put_and_not_what_was_deleted),
		cmocka_unit_test(text_keeps_to_its_limit_and_counts_the_rest),
		cmocka_unit_test(text_json_escapes),
		cmocka_unit_test(arena_stops_at_its_limit),
		cmocka_unit_test(sizes_that_overflow_are_refused),
		cmocka_unit_test(distance_counts_edits),
		cmocka_unit_test(grown_room_is_zero),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
