/* SPDX-License-Identifier: MIT */
/*
 * Instructions carried out at another place: what is relative to the instruction pointer is made to
 * mean the same there. Decoding is Zydis'; only displacements and branches are written anew.
 */
#include <errno.h>
#include <string.h>

#include <Zydis/Zydis.h>

#include "attach/attach_int.h"
#include "code/x86.h"

struct mover {
	ZydisDecoder decoder;
	struct moved *out;
	u64 at;
	const char **why;
};

static int refuse(struct mover *m, const char *why)
{
	*m->why = why;
	return -EINVAL;
}

static void emit(struct mover *m, const void *p, size_t n)
{
	memcpy(m->out->code + m->out->size, p, n);
	m->out->size += n;
}

/* rel32 from the end of what has been written, these four bytes included; false: out of reach. */
static bool emit_rel32(struct mover *m, u64 target)
{
	s64 rel = (s64)(target - (m->at + m->out->size + 4));
	s32 rel32 = (s32)rel;

	emit(m, &rel32, 4);
	return rel32 == rel;
}

static bool emit_jump(struct mover *m, u64 target)
{
	emit(m, "\xe9", 1);
	return emit_rel32(m, target);
}

/* push imm32; mov dword [rsp + 4], imm32: the return address of a call that is moved. */
static void emit_push(struct mover *m, u64 value)
{
	u32 low = (u32)value, high = (u32)(value >> 32);

	emit(m, "\x68", 1);
	emit(m, &low, 4);
	emit(m, "\xc7\x44\x24\x04", 4);
	emit(m, &high, 4);
}

static const char FAR[] = "it refers to something more than 2 GiB from where it would run";

static int move_branch(struct mover *m, const ZydisDecodedInstruction *in, u64 pc, u64 target)
{
	u64 next = pc + in->length;
	u8 op;

	switch (in->mnemonic) {
	case ZYDIS_MNEMONIC_JMP:
		m->out->ends = true;
		return emit_jump(m, target) ? 0 : refuse(m, FAR);
	case ZYDIS_MNEMONIC_CALL:
		/* The callee returns to the original place: unwinders know that one. */
		m->out->ends = true;
		emit_push(m, next);
		return emit_jump(m, target) ? 0 : refuse(m, FAR);
	case ZYDIS_MNEMONIC_LOOP:
	case ZYDIS_MNEMONIC_LOOPE:
	case ZYDIS_MNEMONIC_LOOPNE:
	case ZYDIS_MNEMONIC_JRCXZ:
	case ZYDIS_MNEMONIC_JECXZ:
		/* Only with 8 bits: over a jump that leads on, or into one that leads there. */
		if (in->length > 3)
			return refuse(m, "a loop instruction with needless prefixes");
		if (in->mnemonic == ZYDIS_MNEMONIC_JECXZ)
			emit(m, "\x67", 1);
		op = in->opcode;
		emit(m, &op, 1);
		emit(m, "\x02\xeb\x05", 3);
		return emit_jump(m, target) ? 0 : refuse(m, FAR);
	case ZYDIS_MNEMONIC_XBEGIN:
		return refuse(m, "it starts a transaction");
	default:
		/* jcc: 70+cc rel8 or 0f 80+cc rel32. */
		op = 0x80 | (in->opcode & 0xf);
		emit(m, "\x0f", 1);
		emit(m, &op, 1);
		return emit_rel32(m, target) ? 0 : refuse(m, FAR);
	}
}

