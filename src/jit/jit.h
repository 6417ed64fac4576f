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

struct jit_arg {
	u8 width; /* bytes: 1, 2, 4, 8 */
	bool is_signed;
	bool is_float; /* float, double: the program gets the bits */
};

/*
 * A C function that says that this thread is inside (*inside, thread-local and at the same distance in each: 0
 * becomes 1, and 0 again) and calls the program whose code *target then is. Of its arguments as many bytes
 * count as the C type has. When the thread is inside already, or *target is what jit_entry() writes there,
 * which stands for no program, `otherwise` is called instead, as the function was. It stays for the life of the
 * process: the code, or NULL.
 */
struct jit_entry {
	const struct jit_arg *args;
	u32 n;
	u32 ret_float; /* the program's result is the bits of a float of 4, 8 bytes; 0: an integer */
	const u32 *inside;
	const void *_Atomic *target;
	const void *otherwise;
};
const void *jit_entry(const struct jit_entry *e);

/* The machine code, for disassembly and bpf(2)'s info. */
struct jit_image {
	const u8 *code;
	u32 size;
	const u32 *insn_off; /* offset of the code of each instruction, insn_cnt + 1 entries */
	const u32 *func_off; /* offset of each subprogram's entry, nfuncs entries */
};
int jit_image(const struct prog *p, struct jit_image *out); /* -ENOENT when not compiled */
/* What LD_IMM64 of subprogram `func` gives in the code that p has now; NULL when there is none. */
prog_callback jit_callback(const struct prog *p, u32 func);

#endif
