/* SPDX-License-Identifier: MIT */
/* Random programs that are valid in form, memory-safe and finite by construction. */
#ifndef FERRY_FUZZ_GEN_H
#define FERRY_FUZZ_GEN_H

#include "isa/isa.h"

#define GEN_MAX_INSNS 2000
#define GEN_MEM       64 /* bytes of memory behind the context */
#define GEN_PACKET    64

struct gen_opts {
	bool kernel;    /* only what the kernel's verifier takes: no memory behind the context */
	u32 mem_off;    /* where that memory is, from the context */
	u32 natives;    /* native functions there are to call; 0 with `kernel` */
};

struct gen_prog {
	struct bpf_insn insns[GEN_MAX_INSNS];
	/* Set-up of registers, pointers and counters: must stay for the program to be safe. */
	bool fixed[GEN_MAX_INSNS];
	u32 cnt;
	u64 rng;
};

u64 gen_random(u64 *state);
void gen_program(struct gen_prog *g, u64 seed, const struct gen_opts *opts);

#endif
