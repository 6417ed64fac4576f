/* SPDX-License-Identifier: MIT */
/* Checks the form of a program: each instruction by its row of the table, then where control goes. */
#include <errno.h>

#include "isa/isa_int.h"

struct check {
	const struct bpf_insn *insns;
	u32 cnt, groups;
	struct text *why;
	u8 *starts; /* a bit an instruction: a function starts here */
};

static int refuse(const struct check *c, u32 at, const char *fmt, ...) PRINTF_LIKE(3, 4);

static int refuse(const struct check *c, u32 at, const char *fmt, ...)
{
	va_list ap;

	if (!c->why)
		return -EINVAL;
	text_printf(c->why, "insn %u: ", at);
	va_start(ap, fmt);
	text_vprintf(c->why, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* The one refusal of a form that bpf(2) has its own error for. */
static int refuse_frame(const struct check *c, u32 at)
{
	refuse(c, at, "writes r10, the frame pointer, which is read-only");
	return -EACCES;
}

static const char *group_name(u32 groups)
{
	static const struct {
		u32 group;
		const char *name;
	} names[] = {
		{ ISA_BASE32, "base32" },     { ISA_BASE64, "base64" },
		{ ISA_ATOMIC32, "atomic32" }, { ISA_ATOMIC64, "atomic64" },
		{ ISA_DIVMUL32, "divmul32" }, { ISA_DIVMUL64, "divmul64" },
		{ ISA_PACKET, "packet" },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		if (groups & names[i].group)
			return names[i].name; /* the smallest: a group comes before what includes it */
	}
	return "?";
}

static int check_registers(const struct check *c, u32 at, const struct isa_op *op)
{
	const struct bpf_insn *i = &c->insns[at];

	if (op->fields & ISA_F_DST_RW) {
		if (i->dst_reg > BPF_REG_10)
			return refuse(c, at, "register r%d does not exist, the last is r10", i->dst_reg);
		if (op->fields & ISA_F_DST_W && i->dst_reg == BPF_REG_10)
			return refuse_frame(c, at);
	} else if (i->dst_reg) {
		return refuse(c, at, "%s: reserved field dst_reg is %d, must be 0", op->name, i->dst_reg);
	}
	if (op->fields & ISA_F_SRC) {
		if (i->src_reg > BPF_REG_10)
			return refuse(c, at, "register r%d does not exist, the last is r10", i->src_reg);
	} else if (!(op->fields & ISA_F_SRC_TAG) && i->src_reg) {
		return refuse(c, at, "%s: reserved field src_reg is %d, must be 0", op->name, i->src_reg);
	}
	return 0;
}

static int check_offset(const struct check *c, u32 at, const struct isa_op *op)
{
	const struct bpf_insn *i = &c->insns[at];

	if (op->fields & ISA_F_SIGNED) {
		if (i->off != 0 && i->off != 1)
			return refuse(c, at, "%s: offset is %d, must be 0 (unsigned) or 1 (signed)",
				      op->name, i->off);
	} else if (op->fields & ISA_F_EXTEND) {
		if (i->off != 0 && i->off != 8 && i->off != 16 && (i->off != 32 || op->width != 64))
			return refuse(c, at, "mov: offset is %d, must be 0, 8%s", i->off,
				      op->width == 64 ? ", 16 or 32" : " or 16");
	} else if (op->kind == ISA_CALL && i->src_reg == BPF_PSEUDO_KFUNC_CALL) {
		return 0; /* says which BTF the function is in */
	} else if (!(op->fields & ISA_F_OFF) && i->off) {
		return refuse(c, at, "%s: reserved field off is %d, must be 0", op->name, i->off);
	}
	return 0;
}

static int check_immediate(const struct check *c, u32 at, const struct isa_op *op)
{
	const struct bpf_insn *i = &c->insns[at];

	if (!(op->fields & ISA_F_IMM)) {
		if (i->imm)
			return refuse(c, at, "%s: reserved field imm is %d, must be 0", op->name, i->imm);
		return 0;
	}
	if (op->fields & ISA_F_SHIFT && (i->imm < 0 || i->imm >= op->width))
		return refuse(c, at, "%s: shift by %d, must be 0 to %d", op->name, i->imm, op->width - 1);
	if (op->kind == ISA_END && i->imm != 16 && i->imm != 32 && i->imm != 64)
		return refuse(c, at, "%s: width is %d, must be 16, 32 or 64", op->name, i->imm);
	if (op->kind == ISA_END && i->imm == 64 && !(c->groups & ISA_BASE64))
		return refuse(c, at, "%s64 is in conformance group base64, not allowed here", op->name);
	if (op->kind == ISA_ATOMIC) {
		if (!isa_atomic_of(i->imm))
			return refuse(c, at, "unknown atomic operation 0x%x", (u32)i->imm);
		if (i->imm & BPF_FETCH && i->imm != BPF_CMPXCHG && i->src_reg == BPF_REG_10)
			return refuse_frame(c, at);
	}
	return 0;
}

static int check_ldimm64(const struct check *c, u32 at)
{
	const struct bpf_insn *i = &c->insns[at];

	if (i->src_reg >= ARRAY_SIZE(isa_refs))
		return refuse(c, at, "lddw: src_reg is %d, must be 0 to 6", i->src_reg);
	if (at + 1 >= c->cnt)
		return refuse(c, at, "lddw takes 16 bytes but is the last instruction");
	if (i[1].code || i[1].dst_reg || i[1].src_reg || i[1].off)
		return refuse(c, at, "lddw: opcode, registers and offset of the second half must be 0");
	if (i->src_reg && !isa_refs[i->src_reg].has_second && i[1].imm)
		return refuse(c, at, "lddw with src_reg %d: reserved second immediate is %d, must be 0",
			      i->src_reg, i[1].imm);
	return 0;
}

static int check_insn(const struct check *c, u32 at)
{
	const struct bpf_insn *i = &c->insns[at];
	const struct isa_op *op = &isa_ops[i->code];
	int err;

	if (op->kind == ISA_INVALID)
		return refuse(c, at, "unknown opcode 0x%02x", i->code);
	if (!(op->groups & c->groups))
		return refuse(c, at, "%s is in conformance group %s, not allowed here", op->name,
			      group_name(op->groups));
	err = check_registers(c, at, op);
	if (!err)
		err = check_offset(c, at, op);
	if (!err)
		err = check_immediate(c, at, op);
	if (!err && op->kind == ISA_LDIMM64)
		err = check_ldimm64(c, at);
	if (!err && op->kind == ISA_CALL && i->src_reg > BPF_PSEUDO_KFUNC_CALL)
		err = refuse(c, at, "call: src_reg is %d, must be 0 (helper), 1 (function) or 2 (kfunc)",
			     i->src_reg);
	return err;
}

/*
 * Is `target` the start of an instruction? Once all instructions are checked, only a second half
 * has opcode 0.
 */
static int check_target(const struct check *c, u32 at, s64 target, const char *what)
{
	if (target < 0 || target >= c->cnt)
		return refuse(c, at, "%s to %lld is outside the program of %u instructions", what,
			      (long long)target, c->cnt);
	if (!c->insns[target].code)
		return refuse(c, at, "%s to %lld lands in the middle of the 16-byte instruction at %lld",
			      what, (long long)target, (long long)target - 1);
	return 0;
}

static int find_functions(const struct check *c)
{
	u32 at;

	c->starts[0] |= 1;
	for (at = 0; at < c->cnt; at += isa_slots(&c->insns[at])) {
		const struct bpf_insn *i = &c->insns[at];
		bool call = isa_is_call(i, BPF_PSEUDO_CALL);
		s64 target = (s64)at + 1 + i->imm;
		int err;

		if (!call && !(isa_is_ldimm64(i) && i->src_reg == BPF_PSEUDO_FUNC))
			continue;
		err = check_target(c, at, target, call ? "call" : "function reference");
		if (err)
			return err;
		c->starts[target / 8] |= (u8)(1 << target % 8);
	}
	return 0;
}

static bool is_start(const struct check *c, u32 at)
{
	return c->starts[at / 8] >> at % 8 & 1;
}

/* One function, [start, end): jumps stay inside, and its last instruction does not fall out. */
static int check_function(const struct check *c, u32 start, u32 end)
{
	u32 at, last = start;
	s64 target;
	u8 kind;
	int err;

	for (at = start; at < end; at += isa_slots(&c->insns[at])) {
		last = at;
		if (!isa_jump_target(&c->insns[at], at, &target))
			continue;
		err = check_target(c, at, target, "jump");
		if (err)
			return err;
		if (target < start || target >= end)
			return refuse(c, at, "jump to %lld leaves the function at %u to %u",
				      (long long)target, start, end - 1);
	}
	kind = isa_ops[c->insns[last].code].kind;
	if (kind == ISA_EXIT || kind == ISA_JA)
		return 0;
	return refuse(c, last, "falls off the end of the %s: the last instruction must be exit or goto",
		      end == c->cnt ? "program" : "function");
}

static int check_flow(const struct check *c)
{
	u32 start = 0, at;
	int err = find_functions(c);

	for (at = 1; !err && at <= c->cnt; at++) {
		if (at < c->cnt && !is_start(c, at))
			continue;
		err = check_function(c, start, at);
		start = at;
	}
	return err;
}

int isa_validate(const struct bpf_insn *insns, u32 cnt, u32 groups, struct text *why)
{
	struct check c = { .insns = insns, .cnt = cnt, .groups = groups, .why = why };
	u32 at;
	int err;

	if (!cnt)
		return refuse(&c, 0, "the program is empty");
	if (cnt > ISA_MAX_INSNS)
		return refuse(&c, ISA_MAX_INSNS, "the program has %u instructions, at most %u are allowed",
			      cnt, ISA_MAX_INSNS);
	for (at = 0; at < cnt; at += isa_slots(&insns[at])) {
		err = check_insn(&c, at);
		if (err)
			return err;
	}
	c.starts = base_alloc(cnt / 8 + 1);
	if (!c.starts)
		return -ENOMEM;
	err = check_flow(&c);
	base_free(c.starts);
	return err;
}
