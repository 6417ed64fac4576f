/* SPDX-License-Identifier: MIT */
/*
 * Pointers to structs whose type is known by BTF: what a load through one gives, and where one may
 * be written. What they point to is the host's and may be gone: see insn_fact.probe.
 */
#include <errno.h>
#include <string.h>

#include "btf/fbtf.h"
#include "verify/verify_int.h"

#define READ_HINT "what it points to is the host's: write to memory of the program, or call a native function"

/* The BTF that has the type itself: ids below those of a split BTF are its base's. */
static const struct btf *owner(const struct btf *btf, u32 id)
{
	const struct btf *base;

	while ((base = btf__base_btf(btf)) && id < btf__type_cnt(base))
		btf = base;
	return btf;
}

static int index_of(struct verifier *v, const struct btf *btf, u16 *index)
{
	size_t i;

	for (i = 0; i < v->nbtfs && v->btfs[i] != btf; i++)
		;
	if (i > UINT16_MAX)
		return refuse(v, -E2BIG, "split the program", "the program's pointers are of too many BTFs");
	if (i == v->nbtfs) {
		const struct btf **grown = base_grow(v->btfs, &v->btfs_cap, i + 1, sizeof(*grown));

		if (!grown)
			return v->error = -ENOMEM;
		v->btfs = grown;
		v->btfs[v->nbtfs++] = btf;
	}
	*index = (u16)i;
	return 0;
}

const struct btf *vtyped_btf(const struct verifier *v, const struct reg *r)
{
	return v->btfs[r->what];
}

const char *vtyped_name(const struct verifier *v, const struct reg *r)
{
	const struct btf_type *t = btf__type_by_id(vtyped_btf(v, r), r->type_id);

	return t && r->type_id ? fbtf_name(vtyped_btf(v, r), t->name_off) : "";
}

int vtyped_make(struct verifier *v, struct reg *r, const struct btf *btf, u32 id, u32 flags)
{
	const struct btf_type *t = btf ? fbtf_strip(btf, id, &id) : NULL;
	u16 index = 0;
	int err;

	if (!t || (!btf_is_composite(t) && !btf_is_fwd(t)))
		return -EINVAL;
	err = index_of(v, owner(btf, id), &index);
	if (err)
		return err;
	reg_pointer(r, REG_BTF);
	r->what = index;
	r->type_id = id;
	r->flags = (u8)flags;
	if (flags & REG_NULLABLE)
		r->id = ++v->ids;
	return 0;
}

int vtyped_kernel(struct verifier *v, struct reg *r, const char *name, u32 flags)
{
	const struct btf *btf = fbtf_vmlinux();
	s32 id = btf ? btf__find_by_name_kind(btf, name, BTF_KIND_STRUCT) : -ENOENT;

	if (!btf)
		return v->error = -ENOMEM;
	return id > 0 ? vtyped_make(v, r, btf, (u32)id, flags) : -EINVAL;
}

int vtyped_value(struct verifier *v, struct reg *r, const struct btf *btf, u32 id, u32 flags)
{
	const struct btf_type *t = btf ? fbtf_strip(btf, id, NULL) : NULL;
	s64 size;
	int err;

	if (t && btf_is_ptr(t)) {
		err = vtyped_make(v, r, btf, t->type, flags);
		if (err != -EINVAL)
			return err;
	}
	reg_unknown(r);
	/* Programs get arguments extended from their type, as the engines and thunks leave them. */
	if (t && (btf_is_int(t) || btf_is_any_enum(t))) {
		size = t->size;
		if (size < 8 && btf_is_int(t) && btf_int_encoding(t) & BTF_INT_SIGNED)
			r->n = num_load_sx((u32)size * 8);
		else if (size < 8 && btf_is_int(t))
			r->n = num_load((u32)size * 8);
	}
	return 0;
}

bool vtyped_is(const struct verifier *v, const struct reg *r, const struct btf *btf, u32 id)
{
	if (r->type != REG_BTF || !r->type_id || !fbtf_strip(btf, id, &id) || r->off < 0 || !num_is_const(&r->n) ||
	    r->n.bits.value)
		return false;
	/* A member's type may be in the base of the BTF that the struct is in. */
	if (owner(btf, id) != vtyped_btf(v, r) && owner(vtyped_btf(v, r), id) != owner(btf, id))
		return false;
	return fbtf_contains(vtyped_btf(v, r), r->type_id, (u32)r->off, id);
}

