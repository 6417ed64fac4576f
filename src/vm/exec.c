/* SPDX-License-Identifier: MIT */
/* The interpreter's loop: threaded dispatch over the translated form. One label an operation. */
#include <endian.h>

#include "code/code.h"
#include "helper/helper.h"
#include "isa/isa.h"
#include "prog/limit.h"
#include "vm/vm_int.h"

/* Memory of a program: any type, any alignment. */
typedef u8 mem_u8;
typedef u16 mem_u16 __attribute__((aligned(1), may_alias));
typedef u32 mem_u32 __attribute__((aligned(1), may_alias));
typedef u64 mem_u64 __attribute__((aligned(1), may_alias));
typedef s8 mem_s8;
typedef s16 mem_s16 __attribute__((aligned(1), may_alias));
typedef s32 mem_s32 __attribute__((aligned(1), may_alias));

#define STEP static inline __attribute__((always_inline))
#define DST  r[i->dst]
#define SRC  r[i->src]
#define R0   r[0]

/* ---- what each operation does to the registers; control flow is the loop's ------------------- */

#define ALU_STEP(name, utype, stype, mask, rhs, expr)                                              \
	STEP void step_##name(u64 *r, const struct vm_insn *i)                                     \
	{                                                                                          \
		typedef utype U;                                                                   \
		enum { MASK = mask };                                                              \
		const U a = (U)DST, b = (U)(rhs);                                                  \
		const stype sa = (stype)a, sb = (stype)b;                                          \
                                                                                                   \
		(void)a, (void)sa, (void)sb;                                                       \
		DST = (U)(expr);                                                                   \
	}
