/* SPDX-License-Identifier: MIT */
/*
 * Registers that are read later, for each instruction: what is dead need not be equal for two
 * states to be. The usual backward data flow, inside each function.
 */
#include <errno.h>

#include "verify/verify_int.h"

#define R(n) (1u << (n))
#define ALL_REGS 0x3ffu
#define ARG_REGS 0x3eu  /* r1 to r5 */
#define CALL_REGS 0x3fu /* r0 to r5, what a call overwrites */
#define MAX_ROUNDS 64

static u32 call_args(const struct verifier *v, const struct bpf_insn *insn)
{
	u32 n = 0;

	if (insn->src_reg == 0) {
		const struct helper_proto *h = helper_of((u32)insn->imm);

		while (h && n < 5 && h->args[n] != ARG_NONE)
			n++;
	} else if (insn->src_reg == BPF_PSEUDO_KFUNC_CALL && (u32)insn->imm < v->p->nnatives) {
		n = v->p->natives[insn->imm]->variadic ? 5 : v->p->natives[insn->imm]->nregs;
	} else {
		n = 5;
	}
	return ARG_REGS & ((2u << n) - 1);
}

static void uses(const struct verifier *v, const struct bpf_insn *insn, u32 *use, u32 *def)
{
	u32 dst = R(insn->dst_reg), src = R(insn->src_reg), x = BPF_SRC(insn->code) == BPF_X ? src : 0;

	*use = *def = 0;
	switch (isa_ops[insn->code].kind) {
	case ISA_ALU:
		*use = BPF_OP(insn->code) == BPF_MOV ? x : dst | x;
		*def = dst;
		break;
	case ISA_NEG:
	case ISA_END:
		*use = *def = dst;
		break;
	case ISA_LOAD:
		*use = src;
		*def = dst;
		break;
	case ISA_STORE:
		*use = BPF_CLASS(insn->code) == BPF_STX ? dst | src : dst;
		break;
	case ISA_ATOMIC:
		/* What is overwritten stays in `use`: both are read. */
		*use = dst | src | (insn->imm == (BPF_CMPXCHG) ? R(0) : 0);
		break;
	case ISA_LDIMM64:
		*def = dst;
		break;
	case ISA_PACKET_LD:
		*use = R(6) | (BPF_MODE(insn->code) == BPF_IND ? src : 0);
		*def = CALL_REGS;
		break;
	case ISA_JCC:
		*use = dst | x;
		break;
	case ISA_CALL:
		*use = call_args(v, insn);
		*def = CALL_REGS;
		break;
	case ISA_EXIT:
		*use = R(0);
		break;
	}
	*use &= ALL_REGS;
	*def &= ALL_REGS;
}

/* One round from the end: did anything change? */
static bool backward(struct verifier *v)
{
	bool changed = false;
	u32 i, use, def, out;
	s64 target;

	for (i = v->cnt; i-- > 0;) {
		const struct bpf_insn *insn = &v->insns[i];
		u8 kind = isa_ops[insn->code].kind;

		/* The second half of an LD_IMM64 passes on what lies behind it. */
		out = 0;
		if (kind != ISA_EXIT && kind != ISA_JA && i + 1 < v->cnt)
			out = v->aux[i + 1].live;
		if (isa_jump_target(insn, i, &target))
			out |= v->aux[target].live;
		uses(v, insn, &use, &def);
		out = (out & ~def) | use;
		if (out != v->aux[i].live) {
			v->aux[i].live = (u16)out;
			changed = true;
		}
	}
	return changed;
}

int vlive_compute(struct verifier *v)
{
	u32 round, i;

	for (round = 0; round < MAX_ROUNDS; round++)
		if (!backward(v))
			return 0;
	/* Loops nested too deeply for the round limit: all registers live is always right. */
	for (i = 0; i < v->cnt; i++)
		v->aux[i].live = ALL_REGS;
	return 0;
}
