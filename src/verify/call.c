/* SPDX-License-Identifier: MIT */
/* Calls of helpers and of the program's own functions, and what a function leaves when it exits. */
#include <errno.h>
#include <string.h>

#include "verify/call_int.h"

/* ---- what native.c checks too ----------------------------------------------------------------- */

void vcall_clobber(struct verifier *v)
{
	u32 r;

	for (r = 0; r <= 5; r++)
		reg_none(cur_reg(v, r));
}

int vcall_refs_released(struct verifier *v, const char *before)
{
	const struct state *s = v->cur;
	u32 i;

	if (!s->nrefs)
		return 0;
	for (i = 0; i < s->nrefs; i++)
		vlog_note(v, "Unreleased reference id=%u alloc_insn=%u", s->refs[i].id, s->refs[i].insn);
	if (before)
		return refuse(v, -EINVAL, "release it first", "%s would lead to reference leak", before);
	return refuse(v, -EINVAL, "release on every path what was acquired",
		      "BPF_EXIT instruction in main prog would lead to reference leak");
}

int vcall_locks_released(struct verifier *v, const char *before)
{
	if (!v->cur->locked)
		return 0;
	return refuse(v, -EINVAL, "unlock it first, on every path",
		      "%s cannot be used inside bpf_spin_lock-ed region", before);
}

void vcall_release(struct verifier *v, u32 ref)
{
	struct reg_iter it = { v->cur, 0, 0 };
	const struct reg *r;

	state_drop_ref(v->cur, ref);
	while ((r = reg_iter_next(&it)))
		if (r->ref == ref && r->flags & REG_NATIVE)
			reg_none(reg_iter_edit(v, &it)); /* the host's address stays a secret */
		else if (r->ref == ref)
			reg_unknown(reg_iter_edit(v, &it));
	vdynptr_release(v, ref);
}

void vcall_forget_packet(struct verifier *v, struct state *s)
{
	struct reg_iter it = { s, 0, 0 };
	const struct reg *r;

	while ((r = reg_iter_next(&it)))
		if (reg_is_pkt(r) || r->type == REG_PKT_END)
			reg_unknown(reg_iter_edit(v, &it));
}

/* ---- helpers ---------------------------------------------------------------------------------- */

static int find_helper(struct verifier *v, u32 id, const struct helper_proto **out)
{
	const struct helper_proto *h = helper_of(id);
	const char *name = helper_name(id), *hint = helper_missing(id);

	if (!name)
		return refuse(v, -EINVAL,
			      "no helper has this number: is the program built for a newer kernel?",
			      "invalid func unknown#%u", id);
	if (!h)
		return refuse(v, -EINVAL, hint, "unknown func %s#%u", name, id);
	if (!(h->groups & prog_type_helpers(v->type, v->p->attach_type)))
		return refuse(v, -EINVAL, "another program type may call it",
			      "program of this type cannot use helper %s#%u", name, id);
	if (h->flags & HELPER_GPL && !v->p->gpl)
		return refuse(v, -EINVAL, "give the object a GPL-compatible license",
			      "cannot call GPL-restricted function from non-GPL compatible program");
	*out = h;
	return vstrict_helper(v, id);
}

/* They begin at the registers, which the context of a kprobe is: who runs the program gives all. */
static void note_registers(struct verifier *v, u32 id)
{
	if (v->p->type == BPF_PROG_TYPE_KPROBE &&
	    (id == BPF_FUNC_get_stack || id == BPF_FUNC_get_stackid || id == BPF_FUNC_get_task_stack || id == BPF_FUNC_task_pt_regs))
		v->p->max_ctx_off = prog_type_of(v->p->type)->raw_end;
}

/* What holds for each visit of the instruction becomes a fact (fixup.c). */
static void note_map(struct verifier *v, const struct call *c)
{
	struct insn_aux *aux = &v->aux[v->insn];

	/* A template stands for many maps. */
	if (!c->map || c->h->args[0] != ARG_MAP || c->map->is_template ||
	    (aux->map_known && aux->map != c->map_index)) {
		aux->map_varies = true;
		return;
	}
	aux->map_known = true;
	aux->map = (u16)c->map_index;
}

static void note_key(struct verifier *v, bool known, u64 key)
{
	struct insn_aux *aux = &v->aux[v->insn];

	if (!known || key > UINT32_MAX || (aux->key_known && aux->key != (s64)key)) {
		aux->key_varies = true;
		return;
	}
	aux->key_known = true;
	aux->key = (s64)key;
}

