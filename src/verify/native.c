/* SPDX-License-Identifier: MIT */
/*
 * Calls of native functions (the kernel's kfuncs): each argument is proved to be what the prototype
 * and its suffixes say, for the callee believes it.
 */
#include <errno.h>

#include "verify/verify_int.h"

static int arg_error(struct verifier *v, const struct module_func *f, u32 i, const char *hint,
		     const char *what)
{
	const struct module_arg *a = &f->args[i];

	return refuse(v, -EINVAL, hint, "arg#%u of %s() (R%u, %s%s%s): %s", i, f->name, i + 1,
		      reg_type_name(cur_reg(v, i + 1)), a->name[0] ? ", " : "", a->name, what);
}

static bool is_zero(struct verifier *v, u32 r)
{
	const struct reg *reg = cur_reg(v, r);

	if (!reg_is_const(reg) || reg->n.bits.value)
		return false;
	vprecise_reg(v, reg);
	return true;
}

/* The type a pointer type points to; 0 when it is no pointer. */
static u32 pointee(const struct btf *btf, u32 id, u32 *out)
{
	const struct btf_type *t = btf ? fbtf_strip(btf, id, NULL) : NULL;

	if (!t || !btf_is_ptr(t) || !fbtf_strip(btf, t->type, out))
		return 0;
	return *out;
}

/* The type that a native function returns a pointer to. */
static u32 returned_type(const struct module_func *f, s64 *size)
{
	const struct btf *btf = f->mod ? f->mod->btf : NULL;
	const struct btf_type *t = btf ? btf__type_by_id(btf, f->btf_id) : NULL;
	u32 id;

	if (t && btf_is_func(t))
		t = btf__type_by_id(btf, t->type);
	if (!t || !btf_is_func_proto(t) || !pointee(btf, t->type, &id))
		return 0;
	if (size)
		*size = fbtf_size(btf, id);
	return id;
}

/* Is register r, unchanged, what a native function of the same module returned for this type? */
static bool is_object(struct verifier *v, const struct module_func *f, const struct module_arg *a,
		      u32 r)
{
	const struct reg *reg = cur_reg(v, r);
	const struct module_func *from;
	u32 want;

	if (reg->type != REG_MEM || !(reg->flags & REG_NATIVE) || reg->off || !num_is_const(&reg->n) ||
	    reg->n.bits.value)
		return false;
	from = v->p->natives[reg->what];
	if (from->mod != f->mod || !f->mod || !pointee(f->mod->btf, a->btf_id, &want))
		return false;
	return returned_type(from, NULL) == want;
}

/* Memory that the callee reads, writes, or both; its size is in a register or that of the type. */
static int memory(struct verifier *v, const struct module_func *f, const struct module_arg *a, u32 i,
		  bool sized)
{
	u32 r = i + 1;
	int err = 0;

	if (!sized && is_object(v, f, a, r))
		return 0;
	if (!a->uninit)
		err = sized ? vcall_size(v, r + 1, true, ACCESS_READ, false) :
			      vmem_arg(v, r, a->size, ACCESS_READ, false);
	if (!err && (a->writable || a->uninit))
		err = sized ? vcall_size(v, r + 1, true, ACCESS_WRITE, a->uninit) :
			      vmem_arg(v, r, a->size, ACCESS_WRITE, a->uninit);
	return err;
}

static int arg_memory(struct verifier *v, const struct module_func *f, u32 i)
{
	const struct module_arg *a = &f->args[i];
	struct reg *reg = cur_reg(v, i + 1);
	bool sized = a->size == 0, maybe = reg->flags & REG_NULLABLE;
	int err;

	if (sized && (i + 1 >= f->nargs || (f->args[i + 1].kind != MODULE_ARG_SIZE &&
					    f->args[i + 1].kind != MODULE_ARG_CONST_SIZE)))
		return arg_error(v, f, i, "the parameter behind it must be its size, named mem__sz",
				 "the size of this memory is not known");
	if (sized) {
		err = vcall_read_ok(v, i + 2);
		if (err)
			return err;
	}
	if (a->nullable && is_zero(v, i + 1))
		return 0;
	if (maybe && !a->nullable)
		return arg_error(v, f, i, "compare it with NULL first", "possibly NULL pointer");
	/* The callee sees the size cut to its type; checked sizes are below 2^29. */
	if (sized && f->args[i + 1].width < 4)
		return arg_error(v, f, i + 1, "declare the size as unsigned int or size_t",
				 "sizes of less than 32 bits are not supported");
	/* If it is there, it has to be good. */
	reg->flags &= ~REG_NULLABLE;
	err = memory(v, f, a, i, sized);
	if (maybe)
		reg->flags |= REG_NULLABLE;
	return err;
}

