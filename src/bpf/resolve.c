/* SPDX-License-Identifier: MIT */
/*
 * From what a loader writes into instructions (descriptors, indices of the fd_array, BTF ids) to
 * the form of prog.h. Instructions have been checked for form.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "bpf/sys_int.h"

#define MAX_SYMS      256
#define MAX_NATIVES   256        /* the kernel's MAX_KFUNC_DESCS */
#define MAX_VALUE_OFF (1u << 29) /* the kernel's BPF_MAX_VAR_OFF */

struct resolve {
	struct prog *p;
	struct sys_prog *sp;
	u64 fd_array; /* address; 0 is none */
	struct text *log;
};

static int array_fd(struct resolve *r, u32 index, int *fd)
{
	s32 value;

	if (sys_in(&value, r->fd_array + (u64)index * sizeof(value), sizeof(value)))
		return -EFAULT;
	*fd = value;
	return 0;
}

/* The index of a map in p->maps, entered when it is new; takes over the reference. */
static int use_map(struct resolve *r, struct sys_map *sm)
{
	struct prog *p = r->p;
	u32 i;

	for (i = 0; i < p->nmaps; i++) {
		if (p->maps[i] == sm->map) {
			sys_put(&sm->o);
			return i;
		}
	}
	if (r->sp->nmaps == SYS_MAX_MAPS) {
		text_printf(r->log, "The program uses more than %d maps\n", SYS_MAX_MAPS);
		sys_put(&sm->o);
		return -E2BIG;
	}
	if (!p->maps)
		p->maps = base_array(2 * SYS_MAX_MAPS, sizeof(*p->maps));
	if (!r->sp->maps)
		r->sp->maps = base_array(SYS_MAX_MAPS, sizeof(*r->sp->maps));
	if (!p->maps || !r->sp->maps) {
		sys_put(&sm->o);
		return -ENOMEM;
	}
	p->maps[p->nmaps++] = map_get(sm->map);
	r->sp->maps[r->sp->nmaps++] = sm;
	return i;
}

static int check_value(struct resolve *r, struct map *m, u32 off)
{
	if (off >= MAX_VALUE_OFF) {
		text_printf(r->log, "direct value offset of %u is not allowed\n", off);
		return -EINVAL;
	}
	if (!m->ops->direct) {
		text_puts(r->log, "no direct value access support for this map type\n");
		return -EINVAL;
	}
	/* array_map_direct_value_addr: one element only, offset inside it */
	if (m->attr.max_entries != 1 || off >= m->attr.value_size || !m->ops->direct(m, off)) {
		text_printf(r->log, "invalid access to map value pointer, value_size=%u off=%u\n",
			    m->attr.value_size, off);
		return -EINVAL;
	}
	return 0;
}

static int resolve_map(struct resolve *r, struct bpf_insn *in, bool by_index, bool value)
{
	struct sys_map *sm;
	int fd = in->imm, err = 0, index;

	if (by_index) {
		if (!r->fd_array) {
			text_puts(r->log, "fd_idx without fd_array is invalid\n");
			return -EPROTO;
		}
		err = array_fd(r, in->imm, &fd);
		if (err)
			return err;
	}
	sm = sys_map_of(fd, &err);
	if (!sm) {
		text_printf(r->log, "fd %d is not pointing to valid bpf_map\n", fd);
		return err;
	}
	map_notice_frozen(sm->map);
	if (value)
		err = check_value(r, sm->map, in[1].imm);
	if (err) {
		sys_put(&sm->o);
		return err;
	}
	index = use_map(r, sm);
	if (index < 0)
		return index;
	in->src_reg = value ? BPF_PSEUDO_MAP_VALUE : BPF_PSEUDO_MAP_FD;
	in->imm = index;
	return 0;
}

/* The module whose BTF the descriptor is, with a reference on its BTF object in *o. */
static int module_of(struct resolve *r, int fd, struct sys_obj **o, struct module **mod)
{
	*o = sys_fd_get(fd, SYS_BTF);
	if (!*o) {
		text_puts(r->log, "invalid module BTF fd specified\n");
		return sys_fd_error(fd);
	}
	*mod = container_of(*o, struct sys_btf, o)->mod;
	if (*mod && !(*mod)->gone)
		return 0;
	text_puts(r->log, *mod ? "the module was unregistered\n" :
				 "the BTF is not that of a module\n");
	sys_put(*o);
	return *mod ? -ENXIO : -EINVAL;
}

static int use_sym(struct resolve *r, struct module *mod, const struct module_var *var, u64 value)
{
	struct prog *p = r->p;
	u32 i;

	for (i = 0; i < p->nsyms; i++)
		if (p->syms[i].var == var && p->syms[i].value == value)
			return (int)i;
	if (p->nsyms == MAX_SYMS) {
		text_printf(r->log, "The program uses more than %d variables\n", MAX_SYMS);
		return -E2BIG;
	}
	if (!p->syms)
		p->syms = base_array(MAX_SYMS, sizeof(*p->syms));
	if (!p->syms)
		return -ENOMEM;
	p->syms[p->nsyms++] = (struct prog_sym){ module_get(mod), var, value };
	return (int)i;
}

