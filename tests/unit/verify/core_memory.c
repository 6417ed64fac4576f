/* SPDX-License-Identifier: MIT */
/* Memory: the stack byte by byte, map values, packets, contexts. Rules: kernel verifier docs. */
#include "core.h"

#define XDP BPF_PROG_TYPE_XDP
#define TC BPF_PROG_TYPE_SCHED_CLS
#define RAW BPF_PROG_TYPE_SYSCALL

/* ---- stack ------------------------------------------------------------------------------------- */

static void reading_unwritten_stack_is_refused(void **state)
{
	(void)state;
	core_refuses(XDP, "r0 = *(u64 *)(r10 -8)\nexit\n", -EACCES, "invalid read from stack R10 off -8");
	core_refuses(XDP, "*(u32 *)(r10 -8) = 1\nr0 = *(u64 *)(r10 -8)\nexit\n", -EACCES,
		     "invalid read from stack R10 off -8+4 size 8");
	/* Written on one path only. */
	core_refuses(XDP,
		     "r2 = *(u32 *)(r1 +12)\nif r2 == 0 goto l\n*(u64 *)(r10 -8) = 1\nl:\n"
		     "r0 = *(u64 *)(r10 -8)\nexit\n", -EACCES, "invalid read from stack");
}

static void stack_ends_at_512_bytes(void **state)
{
	(void)state;
	core_accepts(XDP, "*(u64 *)(r10 -512) = 1\nr0 = 0\nexit\n");
	core_refuses(XDP, "*(u64 *)(r10 -520) = 1\nr0 = 0\nexit\n", -EACCES, "invalid write to stack");
	core_refuses(XDP, "*(u64 *)(r10 +0) = 1\nr0 = 0\nexit\n", -EACCES, "invalid write to stack");
	core_refuses(XDP, "*(u64 *)(r10 -4) = 1\nr0 = 0\nexit\n", -EACCES, "misaligned stack access");
}

static void spilled_numbers_keep_their_range(void **state)
{
	(void)state;
	/* An index bounded before it went to the stack and came back, whole and as its lower half. */
	core_accepts(XDP,
		     "r2 = *(u32 *)(r1 +12)\nr2 &= 7\n*(u64 *)(r10 -8) = r2\nr3 = *(u64 *)(r10 -8)\n"
		     "r4 = map_value[5]+0 ll\nr4 += r3\nr0 = *(u8 *)(r4 +56)\nexit\n");
	core_accepts(XDP,
		     "r2 = *(u32 *)(r1 +12)\nr2 &= 7\n*(u32 *)(r10 -8) = r2\nr3 = *(u32 *)(r10 -8)\n"
		     "r4 = map_value[5]+0 ll\nr4 += r3\nr0 = *(u8 *)(r4 +56)\nexit\n");
	/* One byte of it overwritten: no longer known. */
	core_refuses(XDP,
		     "r2 = *(u32 *)(r1 +12)\nr2 &= 7\n*(u64 *)(r10 -8) = r2\n*(u8 *)(r10 -7) = 1\n"
		     "r3 = *(u64 *)(r10 -8)\nr4 = map_value[5]+0 ll\nr4 += r3\nr0 = *(u8 *)(r4 +56)\nexit\n",
		     -EINVAL, "");
	/* A narrow spill cuts the number. */
	core_refuses(XDP,
		     "r2 = 0x100000001 ll\n*(u64 *)(r10 -8) = r2\nr3 = *(u32 *)(r10 -4)\n"
		     "r4 = map_value[5]+0 ll\nr4 += r3\nr0 = *(u8 *)(r4 +63)\nexit\n", -EACCES, "");
}

