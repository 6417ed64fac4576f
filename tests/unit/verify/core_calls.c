/* SPDX-License-Identifier: MIT */
/* Calls: helper arguments, references, the program's own functions, native functions. */
#include "core.h"

#define XDP BPF_PROG_TYPE_XDP
#define KPROBE BPF_PROG_TYPE_KPROBE
#define FILTER BPF_PROG_TYPE_SOCKET_FILTER

/* ---- helpers ----------------------------------------------------------------------------------- */

static void arguments_have_the_kind_of_the_prototype(void **state)
{
	(void)state;
	core_refuses(XDP, "r1 = 0\nr2 = r10\nr2 += -8\n*(u64 *)(r10 -8) = 0\ncall 1\nr0 = 0\nexit\n",
		     -EACCES, "R1 type=scalar expected=map_ptr");
	core_refuses(XDP, "r1 = map[1] ll\nr2 = 5\ncall 1\nr0 = 0\nexit\n", -EACCES, "R2 type=scalar");
	core_refuses(XDP, "r1 = map[1] ll\ncall 1\nr0 = 0\nexit\n", -EACCES, "R2 !read_ok");
	/* The key has 8 bytes, of which 4 were written. */
	core_refuses(XDP,
		     "*(u32 *)(r10 -8) = 0\nr1 = map[1] ll\nr2 = r10\nr2 += -8\ncall 1\nr0 = 0\nexit\n",
		     -EACCES, "invalid read from stack");
	core_refuses(XDP,
		     "*(u64 *)(r10 -8) = 0\nr1 = map[1] ll\nr2 = r10\nr2 += -4\ncall 1\nr0 = 0\nexit\n",
		     -EINVAL, "invalid read from stack R2");
	core_refuses(XDP, "call 9999\nr0 = 0\nexit\n", -EINVAL, "invalid func unknown#9999");
	core_refuses(XDP, "*(u64 *)(r10 -8) = 0\nr1 = map[2] ll\nr2 = r10\nr2 += -8\ncall 1\nr0 = 0\nexit\n",
		     -EINVAL, "cannot pass map_type 3 into func");
}

static void calls_overwrite_r1_to_r5(void **state)
{
	(void)state;
	core_refuses(XDP, "r3 = 1\ncall 5\nr0 = r3\nexit\n", -EACCES, "R3 !read_ok");
	core_accepts(XDP, "r6 = 1\ncall 5\nr0 = r6\nexit\n");
}

static void sizes_are_bounded_by_the_memory(void **state)
{
	static const char src[] = "*(u64 *)(r10 -8) = 0\nr3 = *(u64 *)(r1 +0)\n%s\nr1 = r10\nr1 += -8\n"
				  "r2 = r3\nr3 = 0\ncall 112\nr0 = 0\nexit\n";
	static const struct {
		const char *bound;
		bool ok;
	} cases[] = {
		{ "r3 = 8", true },
		{ "r3 = 9", false },
		{ "r3 &= 7", true },
		{ "r3 &= 15", false },
		{ "if r3 > 8 goto +0", false },
		{ "if r3 <= 8 goto +2\nr0 = 0\nexit", true },
		{ "if r3 s<= 8 goto +2\nr0 = 0\nexit", false },
		{ "r3 = -1", false },
	};
	char text[400];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *log;
		int err;

		snprintf(text, sizeof(text), src, cases[i].bound);
		err = core_verdict(KPROBE, text, &log);
		if (!err != cases[i].ok)
			fail_msg("'%s' gave %d: %s", cases[i].bound, err, log);
	}
}

static void gpl_helpers_need_a_gpl_program(void **state)
{
	struct core c;

	(void)state;
	core_open(&c, KPROBE, "*(u64 *)(r10 -8) = 0\nr1 = r10\nr1 += -8\nr2 = 8\ncall 6\nr0 = 0\nexit\n");
	c.p->gpl = false;
	assert_int_equal(core_verify(&c), -EINVAL);
	assert_non_null(strstr(text_str(&c.log), "cannot call GPL-restricted function"));
	core_close(&c);
}

/* ---- references -------------------------------------------------------------------------------- */

#define RESERVE "r1 = map[3] ll\nr2 = 16\nr3 = 0\ncall 131\n"
#define SUBMIT "r2 = 0\ncall 132\n"

