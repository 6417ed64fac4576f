/* SPDX-License-Identifier: MIT */
/* Instructions as text, in the syntax of the kernel's verifier log. */
#include "isa/isa_int.h"

static void bug(const struct bpf_insn *i, const char *what, s64 value, struct text *out)
{
	text_printf(out, "(%02x) BUG %s %lld", i->code, what, (long long)value);
}

static char reg_letter(const struct isa_op *op)
{
	return op->width == 32 ? 'w' : 'r';
}

static void print_alu(const struct bpf_insn *i, const struct isa_op *op, struct text *out)
{
	char r = reg_letter(op);
	const char *sign = "";

	if (op->fields & ISA_F_SIGNED) {
		if (i->off != 0 && i->off != 1) {
			bug(i, "offset", i->off, out);
			return;
		}
		sign = i->off ? "s" : "";
	}
	text_printf(out, "%c%d %s%s ", r, i->dst_reg, sign, op->sym);
	if (op->fields & ISA_F_EXTEND && i->off)
		text_printf(out, "(s%d)", i->off);
	if (op->fields & ISA_F_SRC)
		text_printf(out, "%c%d", r, i->src_reg);
	else
		text_printf(out, "%d", i->imm);
}

static void print_atomic(const struct bpf_insn *i, const struct isa_op *op, struct text *out)
{
	const struct isa_atomic *a = isa_atomic_of(i->imm);
	int dst = i->imm == BPF_CMPXCHG ? 0 : i->src_reg;

	if (!a) {
		bug(i, "atomic operation", i->imm, out);
		return;
	}
	if (a->sym) {
		text_printf(out, "lock *(%s *)(r%d %+d) %s r%d", op->sym, i->dst_reg, i->off,
			    a->sym, i->src_reg);
		return;
	}
	text_printf(out, "r%d = atomic%s_%s((%s *)(r%d %+d), ", dst, op->width == 8 ? "64" : "",
		    a->name, op->sym, i->dst_reg, i->off);
	text_printf(out, "%sr%d)", i->imm == BPF_CMPXCHG ? "r0, " : "", i->src_reg);
}

static void print_ldimm64(const struct bpf_insn *i, u32 at, const struct isa_names *names,
			  struct text *out)
{
	u64 imm = (u64)(u32)i[1].imm << 32 | (u32)i->imm;
	const char *name = names && names->imm64 ? names->imm64(names->arg, i, at) : NULL;

	if (!name && i->src_reg >= ARRAY_SIZE(isa_refs)) {
		bug(i, "source", i->src_reg, out);
		return;
	}
	text_printf(out, "r%d = ", i->dst_reg);
	if (name) {
		text_puts(out, name);
	} else if (i->src_reg == 0) {
		text_printf(out, "0x%llx ll", (unsigned long long)imm);
	} else if (i->src_reg == BPF_PSEUDO_FUNC) {
		text_printf(out, "func pc%+d ll", i->imm);
	} else {
		text_printf(out, "%s[%d]", isa_refs[i->src_reg].word, i->imm);
		if (isa_refs[i->src_reg].has_second)
			text_printf(out, "+%u", (u32)i[1].imm);
		text_puts(out, " ll");
	}
}

static void print_call(const struct bpf_insn *i, u32 at, const struct isa_names *names,
		       struct text *out)
{
	const char *name = names && names->call ? names->call(names->arg, i, at) : NULL;

	if (i->src_reg == BPF_PSEUDO_CALL) {
		text_printf(out, "call pc%+d%s%s", i->imm, name ? "#" : "", name ? name : "");
	} else if (i->src_reg == BPF_PSEUDO_KFUNC_CALL) {
		text_printf(out, "call %s#%d", name ? name : "kfunc", i->imm);
		if (i->off)
			text_printf(out, "@%d", i->off); /* which BTF: index into fd_array */
	} else if (i->src_reg == 0) {
		if (name)
			text_printf(out, "call %s#%d", name, i->imm);
		else if (isa_helper_name(i->imm))
			text_printf(out, "call bpf_%s#%d", isa_helper_name(i->imm), i->imm);
		else
			text_printf(out, "call unknown#%d", i->imm);
	} else {
		bug(i, "source", i->src_reg, out);
	}
}

static void print_jcc(const struct bpf_insn *i, const struct isa_op *op, struct text *out)
{
	char r = reg_letter(op);

	text_printf(out, "if %c%d %s ", r, i->dst_reg, op->sym);
	if (op->fields & ISA_F_SRC)
		text_printf(out, "%c%d", r, i->src_reg);
	else
		text_printf(out, "0x%x", (u32)i->imm);
	text_printf(out, " goto pc%+d", i->off);
}

void isa_disasm(const struct bpf_insn *insn, u32 at, const struct isa_names *names, struct text *out)
{
	const struct isa_op *op = &isa_ops[insn->code];
	int dst = insn->dst_reg, src = insn->src_reg;

	switch ((enum isa_kind)op->kind) {
	case ISA_INVALID:
		text_printf(out, "(%02x) BUG unknown opcode", insn->code);
		break;
	case ISA_ALU:
		print_alu(insn, op, out);
		break;
	case ISA_NEG:
		text_printf(out, "%c%d = -%c%d", reg_letter(op), dst, reg_letter(op), dst);
		break;
	case ISA_END:
		text_printf(out, "r%d = %s%d r%d", dst, op->sym, insn->imm, dst);
		break;
	case ISA_LOAD:
		text_printf(out, "r%d = *(%s *)(r%d %+d)", dst, op->sym, src, insn->off);
		break;
	case ISA_STORE:
		text_printf(out, "*(%s *)(r%d %+d) = ", op->sym, dst, insn->off);
		if (op->fields & ISA_F_SRC)
			text_printf(out, "r%d", src);
		else
			text_printf(out, "%d", insn->imm);
		break;
	case ISA_ATOMIC:
		print_atomic(insn, op, out);
		break;
	case ISA_LDIMM64:
		print_ldimm64(insn, at, names, out);
		break;
	case ISA_PACKET_LD:
		text_printf(out, "r0 = *(%s *)skb[", op->sym);
		if (op->fields & ISA_F_SRC)
			text_printf(out, "r%d + ", src);
		text_printf(out, "%d]", insn->imm);
		break;
	case ISA_JA:
		text_printf(out, "%s pc%+d", op->sym, op->fields & ISA_F_OFF ? insn->off : insn->imm);
		break;
	case ISA_JCC:
		print_jcc(insn, op, out);
		break;
	case ISA_CALL:
		print_call(insn, at, names, out);
		break;
	case ISA_EXIT:
		text_puts(out, "exit");
		break;
	}
}