static bool is_array(const struct map *m)
{
	return m->attr.type == BPF_MAP_TYPE_ARRAY || m->attr.type == BPF_MAP_TYPE_PERCPU_ARRAY;
}

/* A look-up in a map of maps gives a map, of which its template says all that is known. */
static int inner_map(struct verifier *v, const struct call *c, struct reg *r0)
{
	u32 i;

	for (i = 0; i < v->p->nmaps && v->p->maps[i] != c->map->inner; i++)
		;
	if (i == v->p->nmaps)
		return refuse_internal(v, "the template of inner maps is not in prog->maps");
	reg_pointer(r0, REG_MAP);
	r0->what = (u16)i;
	r0->flags = REG_NULLABLE;
	r0->id = ++v->ids;
	note_key(v, false, 0);
	return 0;
}

/* What is cast goes when what it was cast from is released; a listener is nobody's. */
static int sock_result(struct verifier *v, const struct call *c, struct reg *r0)
{
	static const u8 kinds[] = { [RET_SOCK_OR_NULL] = PROG_SOCK_FULL, [RET_SOCK_COMMON_OR_NULL] = PROG_SOCK_COMMON,
				    [RET_TCP_SOCK_OR_NULL] = PROG_SOCK_TCP };
	int err = 0;

	if (c->h->ret == RET_KERNEL_SOCK_OR_NULL) {
		err = vtyped_kernel(v, r0, c->h->name + strlen("skc_to_"), REG_NULLABLE | REG_RDONLY);
	} else {
		reg_pointer(r0, REG_SOCK);
		r0->what = kinds[c->h->ret];
		r0->flags = REG_NULLABLE;
		r0->id = ++v->ids;
	}
	if (!err && c->h->flags & HELPER_ACQUIRES)
		return state_add_ref(v, v->cur, v->insn, &r0->ref);
	if (!err && c->sock && c->h->id != BPF_FUNC_get_listener_sock) {
		r0->ref = c->sock;
		r0->flags |= REG_BORROWED;
	}
	return err;
}

static int set_result(struct verifier *v, struct call *c)
{
	struct reg *r0 = cur_reg(v, 0);
	bool in_array;

	switch (c->h->ret) {
	case RET_VOID:
		return 0;
	case RET_MAP_VALUE_OR_NULL:
		if (!c->map)
			return refuse_internal(v, "helper returns a map value without a map");
		if (c->map->inner)
			return inner_map(v, c, r0);
		reg_pointer(r0, REG_MAP_VALUE);
		r0->what = (u16)c->map_index;
		/* An element of an array is always there. */
		in_array = is_array(c->map) && !c->map->is_template && c->key_known && c->key < c->map->attr.max_entries &&
			   c->h->id == BPF_FUNC_map_lookup_elem;
		if (!in_array)
			r0->flags = REG_NULLABLE;
		/* Locks are told apart by it. */
		if (!in_array || (c->map->fields && c->map->fields->lock))
			r0->id = ++v->ids;
		if (c->h->id == BPF_FUNC_map_lookup_elem)
			note_key(v, in_array, c->key);
		return 0;
	case RET_CPU_VAR:
	case RET_CPU_VAR_OR_NULL:
		return vtyped_cpu(v, &c->var, r0, c->h->ret == RET_CPU_VAR_OR_NULL);
	case RET_KPTR_OBJ_OR_NULL:
		return vkptr_result(v, c->kptr, r0);
	case RET_TASK:
		return vtyped_kernel(v, r0, "task_struct", REG_TRUSTED | REG_RDONLY);
	case RET_PT_REGS:
		return vtyped_kernel(v, r0, "pt_regs", REG_TRUSTED | REG_RDONLY);
	case RET_SOCK_OR_NULL:
	case RET_SOCK_COMMON_OR_NULL:
	case RET_TCP_SOCK_OR_NULL:
	case RET_KERNEL_SOCK_OR_NULL:
		return sock_result(v, c, r0);
	case RET_SLICE_OR_NULL:
	case RET_SLICE_RDONLY_OR_NULL:
	case RET_SLICE_RDWR_OR_NULL:
		reg_pointer(r0, REG_MEM);
		r0->flags = REG_NULLABLE | REG_BORROWED | (c->h->ret == RET_SLICE_RDONLY_OR_NULL ? REG_RDONLY : 0);
		r0->size = (u32)c->alloc_size;
		r0->id = ++v->ids;
		/* A value's memory outlives the dynptr: the kernel, too, leaves slices by kfuncs alone when that goes. */
		r0->ref = c->kfunc ? (c->of.held ? c->of.id : 0) : c->slice;
		return 0;
	case RET_ALLOC_MEM_OR_NULL:
		reg_pointer(r0, REG_MEM);
		r0->flags = REG_NULLABLE | REG_RINGBUF;
		r0->size = (u32)c->alloc_size;
		r0->id = ++v->ids;
		return c->h->flags & HELPER_ACQUIRES ? state_add_ref(v, v->cur, v->insn, &r0->ref) : 0;
	}
	reg_unknown(r0);
	switch (c->h->id) {
	case BPF_FUNC_get_smp_processor_id:
		r0->n = num_urange(0, map_cpus() - 1);
		break;
	case BPF_FUNC_get_stack: /* an error, or the bytes written: at most as many as there was room for */
	case BPF_FUNC_get_task_stack:
	case BPF_FUNC_probe_read_str:
	case BPF_FUNC_probe_read_user_str:
	case BPF_FUNC_probe_read_kernel_str:
		r0->n = num_srange(-4095, (s64)c->max_size);
		break;
	}
	return 0;
}

