/* SPDX-License-Identifier: MIT */
/* The tables made from isa.def, and look-ups in them. */
#include <string.h>

#include "isa/isa_int.h"

const struct isa_op isa_ops[256] = {
#define ISA_OP(code, kind, groups, width, name, sym, fields) \
	[code] = { kind, groups, width, fields, name, sym },
#include "isa/isa.def"
};

const struct isa_atomic isa_atomics[] = {
#define ISA_ATOMIC_OP(imm, name, sym) { imm, name, sym },
#include "isa/isa.def"
};
const u32 isa_atomics_cnt = ARRAY_SIZE(isa_atomics);

const struct isa_ref isa_refs[7] = {
	[BPF_PSEUDO_MAP_FD] = { "map", false },
	[BPF_PSEUDO_MAP_VALUE] = { "map_value", true },
	[BPF_PSEUDO_BTF_ID] = { "btf_id", true }, /* the second is the BTF object's descriptor */
	[BPF_PSEUDO_MAP_IDX] = { "map_idx", false },
	[BPF_PSEUDO_MAP_IDX_VALUE] = { "map_idx_value", true },
};

#define HELPER_NAME(name) [BPF_FUNC_##name] = #name
static const char *const helper_names[] = { __BPF_FUNC_MAPPER(HELPER_NAME) };
#undef HELPER_NAME

const struct isa_atomic *isa_atomic_of(s32 imm)
{
	u32 i;

	for (i = 0; i < isa_atomics_cnt; i++) {
		if (isa_atomics[i].imm == imm)
			return &isa_atomics[i];
	}
	return NULL;
}

const char *isa_atomic_name(s32 imm)
{
	const struct isa_atomic *a = isa_atomic_of(imm);

	return a ? a->name : NULL;
}

const char *isa_helper_name(s32 id)
{
	return id >= 0 && (size_t)id < ARRAY_SIZE(helper_names) ? helper_names[id] : NULL;
}

s32 isa_helper_id(const char *name, size_t len)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(helper_names); i++) {
		if (helper_names[i] && !strncmp(helper_names[i], name, len) && !helper_names[i][len])
			return (s32)i;
	}
	return -1;
}

bool isa_jump_target(const struct bpf_insn *i, u32 at, s64 *target)
{
	const struct isa_op *op = &isa_ops[i->code];

	if (op->kind != ISA_JA && op->kind != ISA_JCC)
		return false;
	*target = (s64)at + 1 + (op->fields & ISA_F_OFF ? i->off : i->imm);
	return true;
}
