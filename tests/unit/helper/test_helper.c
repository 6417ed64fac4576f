/* SPDX-License-Identifier: MIT */
/* Helpers: the table, formats, and where lines go. */
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "test.h"
#include "helper/helper.h"

static u64 call(u32 id, u64 a, u64 b, u64 c, u64 d, u64 e)
{
	const struct helper_proto *h = helper_of(id);

	assert_non_null(h);
	return h->fn(a, b, c, d, e);
}

static u64 at(const void *p)
{
	return (u64)(uintptr_t)p;
}

/* ---- the table ------------------------------------------------------------------------------- */

static void every_helper_has_a_prototype_that_makes_sense(void **state)
{
	u32 id, n, have = 0;

	(void)state;
	for (id = 0; id < 1000; id++) {
		const struct helper_proto *h = helper_of(id);

		if (!h)
			continue;
		have++;
		assert_int_equal(h->id, id);
		assert_string_equal(h->name, helper_name(id));
		assert_true(h->groups);
		assert_true(h->fn || h->flags & HELPER_TAIL_CALL);
		for (n = 0; n < 5; n++) {
			u8 arg = h->args[n], next = n < 4 ? h->args[n + 1] : (u8)ARG_NONE;

			if (arg == ARG_MEM || arg == ARG_MEM_OR_NULL || arg == ARG_MEM_UNINIT) {
				assert_true(next == ARG_SIZE || next == ARG_SIZE_OR_ZERO);
			}
			if (arg == ARG_MAP_KEY)
				assert_true(n && h->args[n - 1] == ARG_MAP);
			if (arg == ARG_MAP)
				assert_true(h->maps);
			if (n && arg)
				assert_true(h->args[n - 1]);
		}
	}
	assert_true(have >= 40);
	assert_null(helper_of(UINT32_MAX));
}

static void the_kernels_helpers_have_names_also_when_missing_here(void **state)
{
	(void)state;
	assert_string_equal(helper_name(1), "map_lookup_elem");
	assert_string_equal(helper_name(BPF_FUNC_get_stackid), "get_stackid");
	assert_string_equal(helper_name(211), "cgrp_storage_delete");
	assert_null(helper_name(UINT32_MAX));
}

/* ---- formats --------------------------------------------------------------------------------- */

static void numbers_are_formatted_as_by_printf(void **state)
{
	static const struct {
		const char *fmt;
		u64 v;
	} cases[] = {
		{ "%d", 42 },
		{ "%d", (u64)-42 },
		{ "%i", 0xffffffff80000000 },
		{ "%5d|", 42 },
		{ "%-5d|", 42 },
		{ "%05d|", (u64)-42 },
		{ "%+d", 42 },
		{ "% d", 42 },
		{ "%u", 0x1ffffffff },
		{ "%x", 0xdeadbeef },
		{ "%X", 0xdeadbeef },
		{ "%08x", 0xbeef },
		{ "%ld", (u64)-1 },
		{ "%lld", 0x8000000000000000 },
		{ "%lu", (u64)-1 },
		{ "%llu", (u64)-1 },
		{ "%lx", 0x123456789abcdef },
		{ "%llx", (u64)-1 },
		{ "%llX", (u64)-1 },
		{ "%020lld|", (u64)-1 },
		{ "%-20llx|", 255 },
		{ "%c", 'x' },
		{ "%3c|", 'x' },
		{ "%-3c|", 'x' },
		{ "%li", (u64)-7 },
		{ "%lli", (u64)-7 },
		{ "a%db", 0 },
	};
	char want[128], have[128];
	u32 i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		int len = snprintf(want, sizeof(want), cases[i].fmt, cases[i].v);

		assert_int_equal(helper_format(have, sizeof(have), cases[i].fmt,
					       strlen(cases[i].fmt) + 1, &cases[i].v, 1),
				 len);
		assert_string_equal(have, want);
	}
}

static const char *format(const char *fmt, u64 a, u64 b, u64 c)
{
	static char buf[256];
	const u64 args[] = { a, b, c };

	return helper_format(buf, sizeof(buf), fmt, strlen(fmt) + 1, args, 3) < 0 ? NULL : buf;
}