static void reservations_are_released_once_on_every_path(void **state)
{
	(void)state;
	core_accepts(XDP, RESERVE "if r0 == 0 goto l\n*(u64 *)(r0 +8) = 1\nr1 = r0\n" SUBMIT
				  "l:\nr0 = 0\nexit\n");
	core_refuses(XDP, RESERVE "if r0 == 0 goto l\n*(u64 *)(r0 +8) = 1\nl:\nr0 = 0\nexit\n", -EINVAL,
		     "Unreleased reference id=");
	core_refuses(XDP, RESERVE "r0 = 0\nexit\n", -EINVAL, "Unreleased reference");
	/* Used, or released, after the release. */
	core_refuses(XDP, RESERVE "if r0 == 0 goto l\nr6 = r0\nr1 = r0\n" SUBMIT
				  "r2 = *(u64 *)(r6 +0)\nl:\nr0 = 0\nexit\n", -EACCES,
		     "R6 invalid mem access 'scalar'");
	core_refuses(XDP, RESERVE "if r0 == 0 goto l\nr6 = r0\nr1 = r0\n" SUBMIT "r1 = r6\n" SUBMIT
				  "l:\nr0 = 0\nexit\n", -EACCES, "R1 type=scalar expected=ringbuf_mem");
	core_refuses(XDP, RESERVE "r1 = r0\n" SUBMIT "r0 = 0\nexit\n", -EACCES,
		     "R1 type=ringbuf_mem_or_null");
	core_refuses(XDP, RESERVE "if r0 == 0 goto l\nr1 = r0\nr1 += 8\n" SUBMIT "l:\nr0 = 0\nexit\n",
		     -EINVAL, "must have zero offset when passed to release func");
	core_refuses(XDP, RESERVE "if r0 == 0 goto l\n*(u64 *)(r0 +16) = 1\nl:\nr0 = 0\nexit\n", -EACCES,
		     "mem_size=16 off=16 size=8");
	/* Through a spill. */
	core_refuses(XDP, RESERVE "if r0 == 0 goto l\n*(u64 *)(r10 -8) = r0\nr1 = r0\n" SUBMIT
				  "r1 = *(u64 *)(r10 -8)\nr0 = *(u64 *)(r1 +0)\nl:\nr0 = 0\nexit\n", -EACCES,
		     "R1 invalid mem access 'scalar'");
}

static void references_do_not_cross_tail_calls(void **state)
{
	(void)state;
	core_refuses(XDP, "r6 = r1\n" RESERVE "if r0 == 0 goto l\nr7 = r0\nr1 = r6\nr2 = map[2] ll\nr3 = 0\n"
			  "call 12\nr1 = r7\n" SUBMIT "l:\nr0 = 0\nexit\n", -EINVAL,
		     "tail_call would lead to reference leak");
}

/* ---- functions --------------------------------------------------------------------------------- */

static void functions_work_on_the_callers_stack(void **state)
{
	(void)state;
	core_accepts(XDP,
		     "*(u64 *)(r10 -8) = 3\nr1 = r10\nr1 += -8\ncall f\nr1 = map_value[5]+0 ll\n"
		     "r2 = *(u64 *)(r10 -8)\nr1 += r2\nr0 = *(u8 *)(r1 +0)\nexit\n"
		     "f:\nr2 = *(u64 *)(r1 +0)\nr2 += 60\n*(u64 *)(r1 +0) = r2\nr0 = 0\nexit\n");
	core_refuses(XDP,
		     "*(u64 *)(r10 -8) = 3\nr1 = r10\nr1 += -8\ncall f\nr1 = map_value[5]+0 ll\n"
		     "r2 = *(u64 *)(r10 -8)\nr1 += r2\nr0 = *(u8 *)(r1 +0)\nexit\n"
		     "f:\nr2 = *(u64 *)(r1 +0)\nr2 += 61\n*(u64 *)(r1 +0) = r2\nr0 = 0\nexit\n", -EACCES,
		     "invalid access to map value");
	core_refuses(XDP, "call f\nr0 = *(u64 *)(r0 +0)\nexit\nf:\n*(u64 *)(r10 -8) = 1\nr0 = r10\nexit\n",
		     -EINVAL, "cannot return stack pointer to the caller");
	core_refuses(XDP,
		     "r1 = r10\nr1 += -8\ncall f\nr1 = *(u64 *)(r10 -8)\nr0 = *(u64 *)(r1 -8)\nexit\n"
		     "f:\n*(u64 *)(r10 -8) = 1\n*(u64 *)(r1 +0) = r10\nr0 = 0\nexit\n", -EINVAL,
		     "cannot spill pointers to stack into stack frame of the caller");
	core_refuses(XDP, "r6 = 1\ncall f\nr0 = 0\nexit\nf:\nr0 = r6\nexit\n", -EACCES, "R6 !read_ok");
	core_refuses(XDP, "call f\nexit\nf:\nr1 = 1\nexit\n", -EACCES, "R0 !read_ok");
}

