/* SPDX-License-Identifier: MIT */
/*
 * Types with those they refer to: loops, depth, sizes, members inside their structs. The walk is
 * the kernel's, since its order and limits decide what is a loop: a struct may hold a pointer to
 * itself, not itself. An explicit stack of 32 frames, no recursion.
 */
#include <errno.h>
#include <string.h>

#include "btf/fbtf_int.h"

static bool is_record(const struct btf_type *t)
{
	return btf_is_composite(t);
}

/* Types that have no size at all. */
static bool no_size(const struct btf_type *t)
{
	return !t || btf_is_void(t) || btf_is_fwd(t) || btf_is_func(t) || btf_is_func_proto(t);
}

static bool needs_walk(const struct btf_type *t)
{
	return fbtf_is_modifier(t) || btf_is_ptr(t) || is_record(t) || btf_is_array(t) ||
	       btf_is_var(t) || btf_is_func(t) || btf_is_decl_tag(t) || btf_is_datasec(t);
}

/* Whether this walk need not look into the type. */
static bool is_end(const struct fbtf_check *c, const struct btf_type *t)
{
	switch (c->mode) {
	case FBTF_FROM_PTR: return !fbtf_is_modifier(t) && !btf_is_ptr(t);
	case FBTF_FROM_RECORD: return !fbtf_is_modifier(t) && !btf_is_array(t) && !is_record(t);
	default: return !needs_walk(t);
	}
}

static bool is_done(const struct fbtf_check *c, u32 id)
{
	return id < c->start_id || c->state[id - c->start_id] == FBTF_DONE;
}

static int push(struct fbtf_check *c, const struct btf_type *t, u32 id)
{
	struct fbtf_frame *f;

	if (c->depth == FBTF_MAX_DEPTH)
		return -E2BIG;
	if (id < c->start_id || c->state[id - c->start_id] != FBTF_NEW)
		return -EEXIST;
	c->state[id - c->start_id] = FBTF_OPEN;
	f = &c->stack[c->depth++];
	f->t = t;
	f->id = id;
	f->next = 0;
	if (c->mode == FBTF_ANY && btf_is_ptr(t))
		c->mode = FBTF_FROM_PTR;
	else if (c->mode == FBTF_ANY && (is_record(t) || btf_is_array(t)))
		c->mode = FBTF_FROM_RECORD;
	return 0;
}

/* The type on top is done; behind its modifiers is type `to`. */
static int pop(struct fbtf_check *c, u32 to, u32 bytes)
{
	u32 id = c->stack[--c->depth].id - c->start_id;

	c->to[id] = to;
	c->bytes[id] = bytes;
	c->state[id] = FBTF_DONE;
	return 0;
}

/* The type behind modifiers, of a type that is done. Types of the base were resolved once. */
static const struct btf_type *behind(const struct fbtf_check *c, u32 *id)
{
	const struct btf_type *t;
	u32 to;

	if (*id >= c->start_id) {
		*id = c->to[*id - c->start_id];
		return fbtf_type(c, *id);
	}
	t = btf__type_by_id(c->base, *id);
	if (t && (btf_is_var(t) || btf_is_func(t)))
		*id = t->type;
	to = 0;
	t = fbtf_strip(c->base, *id, &to);
	*id = to;
	return t ? t : fbtf_type(c, 0);
}

const struct btf_type *fbtf_sized(const struct fbtf_check *c, u32 *id, u32 *size)
{
	const struct btf_type *t = fbtf_type(c, *id);
	u32 at = *id, bytes;

	if (no_size(t) || btf_is_decl_tag(t))
		return NULL;
	if (fbtf_is_modifier(t) || btf_is_var(t)) {
		t = behind(c, &at);
		if (no_size(t) || fbtf_is_modifier(t) || btf_is_var(t) || btf_is_decl_tag(t))
			return NULL;
	}
	if (btf_is_ptr(t))
		bytes = 8;
	else if (!btf_is_array(t))
		bytes = t->size;
	else if (at < c->start_id)
		bytes = (u32)fbtf_size(c->base, at);
	else
		bytes = c->bytes[at - c->start_id];
	*id = at;
	if (size)
		*size = bytes;
	return t;
}

