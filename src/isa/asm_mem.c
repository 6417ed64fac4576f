/* SPDX-License-Identifier: MIT */
/* The assembler's loads, stores and atomics. */
#include <errno.h>
#include <string.h>

#include "isa/asm_int.h"

/* "r1 + 8": a register and perhaps an offset. */
static int address(struct asm_state *s, u8 *reg, s16 *off)
{
	int err = asm_need_reg(s, 'r', reg);

	*off = 0;
	asm_blanks(s);
	if (!err && s->p < s->end && (*s->p == '+' || *s->p == '-'))
		err = asm_off16(s, off);
	return err;
}

/* "u32 *)(r1 + 8)": what follows the first parenthesis of a memory operand. */
static int memory(struct asm_state *s, const char **type, u32 *len, u8 *reg, s16 *off)
{
	int err;

	if (!asm_name(s, type, len))
		return asm_expected(s, "a type: u8, u16, u32, u64, s8, s16 or s32");
	err = asm_need(s, "*", "'*'");
	if (!err)
		err = asm_need(s, ")", "')'");
	if (!err)
		err = asm_need(s, "(", "'('");
	if (!err)
		err = address(s, reg, off);
	return err ? err : asm_need(s, ")", "')'");
}

static int unknown_type(struct asm_state *s, const char *name, u32 len, const char *allowed)
{
	return asm_error(s, "type '%.*s' is not one of %s", len > 24 ? 24 : (int)len, name, allowed);
}

static int too_wide(struct asm_state *s, u8 reg)
{
	return asm_error(s, "w%d holds 32 bits, the access is of 64", reg);
}

int asm_store(struct asm_state *s)
{
	struct bpf_insn i = { 0 };
	const char *type;
	char letter;
	u32 len;
	u8 reg = 0;
	int code, err;

	err = asm_need(s, "(", "'(type *)'");
	if (!err)
		err = memory(s, &type, &len, &reg, &i.off);
	if (!err)
		err = asm_need(s, "=", "'='");
	if (err)
		return err;
	i.dst_reg = reg & 15;
	if (asm_reg(s, &letter, &reg)) {
		i.src_reg = reg & 15;
		code = asm_find_op(ISA_STORE, type, len, 0, ISA_F_SRC);
		if (code >= 0 && letter == 'w' && isa_ops[code].width == 8)
			return too_wide(s, reg);
	} else {
		err = asm_imm32(s, &i.imm);
		code = asm_find_op(ISA_STORE, type, len, 0, ISA_F_IMM);
	}
	if (err)
		return err;
	if (code < 0)
		return unknown_type(s, type, len, "u8, u16, u32, u64");
	i.code = (u8)code;
	return asm_emit(s, i);
}

/* "(u32 *)skb[5]" and "skb[r1 + 5]", behind "skb". */
static int packet_load(struct asm_state *s, const char *type, u32 len)
{
	struct bpf_insn i = { 0 };
	char letter;
	u8 reg;
	int code, err = asm_need(s, "[", "'['");

	if (err)
		return err;
	if (asm_reg(s, &letter, &reg)) {
		if (letter == 'w')
			return asm_error(s, "the index is a register r0 to r10");
		i.src_reg = reg & 15;
		code = asm_find_op(ISA_PACKET_LD, type, len, 0, ISA_F_SRC);
		/* The kernel prints "r1 + -5". */
		if (asm_sym(s, "+") || (!asm_done(s) && *s->p == '-'))
			err = asm_imm32(s, &i.imm);
	} else {
		code = asm_find_op(ISA_PACKET_LD, type, len, 0, 0);
		err = asm_imm32(s, &i.imm);
	}
	if (!err)
		err = asm_need(s, "]", "']'");
	if (err)
		return err;
	if (code < 0)
		return unknown_type(s, type, len, "u8, u16, u32");
	i.code = (u8)code;
	return asm_emit(s, i);
}

/* "r1 = *(u32 *)(r2 + 8)", behind the star. */
int asm_load(struct asm_state *s, char letter, u8 dst)
{
	struct bpf_insn i = { .dst_reg = dst & 15 };
	const char *type, *old;
	u32 len;
	u8 reg = 0;
	int code, err = asm_need(s, "(", "'(type *)'");

	if (err)
		return err;
	old = s->p;
	if (asm_name(s, &type, &len) && asm_sym(s, "*") && asm_sym(s, ")") && asm_word(s, "skb")) {
		if (dst)
			return asm_error(s, "packet loads write r0, not %c%d", letter, dst);
		return packet_load(s, type, len);
	}
	s->p = old;
	err = memory(s, &type, &len, &reg, &i.off);
	if (err)
		return err;
	code = asm_find_op(ISA_LOAD, type, len, 0, 0);
	if (code < 0)
		return unknown_type(s, type, len, "u8, u16, u32, u64, s8, s16, s32");
	if (letter == 'w' && isa_ops[code].width == 8)
		return too_wide(s, dst);
	if (letter == 'w' && type[0] == 's')
		return asm_error(s, "sign-extending loads write all of r%d, not w%d", dst, dst);
	i.code = (u8)code;
	i.src_reg = reg & 15;
	return asm_emit(s, i);
}

