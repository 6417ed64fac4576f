/* SPDX-License-Identifier: MIT */
/*
 * Pointers to objects of the host's in map values: loads give what may be gone at any time, only
 * bpf_kptr_xchg() moves an object in or out. The rules and words are those of the kernel's
 * check_map_access() and check_map_kptr_access().
 */
#include <errno.h>

#include "verify/verify_int.h"

#define XCHG_HINT "move objects in and out with bpf_kptr_xchg()"

static const struct map_kptr *overlapping(struct verifier *v, const struct reg *reg, s64 off, u64 size)
{
	const struct map_fields *f = v->p->maps[reg->what]->fields;
	s64 lo = off + reg->off + reg->n.smin, hi = off + reg->off + reg->n.smax + (s64)size;
	u32 i;

	for (i = 0; f && size && i < f->nkptrs; i++)
		if (lo < (s64)f->kptrs[i].off + 8 && hi > (s64)f->kptrs[i].off)
			return &f->kptrs[i];
	return NULL;
}

int vkptr_untouched(struct verifier *v, const struct reg *reg, s64 off, u64 size)
{
	return !overlapping(v, reg, off, size) ? 0 :
	       refuse(v, -EACCES, XCHG_HINT, "kptr cannot be accessed indirectly by helper");
}

/* Is the object, unmoved, of exactly the field's type? */
static bool matches(struct verifier *v, const struct reg *value, const struct map_kptr *k)
{
	return vtyped_is(v, value, k->btf, k->type_id) && value->type_id == k->type_id && !value->off &&
	       !(value->flags & REG_PERCPU);
}

static int mismatch(struct verifier *v, int err, u32 r, const struct reg *value, const struct map_kptr *k)
{
	const struct btf_type *t = btf__type_by_id(k->btf, k->type_id);

	return refuse(v, err, "give an object of the field's type, as it was acquired",
		      "invalid kptr access, R%u type=%s expected=ptr_%s", r, reg_type_name(value),
		      t ? fbtf_name(k->btf, t->name_off) : "");
}

static int place(struct verifier *v, const struct kptr_access *a, const struct map_kptr *k)
{
	const struct reg *reg = cur_reg(v, a->r);
	s64 off = a->off + reg->off + (s64)reg->n.bits.value;

	if (!num_is_const(&reg->n))
		return refuse(v, -EACCES, "use the field's constant offset", "kptr access cannot have variable offset");
	if (off != k->off)
		return refuse(v, -EACCES, "access the whole pointer", "kptr access misaligned expected=%u off=%lld",
			      k->off, (long long)off);
	if (a->size != 8)
		return refuse(v, -EACCES, "access the whole pointer", "kptr access size must be BPF_DW");
	if (a->atomic || BPF_MODE(v->insns[v->insn].code) != BPF_MEM)
		return refuse(v, -EACCES, XCHG_HINT,
			      "kptr in map can only be accessed using BPF_MEM instruction mode");
	return 0;
}

int vkptr_access(struct verifier *v, const struct kptr_access *a)
{
	const struct map_kptr *k = overlapping(v, cur_reg(v, a->r), a->off, a->size);
	int err = k ? place(v, a, k) : 0;

	if (!k || err)
		return err;
	if (a->access == ACCESS_READ) {
		err = vtyped_make(v, a->out, k->btf, k->type_id, REG_NATIVE | REG_RDONLY | REG_NULLABLE);
		return err == -EINVAL ? refuse_internal(v, "kptr without a type") : err ? err : 1;
	}
	if (k->drop)
		return refuse(v, -EACCES, XCHG_HINT, "store to referenced kptr disallowed");
	if (reg_is_const(a->value) && !a->value->n.bits.value) {
		vprecise_reg(v, a->value);
		return 1;
	}
	if (BPF_CLASS(v->insns[v->insn].code) == BPF_ST)
		return refuse(v, -EACCES, "store 0 or an object", "BPF_ST imm must be 0 when storing to kptr at off=%u",
			      k->off);
	return matches(v, a->value, k) ? 1 : mismatch(v, -EACCES, v->insns[v->insn].src_reg, a->value, k);
}

/* ---- bpf_kptr_xchg ---------------------------------------------------------------------------- */

int vkptr_arg(struct verifier *v, u32 r, const struct map_kptr **out)
{
	const struct reg *reg = cur_reg(v, r);
	const struct map *m;
	s64 off;

	if (reg->type != REG_MAP_VALUE || reg->flags & REG_NULLABLE)
		return refuse(v, -EACCES, "pass the field's address in a value that was looked up and is not NULL",
			      "R%u type=%s expected=map_value", r, reg_type_name(reg));
	if (!num_is_const(&reg->n))
		return refuse(v, -EINVAL, "pass its address without adding a variable",
			      "R%u doesn't have constant offset. kptr has to be at the constant offset", r);
	m = v->p->maps[reg->what];
	if (!m->btf_value_id && !m->fields)
		return refuse(v, -EINVAL, "declare the map in section .maps with key and value types",
			      "map '%s' must have BTF in order to use bpf_kptr_xchg", m->attr.name);
	if (!m->fields || !m->fields->nkptrs)
		return refuse(v, -EINVAL, "mark a pointer in the value's type with __kptr", "map '%s' has no valid kptr",
			      m->attr.name);
	off = reg->off + (s64)reg->n.bits.value;
	*out = overlapping(v, reg, 0, 1);
	if (!*out || (*out)->off != off)
		return refuse(v, -EACCES, "pass the address of the pointer", "off=%lld doesn't point to kptr",
			      (long long)off);
	if (!(*out)->drop)
		return refuse(v, -EACCES, "mark it with __kptr, or store to it", "off=%lld kptr isn't referenced kptr",
			      (long long)off);
	return 0;
}

int vkptr_object(struct verifier *v, u32 r, const struct map_kptr *k, u32 *release)
{
	struct reg *reg = cur_reg(v, r);

	if (reg_is_const(reg) && !reg->n.bits.value) {
		vprecise_reg(v, reg);
		return 0;
	}
	if (reg->type != REG_BTF)
		return refuse(v, -EACCES, "pass an object or NULL", "R%u type=%s expected=ptr_", r, reg_type_name(reg));
	if (!(reg->flags & REG_TRUSTED) || reg->flags & REG_BORROWED || !reg->ref || !state_has_ref(v->cur, reg->ref))
		return refuse(v, -EINVAL, "pass what an acquiring function or bpf_kptr_xchg() returned",
			      "R%u must be referenced when passed to release function", r);
	if (reg->flags & REG_CONST)
		return refuse(v, -EINVAL, "keep only what functions give as not const",
			      "R%u was given as const, which a map's field does not say", r);
	if (!matches(v, reg, k))
		return mismatch(v, -EINVAL, r, reg, k);
	*release = reg->ref;
	return 0;
}

int vkptr_result(struct verifier *v, const struct map_kptr *k, struct reg *r0)
{
	int err = vtyped_make(v, r0, k->btf, k->type_id, REG_NATIVE | REG_TRUSTED | REG_RDONLY | REG_NULLABLE);

	return err == -EINVAL ? refuse_internal(v, "kptr without a type") :
	       err ? err : state_add_ref(v, v->cur, v->insn, &r0->ref);
}
