/* SPDX-License-Identifier: MIT */
/* Arithmetic on registers: numbers through the number domain, and pointers plus or minus numbers. */
#include <errno.h>

#include "verify/verify_int.h"

static bool is_alu64(const struct bpf_insn *insn)
{
	return BPF_CLASS(insn->code) == BPF_ALU64;
}

/* ---- pointers --------------------------------------------------------------------------------- */

static int sane_number(struct verifier *v, const struct num *n, const struct reg *ptr)
{
	const char *name = reg_type_name(ptr);

	if (num_is_const(n) && (n->smin >= MAX_VAR_OFF || n->smin <= -MAX_VAR_OFF))
		return refuse(
			v, -EINVAL,
			"pointers move by less than 2^29 bytes: check the number that is added",
			"math between %s pointer and %lld is not allowed", name,
			(long long)n->smin);
	if (n->smin == INT64_MIN)
		return refuse(v, -EINVAL, "check the number against a lower and an upper bound first",
			      "math between %s pointer and register with unbounded min value is not allowed",
			      name);
	if (n->smin >= MAX_VAR_OFF || n->smin <= -MAX_VAR_OFF)
		return refuse(v, -EINVAL, "check the number against a lower and an upper bound first",
			      "value %lld makes %s pointer be out of bounds", (long long)n->smin, name);
	return 0;
}

static int may_move(struct verifier *v, u32 dst, const struct reg *ptr, u8 op)
{
	if (ptr->flags & REG_NULLABLE)
		return refuse(v, -EACCES, "compare it with NULL before using it",
			      "R%u pointer arithmetic on %s prohibited, null-check it first", dst,
			      reg_type_name(ptr));
	if (ptr->type == REG_MAP || ptr->type == REG_PKT_END || ptr->type == REG_SOCK || ptr->type == REG_FUNC)
		return refuse(v, -EACCES,
			      "this pointer stands for the object: look an element up, or copy "
			      "`data` before adding",
			      "R%u pointer arithmetic on %s prohibited", dst, reg_type_name(ptr));
	switch (op) {
	case BPF_ADD:
		return 0;
	case BPF_SUB:
		if (ptr->type == REG_STACK)
			return refuse(v, -EACCES, "add a negative number instead",
				      "R%u subtraction from stack pointer prohibited", dst);
		return 0;
	case BPF_AND:
	case BPF_OR:
	case BPF_XOR:
		return refuse(v, -EACCES, "apply it to the offset before adding that to the pointer",
			      "R%u bitwise operator on pointer prohibited", dst);
	}
	return refuse(v, -EACCES, "apply it to the offset before adding that to the pointer",
		      "R%u pointer arithmetic with this operator prohibited", dst);
}

/* dst = ptr op number, either of which may have been in dst. */
static int move_pointer(struct verifier *v, const struct bpf_insn *insn, const struct reg *ptr,
			const struct reg *number)
{
	u8 op = BPF_OP(insn->code);
	struct reg out = *ptr, num = *number;
	int err = may_move(v, insn->dst_reg, &out, op);
	s64 off;

	if (!err && out.type == REG_BTF && !out.type_id) {
		/* Nothing is known of where it points to. */
		*cur_reg(v, insn->dst_reg) = out;
		return 0;
	}
	if (!err)
		err = sane_number(v, &num.n, &out);
	if (err)
		return err;
	vprecise_reg(v, &num);
	if (reg_is_pkt(&out))
		out.flags &= (u8)~(REG_AT_END | REG_BEYOND_END);
	if (num_is_const(&num.n)) {
		off = op == BPF_ADD ? out.off + num.n.smin : out.off - num.n.smin;
		if (off >= MAX_VAR_OFF || off <= -MAX_VAR_OFF)
			return refuse(v, -EINVAL,
				      "keep the pointer within 2^29 bytes of where it started",
				      "%s pointer offset %lld is not allowed", reg_type_name(&out),
				      (long long)off);
		out.off = (s32)off;
	} else {
		err = vstrict_number(v, insn->dst_reg, &out, &num.n);
		if (err)
			return err;
		if (op == BPF_ADD)
			num_add(&out.n, &num.n);
		else
			num_sub(&out.n, &num.n);
		err = sane_number(v, &out.n, &out);
		if (err)
			return err;
		if (reg_is_pkt(&out)) {
			/* A new variable part: nothing is proven of it yet. */
			out.id = ++v->ids;
			out.size = 0;
		}
	}
	err = vstrict_pointer(v, insn->dst_reg, &out);
	if (!err)
		*cur_reg(v, insn->dst_reg) = out;
	return err;
}

