/* SPDX-License-Identifier: MIT */
/*
 * Runs an accepted program with every access checked: it may touch what it was given and nothing
 * else. Slow and simple on purpose; shares no code with the engines.
 */
#ifndef EXECUTE_H
#define EXECUTE_H

#include "verdicts.h"

enum execute_result { EXECUTE_OK, EXECUTE_LONG, EXECUTE_VIOLATION };

/*
 * One run with inputs made from `seed`: context, packet, and what is in maps (those that programs
 * may write). `poison`: upper halves that the verifier says are never read are filled with garbage.
 * *ret is r0. A violation is explained in `why`.
 */
enum execute_result execute(const struct prog *p, u64 seed, bool poison, u64 *ret, char *why,
			    size_t size);

/* Many runs; false and `why` at the first violation. */
bool execute_many(const struct prog *p, unsigned runs, char *why, size_t size);

/*
 * A random program that often, but not always, is safe; `p->insns` is to be freed with base_free.
 * `plain`: without what the kernel's verifier knows nothing of (quotients, remainders and shifts by a
 * register, comparisons of a register with itself), so that verdicts differ less often for known reasons.
 */
void generate(u64 seed, bool plain, struct verdict_prog *p);

#endif
