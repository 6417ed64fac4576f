/* SPDX-License-Identifier: MIT */
/* Installing the interpreter: each instruction is decoded once, to the address of its code. */
#include <endian.h>
#include <errno.h>

#include "helper/helper.h"
#include "prog/limit.h"
#include "vm/vm.h"
#include "vm/vm_int.h"

/* Opcode byte to operation, where the byte alone decides; VM_STOP (0) elsewhere. */
static const u16 ops[256] = {
#define ALU(name, bpf_op, off, expr) ALU_##off(name, bpf_op)
#define ALU_1(name, bpf_op)
#define ALU_0(name, bpf_op)                                                                        \
	[BPF_ALU64 | (bpf_op) | BPF_X] = VM_##name##64X,                                           \
	[BPF_ALU64 | (bpf_op) | BPF_K] = VM_##name##64K,                                           \
	[BPF_ALU | (bpf_op) | BPF_X] = VM_##name##32X,                                             \
	[BPF_ALU | (bpf_op) | BPF_K] = VM_##name##32K,
#define JCC(name, bpf_op, cond)                                                                    \
	[BPF_JMP | (bpf_op) | BPF_X] = VM_##name##64X,                                             \
	[BPF_JMP | (bpf_op) | BPF_K] = VM_##name##64K,                                             \
	[BPF_JMP32 | (bpf_op) | BPF_X] = VM_##name##32X,                                           \
	[BPF_JMP32 | (bpf_op) | BPF_K] = VM_##name##32K,
#define LOAD(name, mode, size, type) [BPF_LDX | (mode) | (size)] = VM_##name,
#define STORE(name, size, type)                                                                    \
	[BPF_STX | BPF_MEM | (size)] = VM_##name##_X, [BPF_ST | BPF_MEM | (size)] = VM_##name##_K,
#include "vm/vm.def"
	[BPF_ALU64 | BPF_NEG] = VM_NEG64,
	[BPF_ALU | BPF_NEG] = VM_NEG32,
	[BPF_LD | BPF_ABS | BPF_B] = VM_PKT8,
	[BPF_LD | BPF_ABS | BPF_H] = VM_PKT16,
	[BPF_LD | BPF_ABS | BPF_W] = VM_PKT32,
	[BPF_LD | BPF_IND | BPF_B] = VM_PKT8,
	[BPF_LD | BPF_IND | BPF_H] = VM_PKT16,
	[BPF_LD | BPF_IND | BPF_W] = VM_PKT32,
	[BPF_JMP | BPF_EXIT] = VM_EXIT,
};

