/* SPDX-License-Identifier: MIT */
/*
 * Private to src/jit: what a pass over a program finds out for any machine (scan.c), and the
 * interface that a compiler for a machine fills in.
 */
#ifndef FERRY_JIT_INT_H
#define FERRY_JIT_INT_H

#include "code/code.h"
#include "jit/jit.h"

/*
 * Registers 0 to 10 are eBPF's. 11 to 15 stand for stack slots that were promoted: slots that only
 * loads and stores through r10 reach, and that a machine register can hold for the whole function.
 */
#define JIT_FP 10
#define JIT_SLOT0 11
#define JIT_SLOTS 5
#define JIT_REGS 16
#define JIT_BIT(r) ((u16)(1u << (r)))
#define JIT_CALLER_SAVED ((u16)0x3f) /* r0 to r5: gone after any call */

/* Marks of an instruction. */
enum {
	JIT_LEADER = 1 << 0, /* some jump goes here */
	JIT_LOOP = 1 << 1,   /* a jump from further down goes here */
	JIT_SKIP = 1 << 2,   /* not reached, or the second half of an LD_IMM64 */
	JIT_REPEAT = 1 << 3, /* a goto for which the block that it leads to may be repeated in its place */
};

struct jit_func {
	u32 start, end;
	u16 used, written;   /* registers, as JIT_BITs, promoted slots included */
	u16 stack;           /* bytes of frame that memory accesses need */
	bool calls;          /* calls anything */
	bool wide_ops;       /* divides, or does atomics: scratch registers are taken */
	bool tail;           /* it, or what it calls, may tail call */
	u8 nslots;
	u8 slot_reg[JIT_SLOTS]; /* the machine's register of each promoted slot */
};

/* One compilation. */
struct jit_unit {
	const struct prog *prog;
	struct bpf_insn *insns; /* a copy, promoted slots rewritten to moves */
	u32 cnt;
	u16 *live;  /* registers whose value is needed, before each instruction; cnt + 1 */
	u8 *marks;
	struct jit_func *funcs;
	u32 nfuncs;
	const void *near; /* what the code is to lie beside; what is far from it is called by address */
	bool plain; /* what is called changes no vector register either */
	bool far;   /* nothing outside the code is within reach of a 32-bit displacement */
};

/* A load that may fault: its machine register, and the program's counter (NULL: not counted). */
struct jit_probe {
	_Atomic u64 *count;
	u8 reg;
};

/* What a compiler hands back. */
struct jit_code {
	struct code_region *region;
	u32 size, run_off, tail_off;
	u32 *insn_off, *func_off;
	u32 *callback_off; /* of each function: where native code enters it */
	struct code_fault *faults;
	struct jit_probe *probes; /* what each fault's `arg` points to */
	u32 nfaults;
};

/* A machine. An optimising compiler for the same machine is another one of these. */
struct jit_target {
	const char *name;
	/* Machine registers that the function leaves free, best first; at most JIT_SLOTS. */
	u32 (*spare)(const struct jit_func *f, u8 regs[JIT_SLOTS]);
	/* 0; -EAGAIN: set u->far and come again; other -errno. */
	int (*compile)(struct jit_unit *u, struct jit_code *out);
	/* After a fault of a load (f->arg is its struct jit_probe): its register becomes 0. */
	void (*on_fault)(const struct code_fault *f, void *ucontext, const void *addr);
};
extern const struct jit_target jit_x86_64;

struct helper_proto;
const struct helper_proto *jit_helper(s32 id); /* NULL when there is none */

/* tidy.c: straightens the jumps of a function. */
void jit_tidy(struct jit_unit *u, const struct jit_func *f);

/* ---- scan.c ---------------------------------------------------------------------------------- */

int jit_scan(struct jit_unit *u, const struct jit_target *t);
void jit_unit_free(struct jit_unit *u);
/* Registers that an instruction reads and writes. */
void jit_insn_regs(const struct prog *p, const struct bpf_insn *i, u16 *reads, u16 *writes);
/* The jump target of instruction `at`; -1 when it is no jump, or one to the next instruction. */
s64 jit_target_of(const struct bpf_insn *i, u32 at);
/* The condition that ends the block at `t`, if the block is short and just computes; 0 otherwise. */
u32 jit_block_end(const struct jit_unit *u, const struct jit_func *f, u32 t);
/* Index of the function that starts at `start`, or -1. */
s32 jit_func_at(const struct jit_unit *u, s64 start);

static inline bool jit_is_alu(const struct bpf_insn *i)
{
	return BPF_CLASS(i->code) == BPF_ALU || BPF_CLASS(i->code) == BPF_ALU64;
}
static inline bool jit_is_jmp(const struct bpf_insn *i)
{
	return BPF_CLASS(i->code) == BPF_JMP || BPF_CLASS(i->code) == BPF_JMP32;
}
static inline bool jit_is_call(const struct bpf_insn *i)
{
	return i->code == (BPF_JMP | BPF_CALL);
}
static inline bool jit_is_exit(const struct bpf_insn *i)
{
	return i->code == (BPF_JMP | BPF_EXIT);
}
static inline bool jit_is_ja(const struct bpf_insn *i) /* goto and gotol */
{
	return jit_is_jmp(i) && BPF_OP(i->code) == BPF_JA;
}
static inline bool jit_is_nop(const struct bpf_insn *i) /* a goto to the next instruction */
{
	return jit_is_ja(i) && !(BPF_CLASS(i->code) == BPF_JMP ? i->off : i->imm);
}
static inline bool jit_is_goto(const struct bpf_insn *i)
{
	return jit_is_ja(i) && !jit_is_nop(i);
}
static inline bool jit_is_jcc(const struct bpf_insn *i)
{
	return jit_is_jmp(i) && !jit_is_ja(i) && !jit_is_call(i) && !jit_is_exit(i);
}
/* Does control never reach the next instruction from this one? */
static inline bool jit_ends_flow(const struct bpf_insn *i)
{
	return jit_is_goto(i) || jit_is_exit(i);
}
static inline int jit_size(const struct bpf_insn *i) /* bytes of a load or store */
{
	static const u8 size[4] = { 4, 2, 1, 8 };

	return size[BPF_SIZE(i->code) >> 3];
}

#endif
