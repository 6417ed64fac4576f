/* SPDX-License-Identifier: MIT */
/*
 * Wherever memory runs out while a program of the corpus is verified, and its refusal explained, no
 * program is accepted that should not be, and nothing is lost.
 */
#include "verdicts.h"

#include "failing.h"
#include "verify/verify.h"

#define POINTS 24 /* allocations that fail, of each program */

static u32 refused; /* for want of memory */
static u32 fail_in; /* the allocation of the verifier's that is to fail; 0 is none */

static void around(bool verifying)
{
	if (verifying)
		allocs = 0;
	fail_at = verifying ? fail_in : 0;
}

static int judge(const struct verdict_prog *p, u32 in)
{
	struct text log = { 0 };
	int err;

	fail_in = in;
	verdict_around = around;
	err = verdict_ferry(p, &log, NULL);
	verdict_around = NULL;
	text_free(&log);
	return err;
}

static void try_points(const struct verdict_prog *p, u32 first)
{
	int verdict = judge(p, 0), err;
	u32 n = allocs;
	size_t before = live;

	for (u32 k = 0; k < POINTS && k < n; k++) {
		u32 in = 1 + (first + (u32)((u64)k * n / POINTS)) % n;

		err = judge(p, in);
		if (err != verdict && err != -ENOMEM)
			fail_msg("%s '%s', allocation %u of %u: %d, expected %d or no memory", p->file,
				 p->name, in, n, err, verdict);
		refused += err == -ENOMEM;
		if (live != before)
			fail_msg("%s '%s', allocation %u of %u: %zu blocks lost", p->file, p->name, in, n,
				 live - before);
	}
}

static void no_program_is_accepted_for_want_of_memory(void **state)
{
	void *(*outer)(void *, size_t) = base_allocator;
	const char *root = getenv("FERRY_SOURCE_ROOT");
	struct verdict_corpus corpus = { 0 };
	char folder[4096];

	(void)state;
	base_allocator = failing;
	snprintf(folder, sizeof(folder), "%s/tests/programs/verdicts", root ? root : ".");
	verdict_read(folder, &corpus);
	for (size_t i = 0; i < corpus.n; i++)
		if (corpus.progs[i].err != -E2BIG) /* a million states take long */
			try_points(&corpus.progs[i], (u32)i);
	print_message("# %zu programs, %u times refused for want of memory\n", corpus.n, refused);
	assert_true(refused > corpus.n);
	verdict_free(&corpus);
	base_allocator = outer;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_program_is_accepted_for_want_of_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
