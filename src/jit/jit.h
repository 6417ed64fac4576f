/* SPDX-License-Identifier: MIT */
/* eBPF to machine code. One backend a machine behind `struct jit_target`. */
#ifndef FERRY_JIT_H
#define FERRY_JIT_H

#include "prog/prog.h"

/*
 * Compiles p and makes p->run and p->tail the compiled code. 0, -ENOMEM, -EPERM (no executable memory here:
 * interpret instead), -EOPNOTSUPP (no backend for this machine), -E2BIG.
 */
int jit_install(struct prog *p);
void jit_remove(struct prog *p); /* nobody may be inside */

/* The machine code, for disassembly and bpf(2)'s info. */
struct jit_image {
	const u8 *code;
	u32 size;
	const u32 *insn_off; /* offset of the code of each instruction, insn_cnt + 1 entries */
	const u32 *func_off; /* offset of each subprogram's entry, nfuncs entries */
};
int jit_image(const struct prog *p, struct jit_image *out); /* -ENOENT when not compiled */

#endif