/* ---- one step for each kind --------------------------------------------------------------------
 */

/* 0 and nothing pushed: the type is known well enough. 1: it was pushed, come back later. */
static int first(struct fbtf_check *c, const struct btf_type *t, u32 id)
{
	int err;

	if (is_end(c, t) || is_done(c, id))
		return 0;
	err = push(c, t, id);
	return err ? err : 1;
}

/*
 * A modifier that was resolved from inside a struct may have stopped at a pointer that is not: go
 * on from there, or a pointer could come back to itself through it.
 */
static int first_pointer(struct fbtf_check *c, const struct btf_type *t, u32 id)
{
	if (!fbtf_is_modifier(t))
		return 0;
	t = behind(c, &id);
	return btf_is_ptr(t) ? first(c, t, id) : 0;
}

static int step_ref(struct fbtf_check *c, const struct fbtf_frame *f)
{
	u32 id = f->t->type;
	const struct btf_type *t = fbtf_type(c, id);
	int err;

	if (!t || fbtf_source_only(t))
		return fbtf_refuse(c, "it refers to type %u, which cannot be", id);
	err = first(c, t, id);
	if (!err && (btf_is_ptr(f->t) || btf_is_var(f->t)))
		err = first_pointer(c, t, id);
	if (err)
		return err;
	if (fbtf_sized(c, &id, NULL))
		return pop(c, id, 0);
	if (btf_is_var(f->t) && !c->object)
		return fbtf_refuse(c, "a variable needs a type with a size");
	if (is_done(c, id))
		t = behind(c, &id);
	if (!t || (!btf_is_void(t) && !btf_is_fwd(t) && !btf_is_func_proto(t)))
		return fbtf_refuse(c, "it refers to type %u, which cannot be", id);
	return pop(c, id, 0);
}

static int step_array(struct fbtf_check *c, const struct fbtf_frame *f)
{
	const struct btf_array *a = btf_array(f->t);
	const struct btf_type *t = fbtf_type(c, a->index_type);
	u32 id = a->index_type, size = 0;
	int err;

	if (no_size(t) || fbtf_source_only(t))
		return fbtf_refuse(c, "its index cannot be of type %u", id);
	err = first(c, t, id);
	if (err)
		return err;
	t = fbtf_sized(c, &id, NULL);
	if (!t || !btf_is_int(t) || !fbtf_regular_int(t))
		return fbtf_refuse(c, "its index is not an integer of whole bytes");
	id = a->type;
	t = fbtf_type(c, id);
	if (no_size(t) || fbtf_source_only(t))
		return fbtf_refuse(c, "its elements cannot be of type %u", id);
	err = first(c, t, id);
	if (err)
		return err;
	t = fbtf_sized(c, &id, &size);
	if (!t || (btf_is_int(t) && !fbtf_regular_int(t)))
		return fbtf_refuse(c, "its elements cannot be of type %u", a->type);
	if (a->nelems && size > UINT32_MAX / a->nelems) {
		/* Map definitions write numbers as arrays of int: __uint(max_entries, 1 << 30). */
		if (c->object)
			return pop(c, id, UINT32_MAX);
		return fbtf_refuse(c, "%u elements of %u bytes are too many", a->nelems, size);
	}
	return pop(c, id, size * a->nelems);
}

