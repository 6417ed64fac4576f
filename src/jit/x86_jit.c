/* SPDX-License-Identifier: MIT */
/* The one-pass compiler for x86-64: the walk over the instructions. */
#include <errno.h>
#include <string.h>
#include <ucontext.h>

#include "jit/x86_int.h"

/* Where eBPF registers live: arguments and result where the SysV ABI has them. */
static const u8 home[JIT_REGS] = {
	X86_RAX, X86_RDI, X86_RSI, X86_RDX, X86_RCX, X86_R8, X86_RBX, X86_R13,
	X86_R14, X86_R15, X86_RSP, X86_NONE, X86_NONE, X86_NONE, X86_NONE, X86_NONE,
};

#define LOOP_ALIGN 16
#define FUNC_ALIGN 16

/* What a function leaves free: caller-saved ones first, which cost nothing. */
static u32 spare(const struct jit_func *f, u8 regs[JIT_SLOTS])
{
	static const u8 always[] = { X86_R12, X86_RBP };
	u32 n = 0;

	if (!f->calls && !f->wide_ops)
		regs[n++] = X86_R9;
	for (u8 r = 1; r < 6 && !f->calls && n < JIT_SLOTS; r++)
		if (!(f->used & JIT_BIT(r)) && !(f->wide_ops && home[r] == X86_RDX))
			regs[n++] = home[r];
	for (u32 k = 0; k < ARRAY_SIZE(always) && n < JIT_SLOTS; k++)
		regs[n++] = always[k];
	for (u8 r = 6; r < 10 && n < JIT_SLOTS; r++)
		if (!(f->used & JIT_BIT(r)))
			regs[n++] = home[r];
	return n;
}

bool x86_can_fuse(const struct jx *c, u32 ahead)
{
	if (c->at + ahead >= c->f->end)
		return false;
	for (u32 k = 1; k <= ahead; k++)
		if (c->u->marks[c->at + k] & (JIT_LEADER | JIT_SKIP))
			return false;
	return true;
}

static u32 lower(struct jx *c, const struct bpf_insn *i)
{
	switch (BPF_CLASS(i->code)) {
	case BPF_ALU:
	case BPF_ALU64:
		return x86_alu_insn(c, i);
	case BPF_LDX:
		return x86_load_insn(c, i);
	case BPF_LD:
		if (isa_is_ldimm64(i))
			x86_ldimm64_insn(c, i);
		else
			x86_packet_insn(c, i);
		return 0;
	case BPF_ST:
		x86_store_insn(c, i);
		return 0;
	case BPF_STX:
		if (BPF_MODE(i->code) == BPF_ATOMIC)
			x86_atomic_insn(c, i);
		else
			x86_store_insn(c, i);
		return 0;
	default:
		if (jit_is_call(i))
			x86_call_insn(c, i);
		else if (jit_is_exit(i))
			x86_exit_insn(c);
		else if (!jit_is_nop(i))
			x86_jump_insn(c, i);
		return 0;
	}
}

static void set_live(struct jx *c, const struct bpf_insn *i)
{
	const struct jit_unit *u = c->u;
	s64 t = jit_target_of(i, c->at);

	c->live_in = u->live[c->at];
	c->live_out = jit_ends_flow(i) || c->at + 1 >= c->f->end ? 0 : u->live[c->at + 1];
	if (t >= 0)
		c->live_out |= u->live[t];
}

u32 x86_lower(struct jx *c)
{
	const struct bpf_insn *i = &c->u->insns[c->at];

	set_live(c, i);
	return lower(c, i);
}

/* The start of a block: what falls into it and what jumps to it find the same state. */
static void start_block(struct jx *c, bool falls)
{
	u8 mark = c->u->marks[c->at];

	if (falls) {
		c->live_in = c->live_out = c->u->live[c->at];
		x86_settle_all(c, c->live_in);
	}
	if (mark & JIT_LOOP)
		x86_align(c, LOOP_ALIGN);
	x86_forget(c);
}

static void lower_func(struct jx *c, u32 n)
{
	struct jit_unit *u = c->u;
	bool falls = true;

	c->n = n;
	c->f = &u->funcs[n];
	memcpy(c->map, home, sizeof(home));
	for (u8 k = 0; k < c->f->nslots; k++)
		c->map[JIT_SLOT0 + k] = c->f->slot_reg[k];
	if (n)
		x86_align(c, FUNC_ALIGN);
	x86_bind(c, x86_label_entry(c, n));
	x86_forget(c);
	x86_prologue(c);
	for (c->at = c->f->start; c->at < c->f->end && !c->err && !c->b.oom; c->at++) {
		const struct bpf_insn *i = &u->insns[c->at];
		u32 took, at = c->at;

		if (u->marks[at] & JIT_SKIP) {
			x86_bind(c, at);
			continue;
		}
		if (u->marks[at] & JIT_LEADER)
			start_block(c, falls);
		x86_bind(c, at);
		took = x86_lower(c);
		for (; took; took--)
			x86_bind(c, ++c->at);
		falls = !jit_ends_flow(i);
		if (!falls)
			x86_forget(c);
	}
	if (!c->exit_done) {
		x86_bind(c, x86_label_exit(c, n));
		x86_epilogue(c);
		x86_ret(&c->b);
	}
	x86_ended_stub(c);
	x86_callback_stub(c, n);
}

static int compile(struct jit_unit *u, struct jit_code *out)
{
	struct jx c = { .u = u, .cpu = x86_cpu() };
	int err;

	c.labels = base_array(x86_label_count(&c), sizeof(*c.labels));
	if (!c.labels)
		return -ENOMEM;
	x86_forget(&c);
	x86_entry_stub(&c);
	for (u32 n = 0; n < u->nfuncs && !c.err && !c.b.oom; n++)
		lower_func(&c, n);
	x86_bind(&c, u->cnt);
	err = c.b.oom ? -ENOMEM : c.err;
	if (!err)
		err = x86_link(&c, out);
	base_free(c.labels);
	base_free(c.fixes);
	base_free(c.faults);
	base_free(c.b.data);
	return err;
}

static void on_fault(const struct code_fault *f, void *ucontext, const void *addr)
{
	static const int greg[16] = {
		REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
		REG_R8, REG_R9, REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15,
	};
	const struct jit_probe *probe = f->arg;
	ucontext_t *uc = ucontext;

	(void)addr;
	uc->uc_mcontext.gregs[greg[probe->reg & 15]] = 0;
	if (probe->count)
		__atomic_fetch_add((u64 *)probe->count, 1, __ATOMIC_RELAXED);
}

const struct jit_target jit_x86_64 = {
	.name = "x86-64",
	.spare = spare,
	.compile = compile,
	.on_fault = on_fault,
};