static void spilled_pointers_come_back_whole_or_not_at_all(void **state)
{
	(void)state;
	core_accepts(XDP, "*(u64 *)(r10 -8) = r1\nr2 = *(u64 *)(r10 -8)\nr0 = *(u32 *)(r2 +12)\nexit\n");
	core_refuses(XDP, "*(u64 *)(r10 -8) = r1\nr2 = *(u32 *)(r10 -8)\nr0 = 0\nexit\n", -EACCES,
		     "invalid size of register fill");
	core_refuses(XDP, "*(u32 *)(r10 -8) = r1\nr0 = 0\nexit\n", -EACCES,
		     "invalid size of register spill");
	core_refuses(XDP,
		     "*(u64 *)(r10 -8) = r1\n*(u8 *)(r10 -3) = 1\nr2 = *(u64 *)(r10 -8)\n"
		     "r0 = *(u32 *)(r2 +12)\nexit\n", -EACCES, "invalid mem access 'scalar'");
}

static void variable_stack_index_needs_written_bytes_inside(void **state)
{
	static const char fill[] = "*(u64 *)(r10 -8) = 0\n*(u64 *)(r10 -16) = 0\n"
				   "r2 = *(u32 *)(r1 +12)\n%s\nr3 = r10\nr3 += -16\nr3 += r2\n%s\n"
				   "r0 = 0\nexit\n";
	char src[400];

	(void)state;
	snprintf(src, sizeof(src), fill, "r2 &= 15", "r4 = *(u8 *)(r3 +0)");
	core_accepts(XDP, src);
	snprintf(src, sizeof(src), fill, "r2 &= 15", "*(u8 *)(r3 +0) = 1");
	core_accepts(XDP, src);
	snprintf(src, sizeof(src), fill, "r2 &= 31", "r4 = *(u8 *)(r3 +0)");
	core_refuses(XDP, src, -EINVAL, "invalid variable-offset read from stack");
	snprintf(src, sizeof(src), fill, "r2 &= 15", "r4 = *(u8 *)(r3 -8)");
	core_refuses(XDP, src, -EACCES, "invalid read from stack");
	/* What was known to be zero is not after a write somewhere. */
	snprintf(src, sizeof(src), fill, "r2 &= 15",
		 "*(u8 *)(r3 +0) = 255\nr4 = *(u64 *)(r10 -16)\nr5 = map_value[5]+0 ll\nr5 += r4\n"
		 "r0 = *(u8 *)(r5 +0)");
	core_refuses(XDP, src, -EINVAL, "");
}

/* ---- map values -------------------------------------------------------------------------------- */

#define LOOKUP "*(u64 *)(r10 -8) = 9\nr2 = r10\nr2 += -8\nr1 = map[1] ll\ncall 1\n"

static void map_value_is_used_only_after_a_null_check(void **state)
{
	(void)state;
	core_refuses(XDP, LOOKUP "r0 = *(u64 *)(r0 +0)\nexit\n", -EACCES,
		     "R0 invalid mem access 'map_value_or_null'");
	core_accepts(XDP, LOOKUP "if r0 == 0 goto l\nr0 = *(u64 *)(r0 +8)\nl:\nexit\n");
	core_accepts(XDP, LOOKUP "if r0 != 0 goto l\nexit\nl:\nr0 = *(u64 *)(r0 +8)\nexit\n");
	core_refuses(XDP, LOOKUP "if r0 != 0 goto l\nr0 = *(u64 *)(r0 +8)\nl:\nr0 = 0\nexit\n", -EACCES,
		     "R0 invalid mem access 'scalar'");
	core_refuses(XDP, LOOKUP "r0 += 8\nif r0 == 0 goto l\nr0 = *(u64 *)(r0 +0)\nl:\nexit\n", -EACCES,
		     "pointer arithmetic on map_value_or_null prohibited, null-check it first");
	/* The check of a copy counts; that of another look-up does not. */
	core_accepts(XDP, LOOKUP "r6 = r0\nif r0 == 0 goto l\nr0 = *(u64 *)(r6 +0)\nl:\nr0 = 0\nexit\n");
	core_refuses(XDP,
		     LOOKUP "r6 = r0\n" LOOKUP "if r0 == 0 goto l\nr0 = *(u64 *)(r6 +0)\nl:\nr0 = 0\nexit\n",
		     -EACCES, "R6 invalid mem access 'map_value_or_null'");
	/* 32-bit comparisons say nothing of a pointer. */
	core_refuses(XDP, LOOKUP "if w0 == 0 goto l\nr0 = *(u64 *)(r0 +0)\nl:\nr0 = 0\nexit\n", -EACCES,
		     "R0 invalid mem access 'map_value_or_null'");
}