static int pointer_alu(struct verifier *v, const struct bpf_insn *insn, struct reg *dst,
		       const struct reg *src)
{
	u8 op = BPF_OP(insn->code);
	bool both = reg_is_ptr(dst) && src && reg_is_ptr(src);

	/* The owner of the process may see addresses, and so their difference. */
	if (op == BPF_SUB && !vsecret(v, dst) && !(src && vsecret(v, src)) && (both || !is_alu64(insn))) {
		reg_unknown(dst);
		if (!is_alu64(insn))
			num_zext(&dst->n, 32);
		return 0;
	}
	if (!is_alu64(insn))
		return refuse(v, -EACCES, "use 64-bit arithmetic on pointers",
			      "R%u 32-bit pointer arithmetic prohibited", insn->dst_reg);
	if (both)
		return refuse(v, -EACCES,
			      "subtract and add numbers; keep one pointer and an offset",
			      "R%u pointer %s pointer prohibited", insn->dst_reg,
			      isa_ops[insn->code].sym);
	if (reg_is_ptr(dst))
		return move_pointer(v, insn, dst, src);
	if (op == BPF_SUB)
		return refuse(v, -EACCES, "write it as pointer minus number",
			      "R%u tried to subtract pointer from scalar", insn->dst_reg);
	return move_pointer(v, insn, src, dst);
}

/* ---- mov -------------------------------------------------------------------------------------- */

/* Bits that are kept of the source: 64 when it is a plain copy. */
static u32 mov_bits(const struct bpf_insn *insn)
{
	if (insn->off)
		return (u32)insn->off;
	return is_alu64(insn) ? 64 : 32;
}

static bool mov_keeps_value(const struct bpf_insn *insn, const struct num *n)
{
	u32 bits = mov_bits(insn);

	if (bits == 64)
		return true;
	return n->umax < 1ull << (insn->off ? bits - 1 : bits);
}

static int mov(struct verifier *v, const struct bpf_insn *insn, struct reg *dst)
{
	struct reg *src = cur_reg(v, insn->src_reg), out;
	struct num any = num_unknown();

	if (mov_bits(insn) == 64 && src->type != REG_SCALAR) {
		*dst = *src;
		return 0;
	}
	if (reg_is_ptr(src)) {
		if (vsecret(v, src))
			return refuse(v, -EACCES, "copy all 64 bits of a pointer",
				      "R%u partial copy of pointer", insn->src_reg);
		reg_unknown(dst);
		if (!is_alu64(insn))
			num_zext(&dst->n, 32);
		return 0;
	}
	/* Copies of one value are known to be equal, so that a check of one helps the other. */
	if (mov_keeps_value(insn, &src->n)) {
		if (!src->id && !num_is_const(&src->n))
			src->id = ++v->ids;
		*dst = *src;
		return 0;
	}
	out = *src;
	num_alu(insn, &out.n, &src->n);
	out.id = 0;
	out.off = 0;
	num_alu(insn, &any, &any);
	if (num_equal(&any, &out.n))
		out.node = 0;
	*dst = out;
	return 0;
}

/* ---- all -------------------------------------------------------------------------------------- */

static int unary(struct verifier *v, const struct bpf_insn *insn, struct reg *dst)
{
	struct num zero = num_const(0);

	if (reg_is_ptr(dst)) {
		if (vsecret(v, dst))
			return refuse(v, -EACCES,
				      "do it to a number: a pointer's bits are not the program's "
				      "to change here",
				      "R%u pointer arithmetic prohibited", insn->dst_reg);
		reg_unknown(dst);
		return 0;
	}
	num_alu(insn, &dst->n, &zero);
	dst->id = 0;
	dst->off = 0;
	return 0;
}

