/* SPDX-License-Identifier: MIT */
/* Helpers that call functions of the program, under both engines. */
#include "run_text.h"

#define EACH_ENGINE(e) for (enum engine e = 0; e < ENGINES; e++) if (has_engine(e))

/* bpf_loop(ctx[0], add, &sum, ctx[1]) with sum += index, stopping at ctx[2]; ctx[3] = sum. */
static const char loop[] = "r6 = r1\n*(u64 *)(r10 -8) = 0\nr0 = *(u64 *)(r1 +16)\n*(u64 *)(r10 -16) = r0\n"
			   "r4 = *(u64 *)(r1 +8)\nr1 = *(u64 *)(r1 +0)\nr2 = func add ll\nr3 = r10\nr3 += -16\n"
			   "call 181\n"
			   "r1 = *(u64 *)(r10 -8)\n*(u64 *)(r6 +24) = r1\nexit\n"
			   "add:\nr3 = *(u64 *)(r2 +8)\nr3 += r1\n*(u64 *)(r2 +8) = r3\n"
			   "r4 = *(u64 *)(r2 +0)\nr0 = 0\nif r4 != r1 goto end\nr0 = 1\nend:\nexit\n";

static void a_loop_runs_as_often_as_it_is_told_or_until_it_is_stopped(void **state)
{
	static const struct {
		u64 rounds, flags, stop, sum;
		s64 ret;
	} cases[] = {
		{ 0, 0, 100, 0, 0 },
		{ 1, 0, 100, 0, 1 },
		{ 10, 0, 100, 45, 10 },
		{ 10, 0, 3, 6, 4 },
		{ 10, 0, 9, 45, 10 },
		{ 1000000, 0, ~0ull, 499999500000, 1000000 },
		{ (8 << 20) + 1, 0, 0, 0, -E2BIG },
		{ (8 << 20) + 1, 1, 0, 0, -E2BIG },
		{ 10, 1, 0, 0, -EINVAL },
		/* nr_loops is an u32. */
		{ (1ull << 32) + 2, 0, 100, 1, 2 },
	};

	(void)state;
	EACH_ENGINE(e) {
		struct prog *p = load_text(e, loop, NULL, 0);

		for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
			u64 ctx[8] = { cases[i].rounds, cases[i].flags, cases[i].stop };

			assert_int_equal((s64)prog_run(p, ctx), cases[i].ret);
			assert_int_equal(ctx[3], cases[i].sum);
		}
		unload(p);
	}
}

/* Counts in the map value with key 0, and the caller's registers survive two levels. */
static void loops_nest(void **state)
{
	static const char source[] =
		"r6 = 6\nr7 = 70\nr8 = 800\nr9 = 9000\n*(u64 *)(r10 -8) = 0\n"
		"r1 = 7\nr2 = func outer ll\nr3 = r10\nr3 += -8\nr4 = 0\ncall 181\n"
		"r6 += r7\nr6 += r8\nr6 += r9\nr0 = *(u64 *)(r10 -8)\nr0 <<= 32\nr0 += r6\nexit\n"
		"outer:\nr6 = r1\nr7 = -1\nr8 = -1\nr9 = -1\n*(u64 *)(r10 -8) = r2\n"
		"r1 = r6\nr3 = r2\nr2 = func inner ll\nr4 = 0\ncall 181\n"
		"r1 = r0\nr0 = 0\nif r1 == r6 goto ok\nr0 = 1\nok:\nexit\n"
		"inner:\nr6 = 5\nr1 = *(u64 *)(r2 +0)\nr1 += 1\n*(u64 *)(r2 +0) = r1\nr0 = 0\nexit\n";

	(void)state;
	EACH_ENGINE(e)
		/* Rounds of the inner one: 0 + 1 + ... + 6. */
		assert_int_equal(run_text(e, source, NULL, 0, NULL), (21ull << 32) + 9876);
}

