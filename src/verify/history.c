/* SPDX-License-Identifier: MIT */
/*
 * The history of the values on the failing path: the path is run once more with each register and
 * stack slot holding a number that stands for its value, so that copies share what was asked of
 * them.
 */
#include <string.h>

#include "verify/trace.h"

static u32 define(struct history *h, u32 at, u8 kind, u32 from, u32 with)
{
	struct def *defs = base_grow(h->defs, &h->defs_cap, h->ndefs + 1, sizeof(*defs));

	if (!defs)
		return 0;
	h->defs = defs;
	defs[h->ndefs] = (struct def){ .at = at, .from = from, .with = with, .kind = kind };
	return (u32)h->ndefs++;
}

static void note_check(struct history *h, u32 at, u32 value)
{
	struct check *checks;

	if (!value)
		return;
	checks = base_grow(h->checks, &h->checks_cap, h->nchecks + 1, sizeof(*checks));
	if (!checks)
		return;
	h->checks = checks;
	checks[h->nchecks++] = (struct check){ value, at };
}

/* The slot of a variable, as two to each eight bytes: compilers spill 4 bytes too. */
static u32 slot_of(s16 off)
{
	return (u32)(-off - 1) / 4 % (MAX_SLOTS * 2);
}

static void spill(struct history *h, u32 depth, s16 off, u32 size, u32 value)
{
	u32 s, first = slot_of(off), last = slot_of((s16)(off + (s32)size - 1));

	if (off >= 0 || off < -ISA_STACK_SIZE)
		return;
	for (s = last; s <= first; s++)
		h->slots[depth][s].value = 0;
	h->slots[depth][first].value = value;
	h->slots[depth][first].off = off;
	h->slots[depth][first].size = (u8)size;
}

static u32 fill(const struct history *h, u32 depth, s16 off, u32 size)
{
	u32 s = slot_of(off);

	if (off >= 0 || off < -ISA_STACK_SIZE || h->slots[depth][s].off != off ||
	    h->slots[depth][s].size != size)
		return 0;
	return h->slots[depth][s].value;
}

static void alu(struct verifier *v, struct history *h, u32 at, const struct bpf_insn *insn,
		u32 *regs)
{
	u32 e = v->trace[at], *dst = &regs[insn->dst_reg], with = 0;
	bool x = BPF_SRC(insn->code) == BPF_X && isa_ops[insn->code].kind == ISA_ALU;

	if (isa_ops[insn->code].kind == ISA_ALU && BPF_OP(insn->code) == BPF_MOV) {
		if (!x)
			*dst = define(h, at, DEF_CONST, 0, 0);
		else if (BPF_CLASS(insn->code) == BPF_ALU64 && !insn->off)
			*dst = regs[insn->src_reg];
		else
			*dst = define(h, at, DEF_ALU, regs[insn->src_reg], 0);
		return;
	}
	if (x)
		with = regs[insn->src_reg];
	if (x && trace_src_ptr(e) && !trace_dst_ptr(e))
		*dst = define(h, at, DEF_ALU, with, *dst);
	else
		*dst = define(h, at, DEF_ALU, *dst, with);
	h->defs[*dst].moves_pointer = trace_dst_ptr(e) != (x && trace_src_ptr(e));
}

static void lose(struct history *h, u32 at, u32 *regs)
{
	u32 r, lost = define(h, at, DEF_LOST, 0, 0);

	for (r = 0; r <= 5; r++)
		regs[r] = lost;
}

/* A call that goes on in the caller, or enters a function. */
static void call(struct verifier *v, struct history *h, u32 at, const struct bpf_insn *insn,
		 u32 depth)
{
	u32 *regs = h->regs[depth], r;
	bool enters = at + 1 < v->ntrace && trace_depth(v->trace[at + 1]) > depth;

	if (enters && depth + 1 < ISA_MAX_FRAMES) {
		memset(h->regs[depth + 1], 0, sizeof(h->regs[0]));
		memset(h->slots[depth + 1], 0, sizeof(h->slots[0]));
		for (r = 1; r <= 5; r++)
			h->regs[depth + 1][r] = insn->src_reg == BPF_PSEUDO_CALL
							? regs[r]
							: define(h, at, DEF_START, 0, 0);
	}
	lose(h, at, regs);
	if (!enters || insn->src_reg != BPF_PSEUDO_CALL)
		regs[0] = define(h, at, DEF_RESULT, 0, 0);
}

static void step(struct verifier *v, struct history *h, u32 at)
{
	u32 e = v->trace[at], depth = trace_depth(e), *regs = h->regs[depth], value, next;
	const struct bpf_insn *insn = &v->insns[trace_insn(e)];
	const struct isa_op *op = &isa_ops[insn->code];

	switch (op->kind) {
	case ISA_ALU:
	case ISA_NEG:
	case ISA_END: alu(v, h, at, insn, regs); break;
	case ISA_LOAD:
		value = insn->src_reg == 10 ? fill(h, depth, insn->off, op->width) : 0;
		regs[insn->dst_reg] =
			value ? value : define(h, at, DEF_LOAD, regs[insn->src_reg], 0);
		break;
	case ISA_STORE:
		if (insn->dst_reg == 10)
			spill(h, depth, insn->off, op->width,
			      BPF_CLASS(insn->code) == BPF_STX ? regs[insn->src_reg]
							       : define(h, at, DEF_CONST, 0, 0));
		break;
	case ISA_ATOMIC:
		if (insn->imm == BPF_CMPXCHG)
			regs[0] = define(h, at, DEF_LOAD, regs[insn->dst_reg], 0);
		else if (insn->imm & BPF_FETCH)
			regs[insn->src_reg] = define(h, at, DEF_LOAD, regs[insn->dst_reg], 0);
		break;
	case ISA_LDIMM64: regs[insn->dst_reg] = define(h, at, DEF_CONST, 0, 0); break;
	case ISA_PACKET_LD:
		lose(h, at, regs);
		regs[0] = define(h, at, DEF_LOAD, 0, 0);
		break;
	case ISA_JCC:
		note_check(h, at, regs[insn->dst_reg]);
		if (BPF_SRC(insn->code) == BPF_X)
			note_check(h, at, regs[insn->src_reg]);
		break;
	case ISA_CALL: call(v, h, at, insn, depth); break;
	case ISA_EXIT:
		/* Back in the caller, whose r0 it is unless a helper called. */
		next = at + 1 < v->ntrace ? v->trace[at + 1] : 0;
		if (depth && trace_depth(next) == depth - 1 && trace_insn(next) &&
		    isa_is_call(&v->insns[trace_insn(next) - 1], BPF_PSEUDO_CALL))
			h->regs[depth - 1][0] = regs[0];
		break;
	}
}

bool vtrace_taken(struct verifier *v, u32 at)
{
	u32 insn = trace_insn(v->trace[at]);

	return at + 1 < v->ntrace && trace_insn(v->trace[at + 1]) != insn + 1;
}

bool vhistory(struct verifier *v, struct history *h)
{
	u32 i;

	memset(h, 0, sizeof(*h));
	define(h, 0, DEF_START, 0, 0); /* 0: none */
	if (h->ndefs)
		h->regs[0][1] = define(h, 0, DEF_START, 0, 0);
	/* The last entry is the instruction that was refused. */
	for (i = 0; i + 1 < v->ntrace && h->ndefs > 1; i++)
		step(v, h, i);
	return h->ndefs > 1;
}

void vhistory_free(struct history *h)
{
	base_free(h->defs);
	base_free(h->checks);
}