static void strings_and_addresses_are_read_where_they_are(void **state)
{
	static const u8 v4[] = { 192, 168, 0, 1 };
	static const u8 v6[] = { 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1 };
	char raw[64];

	(void)state;
	assert_string_equal(format("<%s> <%pks> <%pus>", at("a"), at("b"), at("c")), "<a> <b> <c>");
	assert_string_equal(format("<%5s> <%-5s>", at("ab"), at("cd"), 0), "<   ab> <cd   >");
	assert_string_equal(format("<%s>", 0, 0, 0), "<>");
	assert_string_equal(format("<%s>", 0xdead000000000000, 0, 0), "<>");
	assert_string_equal(format("%pI4 %pi4", at(v4), at(v4), 0), "192.168.0.1 192.168.000.001");
	assert_string_equal(
		format("%pI6 %pi6", at(v6), at(v6), 0),
		"2001:0db8:0000:0000:0000:0000:0000:0001 20010db8000000000000000000000001");
	assert_string_equal(format("%pI4", 1, 0, 0), "0.0.0.0");
	assert_string_equal(format("100%% %d%%", 5, 0, 0), "100% 5%");
	snprintf(raw, sizeof(raw), "%016llx", (unsigned long long)at(raw));
	assert_string_equal(format("%px", at(raw), 0, 0), raw);
	assert_string_not_equal(format("%p", at(raw), 0, 0), raw);
	assert_string_not_equal(format("%pK", at(raw), 0, 0), raw);
	assert_string_equal(format("%p", 0, 0, 0), "0000000000000000");
}

static void formats_the_kernel_refuses_are_refused(void **state)
{
	static const char *const bad[] = { "%",    "%5",   "%l",   "%lll", "%llld", "%n",
					   "%f",   "%*d",  "%hd",  "%hhd", "%zu",   "%o",
					   "%pq",  "%pk",  "%pI5", "%sx",  "%pksx", "%d %d %d %d",
					   "\x01", "\x80", "%.3d", "%.5s", "%#x",   "%ls",
					   "%lp",  "%px%", "%pukd" };
	u32 i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		if (format(bad[i], at("a"), at("b"), at("c")))
			fail_msg("'%s' was accepted", bad[i]);
	assert_non_null(format("%s,%s\n%s", at("a"), at("b"), at("c")));
}

static void a_format_without_its_end_is_refused(void **state)
{
	char out[16];
	u64 arg = 0;

	(void)state;
	assert_int_equal(helper_format(out, sizeof(out), "abc", 3, &arg, 1), -EINVAL);
	assert_int_equal(helper_format(out, sizeof(out), "abc", 0, &arg, 1), -EINVAL);
	assert_int_equal(helper_format(out, sizeof(out), "%d", 3, &arg, 0), -EINVAL);
}

static void text_is_cut_to_the_buffer_and_widths_are_bounded(void **state)
{
	char out[8];
	u64 arg = 7;

	(void)state;
	memset(out, 'z', sizeof(out));
	assert_int_equal(helper_format(out, 4, "abcdef", 7, &arg, 1), 3);
	assert_string_equal(out, "abc");
	assert_int_equal(out[4], 'z');
	assert_int_equal(helper_format(out, sizeof(out), "%99999999999999d", 17, &arg, 1), 7);
	assert_int_equal(helper_format(NULL, 0, "abc", 4, &arg, 1), 0);
}

static void snprintf_gives_the_length_with_its_end(void **state)
{
	u64 args[] = { 5, 6 };
	char out[8];

	(void)state;
	assert_int_equal(call(BPF_FUNC_snprintf, at(out), 8, at("%d-%d"), at(args), 16), 4);
	assert_string_equal(out, "5-6");
	assert_int_equal(call(BPF_FUNC_snprintf, at(out), 2, at("%d-%d"), at(args), 16), 4);
	assert_string_equal(out, "5");
	assert_int_equal(call(BPF_FUNC_snprintf, 0, 0, at("%d-%d"), at(args), 16), 4);
	assert_int_equal((s64)call(BPF_FUNC_snprintf, at(out), 8, at("%d"), at(args), 7), -EINVAL);
	assert_int_equal((s64)call(BPF_FUNC_snprintf, at(out), 8, at("%d"), 0, 8), -EINVAL);
	assert_int_equal((s64)call(BPF_FUNC_snprintf, at(out), 8, at("%d"), at(args), 104),
			 -EINVAL);
}

/* ---- trace buffer ---------------------------------------------------------------------------- */

static void a_line_is_that_of_trace_pipe(void **state)
{
	char buf[256], comm[17], flags[17], msg[64];
	unsigned long sec, usec;
	unsigned int cpu;
	struct timespec t;
	int pid;
	s64 n;

	(void)state;
	prctl(PR_SET_NAME, "tester");
	assert_int_equal(call(BPF_FUNC_trace_printk, at("x=%d y=%s"), 10, 3, at("why"), 0), 9);
	n = helper_trace_read(buf, sizeof(buf) - 1, false);
	assert_true(n > 0);
	buf[n] = '\0';
	assert_memory_equal(buf, "          tester-", 17);
	assert_int_equal(sscanf(buf, " %16[^-]-%d [%u] %16s %lu.%lu: bpf_trace_printk: %63[^\n]",
				comm, &pid, &cpu, flags, &sec, &usec, msg),
			 7);
	assert_int_equal(pid, gettid());
	assert_string_equal(msg, "x=3 y=why");
	assert_int_equal(buf[n - 1], '\n');
	clock_gettime(CLOCK_MONOTONIC, &t);
	assert_in_range(sec, (unsigned long)t.tv_sec - 2, (unsigned long)t.tv_sec);
	assert_int_equal(helper_trace_read(buf, sizeof(buf), false), -EAGAIN);
}

