/* SPDX-License-Identifier: MIT */
/*
 * Callbacks: subprograms whose address is handed on.
 *
 * One that is called before the helper returns is walked like a function of the program, from a
 * branch at the call; when it returns, its path goes on before the call again, with what the callback
 * left behind. So the call is a loop head: what follows it is walked for no round, for one, and so
 * on, until a round begins in a state inside an earlier one of the same call (prune.c). Numbers that
 * change from round to round and that no proof has used are forgotten, so that this comes soon.
 *
 * One that is called later, by a timer, is walked once for each map, as a program of its own.
 */
#include <errno.h>

#include "verify/verify_int.h"

enum cb_arg { CB_NONE, CB_NUMBER, CB_MAP, CB_MAP_KEY, CB_MAP_VALUE, CB_CTX, CB_DYNPTR, CB_TASK, CB_AREA };

static const struct cb_kind {
	u32 helper;
	bool later;      /* not before the helper returns */
	u8 func, ctx;    /* the helper's arguments that are the function and CB_CTX */
	u8 rounds;       /* its argument that bounds the number of calls; 0 is none */
	u8 args[5];      /* enum cb_arg */
	s32 ret_max;     /* returns 0 to this */
} kinds[] = {
	{ .helper = BPF_FUNC_for_each_map_elem, .func = 2, .ctx = 3, .ret_max = 1,
	  .args = { CB_MAP, CB_MAP_KEY, CB_MAP_VALUE, CB_CTX } },
	{ .helper = BPF_FUNC_loop, .func = 2, .ctx = 3, .rounds = 1, .ret_max = 1,
	  .args = { CB_NUMBER, CB_CTX } },
	{ .helper = BPF_FUNC_user_ringbuf_drain, .func = 2, .ctx = 3, .ret_max = 1,
	  .args = { CB_DYNPTR, CB_CTX } },
	{ .helper = BPF_FUNC_find_vma, .func = 3, .ctx = 4, .ret_max = 1,
	  .args = { CB_TASK, CB_AREA, CB_CTX } },
	{ .helper = BPF_FUNC_timer_set_callback, .later = true, .func = 2,
	  .args = { CB_MAP, CB_MAP_KEY, CB_MAP_VALUE } },
};

static const struct cb_kind *kind_of(u32 helper)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i].helper == helper)
			return &kinds[i];
	return NULL;
}

bool vcallback_is_head(const struct bpf_insn *insn)
{
	const struct cb_kind *k = isa_is_call(insn, 0) ? kind_of((u32)insn->imm) : NULL;

	return k && !k->later;
}

/* ---- references to functions ------------------------------------------------------------------ */

int vcallback_ldimm64(struct verifier *v, const struct bpf_insn *insn)
{
	const struct prog_func *f;
	const struct btf_type *t;
	struct reg *dst = cur_reg(v, insn->dst_reg);
	u32 func = v->aux[(s64)v->insn + 1 + insn->imm].func;

	f = &v->p->funcs[func];
	t = v->p->btf && f->btf_id ? btf__type_by_id(v->p->btf, f->btf_id) : NULL;
	if (!func || (t && btf_is_func(t) && btf_vlen(t) != BTF_FUNC_STATIC))
		return refuse(v, -EINVAL, "declare the callback `static`", "callback function not static");
	reg_pointer(dst, REG_FUNC);
	dst->what = (u16)func;
	return 0;
}

int vcallback_arg(struct verifier *v, u32 r)
{
	const struct reg *reg = cur_reg(v, r);

	if (reg->type != REG_FUNC)
		return refuse(v, -EACCES, "pass the name of a static function of the program",
			      "R%u type=%s expected=func", r, reg_type_name(reg));
	return 0;
}

/* ---- entering --------------------------------------------------------------------------------- */

