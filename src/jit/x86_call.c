/* SPDX-License-Identifier: MIT */
/* Calls: helpers, functions of the program, and tail calls. Native functions: x86_native.c. */
#include <errno.h>

#include "helper/helper.h"
#include "jit/x86_int.h"
#include "prog/limit.h"

/* A call is about to be made: arguments in place, nothing that lives on made of r0 to r5. */
void x86_before_call(struct jx *c)
{
	u16 reads, writes;

	jit_insn_regs(c->u->prog, &c->u->insns[c->at], &reads, &writes);
	for (u8 r = 0; r < 6; r++)
		x86_unhook(c, r, c->live_out & (u16)~JIT_CALLER_SAVED);
	x86_settle_all(c, reads);
}

void x86_after_call(struct jx *c)
{
	for (u8 r = 0; r < 6; r++)
		x86_defined(c, r, false);
}

#define NEAR ((intptr_t)1 << 28) /* what lies so close to u->near is within reach of the code */

void x86_call_native(struct jx *c, const void *target)
{
	intptr_t distance = (intptr_t)((uintptr_t)target - (uintptr_t)c->u->near);

	if (c->u->far || distance > NEAR || distance < -NEAR) {
		x86_mov_ri(&c->b, X86_RAX, (u64)(uintptr_t)target, true);
		x86_call_r(&c->b, X86_RAX);
	} else {
		x86_call_abs(c, target);
	}
}

/* ---- look-ups without a call ----------------------------------------------------------------- */

/* The map that r1 surely refers to; NULL when not known. */
static struct map *const_map(const struct jx *c)
{
	const struct prog *p = c->u->prog;
	const struct insn_fact *f = p->facts ? &p->facts[c->at] : NULL;

	return f && f->const_map && f->map < p->nmaps ? p->maps[f->map] : NULL;
}

/* r0 = address of the element whose number is at r2, or 0. */
static bool array_lookup(struct jx *c, const struct map *m)
{
	struct x86_mem key;
	size_t out, done;
	u32 stride = m->stride;
	s64 constant = c->u->prog->facts[c->at].const_key;

	if (m->ops->inline_kind != MAP_INLINE_ARRAY || !m->values || !stride ||
	    m->attr.max_entries > INT32_MAX || stride > INT32_MAX)
		return false;
	for (u8 r = 0; r < 6; r++)
		x86_unhook(c, r, c->live_out & (u16)~JIT_CALLER_SAVED);
	if (constant >= 0) {
		x86_after_call(c);
		x86_set_imm(c, 0, constant < m->attr.max_entries ?
					  (u64)(uintptr_t)(m->values + (u64)constant * stride) : 0);
		return true;
	}
	key = x86_mem_of(c, 2, 0);
	x86_load(&c->b, 4, X86_RAX, key);
	x86_alu_ri(&c->b, X86_CMP, 4, X86_RAX, (s32)m->attr.max_entries);
	out = x86_jcc8(&c->b, X86_AE);
	if (stride & (stride - 1))
		x86_imul_rri(&c->b, 8, X86_RAX, X86_RAX, (s32)stride);
	else if (stride > 1)
		x86_shift_ri(&c->b, X86_SHL, 8, X86_RAX, (u8)__builtin_ctz(stride));
	x86_mov_ri(&c->b, X86_RDX, (u64)(uintptr_t)m->values, true);
	x86_alu_rr(&c->b, X86_ADD, 8, X86_RAX, X86_RDX);
	done = x86_jmp8(&c->b);
	x86_land8(&c->b, out);
	x86_alu_rr(&c->b, X86_XOR, 4, X86_RAX, X86_RAX);
	x86_land8(&c->b, done);
	x86_after_call(c);
	return true;
}

/*
 * With the map known, its operation is called without the helper in between: the arguments are the
 * same, and an int result is extended as the helper does.
 */
static const void *map_operation(const struct map *m, s32 helper, bool *is_int)
{
	*is_int = helper != BPF_FUNC_map_lookup_elem;
	switch (helper) {
	case BPF_FUNC_map_lookup_elem: return (const void *)m->ops->lookup;
	case BPF_FUNC_map_update_elem: return (const void *)m->ops->update;
	case BPF_FUNC_map_delete_elem: return (const void *)m->ops->remove;
	default: return NULL;
	}
}

/* The call by prog_site_call, the site being its sixth argument. */
void x86_call_site(struct jx *c, const struct prog_site *s)
{
	x86_mov_ri(&c->b, X86_R9, (u64)(uintptr_t)s, true);
	x86_call_native(c, (const void *)prog_site_call);
}

static bool watched_call(struct jx *c)
{
	const struct prog_site *s = prog_site_at(c->u->prog, c->at);

	if (!s)
		return false;
	x86_budget_take(c, c->at, 1);
	x86_before_call(c);
	x86_call_site(c, s);
	x86_budget_ended(c);
	x86_after_call(c);
	return true;
}