static void a_refused_format_prints_nothing(void **state)
{
	u64 args[] = { 1, 2, 3, 4 };
	char buf[512];

	(void)state;
	assert_int_equal((s64)call(BPF_FUNC_trace_printk, at("%f"), 3, 0, 0, 0), -EINVAL);
	assert_int_equal(helper_trace_read(buf, sizeof(buf), false), -EAGAIN);
	assert_int_equal((s64)call(BPF_FUNC_trace_vprintk, at("%d%d%d%d%d"), 11, at(args), 32, 0),
			 -EINVAL);
	assert_int_equal(call(BPF_FUNC_trace_vprintk, at("%d%d%d%d"), 9, at(args), 32, 0), 4);
	assert_true(helper_trace_read(buf, sizeof(buf), false) > 0);
}

static void an_unread_buffer_keeps_the_newest_lines(void **state)
{
	static char buf[1 << 20];
	u32 i;
	s64 n, k = 0;

	(void)state;
	for (i = 0; i < 20000; i++)
		call(BPF_FUNC_trace_printk, at("line %d"), 8, i, 0, 0);
	n = helper_trace_read(buf, sizeof(buf) - 1, false);
	assert_in_range(n, 200000, 300000);
	buf[n] = '\0';
	assert_non_null(strstr(buf, " EVENTS]\n"));
	assert_memory_equal(buf, "CPU:0 [LOST ", 12);
	assert_non_null(strstr(buf, "line 19999\n"));
	assert_null(strstr(buf, "line 5\n"));
	for (i = 0; i < n; i++)
		k += buf[i] == '\n';
	assert_int_equal(buf[n - 1], '\n');
	assert_true(k > 1000);
}

static void a_small_read_takes_whole_lines(void **state)
{
	char buf[128];
	s64 n;

	(void)state;
	call(BPF_FUNC_trace_printk, at("one"), 4, 0, 0, 0);
	call(BPF_FUNC_trace_printk, at("two"), 4, 0, 0, 0);
	n = helper_trace_read(buf, 100, false);
	assert_memory_equal(buf + n - 4, "one\n", 4);
	n = helper_trace_read(buf, 100, false);
	assert_memory_equal(buf + n - 4, "two\n", 4);
	assert_int_equal(helper_trace_read(buf, 100, false), -EAGAIN);
}

static char sunk[256];

static void sink(void *arg, const char *line, size_t len)
{
	(void)arg;
	memcpy(sunk, line, len);
	sunk[len] = '\0';
	/* A program run by the sink may print too: not for ever. */
	call(BPF_FUNC_trace_printk, at("nested"), 7, 0, 0, 0);
}

static void lines_go_to_the_hosts_function_instead(void **state)
{
	char buf[64];

	(void)state;
	helper_trace_to(sink, NULL);
	call(BPF_FUNC_trace_printk, at("hello"), 6, 0, 0, 0);
	helper_trace_to(NULL, NULL);
	assert_string_equal(sunk + strlen(sunk) - 23, "bpf_trace_printk: hello");
	assert_int_equal(helper_trace_read(buf, sizeof(buf), false), -EAGAIN);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_helper_has_a_prototype_that_makes_sense),
		cmocka_unit_test(the_kernels_helpers_have_names_also_when_missing_here),
		cmocka_unit_test(numbers_are_formatted_as_by_printf),
		cmocka_unit_test(strings_and_addresses_are_read_where_they_are),
		cmocka_unit_test(formats_the_kernel_refuses_are_refused),
		cmocka_unit_test(a_format_without_its_end_is_refused),
		cmocka_unit_test(text_is_cut_to_the_buffer_and_widths_are_bounded),
		cmocka_unit_test(snprintf_gives_the_length_with_its_end),
		cmocka_unit_test(a_line_is_that_of_trace_pipe),
		cmocka_unit_test(a_refused_format_prints_nothing),
		cmocka_unit_test(an_unread_buffer_keeps_the_newest_lines),
		cmocka_unit_test(a_small_read_takes_whole_lines),
		cmocka_unit_test(lines_go_to_the_hosts_function_instead),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
