/* SPDX-License-Identifier: MIT */
/* Control flow: loops, pruning, bounds on work and memory; what the verifier leaves behind; the log. */
#include "core.h"

#define XDP BPF_PROG_TYPE_XDP

/* ---- loops ------------------------------------------------------------------------------------- */

static void bounded_loops_are_walked(void **state)
{
	struct core c;

	(void)state;
	core_open(&c, XDP, "r6 = 0\nr7 = 0\nl:\nr7 += r6\nr6 += 1\nif r6 < 100000 goto l\nr0 = r7\nexit\n");
	c.opts.log_level = 4;
	assert_int_equal(core_verify(&c), 0);
	assert_int_equal(c.stats.processed, 300004);
	core_close(&c);
	/* A loop with a condition nobody knows, and a bound. */
	core_accepts(XDP,
		     "r2 = *(u32 *)(r1 +12)\nr6 = 0\nl:\nif r6 >= r2 goto out\nr6 += 1\nif r6 < 1000 goto l\n"
		     "out:\nr0 = 0\nexit\n");
}

static void loops_without_progress_are_named(void **state)
{
	(void)state;
	core_refuses(XDP, "l:\nr0 = 0\ngoto l\nexit\n", -EINVAL, "");
	core_refuses(XDP, "r6 = 0\nl:\nr6 += 0\nif r6 < 10 goto l\nr0 = 0\nexit\n", -EINVAL,
		     "infinite loop detected at insn");
	core_refuses(XDP, "l:\ncall 7\nif r0 != 0 goto l\nexit\n", -EINVAL, "infinite loop detected");
}

static void endless_counting_runs_into_the_budget(void **state)
{
	struct core c;

	(void)state;
	core_open(&c, XDP, "r0 = 0\nl:\nr0 += 1\nif r0 != 0 goto l\nexit\n");
	c.opts.log_level = 1;
	assert_int_equal(core_verify(&c), -E2BIG);
	assert_int_equal(c.stats.processed, 1000001);
	core_close(&c);
}

static void equal_paths_are_walked_once(void **state)
{
	char src[4096] = "r6 = *(u32 *)(r1 +12)\nr0 = 0\n";
	struct core c;
	size_t n = strlen(src);
	int i;

	(void)state;
	/* 2^30 paths that meet after each branch. */
	for (i = 0; i < 30; i++)
		n += (size_t)snprintf(src + n, sizeof(src) - n,
				      "r2 = r6\nr2 &= %d\nif r2 == 0 goto l%d\nr0 += %d\nr3 = 1\nl%d:\nr3 = 2\n",
				      1 << i % 30, i, i, i);
	snprintf(src + n, sizeof(src) - n, "exit\n");
	core_open(&c, XDP, src);
	c.opts.log_level = 4;
	assert_int_equal(core_verify(&c), 0);
	assert_true(c.stats.processed < 2000);
	core_close(&c);
}

/* The number decides whether the access is good: its value is what matters, not that it is one. */
static void pruning_compares_numbers_that_matter(void **state)
{
	static const char src[] =
		"r6 = *(u32 *)(r1 +12)\nr7 = 0\nr2 = 0\nr3 = 0\nr4 = 0\nif r6 == 1 goto a\nr7 = %d\na:\n"
		"if r6 == 2 goto b\nr2 = 1\nb:\nif r6 == 3 goto c\nr3 = 1\nc:\nif r6 == 4 goto d\nr4 = 1\nd:\n"
		"r8 = map_value[5]+0 ll\nr8 += r7\nr0 = *(u8 *)(r8 +0)\nexit\n";
	static const char spilled[] =
		"r6 = *(u32 *)(r1 +12)\nr7 = 0\nr2 = 0\nr3 = 0\nr4 = 0\nif r6 == 1 goto a\nr7 = %d\na:\n"
		"*(u64 *)(r10 -8) = r7\nif r6 == 2 goto b\nr2 = 1\nb:\nif r6 == 3 goto c\nr3 = 1\nc:\n"
		"if r6 == 4 goto d\nr4 = 1\nd:\nr7 = *(u64 *)(r10 -8)\n"
		"r8 = map_value[5]+0 ll\nr8 += r7\nr0 = *(u8 *)(r8 +0)\nexit\n";
	/* Through arithmetic, a copy, and a comparison with a copy. */
	static const char derived[] =
		"r6 = *(u32 *)(r1 +12)\nr7 = 0\nr2 = 0\nr3 = 0\nr4 = 0\nif r6 == 1 goto a\nr7 = %d\na:\n"
		"if r6 == 2 goto b\nr2 = 1\nb:\nif r6 == 3 goto c\nr3 = 1\nc:\nif r6 == 4 goto d\nr4 = 1\nd:\n"
		"r9 = 1\nr9 += r7\nr7 = r9\nr7 -= 1\nr8 = map_value[5]+0 ll\nr8 += r7\nr0 = *(u8 *)(r8 +0)\nexit\n";
	const char *const all[] = { src, spilled, derived };
	char text[800];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(all); i++) {
		snprintf(text, sizeof(text), all[i], 63);
		core_accepts(XDP, text);
		snprintf(text, sizeof(text), all[i], 64);
		core_refuses(XDP, text, -EACCES, "invalid access to map value");
	}
}