/* What the callback finds in a register, `from` being the caller's registers. */
static int set_arg(struct verifier *v, struct reg *r, const struct reg *from, u8 what, u8 ctx,
		    u32 map)
{
	reg_none(r);
	switch (what) {
	case CB_NUMBER:
		reg_unknown(r);
		break;
	case CB_CTX:
		*r = from[ctx];
		break;
	case CB_MAP:
		reg_pointer(r, REG_MAP);
		r->what = (u16)map;
		break;
	case CB_MAP_KEY:
		reg_pointer(r, REG_MEM);
		r->flags = REG_RDONLY | REG_KEY;
		r->size = v->p->maps[map]->attr.key_size;
		break;
	case CB_MAP_VALUE:
		reg_pointer(r, REG_MAP_VALUE);
		r->what = (u16)map;
		if (v->p->maps[map]->fields)
			r->id = ++v->ids; /* locks are told apart by it */
		break;
	case CB_DYNPTR:
		vdynptr_const(v, r);
		break;
	case CB_TASK:
		*r = from[1];
		break;
	case CB_AREA:
		return vtyped_kernel(v, r, "vm_area_struct", REG_RDONLY);
	}
	return 0;
}

static int enter(struct verifier *v, struct state *s, const struct cb_kind *k, u32 func, u32 map)
{
	/* The caller's frame, now the top one; a pointer to it stays good. */
	struct frame *caller = state_frame(s), *f;
	u32 i;
	int err = state_push_frame(v, s, func, v->insn);

	if (err)
		return err;
	f = state_frame(s);
	f->callback = true;
	f->ret_max = k->ret_max;
	f->first_id = v->ids;
	caller->rounds++;
	for (i = 0; i < 5 && !err; i++)
		err = set_arg(v, &f->regs[i + 1], caller->regs, k->args[i], k->ctx, map);
	return err;
}

/* A call that calls back at once: the rounds are a branch, `cur` goes on behind the call. */
static int call_now(struct verifier *v, const struct cb_kind *k, u32 func, u32 map)
{
	struct frame *f = state_frame(v->cur);
	struct state *branch;
	int err;

	if (v->cur->nframes == ISA_MAX_FRAMES)
		return refuse(v, -E2BIG, "at most 8 functions may be active at once",
			      "the call stack of %u frames is too deep", v->cur->nframes + 1u);
	/* How often is relied upon when it ends the rounds. */
	if (k->rounds)
		vprecise_reg(v, &f->regs[k->rounds]);
	/* A pointer is a number too, of which nothing is known. */
	if (!k->rounds || f->regs[k->rounds].type != REG_SCALAR ||
	    f->regs[k->rounds].n.umax > f->rounds) {
		err = vwalk_push(v, v->p->funcs[func].start, &branch);
		if (!err)
			err = enter(v, branch, k, func, map);
		if (err)
			return err;
	}
	f->loop = f->rounds = 0;
	return 0;
}

static int call_later(struct verifier *v, struct later later)
{
	struct later *l;
	u32 i;

	for (i = 0; i < v->nlater; i++)
		if (v->later[i].func == later.func && v->later[i].map == later.map &&
		    v->later[i].native == later.native)
			return 0;
	l = base_grow(v->later, &v->later_cap, v->nlater + 1, sizeof(*l));
	if (!l)
		return v->error = -ENOMEM;
	v->later = l;
	l[v->nlater++] = later;
	return 0;
}

int vcallback_native(struct verifier *v, u32 func, const struct module_callback *cb, const struct btf *btf)
{
	v->p->funcs[func].calls_back = true;
	return call_later(v, (struct later){ .func = func, .native = cb, .btf = btf });
}

int vcallback_call(struct verifier *v, u32 helper, u32 map)
{
	const struct cb_kind *k = kind_of(helper);
	u32 func;

	if (!k)
		return refuse_internal(v, "helper that calls back is not in the table");
	func = cur_reg(v, k->func)->what;
	v->p->funcs[func].calls_back = true;
	return k->later ? call_later(v, (struct later){ .func = func, .map = map, .kind = k }) : call_now(v, k, func, map);
}

