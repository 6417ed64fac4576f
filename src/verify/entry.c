/* SPDX-License-Identifier: MIT */
/*
 * How a program starts: with its context in r1, or, when it is called as a C function, with arguments
 * of the types that its BTF declares. Memory behind a pointer argument is the caller's promise, so
 * what the program touches of it is noted; ferry_closure() holds the caller's prototype against it.
 */
#include <errno.h>
#include <string.h>

#include "verify/verify_int.h"

static void start_arg(struct verifier *v, const struct prog_arg *a, u32 n)
{
	struct reg *r = cur_reg(v, n + 1);

	if (a->kind == PROG_ARG_SCALAR) {
		if (a->width == 8)
			reg_unknown(r);
		else
			reg_number(r, a->is_signed ? num_load_sx(a->width * 8u) : num_load(a->width * 8u));
		return;
	}
	reg_pointer(r, REG_MEM);
	r->what = (u16)n;
	r->size = a->size;
	r->flags = (u8)(REG_ARG | (a->is_const ? REG_RDONLY : 0));
	if (a->nullable) {
		r->flags |= REG_NULLABLE;
		r->id = ++v->ids;
	}
}

int ventry(struct verifier *v)
{
	struct text why = { 0 };
	int err;

	base_free(v->p->sig);
	v->p->sig = NULL;
	if (!v->type->typed) {
		reg_pointer(cur_reg(v, 1), REG_CTX);
		return v->p->type == BPF_PROG_TYPE_STRUCT_OPS ?
			       prog_sig_result(v->p->args.btf, v->p->args.proto, &v->p->sig) : 0;
	}
	err = prog_sig_new(v->p->btf, v->p->funcs[0].btf_id, &v->p->sig, &why);
	if (err == -EINVAL)
		refuse(v, err, "declare the parameters as the C prototype has them",
		       "the program is to be called as a C function: %s", text_str(&why));
	text_free(&why);
	for (u32 n = 0; !err && n < v->p->sig->nargs; n++)
		start_arg(v, &v->p->sig->args[n], n);
	return err;
}

void ventry_buffer(struct verifier *v, struct reg *r, bool rdonly)
{
	reg_pointer(r, REG_MEM);
	r->size = MAX_VAR_SIZE - 1;
	r->flags = REG_ARG | REG_NULLABLE | (rdonly ? REG_RDONLY : 0);
	r->id = ++v->ids;
}

static bool is_buffer(const struct verifier *v, const struct reg *r)
{
	return r->type == REG_MEM && r->flags & REG_ARG && v->p->args.kinds;
}

int ventry_place(struct verifier *v, u32 r)
{
	const struct reg *reg = cur_reg(v, r);

	if (!is_buffer(v, reg) || (num_is_const(&reg->n) && !reg->n.bits.value))
		return 0;
	return refuse(v, -EACCES, "its size is known when the program is attached: use constant offsets",
		      "R%u invalid variable buffer offset: off=%d", r, reg->off);
}

void ventry_touch(struct verifier *v, const struct reg *r, s64 off, u64 size, enum access access)
{
	struct prog_arg *a;
	u32 *most;
	s64 end = r->off + off + r->n.smax + (s64)size;

	if (is_buffer(v, r)) {
		most = r->flags & REG_RDONLY ? &v->p->max_rdonly : &v->p->max_buffer;
		*most = end > *most ? (u32)end : *most;
		return;
	}
	if (!(r->flags & REG_ARG) || !v->p->sig || !size)
		return;
	a = &v->p->sig->args[r->what];
	a->touched = end > a->touched ? (u32)end : a->touched;
	a->written |= access == ACCESS_WRITE;
}

bool ventry_object(struct verifier *v, const struct reg *r, const struct btf *btf, u32 id,
		   enum access access)
{
	const struct btf_type *want = fbtf_strip(btf, id, NULL), *have;
	struct prog_arg *a;

	if (r->type != REG_MEM || !(r->flags & REG_ARG) || !v->p->sig || r->off || !num_is_const(&r->n) ||
	    r->n.bits.value)
		return false;
	a = &v->p->sig->args[r->what];
	have = a->type ? btf__type_by_id(v->p->sig->btf, a->type) : NULL;
	/* By name: the host declared both, in its module's types and in the closure's prototype. */
	if (!have || !want || !(btf_is_composite(have) || btf_is_fwd(have)) || !want->name_off ||
	    strcmp(fbtf_name(btf, want->name_off), fbtf_name(v->p->sig->btf, have->name_off)))
		return false;
	a->object = true;
	a->written |= access == ACCESS_WRITE;
	return true;
}

static int bad_result(struct verifier *v, const char *hint, const char *what)
{
	return refuse(v, -EINVAL, hint, "At program exit the register R0 (%s) %s",
		      reg_type_name(cur_reg(v, 0)), what);
}

static int pointer_result(struct verifier *v)
{
	const struct prog_sig *s = v->p->sig;
	struct reg *r0 = cur_reg(v, 0);
	const struct prog_arg *a;

	if (reg_is_const(r0) && !r0->n.bits.value) {
		vprecise_reg(v, r0);
		return 0;
	}
	if (r0->type != REG_MEM || !(r0->flags & REG_ARG) || r0->off || !num_is_const(&r0->n) ||
	    r0->n.bits.value)
		return bad_result(v, "return NULL or one of the arguments",
				  "is not a pointer that the caller gave");
	a = &s->args[r0->what];
	if (s->ret_type && s->ret_type != a->type)
		return bad_result(v, NULL, "points to another type than the function returns");
	if (a->is_const && !s->ret_const)
		return bad_result(v, "let the function return a pointer to const",
				  "would make memory writable that the caller gave as const");
	return 0;
}

int ventry_result(struct verifier *v)
{
	const struct prog_sig *s = v->p->sig;
	struct reg *r0 = cur_reg(v, 0);
	s64 min, max;
	int err;

	if (s->ret_kind == PROG_RET_VOID)
		return 0;
	err = vcall_read_ok(v, 0);
	if (err)
		return err;
	if (s->ret_kind == PROG_RET_MEM)
		return pointer_result(v);
	if (r0->type != REG_SCALAR)
		return bad_result(v, "return a number", "is an address, which is not for the caller to know");
	if (!s->ret_bounded)
		return 0;
	vprecise_reg(v, r0);
	/* A C caller looks at the lower half. */
	min = s->ret_min < 0 ? (s64)r0->n.smin32 : (s64)r0->n.umin32;
	max = s->ret_min < 0 ? (s64)r0->n.smax32 : (s64)r0->n.umax32;
	if (min >= s->ret_min && max <= s->ret_max)
		return 0;
	return refuse(v, -EINVAL, "return only values of the function's type",
		      "At program exit the register R0 has min=%lld max=%lld should have been in [%lld, %lld]",
		      (long long)min, (long long)max, (long long)s->ret_min, (long long)s->ret_max);
}