/* A variable or function of a module: its BTF id, and the descriptor of the BTF in the second half. */
static int resolve_sym(struct resolve *r, struct bpf_insn *in, u32 at)
{
	const struct module_func *f;
	const struct module_var *v;
	struct module *mod;
	struct sys_obj *o;
	int err;

	if (!in[1].imm) {
		text_printf(r->log,
			    "insn %u: BTF id %d is not a variable of a module; there is no kernel here "
			    "whose variables could be read\n", at, in->imm);
		return -EINVAL;
	}
	err = module_of(r, in[1].imm, &o, &mod);
	if (err)
		return err;
	v = module_var(mod, (u32)in->imm);
	f = v ? NULL : module_func(mod, (u32)in->imm);
	if (v)
		err = use_sym(r, mod, v, (u64)(uintptr_t)(v->flags & FERRY_PERCPU ? (void *)v : v->addr));
	else if (f)
		err = use_sym(r, mod, NULL, (u64)(uintptr_t)f->addr);
	else
		err = -EINVAL;
	if (!v && !f)
		text_printf(r->log, "insn %u: BTF id %d is neither a variable nor a function of module %s\n",
			    at, in->imm, mod->name);
	sys_put(o);
	if (err < 0)
		return err;
	in[0].imm = err;
	in[1].imm = 0;
	return 0;
}

static int resolve_ldimm64(struct resolve *r, struct bpf_insn *in, u32 at)
{
	switch (in->src_reg) {
	case 0:
	case BPF_PSEUDO_FUNC: return 0;
	case BPF_PSEUDO_MAP_FD: return resolve_map(r, in, false, false);
	case BPF_PSEUDO_MAP_VALUE: return resolve_map(r, in, false, true);
	case BPF_PSEUDO_MAP_IDX: return resolve_map(r, in, true, false);
	case BPF_PSEUDO_MAP_IDX_VALUE: return resolve_map(r, in, true, true);
	case BPF_PSEUDO_BTF_ID: return resolve_sym(r, in, at);
	}
	text_printf(r->log, "insn %u: unrecognized bpf_ld_imm64 insn\n", at);
	return -EINVAL;
}

static int use_native(struct resolve *r, const struct module_func *f)
{
	struct prog *p = r->p;
	u32 i;

	for (i = 0; i < p->nnatives; i++)
		if (p->natives[i] == f)
			return i;
	if (p->nnatives == MAX_NATIVES) {
		text_puts(r->log, "too many different kernel function calls\n");
		return -E2BIG;
	}
	if (!p->natives)
		p->natives = base_array(MAX_NATIVES, sizeof(*p->natives));
	if (!p->natives)
		return -ENOMEM;
	module_get(f->mod);
	p->natives[p->nnatives++] = f;
	return i;
}

/* The function `btf_id` of the module whose BTF is number `off` of the fd_array. */
static int resolve_native(struct resolve *r, struct bpf_insn *in, u32 at)
{
	const struct module_func *f;
	struct sys_obj *o;
	struct module *mod;
	int fd, err;

	/* A weak function that nobody has: the call must not be reached. */
	if (!in->off && !in->imm) {
		in->imm = -1;
		return 0;
	}
	if (in->off <= 0) {
		text_printf(r->log,
			    "insn %u: kernel BTF ID %d is not a function that programs may call: "
			    "native functions are in the BTF of a module\n",
			    at, in->imm);
		return -EINVAL;
	}
	if (!r->fd_array) {
		text_puts(r->log, "kfunc offset > 0 without fd_array is invalid\n");
		return -EPROTO;
	}
	err = array_fd(r, in->off, &fd);
	if (err)
		return err;
	err = module_of(r, fd, &o, &mod);
	if (err)
		return err;
	f = module_func(mod, in->imm);
	err = f ? use_native(r, f) : -EINVAL;
	if (!f)
		text_printf(r->log, "insn %u: module %s has no function with BTF id %d\n", at,
			    mod->name, in->imm);
	sys_put(o);
	if (err < 0)
		return err;
	in->off = 0;
	in->imm = err;
	return 0;
}

int sys_resolve(struct prog *p, struct sys_prog *sp, u64 fd_array, struct text *log)
{
	struct resolve r = { p, sp, fd_array, log };
	u32 at;
	int err = 0;

	for (at = 0; !err && at < p->insn_cnt; at += isa_slots(&p->insns[at])) {
		struct bpf_insn *in = &p->insns[at];

		if (isa_is_ldimm64(in))
			err = resolve_ldimm64(&r, in, at);
		else if (isa_is_call(in, BPF_PSEUDO_KFUNC_CALL))
			err = resolve_native(&r, in, at);
	}
	/* What look-ups in maps of maps give is known by its place in p->maps, too. */
	for (at = 0; at < sp->nmaps; at++)
		if (p->maps[at]->inner)
			p->maps[p->nmaps++] = map_get(p->maps[at]->inner);
	return err;
}