/* call r/m64 becomes push and jmp r/m64; not where the operand is on the stack that was pushed to. */
static int move_call_indirect(struct mover *m, const ZydisDecodedInstruction *in,
			      const ZydisDecodedOperand *op, const u8 *code, u64 pc)
{
	u8 bytes[ZYDIS_MAX_INSTRUCTION_LENGTH];
	s64 disp;
	s32 d;

	if ((op->type == ZYDIS_OPERAND_TYPE_REGISTER && op->reg.value == ZYDIS_REGISTER_RSP) ||
	    (op->type == ZYDIS_OPERAND_TYPE_MEMORY && op->mem.base == ZYDIS_REGISTER_RSP))
		return refuse(m, "it calls through the stack");
	m->out->ends = true;
	emit_push(m, pc + in->length);
	memcpy(bytes, code, in->length);
	bytes[in->raw.modrm.offset] = (u8)((bytes[in->raw.modrm.offset] & 0xc7) | (4 << 3));
	if (in->raw.modrm.mod == 0 && in->raw.modrm.rm == 5) {
		disp = (s64)(pc + in->length + (u64)in->raw.disp.value -
			     (m->at + m->out->size + in->length));
		d = (s32)disp;
		if (d != disp)
			return refuse(m, FAR);
		memcpy(bytes + in->raw.disp.offset, &d, 4);
	}
	emit(m, bytes, in->length);
	return 0;
}

static bool moves_stack(const ZydisDecodedInstruction *in, const ZydisDecodedOperand *ops)
{
	u8 i;

	for (i = 0; i < in->operand_count; i++)
		if (ops[i].type == ZYDIS_OPERAND_TYPE_REGISTER &&
		    ops[i].reg.value == ZYDIS_REGISTER_RSP &&
		    (ops[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE))
			return true;
	return false;
}

static int move_one(struct mover *m, const ZydisDecodedInstruction *in,
		    const ZydisDecodedOperand *ops, const u8 *code, u64 pc)
{
	s64 disp;
	s32 d;
	u32 start = m->out->size;

	if (in->mnemonic == ZYDIS_MNEMONIC_INT3)
		return refuse(m, "there is a breakpoint already");
	if (in->raw.imm[0].is_relative)
		return move_branch(m, in, pc, pc + in->length + (u64)in->raw.imm[0].value.s);
	if (in->mnemonic == ZYDIS_MNEMONIC_CALL) {
		if (in->meta.branch_type != ZYDIS_BRANCH_TYPE_NEAR)
			return refuse(m, "a far call");
		return move_call_indirect(m, in, &ops[0], code, pc);
	}
	if (in->mnemonic == ZYDIS_MNEMONIC_JMP || in->mnemonic == ZYDIS_MNEMONIC_RET ||
	    in->mnemonic == ZYDIS_MNEMONIC_UD2 || in->mnemonic == ZYDIS_MNEMONIC_HLT)
		m->out->ends = true;
	emit(m, code, in->length);
	if (in->attributes & ZYDIS_ATTRIB_HAS_MODRM && in->raw.modrm.mod == 0 &&
	    in->raw.modrm.rm == 5) {
		if (in->raw.disp.size != 32 || in->address_width != 64)
			return refuse(m, "an address relative to a 32-bit instruction pointer");
		disp = (s64)(pc + in->length + (u64)in->raw.disp.value - (m->at + m->out->size));
		d = (s32)disp;
		if (d != disp)
			return refuse(m, FAR);
		memcpy(m->out->code + start + in->raw.disp.offset, &d, 4);
	}
	return 0;
}

int move_code(const u8 *code, size_t avail, u64 addr, u64 at, u32 want, struct moved *out,
	      const char **why)
{
	struct mover m = { .out = out, .at = at, .why = why };
	ZydisDecodedOperand ops[ZYDIS_MAX_OPERAND_COUNT];
	ZydisDecodedInstruction in;
	int err;

	memset(out, 0, sizeof(*out));
	ZydisDecoderInit(&m.decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
	while (out->len < want) {
		if (out->ends)
			return refuse(&m, "the function ends within the five bytes of a jump");
		if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&m.decoder, code + out->len,
							 avail - out->len, &in, ops)))
			return refuse(&m, "not an instruction");
		out->from[out->n] = out->len;
		out->to[out->n] = (u8)out->size;
		out->stack[out->n] = moves_stack(&in, ops);
		out->n++;
		err = move_one(&m, &in, ops, code + out->len, addr + out->len);
		if (err)
			return err;
		out->len = (u8)(out->len + in.length);
	}
	if (!out->ends && !emit_jump(&m, addr + out->len))
		return refuse(&m, FAR);
	return 0;
}
