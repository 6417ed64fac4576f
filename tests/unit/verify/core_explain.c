/* SPDX-License-Identifier: MIT */
/*
 * What a refusal tells, and the statistics: read as veristat reads them, whose patterns are the
 * oracle of the lines' form.
 */
#include "core.h"
#include "verify/explain.h"

#define XDP BPF_PROG_TYPE_XDP
#define LOOKUP                                                                                     \
	"*(u32 *)(r10 - 4) = 0\nr2 = r10\nr2 += -4\nr1 = map[0] ll\ncall bpf_map_lookup_elem\n"

static void log_of(struct core *c, u32 type, u32 level, const char *source)
{
	core_open(c, type, source);
	c->opts.log_level = level;
	core_verify(c);
}

static void explains(u32 type, const char *source, const char *const *texts)
{
	struct core c;

	log_of(&c, type, 1, source);
	if (!c.err)
		fail_msg("accepted: %s", source);
	for (; *texts; texts++)
		if (!strstr(text_str(&c.log), *texts))
			fail_msg("no '%s' in: %s", *texts, text_str(&c.log));
	core_close(&c);
}
#define TEXTS(...) ((const char *const[]){ __VA_ARGS__, NULL })

/* ---- statistics -------------------------------------------------------------------------------
 */

struct figures {
	long usec, insns, max_states, total, peak, mark_read;
	char stack[512];
	int found;
};

/* veristat's parse_verif_log: the last lines, from the end, each tried with three patterns. */
static struct figures as_veristat(const char *log)
{
	struct figures f = { .found = 0 };
	char *copy = strdup(log), *cur;
	long pos = (long)strlen(copy) - 1;

	for (int lines = 0; pos >= 0 && lines < 100; lines++) {
		for (cur = &copy[pos]; cur > copy && cur[0] != '\n'; cur--, pos--)
			;
		pos--;
		if (cur[0] == '\n')
			cur++;
		if (sscanf(cur, "verification time %ld usec\n", &f.usec) == 1)
			f.found |= 1;
		if (sscanf(cur,
			   "processed %ld insns (limit %*d) max_states_per_insn %ld total_states "
			   "%ld "
			   "peak_states %ld mark_read %ld",
			   &f.insns, &f.max_states, &f.total, &f.peak, &f.mark_read) == 5)
			f.found |= 2;
		if (sscanf(cur, "stack depth %511s", f.stack) == 1)
			f.found |= 4;
	}
	free(copy);
	return f;
}

static const char two_funcs[] = "*(u64 *)(r10 - 24) = 0\ncall f\nr0 = 0\nexit\n"
				"f:\n*(u64 *)(r10 - 8) = 0\nr0 = 0\nexit\n";

static void figures_are_where_veristat_looks(void **state)
{
	static const u32 levels[] = { 4, 5, 6, 7 };
	struct figures f;
	struct core c;

	(void)state;
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		log_of(&c, XDP, levels[i], two_funcs);
		assert_int_equal(c.err, 0);
		f = as_veristat(text_str(&c.log));
		assert_int_equal(f.found, 7);
		assert_int_equal(f.insns, c.stats.processed);
		assert_int_equal(f.insns, 7);
		assert_int_equal(f.usec, c.stats.time_ns / 1000);
		assert_string_equal(f.stack, "24+8");
		core_close(&c);
		log_of(&c, XDP, levels[i], "r0 = *(u8 *)(r1 + 4000)\nexit\n");
		assert_int_not_equal(c.err, 0);
		assert_int_equal(as_veristat(text_str(&c.log)).found, 7);
		core_close(&c);
	}
}

static void times_are_told_when_asked_for(void **state)
{
	struct core c;

	(void)state;
	log_of(&c, XDP, 1, two_funcs);
	assert_int_equal(as_veristat(text_str(&c.log)).found, 2);
	core_close(&c);
}

/* ---- the path ---------------------------------------------------------------------------------
 */

static void path_tells_branches_and_calls(void **state)
{
	(void)state;
	explains(XDP,
		 "r6 = *(u32 *)(r1 + 12)\nif r6 > 7 goto big\nr0 = 0\nexit\n"
		 "big:\nr1 = r6\ncall f\nr0 = r9\nexit\nf:\nr0 = r1\nexit\n",
		 TEXTS("path: 7 instructions\n", "insn 0: main starts\n", "(insn 1: r6 > 0x7: yes)",
		       "(calls func#1)", "func#1 returns\n", "insn 6: refused here\n"));
	/* The other side of the branch is not told of. */
	explains(XDP, "r6 = *(u32 *)(r1 + 12)\nif r6 > 7 goto +2\nr0 = r9\nexit\nr0 = 0\nexit\n",
		 TEXTS("path: 3 instructions\n", "(insn 1: r6 > 0x7: no)"));
}