static void map_value_access_stays_inside(void **state)
{
	static const char body[] = "r1 = map_value[5]+0 ll\nr2 = *(u64 *)(r1 +0)\n%s\nr1 += r2\n"
				   "r0 = *(u8 *)(r1 +0)\nexit\n";
	static const struct {
		const char *bound, *error; /* NULL: accepted */
	} cases[] = {
		{ "r2 &= 63", NULL },
		{ "r2 &= 64", "invalid access to map value, value_size=64 off=64 size=1" },
		{ "if r2 > 63 goto +0\nr2 &= 0x7f", "invalid access to map value" },
		{ "if r2 s< 64 goto +2\nr0 = 0\nexit", "min value" },
		{ "if r2 s< 64 goto +2\nr0 = 0\nexit\nif r2 s>= 0 goto +2\nr0 = 0\nexit", NULL },
		{ "w2 = w2\nif w2 < 64 goto +2\nr0 = 0\nexit", NULL },
		/* The lower half is small, the upper half is not. */
		{ "if w2 < 64 goto +2\nr0 = 0\nexit", "" },
		{ "w3 = w2\nif w3 < 64 goto +2\nr0 = 0\nexit", "" },
		{ "r3 = r2\nif r3 < 64 goto +2\nr0 = 0\nexit", NULL },
		{ "r2 <<= 58\nr2 >>= 58", NULL },
		{ "r2 %= 64", NULL },
	};
	char src[400];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *log;
		int err;

		snprintf(src, sizeof(src), body, cases[i].bound);
		err = core_verdict(XDP, src, &log);
		if (!err != !cases[i].error || (err && !strstr(log, cases[i].error)))
			fail_msg("'%s' gave %d: %s", cases[i].bound, err, log);
	}
	core_refuses(XDP, "r1 = map_value[5]+60 ll\nr0 = *(u64 *)(r1 +0)\nexit\n", -EACCES,
		     "value_size=64 off=60 size=8");
	core_refuses(XDP, "r1 = map_value[5]+0 ll\nr0 = *(u8 *)(r1 -1)\nexit\n", -EACCES,
		     "value_size=64 off=-1 size=1");
}

static void read_only_maps_are_not_written(void **state)
{
	(void)state;
	core_refuses(XDP, "r1 = map_value[4]+0 ll\n*(u8 *)(r1 +0) = 1\nr0 = 0\nexit\n", -EACCES,
		     "write into map forbidden");
	core_refuses(XDP, "r1 = map_value[4]+0 ll\nr2 = 1\nlock *(u64 *)(r1 +0) += r2\nr0 = 0\nexit\n",
		     -EACCES, "write into map forbidden");
}

static void frozen_values_are_known_numbers(void **state)
{
	(void)state;
	/* rodata[4] is 2: the index is inside, and the dead branch has no reachable mistake. */
	core_accepts(XDP,
		     "r1 = map_value[4]+0 ll\nr2 = *(u32 *)(r1 +4)\nif r2 == 2 goto l\nr0 = *(u8 *)(r2 +0)\nl:\n"
		     "r0 = 0\nexit\n");
	core_accepts(XDP,
		     "r1 = map_value[4]+0 ll\nr2 = *(s32 *)(r1 +16)\nif r2 s< 0 goto l\nr0 = *(u8 *)(r2 +0)\nl:\n"
		     "r0 = 0\nexit\n");
}

/* ---- packets ----------------------------------------------------------------------------------- */

#define PKT "r2 = *(u32 *)(r1 +0)\nr3 = *(u32 *)(r1 +4)\nr0 = 0\nr4 = r2\nr4 += 14\n"