/* The place in the struct, which has to be known. */
static int place(struct verifier *v, u32 r, s64 *off)
{
	const struct reg *reg = cur_reg(v, r);

	if (v->o->strict && !(reg->flags & REG_NATIVE))
		return refuse(v, -EPERM, "let the owner load it", "'struct %s' access is allowed only to the owner of the process",
			      vtyped_name(v, reg));
	if (reg->flags & REG_PERCPU)
		return refuse(v, -EACCES, "resolve it with bpf_per_cpu_ptr or bpf_this_cpu_ptr first",
			      "R%u is ptr_%s access percpu memory: off=%lld", r, vtyped_name(v, reg),
			      (long long)(*off + reg->off));
	if (!num_is_const(&reg->n))
		return refuse(v, -EACCES, "copy the array with bpf_probe_read_kernel and index the copy",
			      "R%u is ptr_%s invalid variable offset: off=%lld", r, vtyped_name(v, reg),
			      (long long)(*off + reg->off));
	*off += reg->off + (s64)reg->n.bits.value;
	if (*off < 0)
		return refuse(v, -EACCES, "members are from offset 0 on", "R%u is ptr_%s invalid negative access: off=%lld", r,
			      vtyped_name(v, reg), (long long)*off);
	return 0;
}

static int look(struct verifier *v, u32 r, s64 off, u32 size, struct fbtf_access *a)
{
	const struct reg *reg = cur_reg(v, r);
	struct text why = { 0 };
	int err;

	err = fbtf_access(vtyped_btf(v, reg), reg->type_id, (u32)off, size, a, &why);
	if (err)
		refuse(v, err, "only members of the struct can be read", "%s", text_str(&why));
	text_free(&why);
	return err;
}

/* A pointer to no struct: what lies behind it is data of any length, as far as it can be read. */
static void untyped(struct reg *out, const struct reg *from)
{
	u16 what = from->what;

	reg_pointer(out, REG_BTF);
	out->what = what;
	out->flags = REG_RDONLY | (from->flags & REG_NATIVE);
}

static int load_untyped(struct verifier *v, struct reg *out)
{
	if (v->o->strict)
		return refuse(v, -EPERM, "let the owner load it",
			      "memory behind pointers to no struct is only for the owner of the process");
	v->aux[v->insn].probe = true;
	v->p->reads_any = true;
	reg_unknown(out);
	return 0;
}

int vtyped_load(struct verifier *v, u32 r, s64 off, u32 size, struct reg *out)
{
	struct fbtf_access a;
	/* What the host's objects point to is the host's. */
	u32 flags = REG_RDONLY | (cur_reg(v, r)->flags & REG_NATIVE);
	int err;

	if (!cur_reg(v, r)->type_id)
		return load_untyped(v, out);
	err = place(v, r, &off);

	if (!err)
		err = look(v, r, off, size, &a);
	if (err)
		return err;
	v->aux[v->insn].probe = true;
	if (!a.points) {
		reg_unknown(out);
		return 0;
	}
	if (!a.is_ptr) {
		untyped(out, cur_reg(v, r));
		return 0;
	}
	if (a.tag && !strcmp(a.tag, "percpu"))
		flags |= REG_PERCPU;
	return vtyped_make(v, out, vtyped_btf(v, cur_reg(v, r)), a.type, flags);
}

int vtyped_store(struct verifier *v, u32 r, s64 off, u32 size, const struct reg *value)
{
	const struct reg *reg = cur_reg(v, r);
	struct fbtf_access a;
	int err;

	if (!reg->type_id)
		return refuse(v, -EACCES, READ_HINT, "R%u cannot write into %s", r, reg_type_name(reg));
	err = place(v, r, &off);
	if (err)
		return err;
	if (reg->flags & REG_RDONLY || !(reg->flags & REG_TRUSTED))
		return refuse(v, -EACCES, READ_HINT, "only read is supported");
	err = look(v, r, off, size, &a);
	if (err)
		return err;
	/* The host follows its pointers: they are not the program's to set. */
	if (a.points || a.in_union || a.flexible || (value && reg_is_ptr(value)))
		return refuse(v, -EACCES, "only numbers can be written",
			      "R%u: member %s of struct %s cannot be written", r, a.name ? a.name : "",
			      vtyped_name(v, reg));
	return 0;
}