/* The instructions whose offset or immediate selects the operation. */
static const struct {
	u8 code;
	s16 off;
	u16 op;
} by_off[] = {
#define ALU(name, bpf_op, o, expr)                                                                 \
	{ BPF_ALU64 | (bpf_op) | BPF_X, o, VM_##name##64X },                                       \
	{ BPF_ALU64 | (bpf_op) | BPF_K, o, VM_##name##64K },                                       \
	{ BPF_ALU | (bpf_op) | BPF_X, o, VM_##name##32X },                                         \
	{ BPF_ALU | (bpf_op) | BPF_K, o, VM_##name##32K },
#include "vm/vm.def"
	{ BPF_ALU64 | BPF_MOV | BPF_X, 8, VM_SEXT8_64 },
	{ BPF_ALU64 | BPF_MOV | BPF_X, 16, VM_SEXT16_64 },
	{ BPF_ALU64 | BPF_MOV | BPF_X, 32, VM_SEXT32_64 },
	{ BPF_ALU | BPF_MOV | BPF_X, 8, VM_SEXT8_32 },
	{ BPF_ALU | BPF_MOV | BPF_X, 16, VM_SEXT16_32 },
};

static const struct {
	s32 imm;
	u16 op64, op32;
} atomics[] = {
#define FETCH(name, imm, expr) { imm, VM_##name##64, VM_##name##32 },
#include "vm/vm.def"
};

static enum vm_op alu_op(const struct bpf_insn *in)
{
	u32 n;

	if (!in->off)
		return ops[in->code];
	for (n = 0; n < ARRAY_SIZE(by_off); n++)
		if (by_off[n].code == in->code && by_off[n].off == in->off)
			return by_off[n].op;
	return VM_STOP;
}

static enum vm_op atomic_op(const struct bpf_insn *in)
{
	u32 n;

	for (n = 0; n < ARRAY_SIZE(atomics); n++)
		if (atomics[n].imm == in->imm)
			return isa_ops[in->code].width == 8 ? atomics[n].op64 : atomics[n].op32;
	return VM_STOP;
}

/* RFC 9669 4.2: to_le and to_be swap only where the host's order differs, bswap always. */
static enum vm_op end_op(const struct bpf_insn *in, struct vm_insn *out)
{
	bool host_le = __BYTE_ORDER == __LITTLE_ENDIAN;
	bool swap = BPF_CLASS(in->code) == BPF_ALU64 || host_le != (BPF_SRC(in->code) == BPF_TO_LE);

	out->src = in->dst_reg;
	switch (in->imm) {
	case 16: return swap ? VM_BSWAP16 : VM_ZEXT16;
	case 32: return swap ? VM_BSWAP32 : VM_MOV32X;
	case 64: return swap ? VM_BSWAP64 : VM_MOV64X;
	default: return VM_STOP;
	}
}

/* ---- references ------------------------------------------------------------------------------ */

/* What LD_IMM64 puts into the register; false when it refers to nothing. */
static bool imm64(const struct prog *p, const struct vm_code *c, u32 at, u64 *value)
{
	const struct bpf_insn *in = &p->insns[at];
	struct map *m;

	switch (in->src_reg) {
	case 0:
		*value = (u32)in[0].imm | (u64)(u32)in[1].imm << 32;
		return true;
	case BPF_PSEUDO_MAP_FD:
	case BPF_PSEUDO_MAP_VALUE:
		if ((u32)in->imm >= p->nmaps || !p->maps[in->imm])
			return false;
		m = p->maps[in->imm];
		*value = (u64)(uintptr_t)m;
		if (in->src_reg == BPF_PSEUDO_MAP_VALUE) {
			*value = m->ops->direct ?
					 (u64)(uintptr_t)m->ops->direct(m, (u32)in[1].imm) : 0;
		}
		return *value != 0;
	case BPF_PSEUDO_BTF_ID:
		*value = (u32)in->imm < p->nsyms ? p->syms[in->imm].value : 0;
		return *value != 0;
	case BPF_PSEUDO_FUNC:
		*value = vm_callback_entry(c, (s64)at + 1 + in->imm);
		return *value != 0;
	default:
		return false;
	}
}

static enum vm_op call_op(const struct prog *p, struct vm_code *c, const struct bpf_insn *in,
			  struct vm_insn *out)
{
	const struct helper_proto *h;
	struct vm_call *call = &c->calls[c->ncalls];

	switch (in->src_reg) {
	case BPF_PSEUDO_CALL:
		return VM_CALL_FUNC;
	case BPF_PSEUDO_KFUNC_CALL:
		if ((u32)in->imm >= p->nnatives || !p->natives[in->imm])
			return VM_STOP;
		call->native = p->natives[in->imm];
		if (p->facts)
			call->site = p->facts[in - p->insns].site;
		out->imm = (s32)c->ncalls++;
		return VM_CALL_NATIVE;
	case 0:
		h = helper_of((u32)in->imm);
		if (h && h->flags & HELPER_TAIL_CALL)
			return VM_TAIL_CALL;
		if (!h || !h->fn)
			return VM_STOP;
		call->fn = (const void *)(uintptr_t)h->fn;
		out->imm = (s32)c->ncalls++;
		return VM_CALL_HELPER;
	default:
		return VM_STOP;
	}
}

/* ---- translation ----------------------------------------------------------------------------- */

/* May execution go to `to`? The form was checked at load; here it only costs a comparison. */
static bool lands(const struct prog *p, s64 to)
{
	return to >= 0 && to < p->insn_cnt;
}

static enum vm_op translate(const struct prog *p, struct vm_code *c, u32 at)
{
	const struct bpf_insn *in = &p->insns[at];
	const struct isa_op *isa = &isa_ops[in->code];
	struct vm_insn *out = &c->insns[at];
	enum vm_op op = ops[in->code];
	u64 value;

	if (in->dst_reg > BPF_REG_10 || in->src_reg > BPF_REG_10)
		return VM_STOP;
	*out = (struct vm_insn){ .dst = in->dst_reg, .src = in->src_reg, .off = in->off,
				 .imm = in->imm };
	switch (isa->kind) {
	case ISA_ALU: return alu_op(in);
	case ISA_END: return end_op(in, out);
	case ISA_ATOMIC: return atomic_op(in);
	case ISA_JCC: return lands(p, (s64)at + 1 + in->off) ? op : VM_STOP;
	case ISA_JA:
		if (BPF_CLASS(in->code) == BPF_JMP)
			out->imm = in->off;
		return lands(p, (s64)at + 1 + out->imm) ? VM_JA : VM_STOP;
	case ISA_LOAD:
		/* Each load is followed by its twin that survives bad addresses. */
		return p->facts && p->facts[at].probe && op != VM_STOP ? op + 1 : op;
	case ISA_PACKET_LD:
		if (BPF_MODE(in->code) == BPF_ABS)
			out->src = 11;
		return op;
	case ISA_LDIMM64:
		if (at + 1 >= p->insn_cnt || !imm64(p, c, at, &value))
			return VM_STOP;
		out[1].go = (const void *)(uintptr_t)value;
		return VM_LDIMM64;
	case ISA_CALL:
		op = call_op(p, c, in, out);
		if (op == VM_CALL_FUNC && !lands(p, (s64)at + 1 + in->imm))
			return VM_STOP;
		return op;
	default: return op;
	}
}

/*
 * Gives every slot the address of its code. Second halves of 16-byte instructions stay values: no
 * jump may reach one (`second` marks them).
 */
static void link_code(const struct prog *p, struct vm_code *c, u16 *op, const u8 *second)
{
	const void *const *labels;
	u32 at;

	vm_exec(NULL, 0, NULL, NULL, &labels);
	for (at = 0; at < p->insn_cnt; at++) {
		struct vm_insn *in = &c->insns[at];
		s64 to = -1;

		if (second[at])
			continue;
		if (op[at] == VM_JA || op[at] == VM_CALL_FUNC)
			to = (s64)at + 1 + in->imm;
		else if (isa_ops[p->insns[at].code].kind == ISA_JCC)
			to = (s64)at + 1 + in->off;
		if (to >= 0 && to < p->insn_cnt && second[to])
			op[at] = VM_STOP;
		in->go = labels[op[at]];
	}
	for (at = 0; !p->limits && at + 1 < p->insn_cnt; at++) {
		enum vm_op pair = VM_STOP;

		if (!second[at] && !second[at + 1])
			pair = vm_pair(op[at], op[at + 1]);
		if (pair != VM_STOP)
			c->insns[at].go = labels[pair];
	}
	c->insns[p->insn_cnt].go = labels[VM_STOP];
}

/* ---- limits ---------------------------------------------------------------------------------- */

/* Behind those of the instructions: of each function, what entering it costs. */
const struct vm_check *vm_entry_check(const struct vm_code *c, u32 start)
{
	const struct vm_check *k = c->checks + c->cnt;

	while (k->cost && (u32)(uintptr_t)k->go != start)
		k++;
	return k;
}

/* Jumps back and calls take from the budget, as in the JIT: src/jit/x86_budget.c. */
static int add_checks(const struct prog *p, struct vm_code *c, const u16 *op, const u8 *second)
{
	const void *const *labels;
	u32 at, n;

	c->checks = base_array((size_t)p->insn_cnt + p->nfuncs + 1, sizeof(*c->checks));
	if (!c->checks)
		return -ENOMEM;
	for (n = 0; n < p->nfuncs; n++)
		c->checks[p->insn_cnt + n] = (struct vm_check){
			.go = (const void *)(uintptr_t)p->funcs[n].start,
			.cost = p->funcs[n].end - p->funcs[n].start,
			.held = p->facts && p->facts[p->funcs[n].start].held };
	vm_exec(NULL, 0, NULL, NULL, &labels);
	for (at = 0; at < p->insn_cnt; at++) {
		struct vm_insn *in = &c->insns[at];
		struct vm_check *k = &c->checks[at];
		s64 by = op[at] == VM_JA ? in->imm :
			 isa_ops[p->insns[at].code].kind == ISA_JCC ? in->off : 0;

		if (second[at] || op[at] == VM_STOP)
			continue;
		if (op[at] == VM_CALL_FUNC)
			*k = *vm_entry_check(c, (u32)((s64)at + 1 + in->imm));
		else if (by < 0)
			*k = (struct vm_check){ .cost = (u32)-by, .held = p->facts && p->facts[at].held };
		else if (op[at] != VM_CALL_HELPER && op[at] != VM_CALL_NATIVE)
			continue;
		else
			*k = (struct vm_check){ .cost = 1, .held = p->facts && p->facts[at].held };
		k->call = op[at] == VM_CALL_HELPER || op[at] == VM_CALL_NATIVE;
		k->time = op[at] == VM_CALL_NATIVE && p->limits->time_ns && !(p->facts && p->facts[at].held);
		k->site = prog_site_at(p, at);
		k->go = in->go;
		in->go = labels[VM_LIMITED];
	}
	return 0;
}

/* It may just be exchanged (src/bpf/run/limit.c). */
static const struct vm_code *code_of(const struct prog *p)
{
	return __atomic_load_n((struct vm_code **)&p->vm, __ATOMIC_ACQUIRE);
}

static u64 vm_run(const struct prog *p, void *ctx)
{
	const u64 args[5] = { (u64)(uintptr_t)ctx };
	u32 tail_calls = 0;

	return vm_exec(code_of(p), 0, args, &tail_calls, NULL);
}

static u64 vm_call(const struct prog *p, const u64 *args)
{
	u32 tail_calls = 0;

	return vm_exec(code_of(p), 0, args, &tail_calls, NULL);
}

static void free_code(struct vm_code *c)
{
	if (!c)
		return;
	base_free(c->insns);
	base_free(c->calls);
	base_free(c->checks);
	vm_callbacks_free(c->callbacks);
	base_free(c);
}

int vm_install(struct prog *p)
{
	struct vm_code *c = base_alloc(sizeof(*c));
	u16 *op = base_array(p->insn_cnt, sizeof(*op));
	u8 *second = base_alloc(p->insn_cnt);
	u32 at, calls = 0;
	int err = -ENOMEM;

	if (!c || !op || !second)
		goto out;
	for (at = 0; at < p->insn_cnt; at++)
		calls += isa_ops[p->insns[at].code].kind == ISA_CALL;
	c->insns = base_array((size_t)p->insn_cnt + 1, sizeof(*c->insns));
	c->calls = base_array(calls, sizeof(*c->calls));
	if (!c->insns || !c->calls)
		goto out;
	c->cnt = p->insn_cnt;
	c->faults = p->faults;
	for (at = 0; at + 1 < p->insn_cnt; at++)
		if (isa_is_ldimm64(&p->insns[at]))
			second[++at] = 1;
	err = vm_callbacks_make(p, second, c);
	if (err)
		goto out;
	for (at = 0; at < p->insn_cnt; at++)
		if (!second[at])
			op[at] = (u16)translate(p, c, at);
	link_code(p, c, op, second);
	err = p->limits ? add_checks(p, c, op, second) : 0;
	if (err)
		goto out;
	vm_remove(p);
	p->vm = c;
	p->run = vm_run;
	p->call = vm_call;
	c = NULL;
	err = 0;
out:
	free_code(c);
	base_free(op);
	base_free(second);
	return err;
}

prog_callback vm_callback(const struct prog *p, u32 start)
{
	return p->vm ? (prog_callback)(uintptr_t)vm_callback_entry(p->vm, start) : NULL;
}

void vm_remove(struct prog *p)
{
	free_code(p->vm);
	p->vm = NULL;
	if (p->run == vm_run)
		p->run = NULL;
	if (p->call == vm_call)
		p->call = NULL;
}
