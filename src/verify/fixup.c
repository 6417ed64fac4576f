/* SPDX-License-Identifier: MIT */
/*
 * The last pass, over a program that was proved safe: accesses of the context as programs see it
 * become accesses of the real one, loads of constants become constants, and what is true of an
 * instruction on every path goes into prog->facts.
 */
#include <errno.h>

#include "verify/verify_int.h"

static int fix_context(struct verifier *v, struct bpf_insn *insn, const struct ctx_field *f)
{
	/* Contexts with fields are accessed at the instruction's offset: the pointer is unmoved. */
	s32 off = f->real_off;

	if (f->kind == CTX_SCALAR)
		off += insn->off - f->off;
	else
		insn->code = BPF_LDX | BPF_MEM | BPF_DW;
	if (off < 0 || off > INT16_MAX)
		return refuse_internal(v, "field of the context out of reach");
	insn->off = (s16)off;
	return 0;
}

/* A load whose value is always the same, in one instruction where it fits. */
static void fix_constant(struct bpf_insn *insn, s64 value)
{
	u8 dst = insn->dst_reg;

	if (value == (s32)value)
		*insn = (struct bpf_insn){ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = dst,
					   .imm = (s32)value };
	else if ((u64)value <= UINT32_MAX)
		*insn = (struct bpf_insn){ .code = BPF_ALU | BPF_MOV | BPF_K, .dst_reg = dst,
					   .imm = (s32)(u32)value };
}

/* Counters, for programs that have loads that may fault. */
static int count_faults(struct verifier *v)
{
	u32 i;

	base_free(v->p->faults);
	v->p->faults = NULL;
	for (i = 0; i < v->cnt; i++)
		if (v->aux[i].probe)
			break;
	if (i == v->cnt)
		return 0;
	v->p->faults = base_array(v->cnt, sizeof(*v->p->faults));
	return v->p->faults ? 0 : -ENOMEM;
}

int vfixup(struct verifier *v)
{
	u32 i;
	int err = count_faults(v);

	if (err)
		return err;

	for (i = 0; i < v->cnt; i++) {
		const struct insn_aux *aux = &v->aux[i];
		struct insn_fact *fact = &v->p->facts[i];

		fact->const_key = -1;
		/* A weak function that is not there, and is not called. */
		if (!fact->seen && isa_is_call(&v->insns[i], BPF_PSEUDO_KFUNC_CALL) && v->insns[i].imm == -1)
			fix_constant(&v->insns[i], 0);
		if (!fact->seen)
			continue;
		fact->const_map = aux->map_known && !aux->map_varies;
		fact->map = fact->const_map ? aux->map : 0;
		if (aux->key_known && !aux->key_varies)
			fact->const_key = aux->key;
		fact->probe = aux->probe;
		if (aux->const_known && !aux->const_varies)
			fix_constant(&v->insns[i], aux->key);
		if (!aux->field)
			continue;
		err = fix_context(v, &v->insns[i], aux->field);
		if (err)
			return err;
	}
	return 0;
}
