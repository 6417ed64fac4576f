/* SPDX-License-Identifier: MIT */
/* Members of a map's value that belong to the system: struct bpf_spin_lock, struct bpf_timer, kptrs. */
#include <errno.h>
#include <string.h>

#include "btf/fbtf.h"

#define MAX_DEPTH 8 /* of structs in structs */

static const struct {
	const char *name;
	u32 size, align;
} kinds[FBTF_SPECIALS] = {
	[FBTF_LOCK] = { "bpf_spin_lock", 4, 4 },
	[FBTF_TIMER] = { "bpf_timer", 16, 8 },
};

static int look(const struct btf *btf, u32 id, u32 bits, u32 depth, u32 found[FBTF_SPECIALS])
{
	const struct btf_type *t = fbtf_strip(btf, id, NULL);
	const struct btf_member *m;
	u32 i;
	int err = 0;

	if (!t || !btf_is_struct(t))
		return 0;
	for (i = 0; i < FBTF_SPECIALS; i++) {
		if (t->size != kinds[i].size || strcmp(fbtf_name(btf, t->name_off), kinds[i].name))
			continue;
		if (bits % (kinds[i].align * 8))
			return -EINVAL;
		if (found[i])
			return -EEXIST;
		found[i] = bits / 8 + 1;
		return 0;
	}
	if (depth == MAX_DEPTH)
		return 0;
	m = btf_members(t);
	for (i = 0; i < btf_vlen(t) && !err; i++)
		err = look(btf, m[i].type, bits + btf_member_bit_offset(t, i), depth + 1, found);
	return err;
}

int fbtf_find_special(const struct btf *btf, u32 id, u32 found[FBTF_SPECIALS])
{
	const struct btf_type *t = fbtf_strip(btf, id, NULL);
	const struct btf_var_secinfo *s;
	u32 i;
	int err = 0;

	memset(found, 0, FBTF_SPECIALS * sizeof(*found));
	if (!t || !btf_is_datasec(t))
		return look(btf, id, 0, 0, found);
	/* A section of global variables. */
	s = btf_var_secinfos(t);
	for (i = 0; i < btf_vlen(t) && !err; i++) {
		const struct btf_type *var = btf__type_by_id(btf, s[i].type);

		if (var && btf_is_var(var) && s[i].offset < UINT32_MAX / 8)
			err = look(btf, var->type, s[i].offset * 8, 0, found);
	}
	return err;
}

/* ---- pointers to objects ---------------------------------------------------------------------- */

struct kptrs {
	const struct btf *btf;
	struct fbtf_kptr *out;
	u32 n, max;
};

/* The pointer at `bits`, when its target is tagged. */
static int tagged(struct kptrs *k, const struct btf_type *ptr, u32 bits)
{
	const struct btf_type *t = btf__type_by_id(k->btf, ptr->type);
	const char *tag = t && btf_is_type_tag(t) ? fbtf_name(k->btf, t->name_off) : "";
	bool owned = !strcmp(tag, "kptr") || !strcmp(tag, "kptr_ref");
	u32 id;

	if (!owned && strcmp(tag, "kptr_untrusted"))
		return 0;
	t = fbtf_strip(k->btf, ptr->type, &id);
	if (bits % 64 || !t || !(btf_is_struct(t) || (btf_is_fwd(t) && !btf_kflag(t))))
		return -EINVAL;
	if (k->n < k->max)
		k->out[k->n] = (struct fbtf_kptr){ bits / 8, id, owned };
	k->n++;
	return 0;
}

static int look_kptrs(struct kptrs *k, u32 id, u32 bits, u32 depth)
{
	const struct btf_type *t = fbtf_strip(k->btf, id, NULL);
	const struct btf_member *m;
	u32 i;
	int err = 0;

	if (t && btf_is_ptr(t))
		return tagged(k, t, bits);
	if (!t || !btf_is_struct(t) || depth > MAX_DEPTH)
		return 0;
	m = btf_members(t);
	for (i = 0; i < btf_vlen(t) && !err; i++)
		err = look_kptrs(k, m[i].type, bits + btf_member_bit_offset(t, i), depth + 1);
	return err;
}

int fbtf_find_kptrs(const struct btf *btf, u32 id, struct fbtf_kptr *out, u32 max)
{
	const struct btf_type *t = fbtf_strip(btf, id, NULL);
	struct kptrs k = { btf, out, 0, max };
	const struct btf_var_secinfo *s;
	u32 i;
	int err = 0;

	if (!t || !btf_is_datasec(t)) {
		err = look_kptrs(&k, id, 0, 0);
		return err ? err : (int)k.n;
	}
	s = btf_var_secinfos(t);
	for (i = 0; i < btf_vlen(t) && !err; i++) {
		const struct btf_type *var = btf__type_by_id(btf, s[i].type);

		if (var && btf_is_var(var) && s[i].offset < UINT32_MAX / 8)
			err = look_kptrs(&k, var->type, s[i].offset * 8, 0);
	}
	return err ? err : (int)k.n;
}