static void recursion_and_deep_chains_are_refused(void **state)
{
	char src[1024] = "call f1\nr0 = 0\nexit\n";
	size_t i, n = strlen(src);

	(void)state;
	core_refuses(XDP, "call f\nexit\nf:\ncall f\nexit\n", -E2BIG, "recurs");
	core_refuses(XDP, "call f\nexit\nf:\ncall g\nexit\ng:\ncall f\nexit\n", -E2BIG, "recurs");
	for (i = 1; i < 8; i++)
		n += (size_t)snprintf(src + n, sizeof(src) - n, "f%zu:\ncall f%zu\nr0 = 0\nexit\n", i, i + 1);
	snprintf(src + n, sizeof(src) - n, "f%zu:\nr0 = 0\nexit\n", i);
	core_refuses(XDP, src, -E2BIG, "frames is too deep");
}

static void a_chain_of_calls_has_512_bytes_of_stack(void **state)
{
	(void)state;
	core_accepts(XDP, "*(u64 *)(r10 -256) = 1\ncall f\nexit\nf:\n*(u64 *)(r10 -256) = 1\nr0 = 0\nexit\n");
	core_refuses(XDP, "*(u64 *)(r10 -264) = 1\ncall f\nexit\nf:\n*(u64 *)(r10 -256) = 1\nr0 = 0\nexit\n",
		     -EACCES, "combined stack size of 2 calls is");
}

static void return_values_are_bounded_where_the_type_says_so(void **state)
{
	(void)state;
	core_accepts(BPF_PROG_TYPE_CGROUP_SKB, "r0 = 1\nexit\n");
	core_refuses(BPF_PROG_TYPE_CGROUP_SKB, "r0 = 9\nexit\n", -EINVAL, "At program exit the register R0");
	core_refuses(BPF_PROG_TYPE_CGROUP_SKB, "r0 = *(u32 *)(r1 +0)\nexit\n", -EINVAL,
		     "At program exit the register R0");
	core_refuses(XDP, "exit\n", -EACCES, "R0 !read_ok");
}

static void legacy_packet_loads_need_the_context_in_r6(void **state)
{
	(void)state;
	core_accepts(FILTER, "r6 = r1\nr0 = *(u16 *)skb[12]\nexit\n");
	core_refuses(FILTER, "r6 = 0\nr0 = *(u16 *)skb[12]\nexit\n", -EINVAL, "R6 != pointer to skb");
	core_refuses(XDP, "r6 = r1\nr0 = *(u16 *)skb[12]\nexit\n", -EINVAL, "not allowed for this program type");
	core_refuses(FILTER, "r6 = r1\nr2 = 0\nr0 = *(u16 *)skb[12]\nr0 = r2\nexit\n", -EACCES,
		     "R2 !read_ok");
}

/* ---- strict ------------------------------------------------------------------------------------ */

static void strict_mode_leaks_no_addresses(void **state)
{
	static const char *const leaks[] = {
		"r0 = r10\nexit\n",
		"r2 = map_value[5]+0 ll\n*(u64 *)(r2 +0) = r1\nr0 = 0\nexit\n",
		"r2 = map_value[5]+0 ll\nr3 = r2\nr2 -= r10\nr0 = 0\nexit\n",
		"w2 = w1\nr0 = 0\nexit\n",
		"r2 = map_value[5]+0 ll\nif r2 > 5 goto +0\nr0 = 0\nexit\n",
		"r2 = map_value[5]+0 ll\nlock *(u64 *)(r2 +0) += r1\nr0 = 0\nexit\n",
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(leaks); i++) {
		struct core c;

		core_open(&c, FILTER, leaks[i]);
		if (core_verify(&c))
			fail_msg("the owner may: %s\n%s", leaks[i], text_str(&c.log));
		core_close(&c);
		core_open(&c, FILTER, leaks[i]);
		c.opts.strict = true;
		if (core_verify(&c) != -EACCES)
			fail_msg("strict accepts %s", leaks[i]);
		core_close(&c);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arguments_have_the_kind_of_the_prototype),
		cmocka_unit_test(calls_overwrite_r1_to_r5),
		cmocka_unit_test(sizes_are_bounded_by_the_memory),
		cmocka_unit_test(gpl_helpers_need_a_gpl_program),
		cmocka_unit_test(reservations_are_released_once_on_every_path),
		cmocka_unit_test(references_do_not_cross_tail_calls),
		cmocka_unit_test(functions_work_on_the_callers_stack),
		cmocka_unit_test(recursion_and_deep_chains_are_refused),
		cmocka_unit_test(a_chain_of_calls_has_512_bytes_of_stack),
		cmocka_unit_test(return_values_are_bounded_where_the_type_says_so),
		cmocka_unit_test(legacy_packet_loads_need_the_context_in_r6),
		cmocka_unit_test(strict_mode_leaks_no_addresses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
