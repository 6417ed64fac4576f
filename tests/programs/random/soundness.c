/* SPDX-License-Identifier: MIT */
/*
 * What the verifier accepts, corpus and random programs, touches only what it may, whatever the
 * input. VERDICTS_RANDOM=N sets the number of random programs, VERDICTS_SEED=N the first.
 */
#include "random.h"

static void show(const struct verdict_prog *p)
{
	struct text t = { 0 };

	for (u32 i = 0; i < p->cnt; i += isa_slots(&p->insns[i])) {
		text_reset(&t);
		isa_disasm(&p->insns[i], i, NULL, &t);
		print_message("#   %u: %s\n", i, text_str(&t));
	}
	text_free(&t);
}

/* 1: accepted and ran well, 0: refused; fails the test otherwise. */
static int try_one(const struct verdict_prog *vp, unsigned runs)
{
	struct prog *p;
	char why[300];

	if (verdict_calls_native(vp) || verdict_ferry(vp, NULL, &p))
		return 0;
	if (!execute_many(p, runs, why, sizeof(why))) {
		show(vp);
		fail_msg("%s '%s': %s", vp->file, vp->name, why);
	}
	prog_free(p);
	return 1;
}

static void accepted_programs_of_the_corpus_touch_only_what_they_may(void **state)
{
	struct verdict_corpus corpus = { 0 };
	const char *root = getenv("FERRY_SOURCE_ROOT");
	char folder[4096];
	unsigned n = 0;

	(void)state;
	snprintf(folder, sizeof(folder), "%s/tests/programs/verdicts", root ? root : ".");
	verdict_read(folder, &corpus);
	for (size_t i = 0; i < corpus.n; i++)
		n += (unsigned)try_one(&corpus.progs[i], 20);
	print_message("# %u of %zu programs run\n", n, corpus.n);
	assert_true(n > 100);
	verdict_free(&corpus);
}

static void accepted_random_programs_touch_only_what_they_may(void **state)
{
	unsigned long n = number_from("VERDICTS_RANDOM", 6000), seed = number_from("VERDICTS_SEED", 1);
	unsigned long accepted = 0;

	(void)state;
	for (unsigned long i = seed; i < seed + n; i++) {
		struct verdict_prog p;

		generate(i, false, &p);
		accepted += (unsigned long)try_one(&p, 20);
		base_free(p.insns);
	}
	print_message("# %lu of %lu accepted\n", accepted, n);
	assert_true(accepted > n / 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepted_programs_of_the_corpus_touch_only_what_they_may),
		cmocka_unit_test(accepted_random_programs_touch_only_what_they_may),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