/* What native code passes: nothing of the caller's but what the prototype says. */
static int set_native_arg(struct verifier *v, struct reg *r, const struct module_arg *a, const struct btf *btf)
{
	const struct btf_type *t;
	u32 flags = REG_NATIVE | (a->writable ? 0 : REG_RDONLY) | (a->nullable ? REG_NULLABLE : 0);

	switch (a->kind) {
	case MODULE_ARG_SCALAR:
		if (a->width == 8)
			reg_unknown(r);
		else if (a->is_bool)
			reg_number(r, num_urange(0, 1));
		else
			reg_number(r, a->is_signed ? num_load_sx(a->width * 8u) : num_load(a->width * 8u));
		return 0;
	case MODULE_ARG_OBJECT:
		t = fbtf_strip(btf, a->btf_id, NULL);
		return t && btf_is_ptr(t) ? vtyped_make(v, r, btf, t->type, flags | REG_TRUSTED | REG_RDONLY |
								   (a->writable ? 0 : REG_CONST)) :
					    refuse_internal(v, "callback's object without a type");
	default:
		reg_pointer(r, REG_MEM);
		r->flags = (u8)flags;
		r->size = a->size;
		r->what = a->kind == MODULE_ARG_STRING ? REG_HOST_STRING : REG_HOST_MEM;
		if (a->nullable)
			r->id = ++v->ids;
		return 0;
	}
}

static int native_start(struct verifier *v, struct frame *f, const struct module_callback *cb,
			const struct btf *btf)
{
	u32 i;
	int err = 0;

	f->native = cb;
	for (i = 0; i < cb->nargs && !err; i++)
		err = set_native_arg(v, &f->regs[i + 1], &cb->args[i], btf);
	return err;
}

/* A new state at the start of a callback that is called later. */
int vcallback_start(struct verifier *v, const struct later *l)
{
	struct frame *f;
	u32 i;
	int err;

	v->cur = state_new(v);
	if (!v->cur)
		return v->error;
	err = state_push_frame(v, v->cur, l->func, 0);
	if (err)
		return err;
	f = state_frame(v->cur);
	f->callback = true;
	v->insn = v->p->funcs[l->func].start;
	if (l->native)
		return native_start(v, f, l->native, l->btf);
	f->ret_max = l->kind->ret_max;
	for (i = 0; i < 5 && !err; i++)
		err = set_arg(v, &f->regs[i + 1], NULL, l->kind->args[i], 0, l->map);
	return err;
}

/* Is the function one that is called later only? Then its stack is on no caller's. */
bool vcallback_is_later(const struct verifier *v, u32 func)
{
	u32 i;

	for (i = 0; i < v->nlater; i++)
		if (v->later[i].func == func)
			return true;
	return false;
}

/* ---- returning -------------------------------------------------------------------------------- */

/* Native code looks at no more of the register than the C type has. */
static int check_native_result(struct verifier *v, const struct module_callback *cb, const struct reg *r0)
{
	struct num n = r0->n;

	if (!cb->ret_ranged)
		return 0;
	vprecise_reg(v, r0);
	/* Of all that is no wider than int, C looks at the lower half. */
	if (cb->ret_min < 0 && cb->ret_width <= 4)
		num_sext(&n, 32);
	else if (cb->ret_width <= 4)
		num_zext(&n, 32);
	if (n.smin >= cb->ret_min && n.smax <= cb->ret_max)
		return 0;
	return refuse(v, -EINVAL, "return only values of the C type that the function pointer returns",
		      "At callback return the register R0 has smin=%lld smax=%lld should have been in [%lld, %lld], "
		      "as native code that calls `%s' expects", (long long)n.smin, (long long)n.smax,
		      (long long)cb->ret_min, (long long)cb->ret_max, cb->proto);
}

