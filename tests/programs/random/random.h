/* SPDX-License-Identifier: MIT */
/*
 * Random programs: made from nothing, made from real ones, run with every access checked, and made
 * small when they show a fault.
 */
#ifndef RANDOM_H
#define RANDOM_H

#include "../verdicts/verdicts.h"

/* ---- making (generate.c, calls.c, mutate.c) ----------------------------------------------------- */

/*
 * A random program that often, but not always, is safe; `p->insns` is to be freed with base_free.
 * `plain`: without what the kernel's verifier knows nothing of (quotients, remainders and shifts by a
 * register, comparisons of a register with itself), so that verdicts differ less often for known reasons.
 */
void generate(u64 seed, bool plain, struct verdict_prog *p);

/* A copy of `from` with one to three changes: operands, offsets, jump targets, order. */
void mutate(const struct verdict_prog *from, u64 seed, struct verdict_prog *p);

/* Takes out (puts in, before insn `at`) `n` instructions; jumps and calls keep their targets. */
void edit_delete(struct verdict_prog *p, u32 at, u32 n);
bool edit_insert(struct verdict_prog *p, u32 at, struct bpf_insn insn); /* insns has room for it */
void edit_print(const struct verdict_prog *p, struct text *out);        /* as the corpus has it */

/* Makes *p as small as can be while `still` holds (minimise.c). */
void minimise(struct verdict_prog *p, bool (*still)(const struct verdict_prog *p, void *arg), void *arg);

/* ---- running (execute.c) ----------------------------------------------------------------------- */

enum execute_result { EXECUTE_OK, EXECUTE_LONG, EXECUTE_VIOLATION };

/*
 * One run with inputs made from `seed`: context, packet, and what is in maps (those that programs
 * may write). `poison`: upper halves that the verifier says are never read are filled with garbage.
 * *ret is r0. A violation is explained in `why`. Slow and simple on purpose; shares no code with the
 * engines.
 */
enum execute_result execute(const struct prog *p, u64 seed, bool poison, u64 *ret, char *why,
			    size_t size);

/* Many runs; false and `why` at the first violation. */
bool execute_many(const struct prog *p, unsigned runs, char *why, size_t size);

static inline unsigned long number_from(const char *name, unsigned long otherwise)
{
	const char *s = getenv(name);

	return s ? strtoul(s, NULL, 0) : otherwise;
}

#endif