static void pruning_compares_links_between_numbers(void **state)
{
	(void)state;
	/* r3 is a copy of r2 on one path only: the check of r2 must not count for r3 on the other. */
	core_refuses(XDP,
		     "r6 = r1\nr2 = *(u32 *)(r6 +12)\nr3 = *(u32 *)(r6 +16)\nr7 = *(u32 *)(r6 +12)\n"
		     "r4 = 0\nr5 = 0\nif r7 == 1 goto a\nr3 = r2\na:\nif r7 == 2 goto b\nr4 = 1\nb:\n"
		     "if r7 == 3 goto c\nr5 = 1\nc:\nif r2 > 63 goto out\nr8 = map_value[5]+0 ll\nr8 += r3\n"
		     "r0 = *(u8 *)(r8 +0)\nout:\nr0 = 0\nexit\n", -EACCES, "");
}

static void verification_memory_is_bounded(void **state)
{
	struct core c;

	(void)state;
	core_open(&c, XDP, "r6 = 0\nr7 = 0\nl:\nr7 += r6\nr6 += 1\nif r6 < 100000 goto l\nr0 = r7\nexit\n");
	c.opts.max_memory = 1 << 20;
	c.opts.log_level = 1;
	assert_int_equal(core_verify(&c), -E2BIG);
	assert_true(c.stats.peak_memory <= 1 << 20);
	assert_non_null(strstr(text_str(&c.log), "memory limit"));
	core_close(&c);
}

/* ---- form -------------------------------------------------------------------------------------- */

static void unreachable_code_is_refused_and_dead_code_is_not(void **state)
{
	struct core c;

	(void)state;
	core_refuses(XDP, "r0 = 0\nexit\nr0 = 1\nexit\n", -EINVAL, "unreachable insn 2");
	core_open(&c, XDP, "r0 = 0\nif r0 == 0 goto l\nr0 = *(u64 *)(r0 +0)\nl:\nexit\n");
	assert_int_equal(core_verify(&c), 0);
	assert_true(c.p->facts[1].seen);
	assert_false(c.p->facts[2].seen);
	assert_true(c.p->facts[3].seen);
	core_close(&c);
}

static void jumps_stay_in_their_function(void **state)
{
	(void)state;
	core_refuses(XDP, "call f\nl:\nexit\nf:\nr0 = 0\nif r1 == 0 goto l\nexit\n", -EINVAL,
		     "insn 3");
	core_refuses(XDP, "call f\nexit\nf:\nr0 = 0\ng:\nr1 = 1\nexit\nh:\ncall g\nexit\n", -EINVAL, "");
}

static void unknown_program_types_are_refused(void **state)
{
	(void)state;
	core_refuses(9999, "r0 = 0\nexit\n", -EINVAL, "9999");
}

/* ---- what is left behind ----------------------------------------------------------------------- */

static void context_accesses_are_rewritten(void **state)
{
	struct core c;

	(void)state;
	core_open(&c, XDP, "r2 = *(u32 *)(r1 +0)\nr3 = *(u32 *)(r1 +4)\nr0 = *(u32 *)(r1 +12)\nexit\n");
	assert_int_equal(core_verify(&c), 0);
	assert_int_equal(c.p->insns[0].code, BPF_LDX | BPF_MEM | BPF_DW);
	assert_int_equal(c.p->insns[0].off, offsetof(struct prog_pkt, data));
	assert_int_equal(c.p->insns[1].off, offsetof(struct prog_pkt, data_end));
	assert_int_equal(c.p->insns[2].code, BPF_LDX | BPF_MEM | BPF_W);
	assert_int_equal(c.p->insns[2].off, offsetof(struct prog_pkt, ingress_ifindex));
	core_close(&c);
	/* A byte of a field stays that byte. */
	core_open(&c, BPF_PROG_TYPE_SCHED_CLS, "r0 = *(u8 *)(r1 +10)\n*(u32 *)(r1 +8) = r0\nexit\n");
	assert_int_equal(core_verify(&c), 0);
	assert_int_equal(c.p->insns[0].off, offsetof(struct prog_pkt, mark) + 2);
	assert_int_equal(c.p->insns[1].off, offsetof(struct prog_pkt, mark));
	core_close(&c);
}