static void rounds_of_a_loop_are_told_once(void **state)
{
	struct core c;
	const char *path;
	int lines = 0;

	(void)state;
	log_of(&c, XDP, 1,
	       "r6 = 0\nr7 = 0\nloop:\nif r7 == 9 goto skip\nskip:\nr6 += 1\nif r6 < 100 goto "
	       "loop\n"
	       "r0 = r9\nexit\n");
	path = strstr(text_str(&c.log), "  path: ");
	assert_non_null(path);
	assert_non_null(strstr(path, "a round of the loop, 99 times"));
	for (; *path; path++)
		lines += *path == '\n';
	assert_in_range(lines, 4, 10);
	core_close(&c);
}

static void long_paths_are_cut_in_the_middle(void **state)
{
	struct text source = { 0 };
	struct core c;
	u32 steps = 0;

	(void)state;
	text_puts(&source, "r6 = *(u32 *)(r1 + 12)\n");
	for (int i = 0; i < 200; i++)
		text_printf(&source, "if r6 == %d goto out\n", i);
	text_puts(&source, "r0 = r9\nout:\nr0 = 0\nexit\n");
	log_of(&c, XDP, 1, text_str(&source));
	assert_non_null(strstr(text_str(&c.log), "161 steps left out"));
	for (const char *p = strstr(text_str(&c.log), "  path: "); (p = strstr(p, "\n    insn "));
	     p++)
		steps++;
	assert_int_equal(steps, WHY_FIRST + WHY_LAST + 1); /* and where it was refused */
	core_close(&c);
	text_free(&source);
}

/* ---- the value at fault -------------------------------------------------------------------------
 */

static void history_goes_through_copies_and_the_stack(void **state)
{
	(void)state;
	explains(XDP,
		 "r6 = *(u32 *)(r1 + 12)\nr7 = r6\n*(u64 *)(r10 - 16) = r7\nr8 = *(u64 *)(r10 - "
		 "16)\n"
		 "if r6 > 100 goto out\n" LOOKUP
		 "if r0 == 0 goto out\nr0 += r8\nr0 = *(u8 *)(r0 + 0)\n"
		 "out:\nr0 = 0\nexit\n",
		 TEXTS("R0 max value is outside of the allowed memory range",
		       "known: R0=map_value(", "insn 0: read from memory",
		       "insn 4: checked: r6 > 0x64: no", "returned by bpf_map_lookup_elem()",
		       "the pointer was moved",
		       "a value of the map 'array' of 48 bytes; at byte 0 plus 0 to 100"));
}

static void history_crosses_calls(void **state)
{
	(void)state;
	explains(XDP,
		 "r1 = *(u32 *)(r1 + 12)\ncall f\nr0 = *(u8 *)(r0 + 0)\nexit\n"
		 "f:\nr0 = r1\nr0 &= 7\nexit\n",
		 TEXTS("R0 invalid mem access 'scalar'", "insn 0: read from memory", "computed"));
}

/* ---- what would be right
 * -------------------------------------------------------------------------- */

static void hints_are_in_terms_of_the_program(void **state)
{
	(void)state;
	explains(XDP,
		 "*(u64 *)(r10 - 8) = 0\nr2 = r10\nr2 += -8\nr1 = map[1] ll\n"
		 "call bpf_map_lookup_elem\nr0 = *(u64 *)(r0 + 0)\nexit\n",
		 TEXTS("if (!p) return 0;"));
	/* 48 bytes, read 8 at a time, 8 an element: the last good index is 5. */
	explains(XDP,
		 "r6 = *(u32 *)(r1 + 12)\n" LOOKUP "if r0 == 0 goto out\nr6 <<= 3\nr0 += r6\n"
		 "r0 = *(u64 *)(r0 + 0)\nout:\nr0 = 0\nexit\n",
		 TEXTS("if (i > 5) return 0;"));
	explains(XDP, LOOKUP "if r0 == 0 goto out\nr0 = *(u64 *)(r0 + 44)\nout:\nr0 = 0\nexit\n",
		 TEXTS("bytes 44 to 51 are accessed, and there are 48"));
	explains(XDP, "r2 = *(u32 *)(r1 + 0)\nr0 = *(u16 *)(r2 + 12)\nexit\n",
		 TEXTS("if ((void *)p + 14 > data_end)"));
	explains(XDP, "r0 = *(u64 *)(r10 - 8)\nexit\n", TEXTS("initialise", "store to every byte of it first"));
	explains(XDP, "call bpf_get_smp_processor_id\nr0 = r1\nexit\n",
		 TEXTS("call of insn 0 leaves nothing in R0 to R5"));
	explains(XDP, "r0 = r3\nexit\n", TEXTS("nothing was ever stored in it on this path"));
	explains(XDP, "r6 = *(u32 *)(r1 + 12)\nr0 = *(u8 *)(r6 + 0)\nexit\n",
		 TEXTS("bpf_probe_read_kernel()"));
	explains(XDP, "r1 = map[3] ll\nr2 = 16\nr3 = 0\ncall bpf_ringbuf_reserve\nr0 = 0\nexit\n",
		 TEXTS("Unreleased reference", "bpf_ringbuf_reserve acquired at insn 4",
		       "bpf_ringbuf_submit() or bpf_ringbuf_discard()"));
	explains(XDP, "loop:\ngoto loop\n",
		 TEXTS("infinite loop", "ends with everything as it began"));
	explains(XDP, "r1 = 0\nr2 = 0\nr3 = 0\ncall bpf_skb_load_bytes\nr0 = 0\nexit\n",
		 TEXTS("cannot use helper", "those that may:"));
	explains(XDP, "r1 = 1\nr2 = 0\ncall bpf_redirect\nexit\n", TEXTS("unknown func redirect#23", "no network devices"));
	explains(XDP, "r1 = 0\ncall bpf_get_netns_cookie\nexit\n", TEXTS("sockets are the kernel's"));
}

