/* SPDX-License-Identifier: MIT */
/*
 * Conditional jumps: decided ones go one way; of the others both sides are walked, each with what the
 * comparison tells there of numbers, of pointers that may be NULL, and of the end of the packet.
 */
#include <errno.h>

#include "verify/verify_int.h"

/* ---- numbers ---------------------------------------------------------------------------------- */

/* Register r of the top frame of s is now known to be n; so are its copies, less their distance. */
static void refine(struct verifier *v, struct state *s, u32 r, const struct num *n, u32 node)
{
	struct reg_iter it = { s, 0, 0 };
	struct reg *reg = &state_frame(s)->regs[r], *copy;
	const struct reg *seen;
	struct num moved, by;

	reg->n = *n;
	reg->node = node;
	if (!reg->id)
		return;
	while ((seen = reg_iter_next(&it))) {
		if (seen == reg || seen->type != REG_SCALAR || seen->id != reg->id)
			continue;
		copy = reg_iter_edit(v, &it);
		if (copy->off == reg->off) {
			copy->n = *n;
		} else {
			moved = *n;
			by = num_const((u64)((s64)copy->off - reg->off));
			num_add(&moved, &by);
			if (!num_meet(&moved, &copy->n))
				continue; /* this path cannot run: nothing to say */
			copy->n = moved;
		}
		copy->node = vprecise_join(v, copy->node, node);
	}
}

static int branch_numbers(struct verifier *v, const struct bpf_insn *insn, u32 target,
			  const struct reg *src, bool is_reg)
{
	struct reg *dst = cur_reg(v, insn->dst_reg);
	bool is64 = BPF_CLASS(insn->code) == BPF_JMP;
	bool same = is_reg && (insn->src_reg == insn->dst_reg || (dst->id && dst->id == src->id && dst->off == src->off));
	struct num yes[2], no[2];
	enum num_truth truth;
	struct state *other;
	u32 node, node2;
	int err;

	if (same)
		truth = num_compare_same(BPF_OP(insn->code), is64, &dst->n);
	else
		truth = num_branch(BPF_OP(insn->code), is64, &dst->n, &src->n, yes, no);
	if (truth != NUM_UNKNOWN) {
		vprecise_reg(v, dst);
		vprecise_reg(v, src);
		if (truth == NUM_TRUE)
			v->next = target;
		return 0;
	}
	err = vwalk_push(v, target, &other);
	if (err || same)
		return err;
	node = vprecise_join(v, dst->node, src->node);
	node2 = node;
	refine(v, other, insn->dst_reg, &yes[0], node);
	refine(v, v->cur, insn->dst_reg, &no[0], node);
	if (is_reg) {
		refine(v, other, insn->src_reg, &yes[1], node2);
		refine(v, v->cur, insn->src_reg, &no[1], node2);
	}
	return 0;
}

/* ---- NULL ------------------------------------------------------------------------------------- */

static void settle_null(struct verifier *v, struct state *s, u32 id, bool is_null)
{
	struct reg_iter it = { s, 0, 0 };
	const struct reg *seen;
	struct reg *r;
	u32 ref = 0;

	while ((seen = reg_iter_next(&it))) {
		if (!(seen->flags & REG_NULLABLE) || seen->id != id)
			continue;
		r = reg_iter_edit(v, &it);
		if (is_null) {
			ref = r->flags & REG_BORROWED ? 0 : r->ref;
			reg_const(r, 0);
		} else {
			r->flags &= ~REG_NULLABLE;
			/* Locks are told apart by it. */
			if (r->type != REG_MAP_VALUE || !v->p->maps[r->what]->fields)
				r->id = 0;
		}
	}
	/* Nothing was acquired. */
	if (ref)
		state_drop_ref(s, ref);
}

static bool never_null(const struct reg *r)
{
	if (r->flags & REG_NULLABLE)
		return false;
	if (r->type == REG_BTF)
		return r->flags & REG_TRUSTED;
	return r->type == REG_MAP_VALUE || r->type == REG_MAP || r->type == REG_MEM ||
	       r->type == REG_STACK || r->type == REG_SOCK;
}

/* ---- packets ---------------------------------------------------------------------------------- */

/* In s, `open ? ptr < end : ptr <= end` holds: bytes up to the pointer are in the packet. */
static void packet_proven(struct verifier *v, struct state *s, const struct reg *ptr, bool open)
{
	struct reg_iter it = { s, 0, 0 };
	const struct reg known = *ptr, *r;
	s64 size = (s64)known.off + open;

	if (known.off < 0 || size == 0)
		return;
	/* Beyond, base + n + off could have wrapped around. */
	if (known.n.umax > MAX_PACKET_OFF || known.n.umax + (u64)known.off > MAX_PACKET_OFF)
		return;
	while ((r = reg_iter_next(&it)))
		if (r->type == known.type && r->id == known.id && r->size < size)
			reg_iter_edit(v, &it)->size = (u32)size;
}

static bool is_packet_bound(const struct reg *ptr, const struct reg *end)
{
	return (ptr->type == REG_PKT && end->type == REG_PKT_END) ||
	       (ptr->type == REG_PKT_META && end->type == REG_PKT && end->off == 0 && !end->id &&
		num_is_const(&end->n));
}

/* `end op ptr` as `ptr op' end`. */
static u8 mirrored(u8 op)
{
	return op == BPF_JGT ? BPF_JLT : op == BPF_JLT ? BPF_JGT : op == BPF_JGE ? BPF_JLE : BPF_JGE;
}

/* A comparison with the end of a pointer that was found to be there, or beyond, already. */
static enum num_truth decided_packet(u8 op, const struct reg *dst, const struct reg *src)
{
	bool swapped = dst->type == REG_PKT_END;
	const struct reg *ptr = swapped ? src : dst;
	u8 flags = ptr->type == REG_PKT ? ptr->flags : 0;