static int step_record(struct fbtf_check *c, struct fbtf_frame *f)
{
	const struct btf_member *m = btf_members(f->t);
	const struct btf_type *t;
	int err;

	for (; f->next < btf_vlen(f->t); f->next++) {
		u32 id = m[f->next].type;

		t = fbtf_type(c, id);
		if (no_size(t) || fbtf_source_only(t))
			return fbtf_refuse(c, "member %u cannot be of type %u", f->next, id);
		err = first(c, t, id);
		if (!err)
			err = fbtf_check_member(c, f->t, f->next);
		if (err)
			return err;
	}
	return pop(c, 0, 0);
}

static int step_func(struct fbtf_check *c, const struct fbtf_frame *f)
{
	const struct btf_type *proto = fbtf_type(c, f->t->type);
	const struct btf_param *p;
	u32 i;

	if (!proto || !btf_is_func_proto(proto))
		return fbtf_refuse(c, "type %u is no prototype", f->t->type);
	p = btf_params(proto);
	for (i = 0; i < btf_vlen(proto); i++)
		/* Externs have no names before libbpf gives them some. */
		if (!p[i].name_off && p[i].type && !c->object)
			return fbtf_refuse(c, "parameter %u has no name", i);
	return pop(c, f->t->type, 0);
}

static int step_datasec(struct fbtf_check *c, struct fbtf_frame *f)
{
	const struct btf_var_secinfo *v = btf_var_secinfos(f->t);
	const struct btf_type *t;
	u32 id, size = 0;
	int err;

	for (; f->next < btf_vlen(f->t); f->next++) {
		t = fbtf_type(c, v[f->next].type);
		if (t && c->object && btf_is_func(t))
			continue; /* an extern of .ksyms */
		if (!t || !btf_is_var(t))
			return fbtf_refuse(c, "entry %u, type %u, is no variable", f->next,
					   v[f->next].type);
		err = first(c, t, v[f->next].type);
		if (err)
			return err;
		if (c->object)
			continue;
		id = t->type;
		if (!fbtf_sized(c, &id, &size) || v[f->next].size < size)
			return fbtf_refuse(c, "variable %u has %u bytes, its type %u", f->next,
					   v[f->next].size, size);
	}
	return pop(c, 0, 0);
}

static int step_decl_tag(struct fbtf_check *c, const struct fbtf_frame *f)
{
	const struct btf_type *t = fbtf_type(c, f->t->type);
	s32 part = btf_decl_tag(f->t)->component_idx;
	int err;

	if (!t || !(btf_is_func(t) || is_record(t) || btf_is_var(t) || btf_is_typedef(t)))
		return fbtf_refuse(c, "type %u cannot have a tag", f->t->type);
	err = first(c, t, f->t->type);
	if (err)
		return err;
	if (part != -1) {
		if (btf_is_func(t))
			t = fbtf_type(c, t->type);
		if (btf_is_var(t) || btf_is_typedef(t) || (u32)part >= btf_vlen(t))
			return fbtf_refuse(c, "type %u has no component %d", f->t->type, part);
	}
	return pop(c, f->t->type, 0);
}

static int step(struct fbtf_check *c, struct fbtf_frame *f)
{
	switch (btf_kind(f->t)) {
	case BTF_KIND_ARRAY: return step_array(c, f);
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION: return step_record(c, f);
	case BTF_KIND_FUNC: return step_func(c, f);
	case BTF_KIND_DATASEC: return step_datasec(c, f);
	case BTF_KIND_DECL_TAG: return step_decl_tag(c, f);
	default: return step_ref(c, f);
	}
}

/* ---- the walk ----------------------------------------------------------------------------------
 */