static void packet_access_needs_a_check_of_the_end(void **state)
{
	static const struct {
		const char *check, *access;
		bool ok;
	} cases[] = {
		{ "if r4 > r3 goto l", "r5 = *(u8 *)(r2 +13)", true },
		{ "if r4 > r3 goto l", "r5 = *(u8 *)(r2 +14)", false },
		{ "if r4 >= r3 goto l", "r5 = *(u8 *)(r2 +14)", true },
		{ "if r4 >= r3 goto l", "r5 = *(u8 *)(r2 +15)", false },
		{ "if r3 < r4 goto l", "r5 = *(u8 *)(r2 +13)", true },
		{ "if r3 < r4 goto l", "r5 = *(u8 *)(r2 +14)", false },
		{ "if r3 <= r4 goto l", "r5 = *(u8 *)(r2 +14)", true },
		{ "if r3 <= r4 goto l", "r5 = *(u16 *)(r2 +14)", false },
		/* The wrong side of the comparison. */
		{ "if r4 < r3 goto l", "r5 = *(u8 *)(r2 +0)", false },
		{ "if r4 <= r3 goto l", "r5 = *(u8 *)(r2 +0)", false },
		{ "if r3 > r4 goto l", "r5 = *(u8 *)(r2 +0)", false },
		{ "if r4 == r3 goto l", "r5 = *(u8 *)(r2 +0)", false },
		{ "if w4 > w3 goto l", "r5 = *(u8 *)(r2 +0)", false },
		{ "if r2 > r3 goto l", "r5 = *(u8 *)(r2 +0)", false },
		{ "if r4 > r3 goto l", "r5 = *(u8 *)(r4 -1)", true },
		{ "if r4 > r3 goto l", "r5 = *(u8 *)(r4 +0)", false },
		{ "if r4 > r3 goto l", "r5 = *(u8 *)(r2 -1)", false },
		{ "if r4 > r3 goto l", "r5 = *(u8 *)(r3 -1)", false },
		{ "if r4 > r3 goto l", "r4 += -14\nr5 = *(u8 *)(r4 +13)", true },
	};
	char src[400];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *log;
		int err;

		snprintf(src, sizeof(src), PKT "%s\n%s\nl:\nexit\n", cases[i].check, cases[i].access);
		err = core_verdict(XDP, src, &log);
		if (!err != cases[i].ok)
			fail_msg("'%s', '%s' gave %d: %s", cases[i].check, cases[i].access, err, log);
	}
}

static void variable_packet_offsets_need_their_own_check(void **state)
{
	static const char src[] = PKT "if r4 > r3 goto l\nr5 = *(u8 *)(r2 +0)\nr5 &= 15\nr4 = r2\nr4 += r5\n"
				  "%s\nr6 = *(u8 *)(r4 +0)\nl:\nexit\n";
	char text[500];

	(void)state;
	snprintf(text, sizeof(text), src, "");
	core_refuses(XDP, text, -EACCES, "invalid access to packet");
	snprintf(text, sizeof(text), src, "r7 = r4\nr7 += 1\nif r7 > r3 goto l");
	core_accepts(XDP, text);
	/* A proof for one variable offset is none for another. */
	snprintf(text, sizeof(text), src,
		 "r7 = r4\nr7 += 1\nif r7 > r3 goto l\nr8 = *(u8 *)(r2 +1)\nr8 &= 15\nr4 += r8");
	core_refuses(XDP, text, -EACCES, "invalid access to packet");
}

static void packet_pointers_die_when_the_packet_moves(void **state)
{
	(void)state;
	if (!helper_of(BPF_FUNC_xdp_adjust_head))
		skip();
	core_refuses(XDP,
		     "r6 = *(u32 *)(r1 +0)\nr3 = *(u32 *)(r1 +4)\nr4 = r6\nr4 += 14\nif r4 > r3 goto l\n"
		     "r2 = 0\ncall 44\nr0 = *(u8 *)(r6 +0)\nl:\nr0 = 0\nexit\n", -EACCES,
		     "R6 invalid mem access 'scalar'");
}

/* ---- contexts ---------------------------------------------------------------------------------- */