/* "lock *(u64 *)(r1 + 0) += r2", behind "lock". */
int asm_locked(struct asm_state *s)
{
	struct bpf_insn i = { 0 };
	const char *type;
	u32 len, n;
	char letter;
	u8 reg = 0;
	int code, err = asm_need(s, "*", "'*(type *)'");

	if (!err)
		err = asm_need(s, "(", "'('");
	if (!err)
		err = memory(s, &type, &len, &reg, &i.off);
	if (err)
		return err;
	i.dst_reg = reg & 15;
	code = asm_find_op(ISA_ATOMIC, type, len, 0, 0);
	if (code < 0)
		return unknown_type(s, type, len, "u32, u64");
	i.code = (u8)code;
	for (n = 0; n < isa_atomics_cnt; n++) {
		if (isa_atomics[n].sym && asm_sym(s, isa_atomics[n].sym))
			break;
	}
	if (n == isa_atomics_cnt)
		return asm_expected(s, "'+=', '|=', '&=' or '^='");
	i.imm = isa_atomics[n].imm;
	if (!asm_reg(s, &letter, &reg))
		return asm_expected(s, "a register");
	if (letter == 'w' && isa_ops[code].width == 8)
		return too_wide(s, reg);
	i.src_reg = reg & 15;
	return asm_emit(s, i);
}

/*
 * The function's name: "atomic64_fetch_add", "atomic_xchg" as the kernel prints, with the type
 * saying the width; "xchg_64", "cmpxchg32_32" as LLVM does, which have no type: then *width is set.
 */
static const struct isa_atomic *fetch_name(const char *name, u32 len, u8 *width)
{
	static const struct {
		const char *before, *after;
		u8 width;
	} forms[] = {
		{ "atomic64_", "", 0 }, { "atomic_", "", 0 }, { "", "_64", 8 }, { "", "32_32", 4 },
	};
	u32 f, n;

	for (f = 0; f < ARRAY_SIZE(forms); f++) {
		u32 b = (u32)strlen(forms[f].before), a = (u32)strlen(forms[f].after);

		if (len <= a + b || memcmp(name, forms[f].before, b) ||
		    memcmp(name + len - a, forms[f].after, a))
			continue;
		for (n = 0; n < isa_atomics_cnt; n++) {
			if (isa_atomics[n].sym || strlen(isa_atomics[n].name) != len - a - b ||
			    memcmp(isa_atomics[n].name, name + b, len - a - b))
				continue;
			*width = forms[f].width;
			return &isa_atomics[n];
		}
	}
	return NULL;
}

/* The operands behind the address: ", r2)", for cmpxchg ", r0, r2)". */
static int fetch_operands(struct asm_state *s, char letter, u8 dst, struct bpf_insn *i)
{
	u8 reg = 0;
	int err = asm_need(s, ",", "','");

	if (!err && i->imm == BPF_CMPXCHG) {
		err = asm_need_reg(s, letter, &reg);
		if (!err && (reg || dst))
			return asm_error(s, "cmpxchg compares with r0 and leaves the old value in r0");
		if (!err)
			err = asm_need(s, ",", "','");
	}
	if (!err)
		err = asm_need_reg(s, letter, &reg);
	if (err)
		return err;
	if (i->imm != BPF_CMPXCHG && reg != dst)
		return asm_error(s, "the old value goes to %c%d, the register of the operand", letter, reg);
	i->src_reg = reg & 15;
	return asm_need(s, ")", "')'");
}

int asm_fetching(struct asm_state *s, char letter, u8 dst)
{
	struct bpf_insn i = { 0 };
	const struct isa_atomic *a = NULL;
	const char *old, *type;
	u32 len;
	u8 reg = 0, width = 0;
	int code, err;

	asm_blanks(s);
	old = s->p;
	if (asm_name(s, &type, &len))
		a = fetch_name(type, len, &width);
	if (!a) {
		s->p = old;
		return 1;
	}
	i.imm = a->imm;
	err = asm_need(s, "(", "'('");
	if (!err && width) {
		type = width == 8 ? "u64" : "u32";
		len = 3;
		err = address(s, &reg, &i.off);
	} else if (!err) {
		err = asm_need(s, "(", "'(type *)'");
		if (!err)
			err = memory(s, &type, &len, &reg, &i.off);
	}
	if (err)
		return err;
	code = asm_find_op(ISA_ATOMIC, type, len, 0, 0);
	if (code < 0)
		return unknown_type(s, type, len, "u32, u64");
	if (letter == 'w' && isa_ops[code].width == 8)
		return too_wide(s, dst);
	i.code = (u8)code;
	i.dst_reg = reg & 15;
	err = fetch_operands(s, letter, dst, &i);
	return err ? err : asm_emit(s, i);
}