/*
 * A function that was called may return here, by no instruction of its own: a path that goes on at an exit of it, with
 * `r0`.
 */
int vcall_may_return(struct verifier *v, const char *what, struct num r0, struct state **path)
{
	const struct prog_func *fn = &v->p->funcs[state_frame(v->cur)->func];
	struct reg *reg;
	u32 i;
	int err;

	for (i = fn->start; i < fn->end; i += isa_slots(&v->insns[i]))
		if (isa_ops[v->insns[i].code].kind == ISA_EXIT)
			break;
	if (i >= fn->end)
		return refuse(v, -EINVAL, "let the function return", "%s from a function that never exits", what);
	err = vwalk_push(v, i, path);
	if (err)
		return err;
	reg = &state_frame(*path)->regs[0];
	reg_unknown(reg);
	reg->n = r0;
	return 0;
}

/*
 * A tail call from a function that was called: when it goes well, another program ran in its place and
 * comes back to the caller, with any result, and may have moved the packet.
 */
static int tail_called(struct verifier *v)
{
	const struct frame *f = state_frame(v->cur);
	struct state *back;
	int err;

	if (v->cur->nframes == 1)
		return 0;
	/* Helpers that call back look at no more than whether it is zero. */
	err = vcall_may_return(v, "tail_call", f->callback ? num_urange(0, (u64)f->ret_max) : num_unknown(), &back);
	if (!err)
		vcall_forget_packet(v, back);
	return err;
}

static int tail_call(struct verifier *v)
{
	const struct reg *index = cur_reg(v, 3);
	int err = vcall_refs_released(v, "tail_call");

	if (!err)
		err = vcall_locks_released(v, "tail_call");

	if (err)
		return err;
	if (v->p->sig)
		return refuse(v, -EINVAL, "return instead",
			      "tail_call from a program that is called as a C function");
	v->p->funcs[state_frame(v->cur)->func].has_tail_call = true;
	if (reg_is_const(index))
		vprecise_reg(v, index);
	/* The helper looks at the lower 32 bits. */
	note_key(v, reg_is_const(index), (u32)index->n.bits.value);
	return tail_called(v);
}

int vcall_helper(struct verifier *v, const struct bpf_insn *insn)
{
	struct call c = { 0 };
	u32 r;
	int err = find_helper(v, (u32)insn->imm, &c.h);

	if (!err)
		err = vlock_check_call(v, (u32)insn->imm);

	for (r = 1; r <= 5 && !err && c.h->args[r - 1] != ARG_NONE; r++)
		err = vcall_arg(v, &c, r);
	if (!err && c.h->flags & HELPER_TAIL_CALL)
		err = tail_call(v);
	if (err)
		return err;
	note_map(v, &c);
	note_registers(v, c.h->id);
	if (c.h->flags & HELPER_RELEASES && !c.release)
		return refuse_internal(v, "releasing helper without a reference");
	if (c.release)
		vcall_release(v, c.release);
	if (c.h->flags & HELPER_CALLS_BACK) {
		err = vcallback_call(v, c.h->id, c.map_index);
		if (err)
			return err;
	}
	if (c.h->flags & HELPER_MOVES_PACKET)
		vcall_forget_packet(v, v->cur);
	vcall_clobber(v);
	return set_result(v, &c);
}