static int arg(struct verifier *v, const struct module_func *f, u32 i)
{
	const struct module_arg *a = &f->args[i];
	const struct reg *reg = cur_reg(v, i + 1);
	u64 value;
	int err;

	if (a->kind == MODULE_ARG_IGNORE)
		return 0;
	err = vcall_read_ok(v, i + 1);
	if (err)
		return err;
	switch (a->kind) {
	case MODULE_ARG_SCALAR:
	case MODULE_ARG_SIZE:
		if (reg->type != REG_SCALAR)
			return arg_error(v, f, i, "pass a number, not a pointer",
					 "is not a scalar");
		return 0;
	case MODULE_ARG_CONST:
	case MODULE_ARG_CONST_SIZE:
		if (reg->type != REG_SCALAR)
			return arg_error(v, f, i, "pass a number, not a pointer",
					 "is not a scalar");
		return vcall_const(v, i + 1, &value);
	case MODULE_ARG_MEM:
		return arg_memory(v, f, i);
	case MODULE_ARG_STRING:
		if (a->nullable && is_zero(v, i + 1))
			return 0;
		return vcall_string(v, i + 1);
	case MODULE_ARG_CTX:
		if (reg->type != REG_CTX || reg->off || !num_is_const(&reg->n) || reg->n.bits.value)
			return arg_error(v, f, i, "pass the context as it was given", "is not the context");
		return 0;
	}
	return arg_error(v, f, i, "integers, strings, memory and the context can be passed",
			 "this kind of argument is not supported yet");
}

static int check_args(struct verifier *v, const struct module_func *f)
{
	u32 i;
	int err = 0;

	if (f->nargs > MODULE_MAX_ARGS)
		return refuse_internal(v, "native function has too many arguments");
	for (i = 0; i < f->nargs && !err; i++)
		err = arg(v, f, i);
	return err;
}

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

/* The reference that a releasing function takes: of its first argument that is one. */
static int find_release(struct verifier *v, const struct module_func *f, u32 *ref)
{
	u32 i;

	for (i = 0; i < f->nargs; i++) {
		const struct reg *reg = cur_reg(v, i + 1);

		if (f->args[i].kind != MODULE_ARG_MEM || !reg_is_ptr(reg) || !reg->ref)
			continue;
		/* Only the object itself, of the type that the function releases. */
		if (!is_object(v, f, &f->args[i], i + 1) || reg->flags & REG_NULLABLE)
			continue;
		*ref = reg->ref;
		return 0;
	}
	return refuse(v, -EINVAL, "pass the pointer that was acquired, after a check for NULL",
		      "release kernel function %s expects refcounted pointer", f->name);
}

static int set_result(struct verifier *v, const struct module_func *f, u32 index)
{
	struct reg *r0 = cur_reg(v, 0);
	s64 size;

	switch (f->ret_kind) {
	case MODULE_RET_VOID:
		return 0;
	case MODULE_RET_SCALAR:
		/* Engines extend the result from its type; a bool may be any byte. */
		if (f->ret_width != 1 && f->ret_width != 2 && f->ret_width != 4)
			reg_unknown(r0);
		else if (f->ret_signed && !f->ret_bool)
			reg_number(r0, num_load_sx(f->ret_width * 8u));
		else
			reg_number(r0, num_load(f->ret_width * 8u));
		return 0;
	case MODULE_RET_MEM:
		break;
	default:
		return refuse(v, -EINVAL,
			      "let it return an integer, bool, or a pointer to a struct",
			      "return type of kfunc %s is not supported yet", f->name);
	}
	if (!returned_type(f, &size) || size <= 0 || size >= MAX_VAR_SIZE)
		return refuse(v, -EINVAL, "declare the struct it points to",
			      "kernel function %s returns pointer to a type of unknown size", f->name);
	reg_pointer(r0, REG_MEM);
	/* The object is the native code's: programs look at it and hand it back. */
	r0->flags = REG_NATIVE | REG_RDONLY;
	r0->what = (u16)index;
	r0->size = (u32)size;
	if (f->flags & FERRY_RET_NULL) {
		r0->flags |= REG_NULLABLE;
		r0->id = ++v->ids;
	}
	return f->flags & FERRY_ACQUIRE ? state_add_ref(v, v->cur, v->insn, &r0->ref) : 0;
}

int vcall_native(struct verifier *v, const struct bpf_insn *insn)
{
	const struct module_func *f;
	u32 index = (u32)insn->imm, ref = 0;
	int err;

	if (insn->imm == -1)
		return refuse(v, -EINVAL, "ask bpf_ksym_exists() before calling a weak function",
			      "invalid kernel function call not eliminated in verifier pass");
	if (index >= v->p->nnatives || !v->p->natives[index])
		return refuse(
			v, -EINVAL,
			"register its module (ferry_module_register, --module) before loading",
			"native function %u is not registered", index);
	f = v->p->natives[index];
	err = check_may_call(v, f);
	if (!err && f->flags & FERRY_RELEASE)
		err = find_release(v, f, &ref);
	if (!err)
		err = check_args(v, f);
	if (err)
		return err;
	if (ref)
		vcall_release(v, ref);
	vcall_clobber(v);
	if (f->flags & FERRY_ACQUIRE && f->ret_kind != MODULE_RET_MEM)
		return refuse(v, -EINVAL,
			      "FERRY_ACQUIRE is for functions that return a pointer to a struct",
			      "acquiring function %s returns no pointer", f->name);
	return set_result(v, f, index);
}
