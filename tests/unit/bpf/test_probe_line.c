/* SPDX-License-Identifier: MIT */
/* Lines for uprobe_events and kprobe_events: those of the kernel's documents, and hostile ones. */
#include "test.h"

#include "bpf/event/probe_line.h"

static int parse(const char *line, size_t len, bool user, struct text *listed)
{
	struct probe_words words = { 0 };
	struct probe_line p;
	int order = probe_line_parse(line, len, user, &p, &words);

	if (order == PROBE_ADD)
		probe_line_print(&p, listed);
	probe_line_free(&p);
	base_free(words.buf);
	return order;
}

static const struct {
	const char *line;
	bool user;
	int order;
	const char *listed;
} lines[] = {
	/* Documentation/trace/uprobetracer.rst, kprobetrace.rst; what is listed is seq_printf()'d by the kernel. */
	{ "p /bin/true:0x4245c0", true, PROBE_ADD, "p:uprobes/p_true_0x4245c0 /bin/true:0x00000000004245c0\n" },
	{ "r:mine/out /bin/true:0x10 $retval", true, PROBE_ADD, "r:mine/out /bin/true:0x0000000000000010 arg1=$retval\n" },
	{ "p:x /bin/true:0x10(0x20) %ip %ax", true, PROBE_ADD,
	  "p:uprobes/x /bin/true:0x0000000000000010(0x20) arg1=%ip arg2=%ax\n" },
	{ "p:myprobe do_sys_open dfd=%ax filename=%dx flags=%cx mode=+4($stack)", false, PROBE_ADD,
	  "p:kprobes/myprobe do_sys_open dfd=%ax filename=%dx flags=%cx mode=+4($stack)\n" },
	{ "r:myretprobe do_sys_open $retval", false, PROBE_ADD, "r:kprobes/myretprobe do_sys_open arg1=$retval\n" },
	{ "r10 vfs_read+0", false, PROBE_ADD, "r10:kprobes/r_vfs_read_0 vfs_read\n" },
	{ "p vfs_read+8", false, PROBE_ADD, "p:kprobes/p_vfs_read_8 vfs_read+8\n" },
	{ "p 0xffffffff81000000 @_text", false, PROBE_ADD, "p:kprobes/p_0xffffffff81000000 0xffffffff81000000 arg1=@_text\n" },
	{ "-:myprobe", false, PROBE_REMOVE, "" },
	{ "-:g/", true, -ENOENT, "" },
	{ "# a comment", true, PROBE_NOTHING, "" },
	{ "p:x /bin:0", true, -EINVAL, "" },
	{ "p:x /nowhere/at/all:0", true, -ENOENT, "" },
	{ "p:x /bin/true:0 $retval", true, -EINVAL, "" },
	{ "p:x /bin/true:99999999999999999999", true, -ERANGE, "" },
	{ "p10 vfs_read", false, -EINVAL, "" },
	{ "r4097 vfs_read", false, -EINVAL, "" },
	{ "p vfs_read-8", false, -EINVAL, "" },
	{ "p vfs_read @+8", false, -EINVAL, "" },
};

static void lines_of_the_documents_are_read_as_they_say(void **state)
{
	struct text listed = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(lines); i++) {
		text_reset(&listed);
		print_message("# %s\n", lines[i].line);
		assert_int_equal(parse(lines[i].line, strlen(lines[i].line), lines[i].user, &listed), lines[i].order);
		assert_string_equal(text_str(&listed), lines[i].listed);
	}
	text_free(&listed);
}

static uint32_t seed = 1;

static uint32_t below(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

/* Whatever is taken is listed as a line that is taken again, and listed the same. */
static void hostile_lines_do_no_harm_and_listed_ones_are_lines(void **state)
{
	static const char bits[] = "pr-:/+@$%\\\"()[]=#., \t\n0x9b8uXstringarg_retval\0\377";
	struct text first = { 0 }, second = { 0 };
	char line[512], *exact;
	size_t len, i;
	u32 round, good = 0;

	(void)state;
	for (round = 0; round < 60000; round++) {
		const char *from = lines[below(ARRAY_SIZE(lines))].line;
		bool user = below(2);

		len = strlen(from);
		memcpy(line, from, len);
		for (i = below(6); i > 0; i--) {
			size_t at = below((uint32_t)len + 1);

			if (below(3) && len < sizeof(line) - 1) {
				memmove(line + at + 1, line + at, len - at);
				line[at] = bits[below(sizeof(bits))];
				len++;
			} else if (at < len) {
				memmove(line + at, line + at + 1, len - at - 1);
				len--;
			}
		}
		exact = malloc(len + !len); /* so that a byte too far is seen */
		memcpy(exact, line, len);
		text_reset(&first);
		text_reset(&second);
		if (parse(exact, len, user, &first) == PROBE_ADD) {
			good++;
			assert_int_equal(parse(first.s, first.len, user, &second), PROBE_ADD);
			assert_string_equal(first.s, second.s);
		}
		free(exact);
	}
	print_message("# %u of %u lines were taken\n", good, round);
	assert_in_range(good, round / 50, round * 9 / 10);
	text_free(&first);
	text_free(&second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_of_the_documents_are_read_as_they_say),
		cmocka_unit_test(hostile_lines_do_no_harm_and_listed_ones_are_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
