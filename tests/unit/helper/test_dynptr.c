/* SPDX-License-Identifier: MIT */
/* Dynptr helpers under both engines: what is in range is copied, what is not is refused. */
#include "run_text.h"

#define EACH_ENGINE(e) for (enum engine e = 0; e < ENGINES; e++) if (has_engine(e))

/* A dynptr on element 0 of map 0, whose 16 bytes it covers from ctx[0] bytes in, at fp-16. */
#define LOCAL                                                                                      \
	"r6 = r1\n*(u64 *)(r10 -24) = 0\nr1 = map[0] ll\nr2 = r10\nr2 += -24\ncall 1\n"            \
	"if r0 == 0 goto end\nr1 = r0\nr2 = 16\nr3 = 0\nr4 = r10\nr4 += -16\ncall 197\n"

/* write(ctx[2] to offset ctx[0], size 8, flags ctx[1]); r0 its result */
static const char write_text[] = LOCAL
	"r0 = *(u64 *)(r6 +16)\n*(u64 *)(r10 -32) = r0\nr1 = r10\nr1 += -16\nr2 = *(u64 *)(r6 +0)\n"
	"r3 = r10\nr3 += -32\nr4 = 8\nr5 = *(u64 *)(r6 +8)\ncall 202\nend:\nexit\n";
/* read(offset ctx[0]) into ctx[2] */
static const char read_text[] = LOCAL
	"*(u64 *)(r10 -32) = 0\nr1 = r10\nr1 += -32\nr2 = 8\nr3 = r10\nr3 += -16\nr4 = *(u64 *)(r6 +0)\n"
	"r5 = *(u64 *)(r6 +8)\ncall 201\nr1 = *(u64 *)(r10 -32)\n*(u64 *)(r6 +16) = r1\nend:\nexit\n";
/* data(offset ctx[0], 8): 1 and the bytes in ctx[2], or 0 */
static const char data_text[] = LOCAL
	"r1 = r10\nr1 += -16\nr2 = *(u64 *)(r6 +0)\nr3 = 8\ncall 203\nif r0 == 0 goto end\n"
	"r1 = *(u64 *)(r0 +0)\n*(u64 *)(r6 +16) = r1\nr0 = 1\nend:\nexit\n";

static void what_is_in_range_is_copied_and_what_is_not_is_refused(void **state)
{
	static const struct {
		u64 off;
		bool ok;
	} cases[] = { { 0, true }, { 3, true }, { 8, true }, { 9, false }, { 16, false }, { 0xffffffff, false } };
	u32 zero = 0;

	(void)state;
	EACH_ENGINE(e) for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
		struct map *m = new_map(BPF_MAP_TYPE_ARRAY, 4, 16, 1);
		u8 *value = m->ops->lookup(m, &zero);
		u64 ctx[8] = { cases[i].off, 0, 0x1122334455667788 + i }, got = 0;
		s64 want = cases[i].ok ? 0 : -E2BIG;

		assert_int_equal((s64)run_text(e, write_text, &m, 1, ctx), want);
		if (cases[i].ok)
			memcpy(&got, value + cases[i].off, 8);
		assert_int_equal(got, cases[i].ok ? ctx[2] : 0);
		ctx[2] = 0;
		assert_int_equal((s64)run_text(e, read_text, &m, 1, ctx), want);
		assert_int_equal(ctx[2], got);
		ctx[2] = 0;
		assert_int_equal(run_text(e, data_text, &m, 1, ctx), cases[i].ok);
		assert_int_equal(ctx[2], got);
		ctx[1] = 1;
		assert_int_equal((s64)run_text(e, write_text, &m, 1, ctx), -EINVAL);
		assert_int_equal((s64)run_text(e, read_text, &m, 1, ctx), -EINVAL);
		map_put(m);
	}
}

/* reserve(ctx[0] bytes, flags 0), 8 bytes written at its start, submitted: the reserve's result. */
static const char reserve_text[] =
	"r6 = r1\nr1 = map[0] ll\nr2 = *(u64 *)(r6 +0)\nr3 = *(u64 *)(r6 +8)\nr4 = r10\nr4 += -16\ncall 198\n"
	"r7 = r0\n*(u64 *)(r10 -24) = 99\nr1 = r10\nr1 += -16\nr2 = 0\nr3 = r10\nr3 += -24\nr4 = 8\nr5 = 0\n"
	"call 202\n*(u64 *)(r6 +16) = r0\nr1 = r10\nr1 += -16\nr2 = 0\ncall 199\nr0 = r7\nexit\n";