	switch (swapped ? mirrored(op) : op) {
	case BPF_JGT: return flags & REG_BEYOND_END ? NUM_TRUE : NUM_UNKNOWN;
	case BPF_JGE: return flags & REG_AT_END ? NUM_TRUE : NUM_UNKNOWN;
	case BPF_JLT: return flags & REG_AT_END ? NUM_FALSE : NUM_UNKNOWN;
	case BPF_JLE: return flags & REG_BEYOND_END ? NUM_FALSE : NUM_UNKNOWN;
	}
	return NUM_UNKNOWN;
}

/* What a comparison of a packet pointer with its end tells on each side. */
static void branch_packet(struct verifier *v, const struct bpf_insn *insn, struct state *yes,
			  struct state *no, const struct reg *dst, const struct reg *src)
{
	u8 op = BPF_OP(insn->code);
	bool swapped = !is_packet_bound(dst, src);
	const struct reg *ptr = swapped ? src : dst;
	u32 r = swapped ? insn->src_reg : insn->dst_reg;

	if (swapped)
		op = mirrored(op);
	if (ptr->type == REG_PKT) { /* the end that data_meta is compared with is another */
		bool holds = op == BPF_JGT || op == BPF_JGE;
		u8 flags = op == BPF_JGT || op == BPF_JLE ? REG_AT_END | REG_BEYOND_END : REG_AT_END;

		state_frame(holds ? yes : no)->regs[r].flags |= flags;
	}
	switch (op) {
	case BPF_JGT: packet_proven(v, no, ptr, false); break;
	case BPF_JGE: packet_proven(v, no, ptr, true); break;
	case BPF_JLT: packet_proven(v, yes, ptr, true); break;
	case BPF_JLE: packet_proven(v, yes, ptr, false); break;
	}
}

static bool is_order(u8 op)
{
	return op == BPF_JGT || op == BPF_JGE || op == BPF_JLT || op == BPF_JLE;
}

/* ---- pointers --------------------------------------------------------------------------------- */

/* The host's addresses stay a secret: they are compared with NULL, and for being the same object. */
static bool tells_secret(const struct verifier *v, const struct reg *d, const struct reg *s, bool equality, bool with_null)
{
	return (vsecret(v, d) || vsecret(v, s)) && !with_null && !(equality && reg_is_ptr(d) && reg_is_ptr(s));
}

static int branch_pointers(struct verifier *v, const struct bpf_insn *insn, u32 target,
			   const struct reg *src, bool is_reg)
{
	struct reg *dst = cur_reg(v, insn->dst_reg), d = *dst, s = *src;
	u8 op = BPF_OP(insn->code);
	bool is64 = BPF_CLASS(insn->code) == BPF_JMP;
	bool with_null = is64 && (op == BPF_JEQ || op == BPF_JNE) && reg_is_ptr(&d) &&
			 reg_is_const(&s) && s.n.bits.value == 0;
	bool equality = is64 && is_reg && (op == BPF_JEQ || op == BPF_JNE);
	struct state *other;
	int err;

	if (with_null && never_null(&d)) {
		vprecise_reg(v, src);
		if (op == BPF_JNE)
			v->next = target;
		return 0;
	}
	if (is64 && is_reg && is_order(op) && (is_packet_bound(&d, &s) || is_packet_bound(&s, &d)) &&
	    decided_packet(op, &d, &s) != NUM_UNKNOWN) {
		if (decided_packet(op, &d, &s) == NUM_TRUE)
			v->next = target;
		return 0;
	}
	err = vwalk_push(v, target, &other);
	if (err)
		return err;
	if (with_null && (d.flags & REG_NULLABLE)) {
		vprecise_reg(v, src);
		settle_null(v, other, d.id, op == BPF_JEQ);
		settle_null(v, v->cur, d.id, op == BPF_JNE);
	} else if (equality && d.flags & REG_NULLABLE && never_null(&s)) {
		settle_null(v, op == BPF_JEQ ? other : v->cur, d.id, false);
	} else if (equality && s.flags & REG_NULLABLE && never_null(&d)) {
		settle_null(v, op == BPF_JEQ ? other : v->cur, s.id, false);
	} else if (is64 && is_reg && is_order(op) &&
		   (is_packet_bound(&d, &s) || is_packet_bound(&s, &d))) {
		branch_packet(v, insn, other, v->cur, &d, &s);
	} else if (v->o->strict || tells_secret(v, &d, &s, equality, with_null)) {
		return refuse(v, -EACCES,
			      "compare pointers with NULL, or packet pointers with data_end",
			      "R%u pointer comparison prohibited", insn->dst_reg);
	}
	return 0;
}

int vbranch(struct verifier *v, const struct bpf_insn *insn)
{
	bool is_reg = BPF_SRC(insn->code) == BPF_X;
	struct reg imm, *src = &imm;
	s64 target;
	int err;

	if (!isa_jump_target(insn, v->insn, &target))
		return refuse(v, -EINVAL, "compile for a CPU that is known here (clang -mcpu=v3)",
			      "unknown jump %02x", insn->code);
	if (is_reg) {
		err = vcall_read_ok(v, insn->src_reg);
		if (err)
			return err;
		src = cur_reg(v, insn->src_reg);
	} else {
		reg_const(&imm, (u64)(s64)insn->imm);
	}
	err = vcall_read_ok(v, insn->dst_reg);
	if (err)
		return err;
	if (cur_reg(v, insn->dst_reg)->type == REG_SCALAR && src->type == REG_SCALAR)
		return branch_numbers(v, insn, (u32)target, src, is_reg);
	return branch_pointers(v, insn, (u32)target, src, is_reg);
}