static void contexts_are_read_by_their_fields(void **state)
{
	(void)state;
	core_accepts(XDP, "r0 = *(u32 *)(r1 +12)\nexit\n");
	core_refuses(XDP, "r0 = *(u64 *)(r1 +0)\nexit\n", -EACCES, "invalid bpf_context access off=0 size=8");
	core_refuses(XDP, "r0 = *(u32 *)(r1 +24)\nexit\n", -EACCES, "invalid bpf_context access off=24");
	core_refuses(XDP, "r0 = *(u32 *)(r1 -4)\nexit\n", -EACCES, "invalid bpf_context access off=-4");
	core_refuses(XDP, "r0 = 0\n*(u32 *)(r1 +12) = r0\nexit\n", -EACCES, "invalid bpf_context access");
	core_refuses(XDP, "r0 = 1\nlock *(u32 *)(r1 +12) += r0\nexit\n", -EACCES,
		     "BPF_ATOMIC stores into R1 ctx is not allowed");
	core_accepts(TC, "r0 = 7\n*(u32 *)(r1 +8) = r0\nexit\n");
}

static void moved_or_variable_contexts_are_refused(void **state)
{
	(void)state;
	core_refuses(XDP, "r1 += 4\nr0 = *(u32 *)(r1 +8)\nexit\n", -EACCES, "dereference of modified ctx ptr");
	core_refuses(XDP, "r2 = *(u32 *)(r1 +12)\nr2 &= 4\nr1 += r2\nr0 = *(u32 *)(r1 +8)\nexit\n", -EACCES,
		     "variable ctx access");
	core_refuses(XDP,
		     "r2 = *(u32 *)(r1 +12)\nr3 = map_value[5]+0 ll\nif r2 == 0 goto l\nr3 = r1\nl:\n"
		     "r0 = *(u32 *)(r3 +12)\nexit\n", -EINVAL,
		     "same insn cannot be used with different pointers");
}

static void raw_contexts_are_memory(void **state)
{
	struct core c;

	(void)state;
	core_accepts(RAW, "r0 = *(u64 *)(r1 +8)\n*(u64 *)(r1 +16) = 1\nexit\n");
	core_refuses(RAW, "r0 = *(u64 *)(r1 +4)\nexit\n", -EACCES, "invalid bpf_context access off=4");
	core_refuses(BPF_PROG_TYPE_KPROBE, "*(u64 *)(r1 +16) = 1\nr0 = 0\nexit\n", -EACCES,
		     "invalid bpf_context access");
	core_open(&c, RAW, "r0 = *(u64 *)(r1 +8)\nr2 = *(u16 *)(r1 +40)\nexit\n");
	assert_int_equal(core_verify(&c), 0);
	assert_int_equal(c.p->max_ctx_off, 42);
	core_close(&c);
}

static void numbers_and_map_pointers_are_not_followed(void **state)
{
	(void)state;
	core_refuses(XDP, "r1 = 4096\nr0 = *(u64 *)(r1 +0)\nexit\n", -EACCES,
		     "R1 invalid mem access 'scalar'");
	core_refuses(XDP, "r1 = map[1] ll\nr0 = *(u64 *)(r1 +0)\nexit\n", -EACCES,
		     "R1 invalid mem access 'map_ptr'");
	core_refuses(XDP, "r0 = *(u64 *)(r5 +0)\nexit\n", -EACCES, "R5 !read_ok");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reading_unwritten_stack_is_refused),
		cmocka_unit_test(stack_ends_at_512_bytes),
		cmocka_unit_test(spilled_numbers_keep_their_range),
		cmocka_unit_test(spilled_pointers_come_back_whole_or_not_at_all),
		cmocka_unit_test(variable_stack_index_needs_written_bytes_inside),
		cmocka_unit_test(map_value_is_used_only_after_a_null_check),
		cmocka_unit_test(map_value_access_stays_inside),
		cmocka_unit_test(read_only_maps_are_not_written),
		cmocka_unit_test(frozen_values_are_known_numbers),
		cmocka_unit_test(packet_access_needs_a_check_of_the_end),
		cmocka_unit_test(variable_packet_offsets_need_their_own_check),
		cmocka_unit_test(packet_pointers_die_when_the_packet_moves),
		cmocka_unit_test(contexts_are_read_by_their_fields),
		cmocka_unit_test(moved_or_variable_contexts_are_refused),
		cmocka_unit_test(raw_contexts_are_memory),
		cmocka_unit_test(numbers_and_map_pointers_are_not_followed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
