/* SPDX-License-Identifier: MIT */
/*
 * The verifier's number domain: what is known of a 64-bit value, as known bits, a signed and an
 * unsigned interval, and the same two intervals of its lower half. Small pure functions: no state,
 * no memory, no errors.
 *
 * The rule that all obey: if concrete values are inside the arguments, the concrete result is inside
 * the result. A `struct num` that no value satisfies is empty: the path that led to it cannot run.
 * Functions give empty for empty.
 */
#ifndef FERRY_NUM_H
#define FERRY_NUM_H

#include <linux/bpf.h>

#include "base/base.h"

/*
 * Width of the domain. 64, except that tests compile the same sources at 8 and 4 bits (with halves
 * of 4 and 2, and "bytes" of 1), where everything can be tried. Values are then held zero-extended
 * in the unsigned fields and sign-extended in the signed ones.
 */
#ifndef NUM_BITS
#define NUM_BITS 64
#endif
#define NUM_HALF (NUM_BITS / 2)
#define NUM_BYTE ((NUM_BITS + 7) / 8)

/* Known bits: bit i of a value is that of `value` unless it is set in `mask`; value & mask is 0. */
struct tnum {
	u64 value, mask;
};

/* Fields are public for reading; change them through functions, which keep the views in step. */
struct num {
	struct tnum bits;
	s64 smin, smax;
	u64 umin, umax;
	s32 smin32, smax32;
	u32 umin32, umax32;
};

/* ---- making and asking (num.c) ----------------------------------------------------------------- */

struct num num_unknown(void);
struct num num_const(u64 value);
struct num num_none(void);                   /* empty */
struct num num_urange(u64 umin, u64 umax);   /* empty when umin > umax */
struct num num_srange(s64 smin, s64 smax);
struct num num_tnum(struct tnum t);
struct num num_load(unsigned bits);          /* what a zero-extending load of 8, 16, 32, 64 bits gives */
struct num num_load_sx(unsigned bits);       /* the same, sign-extending */

bool num_is_empty(const struct num *n);
bool num_is_unknown(const struct num *n);    /* nothing known */
bool num_is_const(const struct num *n);      /* exactly one value: n->bits.value */
bool num_is_const32(const struct num *n);    /* lower half is one value: (u32)n->bits.value */
bool num_has(const struct num *n, u64 value);
bool num_equal(const struct num *a, const struct num *b);
/* All of `cur` inside `old`: a state proved safe with `old` is safe with `cur` (pruning). */
bool num_within(const struct num *old, const struct num *cur);

/* Only what is in both; false, and *a empty, when that is nothing. */
bool num_meet(struct num *a, const struct num *b);
/* Whatever is in either (and perhaps more). */
void num_join(struct num *a, const struct num *b);
/* *a without what is outside [umin, umax] or [smin, smax]; false when nothing is left. */
bool num_clip_u(struct num *a, u64 umin, u64 umax);
bool num_clip_s(struct num *a, s64 smin, s64 smax);

/*
 * After a change of single fields: makes every view as tight as the others allow, or all empty.
 * Only for code outside this file that builds a num by hand.
 */
void num_sync(struct num *n);

/*
 * As the kernel's log has it between the brackets of "scalar()": nothing when unknown, a constant
 * alone, else "umin=1,umax=5,var_off=(0x0; 0x7)" and so on.
 */
void num_print(const struct num *n, struct text *out);

/* ---- arithmetic (num_alu.c) -------------------------------------------------------------------- */

/*
 * dst = dst op src for an instruction of class ALU or ALU64 of any operation: add sub mul div mod
 * (signed with off 1) or and xor lsh rsh arsh neg mov (sign-extending with off 8, 16, 32) and the
 * byte swaps. `src` is the number in the source register or num_const((s64)insn->imm): give it for
 * all, it is not read by neg and swaps. Results of class ALU are zero-extended. False when the
 * operation is not known: then *dst is unknown.
 */
bool num_alu(const struct bpf_insn *insn, struct num *dst, const struct num *src);
/* src for num_alu with an immediate operand. */
struct num num_imm(const struct bpf_insn *insn);

/* Single operations on 64 bits, for pointer offsets. */
void num_add(struct num *dst, const struct num *src);
void num_sub(struct num *dst, const struct num *src);
/* Keep the lower `bits` (1 to 64) and fill up with zeros or with the sign. */
void num_zext(struct num *n, unsigned bits);
void num_sext(struct num *n, unsigned bits);

/* ---- comparison (num_branch.c) ----------------------------------------------------------------- */

enum num_truth { NUM_UNKNOWN = -1, NUM_FALSE = 0, NUM_TRUE = 1 };

/*
 * Does `a op b` hold? op is BPF_JEQ, JNE, JGT, JGE, JLT, JLE, JSGT, JSGE, JSLT, JSLE or JSET (the
 * upper four bits of the opcode); is64 false compares the lower halves.
 */
enum num_truth num_compare(u8 op, bool is64, const struct num *a, const struct num *b);
/* The same when a and b are one value: the same register, or registers known to be equal. */
enum num_truth num_compare_same(u8 op, bool is64, const struct num *a);

/*
 * Narrows a and b to what is possible when `a op b` is `holds`. a and b must be distinct objects;
 * give a copy that is then thrown away for an immediate. False when it cannot be: then both are
 * empty and the branch is dead.
 */
bool num_assume(u8 op, bool is64, bool holds, struct num *a, struct num *b);

/*
 * Both sides of a conditional jump at once: NUM_TRUE when it is always taken, NUM_FALSE when never.
 * yes[0], no[0] get what is known of a, yes[1], no[1] of b; of a dead side, empty.
 */
enum num_truth num_branch(u8 op, bool is64, const struct num *a, const struct num *b,
			  struct num yes[2], struct num no[2]);

/* ---- known bits (num_tnum.c) ------------------------------------------------------------------- */

#define TNUM_ALL (~0ull >> (64 - NUM_BITS))
struct tnum tnum_const(u64 value);
struct tnum tnum_range(u64 min, u64 max);    /* unsigned, min <= max */
struct tnum tnum_add(struct tnum a, struct tnum b);
struct tnum tnum_sub(struct tnum a, struct tnum b);
struct tnum tnum_mul(struct tnum a, struct tnum b);
struct tnum tnum_and(struct tnum a, struct tnum b);
struct tnum tnum_or(struct tnum a, struct tnum b);
struct tnum tnum_xor(struct tnum a, struct tnum b);
struct tnum tnum_lsh(struct tnum a, unsigned shift); /* below NUM_BITS */
struct tnum tnum_rsh(struct tnum a, unsigned shift);
struct tnum tnum_arsh(struct tnum a, unsigned shift, unsigned bits); /* of the lower `bits` */
struct tnum tnum_low(struct tnum a, unsigned bits);  /* lower bits, the rest 0 */
struct tnum tnum_high(struct tnum a, unsigned bits); /* upper bits, lower `bits` 0 */
/* False when some bit is known to differ; *out is untouched then. */
bool tnum_meet(struct tnum a, struct tnum b, struct tnum *out);
struct tnum tnum_join(struct tnum a, struct tnum b);
bool tnum_within(struct tnum old, struct tnum cur);  /* all of cur in old */
bool tnum_has(struct tnum t, u64 value);
/* All values of `t` (known with certainty) multiples of `size`, a power of two. */
bool tnum_is_aligned(struct tnum t, u64 size);
/* The nearest value of t at or above (below) `from`; false when there is none. */
bool tnum_above(struct tnum t, u64 from, u64 *out);
bool tnum_below(struct tnum t, u64 from, u64 *out);

#endif