static void a_reservation_of_any_size_is_written_and_submitted(void **state)
{
	(void)state;
	EACH_ENGINE(e) {
		struct map *m = new_map(BPF_MAP_TYPE_RINGBUF, 0, 0, 4096);
		u64 ctx[8] = { 24 };

		assert_int_equal(run_text(e, reserve_text, &m, 1, ctx), 0);
		assert_int_equal(ctx[2], 0);
		assert_int_equal(map_ringbuf_query(m, BPF_RB_AVAIL_DATA), 32);
		/* Too small to write to, but there. */
		ctx[0] = 4;
		assert_int_equal(run_text(e, reserve_text, &m, 1, ctx), 0);
		assert_int_equal((s64)ctx[2], -E2BIG);
		/* Not there: what follows does nothing. */
		ctx[0] = 8000;
		assert_int_equal((s64)run_text(e, reserve_text, &m, 1, ctx), -EINVAL);
		assert_int_equal((s64)ctx[2], -EINVAL);
		ctx[0] = 1 << 24;
		assert_int_equal((s64)run_text(e, reserve_text, &m, 1, ctx), -E2BIG);
		ctx[0] = 8;
		ctx[1] = 1;
		assert_int_equal((s64)run_text(e, reserve_text, &m, 1, ctx), -EINVAL);
		assert_int_equal(map_ringbuf_query(m, BPF_RB_AVAIL_DATA), 32 + 16);
		map_put(m);
	}
}

/* Sums the first 8 bytes of records until one is 0, which is the last; the result of the drain, ctx[0] the sum. */
static const char drain_text[] =
	"r6 = r1\n*(u64 *)(r10 -8) = 0\nr1 = map[0] ll\nr2 = func each ll\nr3 = r10\nr3 += -8\nr4 = 0\n"
	"call 209\nr1 = *(u64 *)(r10 -8)\n*(u64 *)(r6 +0) = r1\nexit\n"
	"each:\nr6 = r2\nr2 = 0\nr3 = 8\ncall 203\nif r0 == 0 goto next\nr1 = *(u64 *)(r0 +0)\nif r1 == 0 goto last\n"
	"r2 = *(u64 *)(r6 +0)\nr2 += r1\n*(u64 *)(r6 +0) = r2\nnext:\nr0 = 0\nexit\nlast:\nr0 = 1\nexit\n";

/* As a user of the ring writes it: a length, and bytes. */
static void write_record(struct map *m, u32 len, u64 value)
{
	u64 *prod = (u64 *)(m->mem + 4096);
	u8 *at = m->mem + 2 * 4096 + *prod % 4096;

	memset(at, 0, 8);
	memcpy(at, &len, 4);
	memcpy(at + 8, &value, 8);
	*prod += 8 + (len + 7) / 8 * 8;
}

static void records_of_users_are_drained_until_the_callback_has_enough(void **state)
{
	(void)state;
	EACH_ENGINE(e) {
		struct map *m = new_map(BPF_MAP_TYPE_USER_RINGBUF, 0, 0, 4096);
		u64 ctx[8] = { 1 };

		assert_int_equal(run_text(e, drain_text, &m, 1, ctx), 0);
		assert_int_equal(ctx[0], 0);
		write_record(m, 8, 5);
		write_record(m, 4, 1000); /* too short for what is asked */
		write_record(m, 16, 7);
		assert_int_equal(run_text(e, drain_text, &m, 1, ctx), 3);
		assert_int_equal(ctx[0], 12);
		write_record(m, 8, 0);
		write_record(m, 8, 9);
		assert_int_equal(run_text(e, drain_text, &m, 1, ctx), 1);
		assert_int_equal(run_text(e, drain_text, &m, 1, ctx), 1);
		assert_int_equal(ctx[0], 9);
		/* A length that reaches beyond what was written. */
		write_record(m, 8, 1);
		m->mem[2 * 4096 + (*(u64 *)(m->mem + 4096) - 16)] = 64;
		assert_int_equal((s64)run_text(e, drain_text, &m, 1, ctx), -EINVAL);
		map_put(m);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_in_range_is_copied_and_what_is_not_is_refused),
		cmocka_unit_test(a_reservation_of_any_size_is_written_and_submitted),
		cmocka_unit_test(records_of_users_are_drained_until_the_callback_has_enough),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
