/* SPDX-License-Identifier: MIT */
/* Filters of events: those of the kernel's documents, and hostile ones. tests/clients/tracefs asks the kernel too. */
#include "test.h"

#include "bpf/event/filter.h"

static const char format[] = "name: f\nID: 1\nformat:\n"
			     "\tfield:unsigned short common_type;\toffset:0;\tsize:2;\tsigned:0;\n"
			     "\tfield:int common_pid;\toffset:4;\tsize:4;\tsigned:1;\n\n"
			     "\tfield:long id;\toffset:8;\tsize:8;\tsigned:1;\n"
			     "\tfield:char comm2[16];\toffset:16;\tsize:16;\tsigned:0;\n"
			     "\tfield:__data_loc char[] path;\toffset:32;\tsize:4;\tsigned:0;\n\nprint fmt: \"\"\n";

static const struct {
	const char *expression;
	int want;
} examples[] = {
	/* Documentation/trace/events.rst, 5: operators of numbers and of strings, parentheses, nothing for nothing. */
	{ "id == 59", 0 },
	{ "((id >= 10 && id < 15) || id == 17) && comm2 != bash", -EINVAL },
	{ "((id >= 10 && id < 15) || id == 17) && comm2 != \"bash\"", 0 },
	{ "common_pid > 0", 0 },
	{ "path ~ \"*.so\" || path ~ 'lib*'", 0 },
	{ "id & 3", 0 },
	{ "!(id == 1)", 0 },
	{ "path > \"a\"", -EINVAL },
	{ "path == 1", -EINVAL },
	{ "id == \"1\"", -EINVAL },
	{ "id ~ 1", -EINVAL },
	{ "nothing == 1", -EINVAL },
	{ "", -EINVAL },
};

static void filters_of_the_documents_are_read_as_they_say(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(examples); i++) {
		print_message("# %s\n", examples[i].expression);
		assert_int_equal(filter_check(examples[i].expression, format), examples[i].want);
	}
}

static uint32_t seed = 1;

static uint32_t below(uint32_t n)
{
	seed = seed * 1664525 + 1013904223;
	return (seed >> 8) % n;
}

/* Each in memory of its own size, so that the sanitizers see a step too far. */
static void hostile_filters_do_no_harm(void **state)
{
	static const char bits[] = "()!&|=~<>\"' \t0x9-id_path\\\377\1";
	char text[256], *exact;
	uint32_t round, i, len, good = 0;

	(void)state;
	for (round = 0; round < 100000; round++) {
		strcpy(text, examples[below(ARRAY_SIZE(examples))].expression);
		len = (uint32_t)strlen(text);
		for (i = below(5); i > 0 && len; i--) {
			uint32_t at = below(len);

			if (below(2))
				text[at] = bits[below(sizeof(bits) - 1)];
			else
				memmove(text + at, text + at + 1, len-- - at);
		}
		exact = strdup(text);
		good += !filter_check(exact, format);
		free(exact);
	}
	print_message("# %u of %u were taken\n", good, round);
	assert_in_range(good, round / 20, round * 19 / 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(filters_of_the_documents_are_read_as_they_say),
		cmocka_unit_test(hostile_filters_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
