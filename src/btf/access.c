/* SPDX-License-Identifier: MIT */
/*
 * What bytes of a struct are, by its BTF: which member a load of some bytes reads. The rules, and so
 * what is refused, are those of the kernel's btf_struct_access().
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "btf/fbtf.h"

/* A walk into nested structs: where it is now, and what is looked for there. */
struct walk {
	const struct btf *btf;
	const struct btf_type *t; /* a struct or union */
	u32 off, size;            /* the bytes, from its start */
	bool in_union;            /* of several members */
	struct fbtf_access *out;
	struct text *why;
};

enum { WALK_ON, WALK_DONE }; /* results of a step; or -errno */

static int refuse(struct walk *w, int err, const char *fmt, ...) PRINTF_LIKE(3, 4);
static int refuse(struct walk *w, int err, const char *fmt, ...)
{
	va_list ap;

	if (w->why) {
		va_start(ap, fmt);
		text_vprintf(w->why, fmt, ap);
		va_end(ap);
	}
	return err;
}

static int found_scalar(struct walk *w)
{
	w->out->is_ptr = false;
	w->out->in_union = w->in_union;
	return WALK_DONE;
}

/* Goes on inside the struct `t`, which starts `at` bytes from here. */
static int into(struct walk *w, const struct btf_type *t, u32 at)
{
	w->t = t;
	w->off -= at;
	return WALK_ON;
}

/* Bytes behind the end may be elements of a flexible array that is the last member. */
static int beyond(struct walk *w)
{
	u32 n = btf_vlen(w->t), moff;
	const struct btf_member *last = n ? btf_members(w->t) + n - 1 : NULL;
	const struct btf_type *array = last ? fbtf_strip(w->btf, last->type, NULL) : NULL, *elem;

	if (!array || !btf_is_array(array) || btf_array(array)->nelems)
		goto refused;
	moff = btf_member_bit_offset(w->t, n - 1) / 8;
	elem = fbtf_strip(w->btf, btf_array(array)->type, NULL);
	if (w->off < moff || !elem)
		goto refused;
	w->out->flexible = true;
	if (btf_is_int(elem))
		return found_scalar(w);
	if (!btf_is_composite(elem) || !elem->size)
		goto refused;
	w->off = (w->off - moff) % elem->size;
	w->t = elem;
	/* Not across two elements: that would come back here for ever. */
	if ((u64)w->off + w->size <= elem->size)
		return WALK_ON;
refused:
	return refuse(w, -EACCES, "access beyond struct %s at off %u size %u",
		      fbtf_name(w->btf, w->t->name_off), w->off, w->size);
}

static int pointer(struct walk *w, const struct btf_type *ptr, u32 moff, const char *name)
{
	const struct btf_type *to = btf__type_by_id(w->btf, ptr->type);
	u32 id;

	if (w->size != 8 || w->off != moff)
		return refuse(w, -EACCES,
			      "cannot access ptr member %s with moff %u in struct %s with off %u size %u",
			      name, moff, fbtf_name(w->btf, w->t->name_off), w->off, w->size);
	if (to && btf_is_type_tag(to))
		w->out->tag = fbtf_name(w->btf, to->name_off);
	to = fbtf_strip(w->btf, ptr->type, &id);
	w->out->name = name;
	w->out->points = true;
	if (!to || !btf_is_composite(to))
		return found_scalar(w);
	w->out->is_ptr = true;
	w->out->in_union = w->in_union;
	w->out->type = id;
	return WALK_DONE;
}

/* Through arrays, also of several dimensions, to their element. */
static const struct btf_type *element(const struct btf *btf, const struct btf_type *t)
{
	u32 depth;

	for (depth = 0; t && btf_is_array(t) && depth < FBTF_MAX_NESTING; depth++)
		t = fbtf_strip(btf, btf_array(t)->type, NULL);
	return t;
}

