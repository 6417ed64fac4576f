/* SPDX-License-Identifier: MIT */
/* What the assembler, the disassembler and the checker share. */
#ifndef FERRY_ISA_INT_H
#define FERRY_ISA_INT_H

#include "isa/isa.h"

/* What src_reg of LD_IMM64 makes of the immediate (RFC 9669, 5.4); the words of the text form. */
struct isa_ref {
	const char *word;    /* "map" in "r1 = map[3] ll" */
	bool has_second;     /* the second half's immediate is used: "map_value[3]+8" */
};
extern const struct isa_ref isa_refs[7]; /* by src_reg; [0] a number and [4] a function have no word */

/* A row of the table of atomics (isa.def). */
struct isa_atomic {
	s32 imm;
	const char *name, *sym;
};
extern const struct isa_atomic isa_atomics[];
extern const u32 isa_atomics_cnt;
const struct isa_atomic *isa_atomic_of(s32 imm);

/* Helpers as <linux/bpf.h> names them, without "bpf_". NULL, or -1, when it does not know. */
const char *isa_helper_name(s32 id);
s32 isa_helper_id(const char *name, size_t len);

#endif
