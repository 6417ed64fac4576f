/* SPDX-License-Identifier: MIT */
/*
 * Calls of native functions (the kernel's kfuncs): may the program call it, what is released, what
 * comes back. The arguments are in native_arg.c.
 */
#include <errno.h>

#include "verify/native_int.h"

static int check_may_call(struct verifier *v, const struct module_func *f)
{
	if (f->flags & FERRY_SLEEPABLE && !(v->p->flags & BPF_F_SLEEPABLE) &&
	    v->p->type != BPF_PROG_TYPE_SYSCALL)
		return refuse(v, -EACCES, "load the program with BPF_F_SLEEPABLE",
			      "program must be sleepable to call sleepable kfunc %s", f->name);
	if (f->flags & FERRY_DESTRUCTIVE && v->o->strict)
		return refuse(v, -EACCES,
			      "this program was not granted functions that can harm the process: "
			      "call another, or grant it",
			      "destructive kfunc %s needs a grant", f->name);
	return 0;
}

/* The reference that a releasing function takes: that of its one object, as it was acquired. */
static int find_release(struct verifier *v, const struct native *c, u32 *ref)
{
	u32 i;

	for (i = 0; i < c->f->nargs; i++) {
		const struct reg *reg = &c->args[i];

		if (c->f->args[i].kind != MODULE_ARG_OBJECT)
			continue;
		/* What was found through an object is not the program's to release. */
		if (!native_is_object(v, c, i) || !reg->ref || reg->flags & (REG_NULLABLE | REG_BORROWED))
			break;
		*ref = reg->ref;
		return 0;
	}
	return refuse(v, -EINVAL, "pass the pointer that was acquired, after a check for NULL",
		      "release kernel function %s expects refcounted pointer", c->f->name);
}

/*
 * The object that owns what is returned: the argument marked __owner, else the one object given that
 * will be released. 0: it is valid as long as the program runs.
 */
static int find_owner(struct verifier *v, const struct native *c, u32 *owner)
{
	u32 i, ref;

	*owner = 0;
	for (i = 0; i < c->f->nargs; i++)
		if (c->f->args[i].owner) {
			*owner = c->args[i].ref;
			return 0;
		}
	for (i = 0; i < c->f->nargs; i++) {
		ref = c->f->args[i].kind == MODULE_ARG_OBJECT || c->f->args[i].kind == MODULE_ARG_MEM ?
			      c->args[i].ref : 0;
		if (ref && *owner && ref != *owner)
			return refuse(v, -EINVAL, "mark one parameter with __owner in the prototype",
				      "what %s() returns could belong to several of its arguments", c->f->name);
		if (ref)
			*owner = ref;
	}
	return 0;
}

/* The type that the function returns a pointer to; 0 when BTF does not say. */
static u32 returned_type(const struct module_func *f)
{
	const struct btf_type *t = btf__type_by_id(f->mod->btf, f->btf_id);

	t = t ? btf__type_by_id(f->mod->btf, t->type) : NULL;
	t = t && btf_is_func_proto(t) ? fbtf_strip(f->mod->btf, t->type, NULL) : NULL;
	return t && btf_is_ptr(t) ? t->type : 0;
}

static int set_memory(struct verifier *v, const struct native *c, struct reg *r0, u16 index)
{
	const struct module_func *f = c->f;
	u64 size = f->ret_size;

	if (f->ret_size_arg) {
		size = c->args[f->ret_size_arg - 1].n.bits.value;
		if (!size || size >= MAX_VAR_SIZE / f->ret_elem)
			return native_error(v, c, f->ret_size_arg - 1u, "ask for less memory",
					    "the size of the returned memory is 0 or too large");
		size *= f->ret_elem;
	}
	reg_pointer(r0, REG_MEM);
	r0->flags = REG_NATIVE | (f->ret_writable ? 0 : REG_RDONLY);
	r0->what = index;
	r0->size = (u32)size;
	if (f->flags & FERRY_RET_NULL) {
		r0->flags |= REG_NULLABLE;
		r0->id = ++v->ids;
	}
	return 0;
}

