/* SPDX-License-Identifier: MIT */
/*
 * The one-pass x86-64 compiler, private to the x86_*.c files. An instruction is lowered when it is
 * met, except that copies, constants and sums are only noted (x86_value.c) and become code when,
 * and in the form that, a later instruction needs them.
 */
#ifndef FERRY_JIT_X86_INT_H
#define FERRY_JIT_X86_INT_H

#include "code/x86.h"
#include "jit/jit_int.h"

/* What an eBPF register holds, when that is not simply what is in its machine register. */
enum { VAL_REG, VAL_SUM, VAL_IMM };
#define VAL_NONE 0xff /* no base, no index */

struct x86_val {
	u8 kind;
	u8 base, index; /* SUM: base + (index << shift) + disp, of what machine registers hold */
	u8 shift;
	bool w32;       /* only the lower half of the sum, zero-extended */
	s32 disp;
	u64 imm;        /* IMM */
};

/* A place whose final size or value is known only once the code is laid out; sorted by `at`. */
enum { FIX_JMP, FIX_JCC, FIX_CALL, FIX_LEA, FIX_ABS, FIX_ALIGN };
struct x86_fix {
	u32 at;      /* offset of the instruction in the draft */
	u8 kind, cc; /* ALIGN: cc is the alignment */
	bool small;  /* JMP, JCC: the 2-byte form will do */
	u32 label;
	const void *target; /* ABS: a call to code elsewhere */
};

/* A position in the draft: offset, and how many fixes are before it. */
struct x86_pos {
	u32 at, fix;
};

struct x86_fault {
	struct x86_pos start, end;
	u32 insn;
	u8 reg;
};

struct jx {
	struct x86_buf b; /* the draft, all branches in long form */
	struct jit_unit *u;
	const struct jit_func *f;
	const struct x86_features *cpu;
	u32 n;            /* index of f */

	/* Registers: where they live, and what is pending for them. */
	u8 map[JIT_REGS];
	struct x86_val val[JIT_REGS];
	u16 refs[JIT_REGS]; /* registers that a pending value is made of */
	u16 pending, zext;  /* zext: the upper half of the machine register is known to be 0 */
	u32 at;             /* the instruction being lowered */
	u16 live_in, live_out;

	/* The flags are those of the result of `flags_reg`, while nothing was emitted since. */
	size_t flags_at;
	u8 flags_reg, flags_w;
	bool flags_logic; /* CF and OF are 0 */

	/* Frame of the function. */
	u8 saved[8], nsaved;
	u32 stack;      /* bytes subtracted from rsp for the eBPF frame */
	s32 fp_disp;    /* r10 = rsp + fp_disp */
	s32 tail_disp;  /* the address of the tail call counter is at rsp + tail_disp */
	bool exit_done; /* the shared epilogue exists */

	struct x86_fix *fixes;
	size_t nfixes, fixes_cap;
	struct x86_pos *labels; /* see x86_label_* */
	struct x86_fault *faults;
	size_t nfaults, faults_cap;
	int err;
};

/* Machine registers that no eBPF register lives in. */
#define TMP1 X86_R10
#define TMP2 X86_R11
#define TMP3 X86_R9 /* only in functions with wide_ops or calls; otherwise perhaps a slot */

/* ---- labels ---------------------------------------------------------------------------------- */

static inline u32 x86_label_entry(const struct jx *c, u32 func)
{
	return c->u->cnt + 1 + func;
}
static inline u32 x86_label_exit(const struct jx *c, u32 func)
{
	return c->u->cnt + 1 + c->u->nfuncs + func;
}
static inline u32 x86_label_callback(const struct jx *c, u32 func)
{
	return c->u->cnt + 1 + 2 * c->u->nfuncs + func;
}
static inline u32 x86_label_run(const struct jx *c)
{
	return c->u->cnt + 1 + 3 * c->u->nfuncs;
}
static inline u32 x86_label_ended(const struct jx *c, u32 func)
{
	return c->u->cnt + 2 + 3 * c->u->nfuncs + func;
}
static inline u32 x86_label_count(const struct jx *c)
{
	return c->u->cnt + 2 + 4 * c->u->nfuncs;
}

/* ---- x86_value.c ----------------------------------------------------------------------------- */