static int check_result(struct verifier *v)
{
	struct frame *f = state_frame(v->cur);
	struct reg *r0 = &f->regs[0];
	int err;

	if (f->native && !f->native->ret_width)
		return 0;
	err = vcall_read_ok(v, 0);
	if (err)
		return err;
	if (r0->type != REG_SCALAR)
		return refuse(v, -EACCES, "return a number", "R0 not a scalar value");
	if (f->native)
		return check_native_result(v, f->native, r0);
	vprecise_reg(v, r0);
	if (r0->n.smin >= 0 && r0->n.smax <= f->ret_max)
		return 0;
	return refuse(v, -EINVAL,
		      f->ret_max ? "return 0 to go on, 1 to stop" : "return 0",
		      "At callback return the register R0 has smin=%lld smax=%lld should have "
		      "been in [0, %d]",
		      (long long)r0->n.smin, (long long)r0->n.smax, f->ret_max);
}

static int check_return(struct verifier *v)
{
	struct frame *f = state_frame(v->cur);
	int err = check_result(v);
	u32 i;

	if (err)
		return err;
	for (i = 0; i < v->cur->nrefs; i++)
		if (v->cur->refs[i].id > f->first_id)
			return refuse(v, -EINVAL, "release in the callback what it acquired",
				      "Unreleased reference id=%u alloc_insn=%u: BPF_EXIT instruction in "
				      "callback would lead to reference leak",
				      v->cur->refs[i].id, v->cur->refs[i].insn);
	return 0;
}

int vcallback_return(struct verifier *v)
{
	u32 site = state_frame(v->cur)->callsite;
	int err = check_return(v);

	if (err)
		return err;
	if (v->cur->nframes == 1) {
		v->path_end = true;
		return vcall_locks_released(v, "BPF_EXIT instruction in callback");
	}
	err = state_pop_frame(v, v->cur);
	v->next = site;
	return err;
}

/* ---- rounds ----------------------------------------------------------------------------------- */

/* Before a call that calls back at once: a call from outside is told from the rounds of another. */
void vcallback_arrive(struct verifier *v)
{
	struct frame *f = state_frame(v->cur);

	if (!f->loop && vcallback_is_head(&v->insns[v->insn]))
		f->loop = ++v->ids;
}

u32 vcallback_round(const struct verifier *v, const struct state *s)
{
	return viter_is_head(v, &v->insns[v->insn]) ? viter_round(s) : state_frame(s)->loop;
}

static bool may_forget(struct verifier *v, const struct reg *old, const struct reg *now)
{
	return old->type == REG_SCALAR && now->type == REG_SCALAR && !vprecise_is(v, old) &&
	       !vprecise_is(v, now) && !num_equal(&old->n, &now->n);
}

static void forget_frame(struct verifier *v, const struct state *old, u32 i)
{
	const struct frame *a = old->frames[i], *b = v->cur->frames[i];
	struct frame *edit;
	u32 n;

	for (n = 0; n < 10; n++) {
		if (!may_forget(v, &a->regs[n], &b->regs[n]))
			continue;
		edit = state_frame_edit(v, v->cur, i);
		if (!edit)
			return;
		reg_unknown(&edit->regs[n]);
		b = edit;
	}
	for (n = 0; n < a->nslots && n < b->nslots; n++) {
		u32 bytes = slot_spill_bytes(&b->slots[n]);

		if (!bytes || bytes != slot_spill_bytes(&a->slots[n]) ||
		    !may_forget(v, &a->slots[n].spill, &b->slots[n].spill))
			continue;
		edit = state_frame_edit(v, v->cur, i);
		if (!edit)
			return;
		reg_number(&edit->slots[n].spill, num_load(bytes * 8));
		b = edit;
	}
}

/*
 * A round has ended in a state that is inside none before. What it changed of numbers that mattered
 * nowhere so far will not matter, we guess: the next round starts without knowing them.
 */
void vcallback_widen(struct verifier *v)
{
	const struct state *s = v->cur->parent;
	u32 loop = vcallback_round(v, v->cur), i;

	for (; s; s = s->parent)
		if (s->insn == v->insn && s->nframes == v->cur->nframes &&
		    vcallback_round(v, s) == loop)
			break;
	for (i = 0; s && i < s->nframes; i++)
		forget_frame(v, s, i);
}