/* Is a sum with `by` the same in 64 bits? In 32, nothing may be cut off. */
static bool is_whole_sum(const struct bpf_insn *insn, const struct num *n, s64 by)
{
	return is_alu64(insn) ||
	       (n->umax <= UINT32_MAX && (s64)n->umin + by >= 0 && (s64)n->umax + by <= (s64)UINT32_MAX);
}

/*
 * A copy plus a constant stays linked to the original, at a distance; once only, so that counting in
 * a loop does not make a new relation each time round.
 */
static void move_link(const struct bpf_insn *insn, struct reg *dst, const struct reg *src)
{
	u8 op = BPF_OP(insn->code);
	s64 by = is_alu64(insn) ? src->n.smin : (s32)src->n.umin;
	bool sum = (op == BPF_ADD || op == BPF_SUB) && num_is_const(&src->n) && by > INT32_MIN && by <= INT32_MAX;

	if (sum && op == BPF_SUB)
		by = -by;
	sum = sum && is_whole_sum(insn, &dst->n, by);
	if (sum && !by)
		return;
	if (sum && dst->id && !dst->off) {
		dst->off = (s32)by;
	} else {
		dst->id = 0;
		dst->off = 0;
	}
}

/* A result that could be any number was made from nothing that matters. */
static bool knows_nothing(const struct bpf_insn *insn, const struct num *result)
{
	struct num any;

	if (is_alu64(insn))
		return num_is_unknown(result);
	any = num_load(32);
	return num_equal(&any, result);
}

/*
 * Would the result be known as well if nothing were of the number in dst? Masks and shifts cut to a
 * range of their own, and then what went in does not matter for pruning.
 */
static bool ignores_dst(const struct bpf_insn *insn, const struct num *result,
			  const struct num *src)
{
	struct num any = num_unknown();
	u8 op = BPF_OP(insn->code);

	if (op != BPF_AND && op != BPF_RSH && op != BPF_ARSH && op != BPF_MOD && op != BPF_LSH)
		return false;
	if (!num_is_const(src))
		return false;
	num_alu(insn, &any, src);
	return num_equal(&any, result);
}

int valu(struct verifier *v, const struct bpf_insn *insn)
{
	struct reg *dst = cur_reg(v, insn->dst_reg), *src = NULL, imm;
	bool x = BPF_SRC(insn->code) == BPF_X, is_mov = BPF_OP(insn->code) == BPF_MOV;
	u8 kind = isa_ops[insn->code].kind;
	int err;

	if (kind == ISA_ALU && x) {
		err = vcall_read_ok(v, insn->src_reg);
		if (err)
			return err;
		src = cur_reg(v, insn->src_reg);
	}
	if (kind == ISA_ALU && is_mov) {
		if (x)
			return mov(v, insn, dst);
		reg_const(dst, is_alu64(insn) ? (u64)(s64)insn->imm : (u32)insn->imm);
		return 0;
	}
	err = vcall_read_ok(v, insn->dst_reg);
	if (err)
		return err;
	if (kind != ISA_ALU)
		return unary(v, insn, dst);
	if (!src) {
		reg_number(&imm, num_imm(insn));
		src = &imm;
	}
	if (reg_is_ptr(dst) || reg_is_ptr(src))
		return pointer_alu(v, insn, dst, src);
	move_link(insn, dst, src);
	num_alu(insn, &dst->n, &src->n);
	/* A check of one that is linked tells of its copies, so it matters that it came from the same. */
	if (knows_nothing(insn, &dst->n) && !dst->id)
		dst->node = 0;
	else if (ignores_dst(insn, &dst->n, &src->n))
		dst->node = src->node;
	else
		dst->node = vprecise_join(v, dst->node, src->node);
	return 0;
}
