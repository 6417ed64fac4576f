/* SPDX-License-Identifier: MIT */
/* The pass before compilation: jump targets, registers used, stack slots to promote, liveness. */
#include <errno.h>
#include <string.h>

#include "helper/helper.h"
#include "jit/jit_int.h"

#define TAIL_CALL 12 /* enum bpf_func_id: bpf_tail_call */

static u16 call_args(const struct prog *p, const struct bpf_insn *i)
{
	const struct helper_proto *proto;
	u32 n = 5;

	if (i->src_reg == 0 && i->imm == TAIL_CALL)
		return 0x0e;
	if (i->src_reg == 0) {
		proto = jit_helper(i->imm);
		for (n = 0; proto && n < 5 && proto->args[n] != ARG_NONE; n++)
			;
		if (!proto)
			n = 5;
	} else if (i->src_reg == 2 && (u32)i->imm < p->nnatives) {
		n = p->natives[i->imm]->variadic ? 5 : p->natives[i->imm]->nregs;
	}
	return (u16)(((1u << (n < 5 ? n : 5)) - 1) << 1);
}

static void alu_regs(const struct bpf_insn *i, u16 *reads, u16 *writes)
{
	u8 op = BPF_OP(i->code);

	*writes = JIT_BIT(i->dst_reg);
	if (op != BPF_MOV)
		*reads |= JIT_BIT(i->dst_reg);
	if (BPF_SRC(i->code) == BPF_X && op != BPF_END && op != BPF_NEG)
		*reads |= JIT_BIT(i->src_reg);
}

static void jmp_regs(const struct prog *p, const struct bpf_insn *i, u16 *reads, u16 *writes)
{
	if (jit_is_call(i)) {
		*reads = call_args(p, i);
		*writes = JIT_CALLER_SAVED;
	} else if (jit_is_exit(i)) {
		*reads = JIT_BIT(0);
	} else if (jit_is_jcc(i)) {
		*reads = JIT_BIT(i->dst_reg);
		if (BPF_SRC(i->code) == BPF_X)
			*reads |= JIT_BIT(i->src_reg);
	}
}

void jit_insn_regs(const struct prog *p, const struct bpf_insn *i, u16 *reads, u16 *writes)
{
	*reads = *writes = 0;
	switch (BPF_CLASS(i->code)) {
	case BPF_ALU:
	case BPF_ALU64:
		alu_regs(i, reads, writes);
		break;
	case BPF_LD:
		if (isa_is_ldimm64(i)) {
			*writes = JIT_BIT(i->dst_reg);
		} else { /* LD_ABS, LD_IND: r6 is the context; r1 to r5 are gone after it */
			*reads = JIT_BIT(6);
			if (BPF_MODE(i->code) == BPF_IND)
				*reads |= JIT_BIT(i->src_reg);
			*writes = JIT_CALLER_SAVED;
		}
		break;
	case BPF_LDX:
		*reads = JIT_BIT(i->src_reg);
		*writes = JIT_BIT(i->dst_reg);
		break;
	case BPF_ST:
		*reads = JIT_BIT(i->dst_reg);
		break;
	case BPF_STX:
		*reads = JIT_BIT(i->dst_reg) | JIT_BIT(i->src_reg);
		if (BPF_MODE(i->code) == BPF_ATOMIC && i->imm == BPF_CMPXCHG) {
			*reads |= JIT_BIT(0);
			*writes = JIT_BIT(0);
		} else if (BPF_MODE(i->code) == BPF_ATOMIC && (i->imm & BPF_FETCH)) {
			*writes = JIT_BIT(i->src_reg);
		}
		break;
	default:
		jmp_regs(p, i, reads, writes);
	}
}

s64 jit_target_of(const struct bpf_insn *i, u32 at)
{
	if (!jit_is_goto(i) && !jit_is_jcc(i))
		return -1;
	if (i->code == (BPF_JMP32 | BPF_JA))
		return (s64)at + 1 + i->imm;
	return (s64)at + 1 + i->off;
}