/* What a helper or native function reads of the host's could end up anywhere. */
static int no_pointers(struct verifier *v, u32 r, s64 off, u64 size)
{
	const struct reg *reg = cur_reg(v, r);
	struct fbtf_access a;
	u64 at;

	for (at = (u64)off & ~7ull; at < (u64)off + size; at += 8) {
		if (fbtf_access(vtyped_btf(v, reg), reg->type_id, (u32)at, 8, &a, NULL) || !a.points)
			continue;
		return refuse(v, -EACCES, "copy the members that are no pointers",
			      "R%u: member %s of struct %s is a pointer of the host, which is not to leave the program",
			      r, a.name ? a.name : "", vtyped_name(v, reg));
	}
	return 0;
}

int vtyped_arg(struct verifier *v, u32 r, u64 size, enum access access)
{
	const struct reg *reg = cur_reg(v, r);
	s64 off = 0, whole = fbtf_size(vtyped_btf(v, reg), reg->type_id);
	int err = place(v, r, &off);

	if (err)
		return err;
	/* Members may be pointers, which only a store through the pointer tells from numbers. */
	if (access == ACCESS_WRITE)
		return refuse(v, -EACCES, READ_HINT, "only read is supported");
	if (whole < 0 || size > (u64)whole || (u64)off > (u64)whole - size)
		return refuse(v, -EACCES, "only members of the struct can be read",
			      "access beyond struct %s at off %lld size %llu", vtyped_name(v, reg),
			      (long long)off, (unsigned long long)size);
	return reg->flags & REG_NATIVE ? no_pointers(v, r, off, size) : 0;
}

/* ---- variables -------------------------------------------------------------------------------- */

/* A variable's memory: typed when it is a struct, else so many bytes. */
static int variable(struct verifier *v, struct reg *out, const struct btf *btf, u32 id, u32 flags)
{
	s64 size = fbtf_size(btf, id);
	int err = vtyped_make(v, out, btf, id, flags | REG_TRUSTED);

	if (err != -EINVAL)
		return err;
	if (size <= 0 || size >= MAX_VAR_SIZE)
		return refuse(v, -EINVAL, "declare a variable of a type with a size",
			      "ldimm64 unable to resolve the size of type %u", id);
	reg_pointer(out, REG_MEM);
	out->size = (u32)size;
	out->flags = (u8)flags;
	if (flags & REG_NULLABLE)
		out->id = ++v->ids;
	return 0;
}

/* Of any type that has a size: nothing is read through it before a helper chose the processor. */
static int percpu(struct verifier *v, struct reg *out, const struct btf *btf, u32 id)
{
	u16 index = 0;
	int err;

	if (!fbtf_strip(btf, id, &id))
		return refuse_internal(v, "variable without a type");
	err = index_of(v, owner(btf, id), &index);
	if (err)
		return err;
	reg_pointer(out, REG_BTF);
	out->what = index;
	out->type_id = id;
	out->flags = REG_PERCPU | REG_RDONLY;
	return 0;
}

int vtyped_sym(struct verifier *v, const struct bpf_insn *insn)
{
	struct reg *dst = cur_reg(v, insn->dst_reg);
	const struct btf_type *t;
	const struct prog_sym *s;

	if ((u32)insn->imm >= v->p->nsyms)
		return refuse(v, -EINVAL, "load it with libbpf", "reference to variable %d that is not there",
			      insn->imm);
	s = &v->p->syms[insn->imm];
	if (!s->var) {
		/* A function's address: not NULL, and not to be followed. */
		reg_pointer(dst, REG_MEM);
		dst->flags = REG_RDONLY;
		return 0;
	}
	t = btf__type_by_id(s->mod->btf, s->var->btf_id);
	if (!t || !btf_is_var(t))
		return refuse_internal(v, "variable without a VAR");
	if (s->var->flags & FERRY_PERCPU) {
		return percpu(v, dst, s->mod->btf, t->type);
	}
	return variable(v, dst, s->mod->btf, t->type,
			s->var->flags & FERRY_WRITABLE && !fbtf_is_const(s->mod->btf, t->type) ?
				0 : REG_RDONLY);
}

int vtyped_cpu(struct verifier *v, const struct reg *var, struct reg *out, bool nullable)
{
	const struct btf *btf = vtyped_btf(v, var);
	u32 id = var->type_id;

	return variable(v, out, btf, id, REG_RDONLY | (nullable ? REG_NULLABLE : 0));
}