/* Calls one of ours; in a plain program so that it changes no vector register. */
static void call_ours(struct jx *c, const void *target, bool plain)
{
	if (!c->u->plain || plain) {
		x86_call_native(c, target);
		return;
	}
	x86_mov_ri(&c->b, X86_RAX, (u64)(uintptr_t)target, true);
	if (c->u->far) {
		x86_mov_ri(&c->b, TMP2, (u64)(uintptr_t)code_kept_call, true);
		x86_call_r(&c->b, TMP2);
	} else {
		x86_call_abs(c, (const void *)code_kept_call);
	}
}

/* May a helper of this program run some of its functions? */
static bool calls_back(const struct prog *p)
{
	for (u32 n = 0; p->limits && n < p->insn_cnt; n += isa_slots(&p->insns[n]))
		if (isa_is_ldimm64(&p->insns[n]) && p->insns[n].src_reg == BPF_PSEUDO_FUNC)
			return true;
	return false;
}

static void helper_call(struct jx *c, const struct bpf_insn *i)
{
	const struct helper_proto *h = jit_helper(i->imm);
	struct map *m = const_map(c);
	const void *target;
	bool is_int = false;

	if (!h || !h->fn) {
		c->err = -EINVAL;
		return;
	}
	if (watched_call(c))
		return;
	if (i->imm == BPF_FUNC_map_lookup_elem && m && array_lookup(c, m))
		return;
	target = m ? map_operation(m, i->imm, &is_int) : NULL;
	x86_budget_take(c, c->at, 1);
	x86_before_call(c);
	if (target && c->u->plain && i->imm == BPF_FUNC_map_lookup_elem && m->ops->lookup_plain)
		call_ours(c, (const void *)m->ops->lookup_plain, true);
	else if (target)
		call_ours(c, target, false);
	else
		call_ours(c, (const void *)h->fn, h->flags & HELPER_PLAIN);
	if (target && is_int)
		x86_movsx_rr(&c->b, 8, 4, X86_RAX, X86_RAX);
	if (calls_back(c->u->prog))
		x86_budget_ended(c);
	x86_after_call(c);
}

/* ---- the program's own functions ------------------------------------------------------------- */

static void local_call(struct jx *c, const struct bpf_insn *i)
{
	s32 n = jit_func_at(c->u, (s64)c->at + 1 + i->imm);

	if (n < 0) {
		c->err = -EINVAL;
		return;
	}
	x86_before_call(c);
	if (c->u->funcs[n].tail)
		x86_load(&c->b, 8, X86_RAX, x86_at(X86_RSP, c->tail_disp));
	x86_call_label(c, x86_label_entry(c, (u32)n));
	x86_budget_ended(c);
	x86_after_call(c);
}

/*
 * bpf_tail_call(ctx, map, index): leaves this function's frame and goes on in the other program,
 * which returns to our caller. Falls through when there is none or after 33 of one run.
 */
static void tail_call(struct jx *c)
{
	size_t out[5];
	u32 n = 0;

	x86_before_call(c);
	x86_alu_rm(&c->b, X86_CMP, 4, X86_RDX,
		   x86_at(X86_RSI, offsetof(struct map, attr.max_entries)));
	out[n++] = x86_jcc8(&c->b, X86_AE);
	x86_load(&c->b, 8, X86_RAX, x86_at(X86_RSP, c->tail_disp));
	x86_alu_mi(&c->b, X86_CMP, 4, x86_at(X86_RAX, 0), ISA_MAX_TAIL_CALLS);
	out[n++] = x86_jcc8(&c->b, X86_AE);
	x86_load(&c->b, 8, TMP2, x86_at(X86_RSI, offsetof(struct map, objs)));
	x86_test_rr(&c->b, 8, TMP2, TMP2);
	out[n++] = x86_jcc8(&c->b, X86_E);
	x86_mov_rr(&c->b, 4, X86_RDX, X86_RDX);
	x86_load(&c->b, 8, TMP2, (struct x86_mem){ TMP2, X86_RDX, 3, 0 });
	x86_test_rr(&c->b, 8, TMP2, TMP2);
	out[n++] = x86_jcc8(&c->b, X86_E);
	x86_load(&c->b, 8, TMP2, x86_at(TMP2, offsetof(struct prog, tail)));
	x86_test_rr(&c->b, 8, TMP2, TMP2);
	out[n++] = x86_jcc8(&c->b, X86_E);
	x86_alu_mi(&c->b, X86_ADD, 4, x86_at(X86_RAX, 0), 1);
	x86_epilogue_tail(c);
	x86_jmp_r(&c->b, TMP2);
	while (n)
		x86_land8(&c->b, out[--n]);
	x86_after_call(c);
}

void x86_call_insn(struct jx *c, const struct bpf_insn *i)
{
	if (i->src_reg == BPF_PSEUDO_CALL)
		local_call(c, i);
	else if (i->src_reg == 2)
		x86_native_call(c, i);
	else if (i->imm == BPF_FUNC_tail_call)
		tail_call(c);
	else
		helper_call(c, i);
}