/* ctx[0] counts, ctx[1] sums the keys, ctx[2] the values; elements with an odd key are deleted. */
static const char each[] =
	"r6 = r1\n*(u64 *)(r10 -8) = 0\n*(u64 *)(r10 -16) = 0\n*(u64 *)(r10 -24) = 0\n"
	"r1 = map[0] ll\nr2 = func f ll\nr3 = r10\nr3 += -24\nr4 = *(u64 *)(r6 +56)\ncall 164\n"
	"r1 = *(u64 *)(r10 -8)\n*(u64 *)(r6 +0) = r1\n"
	"r1 = *(u64 *)(r10 -16)\n*(u64 *)(r6 +8) = r1\n"
	"r1 = *(u64 *)(r10 -24)\n*(u64 *)(r6 +16) = r1\nexit\n"
	"f:\nr5 = *(u64 *)(r4 +16)\nr5 += 1\n*(u64 *)(r4 +16) = r5\n"
	"r5 = *(u32 *)(r2 +0)\nr6 = r5\nr0 = *(u64 *)(r4 +8)\nr0 += r5\n*(u64 *)(r4 +8) = r0\n"
	"r5 = *(u64 *)(r3 +0)\nr0 = *(u64 *)(r4 +0)\nr0 += r5\n*(u64 *)(r4 +0) = r0\n"
	"r6 &= 1\nif r6 == 0 goto end\ncall 3\nend:\nr0 = 0\nexit\n";

static void each_element_is_met_once_also_when_elements_go(void **state)
{
	static const u32 types[] = { BPF_MAP_TYPE_HASH, BPF_MAP_TYPE_LRU_HASH, BPF_MAP_TYPE_ARRAY };

	(void)state;
	EACH_ENGINE(e) for (u32 t = 0; t < ARRAY_SIZE(types); t++) {
		struct map *m = new_map(types[t], 4, 8, 1000);
		u64 ctx[8] = { 0 }, want = 0;
		bool stays = types[t] == BPF_MAP_TYPE_ARRAY;

		for (u32 k = 0; k < 1000; k++) {
			u64 value = k * 3ull;

			assert_int_equal(m->ops->update(m, &k, &value, 0), 0);
			want += k;
		}
		assert_int_equal(run_text(e, each, &m, 1, ctx), 1000);
		assert_int_equal(ctx[0], 1000);
		assert_int_equal(ctx[1], want);
		assert_int_equal(ctx[2], want * 3);
		assert_int_equal(run_text(e, each, &m, 1, ctx), stays ? 1000 : 500);
		assert_int_equal(ctx[1], stays ? want : want - 250000);
		ctx[7] = 1;
		assert_int_equal((s64)run_text(e, each, &m, 1, ctx), -EINVAL);
		map_put(m);
	}
}

static void an_empty_map_has_no_element_and_a_callback_may_stop(void **state)
{
	static const char stop[] = "r1 = map[0] ll\nr2 = func f ll\nr3 = 0\nr4 = 0\ncall 164\nexit\n"
				   "f:\nr1 = *(u64 *)(r3 +0)\nr1 += 1\n*(u64 *)(r3 +0) = r1\nr0 = 1\nexit\n";

	(void)state;
	EACH_ENGINE(e) {
		struct map *hash = new_map(BPF_MAP_TYPE_HASH, 4, 8, 10);
		struct map *array = new_map(BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, 10);

		assert_int_equal(run_text(e, stop, &hash, 1, NULL), 0);
		assert_int_equal(run_text(e, stop, &array, 1, NULL), 1);
		map_put(hash);
		map_put(array);
	}
}

static void keys_longer_than_the_usual_are_whole(void **state)
{
	static const char source[] = "r1 = map[0] ll\nr2 = func f ll\nr3 = 0\nr4 = 0\ncall 164\nexit\n"
				     "f:\nr1 = *(u64 *)(r2 +192)\n*(u64 *)(r3 +0) = r1\nr0 = 0\nexit\n";
	u64 key[25] = { [24] = 77 }, value = 0;

	(void)state;
	EACH_ENGINE(e) {
		struct map *m = new_map(BPF_MAP_TYPE_HASH, sizeof(key), 8, 10);

		assert_int_equal(m->ops->update(m, key, &value, 0), 0);
		assert_int_equal(run_text(e, source, &m, 1, NULL), 1);
		assert_int_equal(*(u64 *)m->ops->lookup(m, key), 77);
		map_put(m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_loop_runs_as_often_as_it_is_told_or_until_it_is_stopped),
		cmocka_unit_test(loops_nest),
		cmocka_unit_test(each_element_is_met_once_also_when_elements_go),
		cmocka_unit_test(an_empty_map_has_no_element_and_a_callback_may_stop),
		cmocka_unit_test(keys_longer_than_the_usual_are_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