int vcall_kfunc(struct verifier *v, const struct helper_proto *h)
{
	struct call c = { .h = h, .kfunc = true };
	u32 r;
	int err = 0;

	if (!v->p->gpl)
		return refuse(v, -EINVAL, "give the object a GPL-compatible license",
			      "cannot call kernel function from non-GPL compatible program");
	if (!(h->groups & prog_type_helpers(v->type, v->p->attach_type)))
		return refuse(v, -EACCES, "another program type may call it", "calling kernel function %s is not allowed",
			      h->name);
	if (h->args[0] >= ARG_ITER_NEW && h->args[0] <= ARG_ITER_DESTROY)
		return viter_call(v, h);
	for (r = 1; r <= 5 && !err && h->args[r - 1] != ARG_NONE; r++)
		err = vcall_kfunc_arg(v, &c, r);
	/* may_access_direct_pkt_data(), whatever the slice is of. */
	if (!err && h->ret == RET_SLICE_RDWR_OR_NULL && !v->type->direct_write)
		err = refuse(v, -EINVAL, "use bpf_dynptr_slice, or bpf_dynptr_data",
			     "the prog does not allow writes to packet data");
	if (err)
		return err;
	vcall_clobber(v);
	return set_result(v, &c);
}

/* ---- functions of the program ----------------------------------------------------------------- */

int vcall_func(struct verifier *v, const struct bpf_insn *insn)
{
	s64 target = (s64)v->insn + 1 + insn->imm;
	struct frame *caller, *callee;
	u32 r;
	int err;

	if (vglobal_is(v, v->aux[target].func))
		return vglobal_call(v, v->aux[target].func);
	if (v->cur->nframes == ISA_MAX_FRAMES)
		return refuse(v, -E2BIG, "at most 8 functions may be active at once",
			      "the call stack of %u frames is too deep", v->cur->nframes + 1u);
	err = state_push_frame(v, v->cur, v->aux[target].func, v->insn);
	if (err)
		return err;
	callee = state_frame(v->cur);
	/* It was the top one, and so not shared. */
	caller = (struct frame *)v->cur->frames[v->cur->nframes - 2];
	for (r = 1; r <= 5; r++)
		callee->regs[r] = caller->regs[r];
	for (r = 0; r <= 5; r++)
		reg_none(&caller->regs[r]);
	v->next = (u32)target;
	return 0;
}

static int return_value(struct verifier *v)
{
	struct reg *r0 = cur_reg(v, 0);
	s32 min, max;
	int err;

	if (v->cur->frames[0]->func)
		return vglobal_result(v);
	if (v->p->sig)
		return ventry_result(v);
	err = vcall_read_ok(v, 0);
	if (err)
		return err;
	if (vsecret(v, r0))
		return refuse(v, -EACCES, "return a number", "R0 leaks addr as return value");
	if (!prog_type_ret(v->type, v->p->attach_type, &min, &max))
		return 0;
	if (r0->type != REG_SCALAR)
		return refuse(v, -EINVAL, "return a number",
			      "At program exit the register R0 is not a known value (%s)",
			      reg_type_name(r0));
	vprecise_reg(v, r0);
	if (r0->n.smin >= min && r0->n.smax <= max)
		return 0;
	return refuse(v, -EINVAL, "return one of the values that the program type knows",
		      "At program exit the register R0 has smin=%lld smax=%lld should have been in [%d, %d]",
		      (long long)r0->n.smin, (long long)r0->n.smax, min, max);
}

int vcall_exit(struct verifier *v)
{
	struct frame *callee = state_frame(v->cur);
	struct reg r0 = callee->regs[0];
	u32 site = callee->callsite;
	int err;

	if (callee->callback)
		return vcallback_return(v);
	if (v->cur->nframes > 1) {
		if (r0.type == REG_STACK)
			return refuse(v, -EINVAL, "let the caller give the memory",
				      "cannot return stack pointer to the caller");
		err = state_pop_frame(v, v->cur);
		if (err)
			return err;
		*cur_reg(v, 0) = r0;
		v->next = site + 1;
		return 0;
	}
	err = vcall_refs_released(v, NULL);
	if (!err)
		err = vcall_locks_released(v, "BPF_EXIT instruction in main prog");
	if (!err)
		err = return_value(v);
	v->path_end = true;
	return err;
}
