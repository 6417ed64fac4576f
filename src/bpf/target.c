/* SPDX-License-Identifier: MIT */
/* What a program says when it is loaded that it will be put on: a function by its BTF (attach_btf_id). */
#include <errno.h>
#include <string.h>

#include "bpf/event/iter.h"

#define ITER_PREFIX "bpf_iter_"

/* The BTF that the id is of: a module's by descriptor, else the kernel's. Into sp->attach_btf. */
static int find_btf(struct sys_prog *sp, const union bpf_attr *attr, struct text *why)
{
	struct sys_obj *o;
	int err;

	if (attr->attach_prog_fd) { /* a union with attach_btf_obj_fd */
		o = sys_fd_get(attr->attach_prog_fd, 0);
		if (o && o->kind == SYS_PROG) {
			text_puts(why, "programs are not put on other programs here (attach_prog_fd)");
			err = -EINVAL;
		} else if (o && o->kind == SYS_BTF) {
			sp->attach_btf = container_of(o, struct sys_btf, o);
			return sp->attach_btf->kernel ? 0 : -SYS_ENOTSUPP;
		} else {
			err = -EINVAL;
		}
		sys_put(o);
		return err;
	}
	err = sys_btf_sync();
	if (err)
		return err;
	o = sys_id_get(SYS_BTF, 1);
	if (!o)
		return -ENOENT;
	sp->attach_btf = container_of(o, struct sys_btf, o);
	return 0;
}

static int on_iterator(struct sys_prog *sp, const char *name, struct text *why)
{
	const struct iter_target *t = NULL;

	if (!strncmp(name, ITER_PREFIX, strlen(ITER_PREFIX)) && !sp->attach_btf->mod)
		t = iter_target_named(name + strlen(ITER_PREFIX));
	if (!t) {
		text_printf(why, "%s is not an iterator that is here", name);
		return -EINVAL;
	}
	sp->p->args.kinds = t->kinds;
	sp->p->args.trusted = true;
	return 0;
}

/* A typedef of the kernel's BTF says what a tracepoint's functions are called with, behind their own data. */
static int on_tracepoint(struct sys_prog *sp, const struct btf_type *t, struct text *why)
{
	const struct btf *btf = sp->attach_btf->btf;
	const char *name = t && btf_is_typedef(t) ? fbtf_name(btf, t->name_off) : "";

	if (strncmp(name, SYS_TRACEPOINT_TYPE, strlen(SYS_TRACEPOINT_TYPE))) {
		text_printf(why, "attach_btf_id %u is no tracepoint's type (" SYS_TRACEPOINT_TYPE "NAME)",
			    sp->attach_btf_id);
		return -EINVAL;
	}
	t = btf__type_by_id(btf, t->type);
	if (!t || !btf_is_ptr(t))
		return -EINVAL;
	sp->p->args = (struct prog_args){ .btf = sp->attach_btf->btf, .proto = t->type, .skip = 1, .trusted = true,
					  .name = name + strlen(SYS_TRACEPOINT_TYPE) };
	t = btf__type_by_id(btf, t->type);
	return t && btf_is_func_proto(t) && btf_vlen(t) ? 0 : -EINVAL;
}

static int on_native(struct sys_prog *sp, struct text *why)
{
	const struct module *mod = sp->attach_btf->mod;
	const struct module_func *f = mod ? module_func(mod, sp->attach_btf_id) : NULL;

	if (!f || f->nargs > SYS_TRACED_ARGS || f->variadic) {
		text_printf(why, f ? "%s has more than %u arguments, or any number" :
				     "%s is not a function of a registered module", sp->p->args.name, SYS_TRACED_ARGS);
		return -EINVAL;
	}
	if (f->c_proto)
		sp->p->args.proto = f->c_proto;
	return 0;
}

/* Of a module, or one that carries out a system call: there is no code behind what else is shown as the kernel's. */
static int on_function(struct sys_prog *sp, struct text *why)
{
	sp->p->args.with_ret = sp->p->attach_type == BPF_TRACE_FEXIT;
	if (!sp->attach_btf->mod && !strncmp(sp->p->args.name, "__x64_sys_", 10)) {
		sp->p->args.trusted = true;
		return 0;
	}
	return on_native(sp, why);
}

int sys_target(struct sys_prog *sp, const union bpf_attr *attr, struct text *why)
{
	struct prog *p = sp->p;
	const struct btf_type *t;
	const struct btf *btf;
	int err;

	if (!attr->attach_btf_id) {
		text_puts(why, "Tracing programs must provide btf_id");
		return -EINVAL;
	}
	err = find_btf(sp, attr, why);
	if (err)
		return err;
	btf = sp->attach_btf->btf;
	t = btf__type_by_id(btf, attr->attach_btf_id);
	sp->attach_btf_id = attr->attach_btf_id;
	if (p->attach_type == BPF_TRACE_RAW_TP)
		return on_tracepoint(sp, t, why);
	if (!t || !btf_is_func(t)) {
		text_printf(why, "attach_btf_id %u is not a function", attr->attach_btf_id);
		return -EINVAL;
	}
	p->args = (struct prog_args){ .btf = sp->attach_btf->btf, .proto = t->type,
				      .name = fbtf_name(btf, t->name_off) };
	switch (p->attach_type) {
	case BPF_TRACE_ITER: return on_iterator(sp, p->args.name, why);
	case BPF_TRACE_FENTRY:
	case BPF_TRACE_FEXIT: return on_function(sp, why);
	default:
		text_printf(why, "expected_attach_type %u is not one of tracing programs here", p->attach_type);
		return -EINVAL;
	}
}
