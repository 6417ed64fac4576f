/* SPDX-License-Identifier: MIT */
/* Checks at the time of the call: what the function sees is what was checked, whatever others do meanwhile. */
#include <pthread.h>
#include <stdatomic.h>

#include "test.h"

#include "module/module.h"

static char seen[3][64];
static unsigned calls;

static int three(const char *a, const char *b, const char *c)
{
	calls++;
	snprintf(seen[0], sizeof(seen[0]), "%s", a);
	snprintf(seen[1], sizeof(seen[1]), "%s", b);
	snprintf(seen[2], sizeof(seen[2]), "%s", c);
	return 7;
}

/* More than the one time that the check needs, so that another thread comes in between. */
static size_t lengths(const char *s)
{
	size_t first = strlen(s);

	for (unsigned i = 0; i < 200; i++) {
		if (strlen(s) != first)
			return 1000;
	}
	return first;
}

static const struct ferry_func funcs[] = {
	FERRY_FUNC("int three(const char *a__str __check, const char *b__str __check, const char *c__str __check)", three),
	FERRY_FUNC("unsigned long lengths(const char *s__str __check)", lengths),
};
static const struct ferry_module def = { sizeof(def), "checks", "", funcs, ARRAY_SIZE(funcs) };
static struct module *m;

static int setup(void **state)
{
	struct text why = { 0 };

	(void)state;
	if (module_register(&def, &m, &why))
		fail_msg("%s", text_str(&why));
	text_free(&why);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return module_unregister("checks");
}

static u64 call_three(const char *a, const char *b, const char *c, u32 room)
{
	u64 regs[5] = { (u64)(uintptr_t)a, (u64)(uintptr_t)b, (u64)(uintptr_t)c };
	struct module_site site = { .str_len = room };

	return module_invoke(&m->funcs[0], regs, &site);
}

static void each_of_many_strings_arrives_as_it_was_given(void **state)
{
	(void)state;
	assert_int_equal(call_three("one", "number two", "3", 16), 7);
	assert_string_equal(seen[0], "one");
	assert_string_equal(seen[1], "number two");
	assert_string_equal(seen[2], "3");
}

static void a_string_without_an_end_within_its_memory_stops_the_call(void **state)
{
	static const char no_end[8] = { 'n', 'o', ' ', 'e', 'n', 'd', '!', '!' };
	unsigned before = calls;

	(void)state;
	assert_int_equal(call_three("one", no_end, "3", 8), (u64)-EINVAL);
	assert_int_equal(call_three(NULL, "two", "3", 8), (u64)-EINVAL);
	assert_int_equal(calls, before);
}

static void strings_for_which_there_is_no_room_stop_the_call(void **state)
{
	static char text[4096];
	unsigned before = calls;

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	assert_int_equal(call_three(text, text, "", sizeof(text)), (u64)-EINVAL);
	assert_int_equal(calls, before);
	text[4000] = 0;
	assert_int_equal(call_three(text, text, text, sizeof(text)), (u64)-EINVAL);
	assert_int_equal(call_three(text, text, "the third", sizeof(text)), 7);
	assert_string_equal(seen[2], "the third");
}

/* ---- another thread -------------------------------------------------------------------------- */

static char shared[16];
static atomic_bool stop;

static void *change(void *arg)
{
	for (unsigned i = 0; !atomic_load(&stop); i++)
		((volatile char *)shared)[3 + i % 5] = i % 7 ? 'x' : 0;
	return arg;
}

static void a_string_that_others_change_stays_what_was_checked(void **state)
{
	struct module_site site = { .str_len = sizeof(shared) };
	u64 regs[5] = { (u64)(uintptr_t)shared };
	pthread_t other;

	(void)state;
	memset(shared, 'x', sizeof(shared) - 1);
	assert_int_equal(pthread_create(&other, NULL, change, NULL), 0);
	for (unsigned i = 0; i < 20000; i++) {
		u64 n = module_invoke(&m->funcs[1], regs, &site);

		if (n < 3 || n > 15)
			fail_msg("call %u: %llu", i, (unsigned long long)n);
	}
	atomic_store(&stop, true);
	pthread_join(other, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_of_many_strings_arrives_as_it_was_given),
		cmocka_unit_test(a_string_without_an_end_within_its_memory_stops_the_call),
		cmocka_unit_test(strings_for_which_there_is_no_room_stop_the_call),
		cmocka_unit_test(a_string_that_others_change_stays_what_was_checked),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