static void set_scalar(const struct module_func *f, struct reg *r0)
{
	/* Engines extend the result from its type; a bool may be any byte. */
	if (f->ret_width != 1 && f->ret_width != 2 && f->ret_width != 4)
		reg_unknown(r0);
	else if (f->ret_signed && !f->ret_bool)
		reg_number(r0, num_load_sx(f->ret_width * 8u));
	else
		reg_number(r0, num_load(f->ret_width * 8u));
}

static int set_result(struct verifier *v, const struct native *c, u16 index, u32 owner)
{
	const struct module_func *f = c->f;
	struct reg *r0 = cur_reg(v, 0);
	int err = 0;

	switch (f->ret_kind) {
	case MODULE_RET_VOID:
	case MODULE_RET_STRUCT: return 0;
	case MODULE_RET_SCALAR: set_scalar(f, r0); return 0;
	case MODULE_RET_MEM:
	case MODULE_RET_STRING: err = set_memory(v, c, r0, index); break;
	case MODULE_RET_OBJECT:
		err = vtyped_make(v, r0, f->mod->btf, returned_type(f),
				  REG_NATIVE | REG_TRUSTED | REG_RDONLY | (f->ret_writable ? 0 : REG_CONST) |
					  (f->flags & FERRY_RET_NULL ? REG_NULLABLE : 0));
		break;
	default: return refuse_internal(v, "a native function returns what nobody knows");
	}
	if (err)
		return err == -EINVAL && !v->explained ? refuse_internal(v, "object without a type") : err;
	if (f->flags & FERRY_ACQUIRE)
		return state_add_ref(v, v->cur, v->insn, &r0->ref);
	if (owner) {
		r0->ref = owner;
		r0->flags |= REG_BORROWED;
	}
	return 0;
}

/* What the engines have to know of this call; it is one instruction for all paths. */
static int note_site(struct verifier *v, const struct native *c)
{
	struct module_site *site = &v->p->facts[v->insn].site;
	struct insn_aux *aux = &v->aux[v->insn];

	if (!aux->site_known) {
		aux->site_known = true;
		*site = c->site;
		return 0;
	}
	if (c->site.str_len && (!site->str_len || c->site.str_len < site->str_len))
		site->str_len = c->site.str_len;
	if (c->site.va_count == site->va_count && c->site.va_float == site->va_float)
		return 0;
	return refuse(v, -EINVAL, "call the function once for each format",
		      "the formats of one call of %s() ask for different arguments", c->f->name);
}

static int check_call(struct verifier *v, struct native *c)
{
	const struct module_func *f = c->f;
	int err = native_fetch(v, c);

	if (!err)
		err = native_args(v, c);
	if (!err && f->ret_kind == MODULE_RET_STRUCT) {
		err = vcall_read_ok(v, 1);
		if (!err)
			err = vmem_arg(v, 1, f->ret_size, ACCESS_WRITE, true);
		if (err && v->explained)
			vlog_note(v, "in the call of %s(), the memory for its result, a struct of %u bytes", f->name,
				  f->ret_size);
	}
	if (!err)
		err = native_apart(v, c);
	return err ? err : note_site(v, c);
}

int vcall_native(struct verifier *v, const struct bpf_insn *insn)
{
	struct native c = { 0 };
	u32 index = (u32)insn->imm, ref = 0, owner = 0;
	int err;

	if (insn->imm == -1)
		return refuse(v, -EINVAL, "ask bpf_ksym_exists() before calling a weak function",
			      "invalid kernel function call not eliminated in verifier pass");
	if (index >= v->p->nnatives || !v->p->natives[index])
		return refuse(v, -EINVAL, "register the module and declare the function as __ksym",
			      "native function %u is not registered", index);
	c.f = v->p->natives[index];
	err = vlock_check_call(v, 0);
	if (!err && helper_kfunc(c.f))
		return vcall_kfunc(v, helper_kfunc(c.f));
	if (!err)
		err = check_may_call(v, c.f);
	if (!err)
		err = check_call(v, &c);
	if (!err && c.f->flags & FERRY_RELEASE)
		err = find_release(v, &c, &ref);
	if (!err)
		err = find_owner(v, &c, &owner);
	if (err)
		return err;
	if (ref)
		vcall_release(v, ref);
	vcall_clobber(v);
	return set_result(v, &c, (u16)index, owner);
}