#define ALU(name, bpf_op, o, expr)                                                                 \
	ALU_STEP(name##64X, u64, s64, 63, SRC, expr)                                               \
	ALU_STEP(name##64K, u64, s64, 63, (s64)i->imm, expr)                                       \
	ALU_STEP(name##32X, u32, s32, 31, SRC, expr)                                               \
	ALU_STEP(name##32K, u32, s32, 31, i->imm, expr)
#include "vm/vm.def"

#define JCC_STEP(name, utype, stype, rhs, cond)                                                    \
	STEP bool test_##name(const u64 *r, const struct vm_insn *i)                               \
	{                                                                                          \
		const utype a = (utype)DST, b = (utype)(rhs);                                      \
		const stype sa = (stype)a, sb = (stype)b;                                          \
                                                                                                   \
		(void)sa, (void)sb;                                                                \
		return cond;                                                                       \
	}
#define JCC(name, bpf_op, cond)                                                                    \
	JCC_STEP(name##64X, u64, s64, SRC, cond)                                                   \
	JCC_STEP(name##64K, u64, s64, (s64)i->imm, cond)                                           \
	JCC_STEP(name##32X, u32, s32, SRC, cond)                                                   \
	JCC_STEP(name##32K, u32, s32, i->imm, cond)
#include "vm/vm.def"

#define AT(base) (uintptr_t)((base) + (u64)(s64)i->off)
#define LOAD(name, mode, bpf_size, type)                                                           \
	STEP void step_##name(u64 *r, const struct vm_insn *i)                                     \
	{                                                                                          \
		DST = (u64)*(const mem_##type *)AT(SRC);                                           \
	}                                                                                          \
	STEP bool step_PROBE_##name(u64 *r, const struct vm_insn *i)                               \
	{                                                                                          \
		type v = 0;                                                                        \
		bool fault = code_copy_safe(&v, (const void *)AT(SRC), sizeof(v)) != 0;            \
                                                                                                   \
		DST = fault ? 0 : (u64)v;                                                          \
		return fault;                                                                      \
	}
#define STORE(name, bpf_size, type)                                                                \
	STEP void step_##name##_X(u64 *r, const struct vm_insn *i)                                 \
	{                                                                                          \
		*(mem_##type *)AT(DST) = (type)SRC;                                                \
	}                                                                                          \
	STEP void step_##name##_K(u64 *r, const struct vm_insn *i)                                 \
	{                                                                                          \
		*(mem_##type *)AT(DST) = (type)(s64)i->imm;                                        \
	}
#include "vm/vm.def"

/* RFC 9669 5.3: r0 gets what was there; of 32 bits, zero-extended. */
#define CMPXCHG(type)                                                                              \
	STEP type cmpxchg_##type(type *p, u64 r0, type v)                                          \
	{                                                                                          \
		type old = (type)r0;                                                               \
                                                                                                   \
		__atomic_compare_exchange_n(p, &old, v, false, __ATOMIC_SEQ_CST,                   \
					    __ATOMIC_SEQ_CST);                                     \
		return old;                                                                        \
	}
CMPXCHG(u32)
CMPXCHG(u64)

#define FETCH_STEP(name, type, expr)                                                               \
	STEP void step_##name(u64 *r, const struct vm_insn *i)                                     \
	{                                                                                          \
		type *p = (type *)AT(DST);                                                         \
		const type v = (type)SRC;                                                          \
                                                                                                   \
		expr;                                                                              \
	}
#define FETCH(name, op, expr) FETCH_STEP(name##64, u64, expr)
#define cmpxchg               cmpxchg_u64
#include "vm/vm.def"
#undef cmpxchg
#define FETCH(name, op, expr) FETCH_STEP(name##32, u32, expr)
#define cmpxchg               cmpxchg_u32
#include "vm/vm.def"
#undef cmpxchg

#define SIMPLE(name, value)                                                                        \
	STEP void step_##name(u64 *r, const struct vm_insn *i)                                     \
	{                                                                                          \
		DST = (value);                                                                     \
	}
SIMPLE(NEG64, 0 - DST)
SIMPLE(NEG32, (u32)(0 - (u32)DST))
SIMPLE(BSWAP16, __builtin_bswap16((u16)DST))
SIMPLE(BSWAP32, __builtin_bswap32((u32)DST))
SIMPLE(BSWAP64, __builtin_bswap64(DST))
SIMPLE(ZEXT16, (u16)DST)
SIMPLE(SEXT8_64, (u64)(s8)SRC)
SIMPLE(SEXT16_64, (u64)(s16)SRC)
SIMPLE(SEXT32_64, (u64)(s32)SRC)
SIMPLE(SEXT8_32, (u32)(s8)SRC)
SIMPLE(SEXT16_32, (u32)(s16)SRC)

/* ---- calls ----------------------------------------------------------------------------------- */

static u64 call_native(const struct vm_call *call, const u64 *r, const struct prog_site *site)
{
	const struct module_func *f = call->native;
	u64 a[MODULE_MAX_REGS] = { 0 }, v;
	u32 n;

	if (f->bridged)
		return site ? prog_site_invoke(f, &r[1], &call->site, site) :
			      module_invoke(f, &r[1], &call->site);
	for (n = 0; n < f->nargs && n < MODULE_MAX_REGS; n++)
		a[n] = module_extend(r[1 + n], f->args[n].width, f->args[n].is_signed, f->args[n].is_bool);
	v = site ? prog_site_call(a[0], a[1], a[2], a[3], a[4], site) :
		   ((helper_fn)(uintptr_t)f->addr)(a[0], a[1], a[2], a[3], a[4]);
	/* A void function leaves anything in the result register: nothing of the host's may get out. */
	if (f->ret_kind == MODULE_RET_VOID)
		return 0;
	return f->ret_kind == MODULE_RET_SCALAR ? module_extend(v, f->ret_width, f->ret_signed, f->ret_bool) : v;
}

/* The program at an index of a prog array, if it is there and interpreted. */
static const struct vm_code *tail_target(const struct map *m, u64 index)
{
	struct prog *target;

	if (!m->objs || (u32)index >= m->attr.max_entries)
		return NULL;
	target = __atomic_load_n((struct prog **)&m->objs[(u32)index], __ATOMIC_ACQUIRE);
	return target ? __atomic_load_n((struct vm_code **)&target->vm, __ATOMIC_ACQUIRE) : NULL;
}

/* Legacy packet loads (RFC 9669, 5.4): network byte order; false outside the packet. */
static bool load_packet(u64 *r, s32 off, u32 size)
{
	const struct prog_pkt *pkt = (const struct prog_pkt *)(uintptr_t)r[6];
	const u8 *p = (const u8 *)(uintptr_t)pkt->data + off;
	u64 len = pkt->data_end - pkt->data, v = 0;
	u32 k;

	if (off < 0 || len < size || (u64)off > len - size)
		return false;
	for (k = 0; k < size; k++)
		v = v << 8 | p[k];
	R0 = v;
	return true;
}

static void count_fault(const struct vm_code *code, const struct vm_insn *i)
{
	if (code->faults)
		__atomic_fetch_add((u64 *)&code->faults[i - code->insns], 1, __ATOMIC_RELAXED);
}

/* A call of a program with limits. False: the program has ended. */
static bool call_limited(const struct vm_code *code, const struct vm_insn *i,
			 const struct vm_check *k, u64 *r)
{
	const struct vm_call *call = &code->calls[i->imm];

	if (call->native)
		R0 = call_native(call, r, k->site);
	else if (k->site)
		R0 = prog_site_call(r[1], r[2], r[3], r[4], r[5], k->site);
	else
		R0 = ((helper_fn)(uintptr_t)call->fn)(r[1], r[2], r[3], r[4], r[5]);
	return !prog_budget.ended && !(k->time && prog_budget_slow());
}

static bool may_go_on(const struct vm_check *k)
{
	prog_budget.left -= k->cost;
	return prog_budget.left >= 0 || k->held || !prog_budget_slow();
}

/* ---- the loop -------------------------------------------------------------------------------- */

/* What a call keeps of its caller: r6 to r10 (RFC 9669, 2.1) and where to go on. */
struct frame {
	const struct vm_insn *back;
	u64 saved[5];
};

#define NEXT                                                                                       \
	do {                                                                                       \
		i++;                                                                               \
		goto *i->go;                                                                       \
	} while (0)

/* `f` is the frame that a call would fill: the depth of calls. */
u64 vm_exec(const struct vm_code *code, u32 start, const u64 *args, u32 *tail_calls,
	    const void *const **labels)
{
	static const void *const table[] = {
#define OP(name) &&L_##name,
#include "vm/vm.def"
	};
	u64 r[12] = { 0 }; /* r[11] stays 0 */
	struct frame frames[ISA_MAX_FRAMES - 1], *f = frames;
	u8 stack[ISA_MAX_FRAMES][ISA_STACK_SIZE] __attribute__((aligned(16)));
	const struct vm_insn *i;
	const struct vm_call *call;
	const struct vm_code *next;
	const struct vm_check *check;

	if (!code) {
		*labels = table;
		return 0;
	}
	__builtin_memcpy(&r[1], args, 5 * sizeof(*args));
	r[10] = (u64)(uintptr_t)stack[1];
	i = code->insns + start;
	/* A callback: functions that the program calls are counted at the call. */
	if (start && code->checks && !may_go_on(vm_entry_check(code, start)))
		return 1;
	goto *i->go;

#define DO(name)                                                                                   \
	L_##name : step_##name(r, i);                                                              \
	NEXT;
#define ALU(name, bpf_op, off, expr) DO(name##64X) DO(name##64K) DO(name##32X) DO(name##32K)
#define PROBE(name)                                                                                \
	L_PROBE_##name : if (step_PROBE_##name(r, i)) count_fault(code, i);                        \
	NEXT;
#define LOAD(name, mode, size, type) DO(name) PROBE(name)
#define STORE(name, size, type)      DO(name##_X) DO(name##_K)
#define FETCH(name, imm, expr)       DO(name##64) DO(name##32)
#define JUMP(name)                                                                                 \
	L_##name : if (test_##name(r, i)) i += i->off;                                             \
	NEXT;
#define PAIR(a, b)                                                                                 \
	L_##a##_##b : step_##a(r, i);                                                              \
	i++;                                                                                       \
	step_##b(r, i);                                                                            \
	NEXT;
#define PAIR_JUMP(a, b)                                                                            \
	L_##a##_##b : step_##a(r, i);                                                              \
	i++;                                                                                       \
	if (test_##b(r, i)) i += i->off;                                                           \
	NEXT;
#define PAIR_JA(a)                                                                                 \
	L_##a##_JA : step_##a(r, i);                                                               \
	i++;                                                                                       \
	i += i->imm;                                                                               \
	NEXT;
#define JCC(name, bpf_op, cond) JUMP(name##64X) JUMP(name##64K) JUMP(name##32X) JUMP(name##32K)
#include "vm/vm.def"
	DO(NEG64) DO(NEG32) DO(BSWAP16) DO(BSWAP32) DO(BSWAP64) DO(ZEXT16)
	DO(SEXT8_64) DO(SEXT16_64) DO(SEXT32_64) DO(SEXT8_32) DO(SEXT16_32)

L_JA:
	i += i->imm;
	NEXT;
L_LDIMM64:
	DST = (u64)(uintptr_t)i[1].go;
	i++;
	NEXT;
L_PKT8:
	if (!load_packet(r, (s32)((u32)SRC + (u32)i->imm), 1))
		goto no_packet;
	NEXT;
L_PKT16:
	if (!load_packet(r, (s32)((u32)SRC + (u32)i->imm), 2))
		goto no_packet;
	NEXT;
L_PKT32:
	if (!load_packet(r, (s32)((u32)SRC + (u32)i->imm), 4))
		goto no_packet;
	NEXT;
L_CALL_HELPER:
	R0 = ((helper_fn)(uintptr_t)code->calls[i->imm].fn)(r[1], r[2], r[3], r[4], r[5]);
	NEXT;
L_CALL_NATIVE:
	call = &code->calls[i->imm];
	R0 = call_native(call, r, NULL);
	NEXT;
L_TAIL_CALL:
	next = tail_target((const struct map *)(uintptr_t)r[2], r[3]);
	if (!next || *tail_calls >= ISA_MAX_TAIL_CALLS)
		NEXT;
	++*tail_calls;
	if (f == frames) {
		code = next;
		i = code->insns;
		goto *i->go;
	}
	/* In a subprogram it replaces that one only; the frames of the target's own calls are new. */
	R0 = vm_exec(next, 0, &r[1], tail_calls, NULL);
	if (prog_budget.ended)
		return 1;
	goto L_EXIT;
L_CALL_FUNC:
	if (f == frames + ARRAY_SIZE(frames))
		goto L_STOP; /* the verifier refuses deeper calls */
	f->back = i;
	__builtin_memcpy(f->saved, &r[6], sizeof(f->saved));
	f++;
	r[10] = (u64)(uintptr_t)stack[f - frames + 1];
	i += i->imm;
	NEXT;
L_LIMITED:
	check = &code->checks[i - code->insns];
	if (!may_go_on(check))
		return 1;
	if (!check->call)
		goto *check->go;
	if (!call_limited(code, i, check, r))
		return 1;
	NEXT;
no_packet:
	R0 = 0;
L_EXIT:
	if (f == frames)
		return R0;
	f--;
	__builtin_memcpy(&r[6], f->saved, sizeof(f->saved));
	i = f->back;
	NEXT;
L_STOP:
	return 0;
}
