/* SPDX-License-Identifier: MIT */
/*
 * What the verifier accepts, corpus and random programs, touches only what it may, whatever the
 * input. VERDICTS_RANDOM=N sets the number of random programs, VERDICTS_SEED=N the first.
 */
#include "random.h"
#include "verify/verify.h"

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

/* Is the program one whose rounds are counted by a helper or an iterator? Predictions hold for any round of them. */
static bool has_rounds(const struct verdict_prog *vp)
{
	for (u32 i = 0; i < vp->cnt; i += isa_slots(&vp->insns[i])) {
		if (isa_is_ldimm64(&vp->insns[i]) && vp->insns[i].src_reg == BPF_PSEUDO_FUNC)
			return true;
		if (isa_is_call(&vp->insns[i], BPF_PSEUDO_KFUNC_CALL))
			return true;
	}
	return false;
}

/*
 * Walks every path to its end, without pruning: the verdict has to be that of pruning, and at each
 * instruction of some runs, registers and stack are what was known of them on some path.
 */
static void foresee(const struct verdict_prog *vp, int verdict, unsigned runs)
{
	struct watched *w = watched_new(vp->cnt);
	const struct verify_opts opts = { .every_path = true, .strict = vp->strict, .max_insns = 5000, .watch = watched_state,
					  .watch_arg = w };
	struct prog *p = NULL;
	char why[300];
	u64 ret;
	int err = verdict_ferry_with(vp, &opts, NULL, &p);

	if (err != -E2BIG && verdict != -E2BIG && !err != !verdict) {
		show(vp);
		fail_msg("%s '%s': %d with pruning, %d without", vp->file, vp->name, verdict, err);
	}
	for (unsigned k = 0; !err && k < runs && !has_rounds(vp); k++) {
		if (execute(p, k * 7919 + 1, false, &ret, why, sizeof(why), w) == EXECUTE_VIOLATION) {
			show(vp);
			fail_msg("%s '%s': %s", vp->file, vp->name, why);
		}
	}
	if (!err)
		prog_free(p);
	watched_free(w);
}

/* 1: accepted and ran well, 0: refused; fails the test otherwise. */
static int try_one(const struct verdict_prog *vp, unsigned runs)
{
	struct prog *p;
	char why[300];
	int verdict;

	if (verdict_calls_native(vp))
		return 0;
	verdict = verdict_ferry(vp, NULL, &p);
	foresee(vp, verdict, runs / 2);
	if (verdict)
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

static void accepted_changes_of_the_corpus_touch_only_what_they_may(void **state)
{
	unsigned long n = number_from("VERDICTS_RANDOM", 6000) / 2, seed = number_from("VERDICTS_SEED", 1);
	struct verdict_corpus corpus = { 0 };
	const char *root = getenv("FERRY_SOURCE_ROOT");
	unsigned long accepted = 0;
	char folder[4096];

	(void)state;
	snprintf(folder, sizeof(folder), "%s/tests/programs/verdicts", root ? root : ".");
	verdict_read(folder, &corpus);
	for (unsigned long i = seed; i < seed + n; i++) {
		const struct verdict_prog *from = &corpus.progs[i * 7919 % corpus.n];
		struct verdict_prog p;

		if (!from->cnt || verdict_calls_native(from))
			continue;
		mutate(from, i, &p);
		accepted += (unsigned long)try_one(&p, 10);
		base_free(p.insns);
	}
	print_message("# %lu of %lu accepted\n", accepted, n);
	assert_true(accepted > n / 20);
	verdict_free(&corpus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(accepted_programs_of_the_corpus_touch_only_what_they_may),
		cmocka_unit_test(accepted_random_programs_touch_only_what_they_may),
		cmocka_unit_test(accepted_changes_of_the_corpus_touch_only_what_they_may),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