/* The bounds that a hint names make the program acceptable, and one more does not. */
static void hinted_bounds_are_the_right_ones(void **state)
{
	static const char *const src = "r6 = *(u32 *)(r1 + 12)\nif r6 > %d goto out\n" LOOKUP
				       "if r0 == 0 goto out\nr6 <<= 3\n"
				       "r0 += r6\nr0 = *(u64 *)(r0 + 0)\nout:\nr0 = 0\nexit\n";
	char text[600];

	(void)state;
	snprintf(text, sizeof(text), src, 5);
	core_accepts(XDP, text);
	snprintf(text, sizeof(text), src, 6);
	core_refuses(XDP, text, -EACCES, "if (i > 5) return 0;");
}

/* ---- watching ---------------------------------------------------------------------------------
 */

static void watchers_see_states_and_the_failing_path(void **state)
{
	struct verify_watch w = { .want_states = true };
	struct core c;

	(void)state;
	verify_watch(&w);
	log_of(&c, XDP, 0, "r0 = 7\nr1 = 9\nr0 = r9\nexit\n");
	verify_watch(NULL);
	assert_true(w.ended);
	assert_int_equal(w.verdict, -EACCES);
	assert_int_equal(w.ninsns, 4);
	assert_int_equal(w.nsteps, 3);
	assert_int_equal(w.steps[2].insn, 2);
	assert_non_null(strstr(w.steps[2].state, "R0=7 R1=9"));
	assert_string_equal(w.insns[2].at.code, "r0 = r9");
	assert_int_equal(w.insns[2].visits, 1);
	assert_int_equal(w.insns[3].visits, 0);
	assert_string_equal(w.why.message, "R9 !read_ok");
	verify_watch_free(&w);
	core_close(&c);
}

/* More than is kept: the last steps have their states. */
static void watching_a_long_path_is_bounded(void **state)
{
	struct verify_watch w = { .want_states = true };
	struct core c;

	(void)state;
	verify_watch(&w);
	log_of(&c, XDP, 0, "r6 = 0\nloop:\nr6 += 1\nif r6 < 9000 goto loop\nr0 = r9\nexit\n");
	verify_watch(NULL);
	assert_int_equal(w.nsteps, WATCH_STEPS);
	assert_int_equal(w.first_step, 1 + 2 * 9000 + 1 - WATCH_STEPS);
	assert_non_null(strstr(w.steps[WATCH_STEPS - 1].state, "9000"));
	assert_int_equal(w.why.walked, 1 + 2 * 9000 + 1);
	verify_watch_free(&w);
	core_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(figures_are_where_veristat_looks),
		cmocka_unit_test(times_are_told_when_asked_for),
		cmocka_unit_test(path_tells_branches_and_calls),
		cmocka_unit_test(rounds_of_a_loop_are_told_once),
		cmocka_unit_test(long_paths_are_cut_in_the_middle),
		cmocka_unit_test(history_goes_through_copies_and_the_stack),
		cmocka_unit_test(history_crosses_calls),
		cmocka_unit_test(hints_are_in_terms_of_the_program),
		cmocka_unit_test(hinted_bounds_are_the_right_ones),
		cmocka_unit_test(watchers_see_states_and_the_failing_path),
		cmocka_unit_test(watching_a_long_path_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
