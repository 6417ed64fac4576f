/* SPDX-License-Identifier: MIT */
/*
 * The verifier gives every program of the corpus the verdict that is right, with the right errno and
 * reason. VERDICTS_SHOW=1 prints the reason for each.
 */
#include "verdicts.h"

static struct verdict_corpus corpus;

/* Does a program get what the corpus says? Prints when not. */
static bool judge(const struct verdict_prog *p, bool show)
{
	struct text log = { 0 };
	char why[300];
	int err = verdict_ferry(p, &log, NULL);
	bool ok = p->accept == !err && (!p->err || err == p->err) &&
		  (!p->message[0] || strstr(text_str(&log), p->message));

	verdict_reason(&log, why, sizeof(why));
	if (p->gap) {
		print_message("# %s:%u '%s': %s: %s\n", p->file, p->line, p->name,
			      ok ? "a gap no more" : "a known gap", why);
		text_free(&log);
		return p->accept; /* never a program that should be refused */
	}
	if (!ok || show)
		print_message("# %s:%u '%s': %s%d, expected %s %d '%s': %s\n", p->file, p->line,
			      p->name, ok ? "" : "WRONG ", err, p->accept ? "accept" : "reject",
			      p->err, p->message, why);
	text_free(&log);
	return ok;
}

static void every_program_gets_the_verdict_that_is_right(void **state)
{
	bool show = getenv("VERDICTS_SHOW");
	unsigned wrong = 0;

	(void)state;
	for (size_t i = 0; i < corpus.n; i++)
		wrong += !judge(&corpus.progs[i], show);
	print_message("# %zu programs\n", corpus.n);
	assert_int_equal(wrong, 0);
}

/* Where paths meet, at every chance, must not change what is right. */
static void comparing_states_more_often_changes_no_verdict(void **state)
{
	unsigned wrong = 0;

	(void)state;
	for (size_t i = 0; i < corpus.n; i++) {
		struct verdict_prog p = corpus.progs[i];

		if (p.err == -E2BIG)
			continue; /* a million states take long */
		p.flags |= BPF_F_TEST_STATE_FREQ;
		p.message[0] = 0; /* another path may be refused first */
		wrong += !judge(&p, false);
	}
	assert_int_equal(wrong, 0);
}

static void the_corpus_is_not_small(void **state)
{
	(void)state;
	assert_true(corpus.n >= 250);
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
		cmocka_unit_test(the_corpus_is_not_small),
		cmocka_unit_test(every_program_gets_the_verdict_that_is_right),
		cmocka_unit_test(comparing_states_more_often_changes_no_verdict),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