static inline bool x86_is_pending(const struct jx *c, u8 r)
{
	return c->pending & JIT_BIT(r);
}
/* Puts a pending value into its machine register. */
void x86_settle(struct jx *c, u8 r);
/* Settles what is pending for the registers in `mask`; whatever else is pending stays so. */
void x86_settle_all(struct jx *c, u16 mask);
/* Settles those in `keep` whose pending value is made of r's machine register. */
void x86_unhook(struct jx *c, u8 r, u16 keep);
/* The machine register that holds r's value, to be read only. */
u8 x86_use(struct jx *c, u8 r);
/* The same, for a read of which only the lower half matters. */
u8 x86_use32(struct jx *c, u8 r);
/* r as a memory operand. */
struct x86_mem x86_mem_of(struct jx *c, u8 r, s32 off);
/* Settles r and makes its machine register free to be changed; returns that. */
u8 x86_own(struct jx *c, u8 r);
/* r is about to be overwritten by an instruction that may still read other values, its own too. */
u8 x86_def(struct jx *c, u8 r);
/* r has been overwritten: the machine register holds its value. */
void x86_defined(struct jx *c, u8 r, bool zext);
/* r becomes constant, or a sum: nothing is emitted. False: no such form, use the plain way. */
void x86_set_imm(struct jx *c, u8 r, u64 imm);
bool x86_set_copy(struct jx *c, u8 r, u8 src, int w);
bool x86_set_add(struct jx *c, u8 r, u8 src, int w);
bool x86_set_add_imm(struct jx *c, u8 r, s64 imm, int w);
bool x86_set_scaled(struct jx *c, u8 r, u8 shift, bool plus_self, int w);
/* Is r's value a known constant? */
bool x86_is_imm(const struct jx *c, u8 r, u64 *imm);
/* Nothing is known or pending: the start of a block that jumps lead to. */
void x86_forget(struct jx *c);
void x86_flags_set(struct jx *c, u8 reg, int w, bool logic);

/* ---- lowering: each handles the instruction at c->at, and returns how many more it took */

u32 x86_lower(struct jx *c);                                   /* x86_jit.c: whatever it is */
u32 x86_alu_insn(struct jx *c, const struct bpf_insn *i);     /* x86_alu.c */
void x86_div_insn(struct jx *c, const struct bpf_insn *i);    /* x86_div.c */
u32 x86_load_insn(struct jx *c, const struct bpf_insn *i);    /* x86_mem.c */
void x86_store_insn(struct jx *c, const struct bpf_insn *i);
void x86_atomic_insn(struct jx *c, const struct bpf_insn *i);
void x86_packet_insn(struct jx *c, const struct bpf_insn *i);
void x86_ldimm64_insn(struct jx *c, const struct bpf_insn *i); /* x86_flow.c */
void x86_jump_insn(struct jx *c, const struct bpf_insn *i);
void x86_exit_insn(struct jx *c);
u32 x86_select_insn(struct jx *c, const struct bpf_insn *i);  /* 0: not of that shape */
void x86_call_insn(struct jx *c, const struct bpf_insn *i);   /* x86_call.c */
void x86_native_call(struct jx *c, const struct bpf_insn *i); /* x86_native.c */
void x86_prologue(struct jx *c);                              /* x86_frame.c */
void x86_epilogue(struct jx *c); /* up to, not with, the return; the counter's address is dropped */
void x86_epilogue_tail(struct jx *c); /* the same, with the counter's address in rax */
void x86_entry_stub(struct jx *c);
void x86_callback_stub(struct jx *c, u32 func);

/*
 * x86_call.c. A call is about to be made: arguments in place, nothing that lives on made of r0 to r5. After it.
 * Calls of code elsewhere: by its address (rax is used), by prog_site_call.
 */
struct prog_site;
void x86_before_call(struct jx *c);
void x86_after_call(struct jx *c);
void x86_call_native(struct jx *c, const void *target);
void x86_call_site(struct jx *c, const struct prog_site *s);

/*
 * x86_budget.c, nothing for programs without limits. Takes `insns` from the budget, of an instruction
 * whose facts are those of `at`; leaves the function when the program has ended, where x86_ended_stub goes.
 */
void x86_budget_take(struct jx *c, u32 at, u32 insns);
void x86_budget_time(struct jx *c);  /* after a call that may have taken long */
void x86_budget_ended(struct jx *c); /* after a call that may have ended the program */
void x86_ended_stub(struct jx *c);

/* Can the next instruction be taken together with this one? */
bool x86_can_fuse(const struct jx *c, u32 ahead);

/* ---- x86_link.c ------------------------------------------------------------------------------ */

void x86_bind(struct jx *c, u32 label);
void x86_align(struct jx *c, u8 to);
void x86_jmp_label(struct jx *c, u32 label);
void x86_jcc_label(struct jx *c, enum x86_cc cc, u32 label);
void x86_call_label(struct jx *c, u32 label);
void x86_lea_label(struct jx *c, u8 dst, u32 label);
void x86_call_abs(struct jx *c, const void *target);
struct x86_pos x86_here(const struct jx *c);
int x86_link(struct jx *c, struct jit_code *out);

#endif