static void constants_of_every_path_are_facts(void **state)
{
	struct core c;

	(void)state;
	core_open(&c, XDP,
		  "*(u32 *)(r10 -4) = 2\nr2 = r10\nr2 += -4\nr1 = map[0] ll\ncall 1\nr0 = *(u64 *)(r0 +40)\n"
		  "exit\n");
	/* An element of an array that is always there needs no check. */
	assert_int_equal(core_verify(&c), 0);
	assert_true(c.p->facts[5].const_map);
	assert_int_equal(c.p->facts[5].map, CORE_ARRAY);
	assert_int_equal(c.p->facts[5].const_key, 2);
	assert_int_equal(c.p->facts[0].const_key, -1);
	core_close(&c);
	core_open(&c, XDP,
		  "r3 = *(u32 *)(r1 +12)\n*(u32 *)(r10 -4) = 2\nif r3 == 0 goto l\n*(u32 *)(r10 -4) = 1\nl:\n"
		  "r2 = r10\nr2 += -4\nr1 = map[0] ll\ncall 1\nr0 = 0\nexit\n");
	assert_int_equal(core_verify(&c), 0);
	assert_true(c.p->facts[8].const_map);
	assert_int_equal(c.p->facts[8].const_key, -1);
	core_close(&c);
	/* Past the end: looked up at run time. */
	core_open(&c, XDP,
		  "*(u32 *)(r10 -4) = 4\nr2 = r10\nr2 += -4\nr1 = map[0] ll\ncall 1\nr0 = 0\nexit\n");
	assert_int_equal(core_verify(&c), 0);
	assert_int_equal(c.p->facts[5].const_key, -1);
	core_close(&c);
}

static void constant_loads_become_constants(void **state)
{
	struct core c;

	(void)state;
	core_open(&c, XDP, "r1 = map_value[4]+0 ll\nr0 = *(u32 *)(r1 +4)\nr2 = *(s32 *)(r1 +16)\nexit\n");
	assert_int_equal(core_verify(&c), 0);
	assert_int_equal(c.p->insns[2].code, BPF_ALU64 | BPF_MOV | BPF_K);
	assert_int_equal(c.p->insns[2].imm, 2);
	assert_int_equal(c.p->insns[3].imm, -1);
	core_close(&c);
	/* Another value on another path: stays a load. */
	core_open(&c, XDP,
		  "r3 = *(u32 *)(r1 +12)\nr1 = map_value[4]+0 ll\nif r3 == 0 goto l\nr1 += 4\nl:\n"
		  "r0 = *(u32 *)(r1 +0)\nexit\n");
	assert_int_equal(core_verify(&c), 0);
	assert_int_equal(c.p->insns[5].code, BPF_LDX | BPF_MEM | BPF_W);
	core_close(&c);
}

static void functions_know_their_stack_and_tail_calls(void **state)
{
	struct core c;

	(void)state;
	core_open(&c, XDP,
		  "*(u64 *)(r10 -24) = 1\ncall f\nr0 = 0\nexit\n"
		  "f:\n*(u32 *)(r10 -4) = 1\nr2 = map[2] ll\nr3 = 1\ncall 12\nr0 = 0\nexit\n");
	assert_int_equal(core_verify(&c), 0);
	assert_int_equal(c.p->nfuncs, 2);
	assert_int_equal(c.p->funcs[0].stack, 24);
	assert_int_equal(c.p->funcs[1].stack, 4);
	assert_false(c.p->funcs[0].has_tail_call);
	assert_true(c.p->funcs[1].has_tail_call);
	assert_int_equal(c.p->facts[8].const_key, 1);
	core_close(&c);
}

/* ---- the log ----------------------------------------------------------------------------------- */

