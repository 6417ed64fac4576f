/* SPDX-License-Identifier: MIT */
/*
 * Straightens jumps in the copy of the program, before anything else looks at it: eBPF compilers
 * leave jumps to jumps and conditional jumps around jumps. Control flow stays what it was.
 */
#include "jit/jit_int.h"

#define MAX_HOPS 8

static bool skipped(const struct jit_unit *u, u32 at)
{
	return u->prog->facts && !u->prog->facts[at].seen;
}

/* Sets the target of a jump if it can be expressed; false: left as it was. */
static bool set_target(struct bpf_insn *i, u32 at, s64 target)
{
	s64 d = target - at - 1;

	if (i->code == (BPF_JMP32 | BPF_JA)) {
		i->imm = (s32)d;
		return d == (s32)d;
	}
	if (d != (s16)d)
		return false;
	i->off = (s16)d;
	return true;
}

/* Where a jump to `t` ends up after the gotos found there. */
static s64 final_target(const struct jit_unit *u, const struct jit_func *f, s64 t)
{
	for (int hop = 0; hop < MAX_HOPS; hop++) {
		if (t < f->start || t >= f->end || !jit_is_goto(&u->insns[t]) || skipped(u, (u32)t))
			break;
		t = jit_target_of(&u->insns[t], (u32)t);
	}
	return t;
}

/* The opposite condition; 0 when there is none. */
static u8 opposite(u8 op)
{
	static const u8 pairs[][2] = {
		{ BPF_JEQ, BPF_JNE }, { BPF_JGT, BPF_JLE }, { BPF_JGE, BPF_JLT },
		{ BPF_JSGT, BPF_JSLE }, { BPF_JSGE, BPF_JSLT },
	};

	for (size_t n = 0; n < ARRAY_SIZE(pairs); n++) {
		if (op == pairs[n][0])
			return pairs[n][1];
		if (op == pairs[n][1])
			return pairs[n][0];
	}
	return 0;
}

/*
 * `if c goto over; goto away; over:` becomes `if !c goto away`; and where `away` is a loop's head,
 * `if c goto out; goto head` becomes `if !c goto head; goto out`.
 */
static void invert(struct jit_unit *u, const struct jit_func *f, u32 at)
{
	struct bpf_insn *i = &u->insns[at], *next = i + 1;
	u8 op = opposite(BPF_OP(i->code));
	struct bpf_insn jcc = *i, go;
	s64 t, away;

	if (!op || at + 1 >= f->end || !jit_is_goto(next) || skipped(u, at) || skipped(u, at + 1) ||
	    (u->marks[at + 1] & JIT_LEADER))
		return;
	go = *next;
	t = jit_target_of(i, at);
	away = jit_target_of(next, at + 1);
	if (t != at + 2 && !(away <= at && t > at))
		return;
	jcc.code = (u8)((i->code & ~0xf0) | op);
	if (set_target(&jcc, at, away) && set_target(&go, at + 1, t)) {
		*i = jcc;
		*next = go;
	}
}

void jit_tidy(struct jit_unit *u, const struct jit_func *f)
{
	for (u32 at = f->start; at < f->end; at++) {
		struct bpf_insn *i = &u->insns[at], moved = *i;
		s64 t = jit_target_of(i, at);

		if (t >= f->start && t < f->end && set_target(&moved, at, final_target(u, f, t)))
			*i = moved;
		if (isa_is_ldimm64(i))
			at++;
	}
	/* Which gotos other jumps lead to, so that those stay. */
	for (u32 at = f->start; at < f->end; at++) {
		s64 t = jit_target_of(&u->insns[at], at);

		if (t >= f->start && t < f->end && !skipped(u, at))
			u->marks[t] |= JIT_LEADER;
		if (isa_is_ldimm64(&u->insns[at]))
			at++;
	}
	for (u32 at = f->start; at < f->end; at++) {
		if (jit_is_jcc(&u->insns[at]))
			invert(u, f, at);
		if (isa_is_ldimm64(&u->insns[at]))
			at++;
	}
	for (u32 at = f->start; at < f->end; at++)
		u->marks[at] = 0; /* the scan finds out anew */
}