static int member(struct walk *w, const struct btf_member *m, u32 moff)
{
	const struct btf_type *t = fbtf_strip(w->btf, m->type, NULL), *e = element(w->btf, t);
	s64 size = fbtf_size(w->btf, m->type), each;
	const char *name = fbtf_name(w->btf, m->name_off);
	u32 end = moff + (u32)size;

	if (!t || !e || size < 0)
		return refuse(w, -EFAULT, "field %s doesn't have size", name);
	if (w->off >= end)
		return WALK_ON;
	each = btf_is_ptr(e) ? 8 : e->size;
	if (btf_is_array(t) && each > 0)
		moff += (u32)((w->off - moff) / each * each);
	if (btf_is_composite(e))
		return into(w, e, moff);
	w->out->name = name;
	if (btf_is_ptr(e))
		return pointer(w, e, moff, name);
	if ((u64)w->off + w->size > end && !w->in_union)
		return refuse(w, -EACCES,
			      "access beyond the end of member %s (mend:%u) in struct %s with off %u size %u",
			      name, end, fbtf_name(w->btf, w->t->name_off), w->off, w->size);
	return found_scalar(w);
}

/* Whole bytes around a bit-field: clang reads more than the field. */
static bool covers_bits(const struct walk *w, u32 i)
{
	u32 start = btf_member_bit_offset(w->t, i), end = start + btf_member_bitfield_size(w->t, i);

	return w->off <= start / 8 && (end + 7) / 8 <= w->off + w->size;
}

/* One struct: WALK_ON when the bytes are in a struct inside it, which w->t is then. */
static int step(struct walk *w)
{
	const struct btf_type *t = w->t;
	u32 i, n = btf_vlen(t);
	int err;

	if (btf_is_union(t) && n != 1)
		w->in_union = true;
	if ((u64)w->off + w->size > t->size)
		return beyond(w);
	for (i = 0; i < n; i++) {
		u32 moff = btf_member_bit_offset(t, i) / 8;

		if (w->off + w->size <= moff)
			break;
		if (btf_member_bitfield_size(t, i)) {
			if (covers_bits(w, i))
				return found_scalar(w);
			continue;
		}
		if (w->off < moff)
			break;
		err = member(w, &btf_members(t)[i], moff);
		if (err != WALK_ON || w->t != t)
			return err;
	}
	return refuse(w, -EINVAL, "struct %s doesn't have field at offset %u",
		      fbtf_name(w->btf, t->name_off), w->off);
}

int fbtf_access(const struct btf *btf, u32 id, u32 off, u32 size, struct fbtf_access *out,
		struct text *why)
{
	struct walk w = { .btf = btf, .off = off, .size = size, .out = out, .why = why };
	u32 depth;
	int err;

	memset(out, 0, sizeof(*out));
	w.t = fbtf_strip(btf, id, NULL);
	if (!w.t || !btf_is_composite(w.t) || !size)
		return refuse(&w, -EINVAL, "type %u is not a struct", id);
	/* Structs inside one another are bounded in checked BTF; the kernel's bound is the same. */
	for (depth = 0; depth < FBTF_MAX_NESTING; depth++) {
		err = step(&w);
		if (err != WALK_ON)
			return err < 0 ? err : 0;
	}
	return refuse(&w, -EACCES, "type %u: structs are nested too deeply", id);
}

bool fbtf_contains(const struct btf *btf, u32 id, u32 off, u32 want)
{
	const struct btf_type *t = fbtf_strip(btf, id, &id), *next;
	u32 depth, i, moff, inner;

	for (depth = 0; t && depth < FBTF_MAX_NESTING; depth++) {
		if (!off && id == want)
			return true;
		if (!btf_is_composite(t))
			return false;
		next = NULL;
		for (i = 0; i < btf_vlen(t) && !next; i++) {
			const struct btf_member *m = &btf_members(t)[i];
			s64 size = fbtf_size(btf, m->type);

			moff = btf_member_bit_offset(t, i) / 8;
			if (btf_member_bitfield_size(t, i) || size <= 0 || off < moff ||
			    off >= moff + (u64)size)
				continue;
			next = element(btf, fbtf_strip(btf, m->type, NULL));
			if (!next || !btf_is_composite(next) || !next->size)
				return false;
			off = (off - moff) % next->size;
			inner = m->type;
		}
		if (!next)
			return false;
		/* The id of the element: arrays have to be looked through again. */
		t = fbtf_strip(btf, inner, &id);
		while (t && btf_is_array(t))
			t = fbtf_strip(btf, btf_array(t)->type, &id);
	}
	return false;
}

bool fbtf_is_const(const struct btf *btf, u32 id)
{
	const struct btf_type *t = btf__type_by_id(btf, id);
	u32 depth;

	for (depth = 0; t && (btf_is_mod(t) || btf_is_typedef(t)) && depth < 64; depth++) {
		if (btf_is_const(t))
			return true;
		t = btf__type_by_id(btf, t->type);
	}
	return false;
}
