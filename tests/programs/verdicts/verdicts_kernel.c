/* SPDX-License-Identifier: MIT */
/*
 * The machine's kernel agrees with the verdicts of the corpus, but where a program says why not.
 * VERDICTS_SHOW=1 prints the kernel's reason for each.
 */
#include "verdicts.h"

static struct verdict_corpus corpus;

static void the_kernel_agrees_with_the_corpus(void **state)
{
	bool show = getenv("VERDICTS_SHOW");
	unsigned asked = 0, wrong = 0, differ = 0, stale = 0;

	(void)state;
	if (!kernel_here()) {
		print_message("# the kernel's bpf(2) is not usable here\n");
		skip();
	}
	for (size_t i = 0; i < corpus.n; i++) {
		const struct verdict_prog *p = &corpus.progs[i];
		struct text log = { 0 };
		char why[300];
		bool accepts;
		int err;

		if (p->no_kernel)
			continue;
		err = verdict_kernel(p, &log);
		accepts = !err;
		verdict_reason(&log, why, sizeof(why));
		text_free(&log);
		asked++;
		differ += p->differs[0] != 0;
		if (accepts == p->accept && p->differs[0]) {
			stale++;
			print_message("# %s:%u '%s': noted as different, and is not (%s)\n", p->file,
				      p->line, p->name, why);
		} else if (accepts != p->accept && !p->differs[0]) {
			wrong++;
			print_message("# %s:%u '%s': the kernel %s (%d %s)\n", p->file, p->line, p->name,
				      accepts ? "accepts" : "refuses", err, why);
		} else if (show || (err && p->err && err != p->err && !p->differs[0])) {
			print_message("# %s:%u '%s': %d, expected %d: %s\n", p->file, p->line, p->name,
				      err, p->err, why);
		}
	}
	print_message("# %u programs, %u with another verdict for a reason, %u of these no more\n",
		      asked, differ, stale);
	assert_int_equal(wrong, 0);
}

static int setup(void **state)
{
	char folder[4096];
	const char *root = getenv("FERRY_SOURCE_ROOT");

	(void)state;
	snprintf(folder, sizeof(folder), "%s/tests/programs/verdicts", root ? root : ".");
	verdict_read(folder, &corpus);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	verdict_free(&corpus);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_kernel_agrees_with_the_corpus),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