s32 jit_func_at(const struct jit_unit *u, s64 start)
{
	u32 lo = 0, hi = u->nfuncs;

	while (lo < hi) {
		u32 mid = lo + (hi - lo) / 2;

		if (u->funcs[mid].start < start)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < u->nfuncs && u->funcs[lo].start == start ? (s32)lo : -1;
}

/* ---- control flow ---------------------------------------------------------------------------- */

/* One jump: its target must be an instruction of the same function. */
static int mark_target(struct jit_unit *u, const struct jit_func *f, u32 at)
{
	s64 t = jit_target_of(&u->insns[at], at);

	if (t < f->start || t >= f->end)
		return -EINVAL;
	u->marks[t] |= JIT_LEADER | (t <= at ? JIT_LOOP : 0);
	return 0;
}

static int scan_call(struct jit_unit *u, struct jit_func *f, u32 at)
{
	const struct bpf_insn *i = &u->insns[at];

	f->calls = true;
	if (i->src_reg == 0 && i->imm == TAIL_CALL)
		f->tail = true;
	if (i->src_reg == 1 && jit_func_at(u, (s64)at + 1 + i->imm) < 0)
		return -EINVAL;
	if (i->src_reg == 2 && (u32)i->imm >= u->prog->nnatives)
		return -EINVAL;
	return i->src_reg > 2 ? -EINVAL : 0;
}

static bool needs_scratch(const struct bpf_insn *i)
{
	u8 op = BPF_OP(i->code);

	if (jit_is_alu(i))
		return op == BPF_DIV || op == BPF_MOD;
	return BPF_CLASS(i->code) == BPF_STX && BPF_MODE(i->code) == BPF_ATOMIC;
}

static int scan_func(struct jit_unit *u, struct jit_func *f)
{
	const struct insn_fact *facts = u->prog->facts;
	const struct bpf_insn *last = NULL;
	u16 reads, writes;
	int err;

	f->calls = u->prog->limits != NULL; /* those that look at the budget */
	for (u32 at = f->start; at < f->end; at++) {
		const struct bpf_insn *i = &u->insns[at];

		if (facts && !facts[at].seen) {
			u->marks[at] |= JIT_SKIP;
		} else {
			jit_insn_regs(u->prog, i, &reads, &writes);
			f->used |= reads | writes;
			f->written |= writes;
			f->wide_ops |= needs_scratch(i);
			err = jit_is_call(i) ? scan_call(u, f, at) :
			      jit_target_of(i, at) != -1 || jit_is_goto(i) || jit_is_jcc(i) ?
			      mark_target(u, f, at) : 0;
			if (err)
				return err;
		}
		last = i;
		if (isa_is_ldimm64(i)) {
			if (++at >= f->end)
				return -EINVAL;
			u->marks[at] |= JIT_SKIP;
		}
	}
	/* No slots yet; and the frame pointer is read-only (RFC 9669, 2.1). */
	if (f->used >> JIT_SLOT0 || (f->written & JIT_BIT(JIT_FP)))
		return -EINVAL;
	return last && jit_ends_flow(last) ? 0 : -EINVAL;
}

/* Who calls someone who may tail call has to hand on the counter. */
static void spread_tail(struct jit_unit *u)
{
	bool again = true;

	while (again) {
		again = false;
		for (u32 n = 0; n < u->nfuncs; n++) {
			struct jit_func *f = &u->funcs[n];

			for (u32 at = f->start; at < f->end && !f->tail; at++) {
				const struct bpf_insn *i = &u->insns[at];

				if ((u->marks[at] & JIT_SKIP) || !isa_is_call(i, 1))
					continue;
				if (u->funcs[jit_func_at(u, (s64)at + 1 + i->imm)].tail)
					f->tail = again = true;
			}
		}
	}
}

/* ---- repeated blocks ------------------------------------------------------------------------- */

#define REPEAT_MAX 8 /* instructions */

static bool is_reached(const struct jit_unit *u, const struct jit_func *f, s64 at)
{
	return at >= f->start && at < f->end && !(u->marks[at] & JIT_SKIP);
}

u32 jit_block_end(const struct jit_unit *u, const struct jit_func *f, u32 t)
{
	for (u32 at = t; at < t + REPEAT_MAX && is_reached(u, f, at); at++) {
		const struct bpf_insn *i = &u->insns[at];
		u8 class = BPF_CLASS(i->code);

		if (jit_is_jcc(i))
			return is_reached(u, f, jit_target_of(i, at)) && is_reached(u, f, at + 1) ? at : 0;
		if (!jit_is_alu(i) && class != BPF_LDX && class != BPF_ST && class != BPF_STX)
			return 0;
	}
	return 0;
}

/*
 * A goto back to a short block that ends in a condition: with the block once more in its place a loop
 * turns with one jump instead of two. What follows the condition is jumped to then.
 */
static void find_repeats(struct jit_unit *u, const struct jit_func *f)
{
	for (u32 at = f->start; at < f->end; at++) {
		s64 t = jit_target_of(&u->insns[at], at);
		u32 end;

		if (t < 0 || t >= at || (u->marks[at] & JIT_SKIP) || !jit_is_goto(&u->insns[at]))
			continue;
		end = jit_block_end(u, f, (u32)t);
		if (end && end < at) {
			u->marks[at] |= JIT_REPEAT;
			u->marks[end + 1] |= JIT_LEADER;
		}
	}
}

/* ---- promoted stack slots -------------------------------------------------------------------- */

enum {
	SLOT_LD32 = 1, SLOT_LD64 = 2, SLOT_ST32 = 4, SLOT_ST64 = 8,
	SLOT_UPPER = 16, /* second half of an 8-byte one */
	SLOT_BAD = 32,
};

struct slots {
	u8 use[ISA_STACK_SIZE / 4]; /* SLOT_*, for every 4 bytes from the lowest address */
	u32 weight[ISA_STACK_SIZE / 4];
	u8 reg[ISA_STACK_SIZE / 4]; /* JIT_SLOT0 and up; 0 is none */
};

static bool is_access(const struct bpf_insn *i, bool *store)
{
	u8 class = BPF_CLASS(i->code);

	*store = class != BPF_LDX;
	return (class == BPF_LDX && i->src_reg == JIT_FP) ||
	       ((class == BPF_STX || class == BPF_ST) && i->dst_reg == JIT_FP);
}

static bool plain_access(const struct bpf_insn *i)
{
	u8 mode = BPF_MODE(i->code);
	int size = jit_size(i);

	return (mode == BPF_MEM || (mode == BPF_MEMSX && size == 4)) && size >= 4;
}

/* Does the function make a pointer into its frame, or use r10 other than as a base? */
static bool frame_escapes(const struct jit_unit *u, const struct jit_func *f)
{
	u16 reads, writes;
	bool store;

	for (u32 at = f->start; at < f->end; at++) {
		const struct bpf_insn *i = &u->insns[at];

		if (u->marks[at] & JIT_SKIP)
			continue;
		jit_insn_regs(u->prog, i, &reads, &writes);
		if (!(reads & JIT_BIT(JIT_FP)))
			continue;
		if (!is_access(i, &store) ||
		    (BPF_CLASS(i->code) == BPF_STX && i->src_reg == JIT_FP))
			return true;
		if (i->off >= 0 || i->off < -ISA_STACK_SIZE || i->off + jit_size(i) > 0)
			return true;
	}
	return false;
}

/* How often an instruction runs, from how many loops it is in. */
static u32 weight_of(u32 depth)
{
	return 1u << 3 * (depth < 6 ? depth : 6);
}

static void note_access(struct slots *s, const struct bpf_insn *i, bool store, u32 weight)
{
	int size = jit_size(i), at = (i->off + ISA_STACK_SIZE) / 4;
	int last = (i->off + ISA_STACK_SIZE + size - 1) / 4;

	if (!plain_access(i) || i->off % size) {
		for (; at <= last; at++)
			s->use[at] |= SLOT_BAD;
		return;
	}
	s->use[at] |= size == 8 ? (store ? SLOT_ST64 : SLOT_LD64) : (store ? SLOT_ST32 : SLOT_LD32);
	if (size == 8)
		s->use[at + 1] |= SLOT_UPPER;
	s->weight[at] += weight;
}

/* May the slot at `at` live in a register? What is loaded must have been stored in one piece. */
static bool promotable(const struct slots *s, u32 at)
{
	u8 use = s->use[at];

	if (!use || (use & (SLOT_BAD | SLOT_UPPER)))
		return false;
	if (use & (SLOT_LD64 | SLOT_ST64)) {
		if (s->use[at + 1] != SLOT_UPPER)
			return false;
		if ((use & SLOT_LD64) && (use & SLOT_ST32))
			return false;
	}
	return true;
}

static void choose_slots(struct slots *s, struct jit_func *f, u32 room)
{
	for (f->nslots = 0; f->nslots < room; f->nslots++) {
		u32 best = 0, weight = 2; /* fewer uses do not pay for saving a register */

		for (u32 at = 0; at < ARRAY_SIZE(s->use); at++) {
			if (!s->reg[at] && s->weight[at] > weight && promotable(s, at)) {
				best = at + 1;
				weight = s->weight[at];
			}
		}
		if (!best)
			return;
		s->reg[best - 1] = (u8)(JIT_SLOT0 + f->nslots);
	}
}

/* A load or store of a promoted slot becomes a move. */
static void rewrite(struct bpf_insn *i, bool store, u8 slot)
{
	int size = jit_size(i);
	u8 class = size == 8 ? BPF_ALU64 : BPF_ALU;

	if (BPF_CLASS(i->code) == BPF_ST) {
		i->code = class | BPF_MOV | BPF_K;
		i->dst_reg = slot;
		i->src_reg = 0;
	} else if (store) {
		i->code = class | BPF_MOV | BPF_X;
		i->dst_reg = slot;
	} else if (BPF_MODE(i->code) == BPF_MEMSX) {
		i->code = BPF_ALU64 | BPF_MOV | BPF_X;
		i->src_reg = slot;
		i->off = 32;
		return;
	} else {
		i->code = class | BPF_MOV | BPF_X;
		i->src_reg = slot;
	}
	i->off = 0;
}

static void rewrite_slots(struct jit_unit *u, struct jit_func *f, const struct slots *s)
{
	bool store;

	for (u32 at = f->start; at < f->end; at++) {
		struct bpf_insn *i = &u->insns[at];
		u8 slot;

		if ((u->marks[at] & JIT_SKIP) || !is_access(i, &store))
			continue;
		slot = s->reg[(i->off + ISA_STACK_SIZE) / 4];
		if (slot) {
			rewrite(i, store, slot);
			f->used |= JIT_BIT(slot);
			f->written |= JIT_BIT(slot);
		} else if (f->stack < -i->off) {
			f->stack = (u16)-i->off;
		}
	}
}

/* depth[k] becomes the number of loops around instruction f->start + k. */
static void loop_depths(const struct jit_unit *u, const struct jit_func *f, s32 *depth)
{
	s32 now = 0;

	for (u32 at = f->start; at < f->end; at++) {
		s64 t = u->marks[at] & JIT_SKIP ? -1 : jit_target_of(&u->insns[at], at);

		if (t >= 0 && t <= at) {
			depth[t - f->start]++;
			depth[at + 1 - f->start]--;
		}
	}
	for (u32 k = 0; k < f->end - f->start; k++) {
		now += depth[k];
		depth[k] = now;
	}
}

static int promote(struct jit_unit *u, struct jit_func *f, const struct jit_target *t)
{
	struct slots *s;
	s32 *depth;
	bool store;

	if (!(f->used & JIT_BIT(JIT_FP)))
		return 0;
	/* All of it then, whatever was proved: it costs nothing, and the frame cannot be left. */
	if (frame_escapes(u, f)) {
		f->stack = ISA_STACK_SIZE;
		return 0;
	}
	s = base_alloc(sizeof(*s));
	depth = base_array((size_t)(f->end - f->start) + 1, sizeof(*depth));
	if (!s || !depth) {
		base_free(s);
		base_free(depth);
		return -ENOMEM;
	}
	loop_depths(u, f, depth);
	for (u32 at = f->start; at < f->end; at++)
		if (!(u->marks[at] & JIT_SKIP) && is_access(&u->insns[at], &store))
			note_access(s, &u->insns[at], store,
				    weight_of((u32)depth[at - f->start]));
	choose_slots(s, f, t->spare(f, f->slot_reg));
	rewrite_slots(u, f, s);
	base_free(s);
	base_free(depth);
	return 0;
}

/* ---- liveness -------------------------------------------------------------------------------- */

#define LIVE_PASSES 10

/* One pass backwards; true when what is live at the head of a loop grew. */
static bool live_pass(struct jit_unit *u, const struct jit_func *f, u16 at_loops)
{
	bool grew = false;
	u16 reads, writes;

	for (u32 at = f->end; at-- > f->start;) {
		const struct bpf_insn *i = &u->insns[at];
		u16 out = jit_ends_flow(i) || at + 1 >= f->end ? 0 : u->live[at + 1];
		s64 t = jit_target_of(i, at);

		if (u->marks[at] & JIT_SKIP) {
			/* Second halves hand on what follows; what is not reached needs none. */
			u->live[at] = at > f->start && isa_is_ldimm64(i - 1) ? out : 0;
			continue;
		}
		if (t >= 0)
			out |= u->live[t] | (t <= at ? at_loops : 0);
		jit_insn_regs(u->prog, i, &reads, &writes);
		out = (out & ~writes) | reads;
		if (out != u->live[at] && (u->marks[at] & JIT_LOOP))
			grew = true;
		u->live[at] = out;
	}
	return grew;
}

static void liveness(struct jit_unit *u, const struct jit_func *f)
{
	for (int pass = 0; pass < LIVE_PASSES; pass++)
		if (!live_pass(u, f, 0))
			return;
	/* Deeply nested: whatever a loop may need is taken to be needed. */
	live_pass(u, f, (u16)~JIT_BIT(JIT_FP));
}

/* ---- all of it ------------------------------------------------------------------------------- */

static int unit_alloc(struct jit_unit *u)
{
	const struct prog *p = u->prog;
	bool whole = !p->nfuncs;

	u->cnt = p->insn_cnt;
	u->nfuncs = whole ? 1 : p->nfuncs;
	u->insns = base_memdup(p->insns, (size_t)p->insn_cnt * sizeof(*p->insns));
	u->live = base_array((size_t)p->insn_cnt + 1, sizeof(*u->live));
	u->marks = base_array((size_t)p->insn_cnt + 1, 1);
	u->funcs = base_array(u->nfuncs, sizeof(*u->funcs));
	if (!u->insns || !u->live || !u->marks || !u->funcs)
		return -ENOMEM;
	for (u32 n = 0; n < u->nfuncs; n++) {
		u->funcs[n].start = whole ? 0 : p->funcs[n].start;
		u->funcs[n].end = whole ? u->cnt : p->funcs[n].end;
		if (u->funcs[n].start >= u->funcs[n].end || u->funcs[n].end > u->cnt ||
		    u->funcs[n].start != (n ? u->funcs[n - 1].end : 0))
			return -EINVAL;
	}
	return 0;
}

int jit_scan(struct jit_unit *u, const struct jit_target *t)
{
	int err = unit_alloc(u);

	for (u32 n = 0; n < u->nfuncs && !err; n++) {
		jit_tidy(u, &u->funcs[n]);
		err = scan_func(u, &u->funcs[n]);
	}
	if (err)
		return err;
	spread_tail(u);
	for (u32 n = 0; n < u->nfuncs && !err; n++)
		err = promote(u, &u->funcs[n], t);
	for (u32 n = 0; n < u->nfuncs && !err; n++) {
		find_repeats(u, &u->funcs[n]);
		liveness(u, &u->funcs[n]);
	}
	return err;
}

void jit_unit_free(struct jit_unit *u)
{
	base_free(u->insns);
	base_free(u->live);
	base_free(u->marks);
	base_free(u->funcs);
	memset(u, 0, sizeof(*u));
}