static void log_levels_show_all_paths_the_failing_one_or_figures(void **state)
{
	static const char src[] = "r2 = *(u32 *)(r1 +12)\nif r2 == 5 goto l\nr0 = 0\nexit\nl:\nr0 = r3\nexit\n";
	unsigned long long usec;
	unsigned depth;
	struct core c;

	(void)state;
	core_open(&c, XDP, src);
	c.opts.log_level = 1;
	assert_int_equal(core_verify(&c), -EACCES);
	assert_non_null(strstr(text_str(&c.log), "0: R1=ctx(off=0,imm=0) R10=fp0\n"));
	assert_non_null(strstr(text_str(&c.log), "from 1 to 4:"));
	assert_non_null(strstr(text_str(&c.log), "4: (bf) r0 = r3\nR3 !read_ok\n"));
	/* The path that went well is not in it. */
	assert_null(strstr(text_str(&c.log), "2: (b7) r0 = 0"));
	assert_non_null(strstr(text_str(&c.log), "processed 5 insns (limit 1000000) max_states_per_insn"));
	core_close(&c);

	core_open(&c, XDP, src);
	c.opts.log_level = 2;
	assert_int_equal(core_verify(&c), -EACCES);
	assert_non_null(strstr(text_str(&c.log), "2: (b7) r0 = 0"));
	core_close(&c);

	core_open(&c, XDP, src);
	c.opts.log_level = 0;
	assert_int_equal(core_verify(&c), -EACCES);
	assert_int_equal(c.log.len, 0);
	core_close(&c);

	/* Without a trace the refusal says where it is. */
	core_open(&c, XDP, src);
	c.opts.log_level = 4;
	assert_int_equal(core_verify(&c), -EACCES);
	assert_non_null(strstr(text_str(&c.log), "4: (bf) r0 = r3\nR3 !read_ok\n"));
	assert_null(strstr(text_str(&c.log), "0: "));
	core_close(&c);

	core_open(&c, XDP, "r0 = 0\nexit\n");
	c.opts.log_level = 4;
	assert_int_equal(core_verify(&c), 0);
	assert_int_equal(sscanf(text_str(&c.log), "verification time %llu usec\nstack depth %u\n",
				&usec, &depth),
			 2);
	assert_non_null(strstr(text_str(&c.log),
			       "\nprocessed 2 insns (limit 1000000) max_states_per_insn 0 "
			       "total_states 0 peak_states 0 mark_read 0\n"));
	core_close(&c);
}

static void log_past_its_limit_is_counted(void **state)
{
	size_t full;
	struct core c;

	(void)state;
	core_open(&c, XDP, "r0 = 0\nexit\n");
	assert_int_equal(core_verify(&c), 0);
	full = c.log.full;
	core_close(&c);
	core_open(&c, XDP, "r0 = 0\nexit\n");
	c.log.limit = 10;
	assert_int_equal(core_verify(&c), 0);
	assert_int_equal(c.log.len, 10);
	assert_int_equal(c.log.full, full);
	core_close(&c);
}

/* ---- running out of memory --------------------------------------------------------------------- */

static size_t countdown;
static void *(*real_allocator)(void *, size_t);

static void *failing_allocator(void *old, size_t size)
{
	if (size && countdown && !--countdown)
		return NULL;
	return real_allocator(old, size);
}

static void each_failing_allocation_is_an_error(void **state)
{
	static const char src[] =
		"r6 = *(u32 *)(r1 +12)\nr0 = 0\n*(u64 *)(r10 -64) = 1\nl:\nr0 += 1\nif r0 == r6 goto out\n"
		"if r0 < 30 goto l\nout:\ncall f\nr0 = 0\nexit\nf:\n*(u64 *)(r10 -8) = 1\nr0 = 0\nexit\n";
	size_t n;
	int err = -ENOMEM;

	(void)state;
	real_allocator = base_allocator;
	for (n = 1; n < 1000 && err; n++) {
		struct core c;

		core_open(&c, XDP, src);
		c.opts.log_level = 0;
		base_allocator = failing_allocator;
		countdown = n;
		err = core_verify(&c);
		base_allocator = real_allocator;
		core_close(&c);
		if (err && err != -ENOMEM)
			fail_msg("allocation %zu: %d", n, err);
	}
	assert_true(n > 20 && n < 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bounded_loops_are_walked),
		cmocka_unit_test(loops_without_progress_are_named),
		cmocka_unit_test(endless_counting_runs_into_the_budget),
		cmocka_unit_test(equal_paths_are_walked_once),
		cmocka_unit_test(pruning_compares_numbers_that_matter),
		cmocka_unit_test(pruning_compares_links_between_numbers),
		cmocka_unit_test(verification_memory_is_bounded),
		cmocka_unit_test(unreachable_code_is_refused_and_dead_code_is_not),
		cmocka_unit_test(jumps_stay_in_their_function),
		cmocka_unit_test(unknown_program_types_are_refused),
		cmocka_unit_test(context_accesses_are_rewritten),
		cmocka_unit_test(constants_of_every_path_are_facts),
		cmocka_unit_test(constant_loads_become_constants),
		cmocka_unit_test(functions_know_their_stack_and_tail_calls),
		cmocka_unit_test(log_levels_show_all_paths_the_failing_one_or_figures),
		cmocka_unit_test(log_past_its_limit_is_counted),
		cmocka_unit_test(each_failing_allocation_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