static int walk(struct fbtf_check *c, const struct btf_type *t, u32 id)
{
	const struct btf_type *to;
	u32 at = id;
	int err;

	c->mode = FBTF_ANY;
	c->depth = 0;
	err = push(c, t, id);
	while (err >= 0 && c->depth) {
		c->at = c->stack[c->depth - 1].id;
		err = step(c, &c->stack[c->depth - 1]);
	}
	c->at = id;
	if (err == -E2BIG)
		fbtf_refuse(c, "more than %d types deep", FBTF_MAX_DEPTH);
	else if (err == -EEXIST)
		fbtf_refuse(c, "it refers to itself");
	if (err < 0)
		return err;
	if (fbtf_is_modifier(t) || btf_is_ptr(t) || btf_is_var(t)) {
		to = behind(c, &at);
		if (!to || fbtf_is_modifier(to) || btf_is_var(to) || btf_is_datasec(to))
			return fbtf_refuse(c, "it cannot be resolved");
	}
	if (btf_is_array(t)) {
		at = btf_array(t)->type;
		to = fbtf_sized(c, &at, NULL);
		if (!to || fbtf_is_modifier(to))
			return fbtf_refuse(c, "its elements cannot be resolved");
	}
	return 0;
}

static int walk_sized(struct fbtf_check *c, u32 id)
{
	const struct btf_type *t = fbtf_type(c, id);
	u32 at = c->at;
	int err;

	if (!t || fbtf_source_only(t))
		return fbtf_refuse(c, "it refers to type %u, which cannot be", id);
	if (needs_walk(t) && !is_done(c, id)) {
		err = walk(c, t, id);
		if (err)
			return err;
		c->at = at;
	}
	return fbtf_sized(c, &id, NULL) ? 0 : fbtf_refuse(c, "type %u has no size", id);
}

static int check_proto(struct fbtf_check *c, const struct btf_type *t)
{
	const struct btf_param *p = btf_params(t);
	u32 i, n = btf_vlen(t);
	int err = t->type ? walk_sized(c, t->type) : 0;

	/* The last parameter is void where a function takes any. */
	if (!err && n && !p[n - 1].type) {
		if (p[n - 1].name_off)
			return fbtf_refuse(c, "parameter %u is void and has a name", n - 1);
		n--;
	}
	for (i = 0; !err && i < n; i++) {
		if (!fbtf_valid_param(c, p[i].name_off))
			return fbtf_refuse(c, "parameter %u has no valid name", i);
		err = walk_sized(c, p[i].type);
	}
	return err;
}

/* Type tags come before other modifiers, and no chain of modifiers is longer than 32. */
static int check_tags(struct fbtf_check *c)
{
	u32 i, id, first_id = c->start_id ? c->start_id : 1, good = first_id - 1;
	const struct btf_type *t;

	for (i = first_id; i < c->start_id + c->n; i++) {
		int left = 32;
		bool tags;

		t = fbtf_type(c, i);
		if (!fbtf_is_modifier(t))
			continue;
		c->at = i;
		tags = btf_is_type_tag(t);
		for (id = i; t && fbtf_is_modifier(t); t = fbtf_type(c, id)) {
			if (!left--) {
				fbtf_refuse(c, "more than 32 modifiers in a row");
				return -ELOOP;
			}
			if (btf_is_type_tag(t) && !tags)
				return fbtf_refuse(c, "a type tag comes after another modifier");
			tags = btf_is_type_tag(t);
			if (id <= good)
				break;
			id = t->type;
		}
		good = i;
	}
	return 0;
}

int fbtf_check_links(struct fbtf_check *c)
{
	const struct btf_type *t;
	int err = 0;
	size_t i;

	c->to = base_array(c->n, sizeof(*c->to));
	c->bytes = base_array(c->n, sizeof(*c->bytes));
	c->state = base_array(c->n, sizeof(*c->state));
	if (!c->to || !c->bytes || !c->state)
		return -ENOMEM;
	for (i = c->start_id ? 0 : 1; !err && i < c->n; i++) {
		t = c->types[i];
		c->at = c->start_id + (u32)i;
		if (needs_walk(t) && !is_done(c, c->at))
			err = walk(c, t, c->at);
		if (!err && btf_is_func_proto(t)) {
			c->at = c->start_id + (u32)i;
			err = check_proto(c, t);
		}
	}
	return err ? err : check_tags(c);
}
