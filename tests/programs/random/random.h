/* SPDX-License-Identifier: MIT */
/*
 * Random programs: made from nothing, made from real ones, run with every access checked, and made
 * small when they show a fault.
 */
#ifndef RANDOM_H
#define RANDOM_H

#include "../verdicts/verdicts.h"

/* ---- making (generate.c, calls.c, objects.c, mutate.c) ----------------------------------------------------- */

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
struct watched;
struct state;
enum execute_result execute(const struct prog *p, u64 seed, bool poison, u64 *ret, char *why,
			    size_t size, const struct watched *w);

/* Many runs; false and `why` at the first violation. */
bool execute_many(const struct prog *p, unsigned runs, char *why, size_t size);

/* ---- predictions (watch.c) --------------------------------------------------------------------- */

/* What the verifier knew before each instruction, on every path. */
struct watched *watched_new(u32 insns);
void watched_free(struct watched *w);
void watched_state(void *arg, u32 insn, const struct state *known); /* of struct verify_opts */

/* The machine's state at a moment, as predictions are about it. */
struct moment {
	u32 pc, nframes;
	u64 regs[11];
	u64 frames[ISA_MAX_FRAMES]; /* their r10 */
	u64 ctx, data, data_meta, data_end;
};
/* Was it foreseen on some path? If not, `why` says what was foreseen, and is not, on the last one. */
bool watched_has(const struct watched *w, const struct prog *p, const struct moment *m, char *why,
		 size_t size);

static inline unsigned long number_from(const char *name, unsigned long otherwise)
{
	const char *s = getenv(name);

	return s ? strtoul(s, NULL, 0) : otherwise;
}

#endif
