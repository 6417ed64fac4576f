/* SPDX-License-Identifier: MIT */
/* C types and prototypes to BTF, in the form that pahole gives the kernel's and its modules'. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "btf/fbtf.h"

/*
 * Types wait in `todo` in the order of the ids that they were promised, so that chains of structs
 * that point to one another need no recursion.
 */
struct adder {
	struct btf *btf;
	struct hash *seen;
	const struct ctype **todo;
	size_t n, cap;
	u32 next; /* the id that the next type put into todo will have */
	u32 index; /* type of array indices */
};

static const u8 kinds[] = {
	[CTYPE_BOOL] = BTF_KIND_INT, [CTYPE_INT] = BTF_KIND_INT, [CTYPE_FLOAT] = BTF_KIND_FLOAT,
	[CTYPE_TYPEDEF] = BTF_KIND_TYPEDEF, [CTYPE_STRUCT] = BTF_KIND_STRUCT,
	[CTYPE_UNION] = BTF_KIND_UNION, [CTYPE_FUNC] = 0,
};

static bool same_int(const struct btf_type *b, const struct ctype *t)
{
	return b && btf_is_int(b) && b->size == t->size && btf_int_bits(b) == t->size * 8 &&
	       !!(btf_int_encoding(b) & BTF_INT_SIGNED) == t->is_signed;
}

/* Whether `b`, of the same name and kind, is what the C text says too. */
static bool same_record(const struct btf *btf, const struct btf_type *b, const struct ctype *t)
{
	const struct btf_member *m = btf_members(b);
	u32 i;

	if (t->incomplete)
		return true;
	if (b->size != t->size || btf_vlen(b) != t->count)
		return false;
	for (i = 0; i < t->count; i++)
		if (strcmp(fbtf_name(btf, m[i].name_off), t->members[i].name) ||
		    btf_member_bit_offset(b, i) != t->members[i].bit_off ||
		    btf_member_bitfield_size(b, i) != t->members[i].bits ||
		    fbtf_size(btf, m[i].type) != (s64)t->members[i].type->size)
			return false;
	return true;
}

/*
 * A type that the BTF, or the one it is split from, has already: base types by name, and as module
 * BTF does, structs and typedefs of the kernel's BTF that are the same. 0 when there is none.
 */
static u32 existing(const struct btf *btf, const struct ctype *t)
{
	const struct btf *base = btf__base_btf(btf);
	const struct btf_type *b;
	s32 id;

	if (t->unqualified != t || !*t->name || t->kind >= ARRAY_SIZE(kinds) || !kinds[t->kind])
		return 0;
	if (kinds[t->kind] != BTF_KIND_INT && kinds[t->kind] != BTF_KIND_FLOAT && !base)
		return 0;
	id = btf__find_by_name_kind(kinds[t->kind] <= BTF_KIND_INT || !base ? btf : base, t->name,
				    kinds[t->kind]);
	if (id <= 0)
		return 0;
	b = btf__type_by_id(btf, (u32)id);
	switch (t->kind) {
	case CTYPE_TYPEDEF:
		return same_int(fbtf_strip(btf, (u32)id, NULL), ctype_strip(t)) ? (u32)id : 0;
	case CTYPE_STRUCT:
	case CTYPE_UNION: return same_record(btf, b, t) ? (u32)id : 0;
	case CTYPE_INT: return same_int(b, t) ? (u32)id : 0;
	default: return b->size == t->size ? (u32)id : 0;
	}
}

/* The id of a type, promised when it is not there yet; 0 is void; -ENOMEM. */
static s32 id_of(struct adder *a, const struct ctype *t)
{
	uintptr_t id;
	const struct ctype **todo;

	if (t->kind == CTYPE_VOID && !t->is_const && !t->is_volatile)
		return 0;
	id = (uintptr_t)hash_get(a->seen, (uintptr_t)t);
	if (id)
		return (s32)id;
	id = existing(a->btf, t);
	if (!id) {
		todo = base_grow(a->todo, &a->cap, a->n + 1, sizeof(*todo));
		if (!todo)
			return -ENOMEM;
		a->todo = todo;
		todo[a->n++] = t;
		id = a->next;
		a->next += t->is_const && t->is_volatile ? 2 : 1;
	}
	if (hash_put(a->seen, (uintptr_t)t, (void *)id) < 0)
		return -ENOMEM;
	return (s32)id;
}

static int add_record(struct adder *a, const struct ctype *t)
{
	int err;
	u32 i;

	if (t->incomplete)
		return btf__add_fwd(a->btf, t->name,
				    t->kind == CTYPE_UNION ? BTF_FWD_UNION : BTF_FWD_STRUCT);
	err = t->kind == CTYPE_UNION ? btf__add_union(a->btf, t->name, t->size) :
				       btf__add_struct(a->btf, t->name, t->size);
	for (i = 0; err >= 0 && i < t->count; i++) {
		const struct ctype_member *m = &t->members[i];
		s32 id = id_of(a, m->type);

		err = id < 0 ? id : btf__add_field(a->btf, m->name, id, m->bit_off, m->bits);
	}
	return err;
}

static int add_enum(struct adder *a, const struct ctype *t)
{
	bool wide = t->size == 8;
	int err = wide ? btf__add_enum64(a->btf, t->name, t->size, t->is_signed) :
			 btf__add_enum(a->btf, t->name, t->size);
	u32 i;

	for (i = 0; err >= 0 && i < t->count; i++)
		err = wide ? btf__add_enum64_value(a->btf, t->enumerators[i].name,
						   (u64)t->enumerators[i].value) :
			     btf__add_enum_value(a->btf, t->enumerators[i].name,
						 t->enumerators[i].value);
	return err;
}

/* The kernel wants a name for every parameter of a FUNC; function pointers need none. */
static int add_proto(struct adder *a, const struct ctype *f, bool named)
{
	s32 id = id_of(a, f->to);
	char name[16];
	int err;
	u32 i;

	if (id < 0)
		return id;
	err = btf__add_func_proto(a->btf, id);
	for (i = 0; err >= 0 && i < f->count; i++) {
		const char *s = f->params[i].name;

		snprintf(name, sizeof(name), "arg%u", i + 1);
		id = id_of(a, f->params[i].type);
		err = id < 0 ? id : btf__add_func_param(a->btf, *s || !named ? s : name, id);
	}
	if (err >= 0 && f->variadic)
		err = btf__add_func_param(a->btf, NULL, 0);
	return err;
}

static int add_qualified(struct adder *a, const struct ctype *t)
{
	s32 id = id_of(a, t->unqualified);
	int err;

	if (id < 0)
		return id;
	if (t->is_const && t->is_volatile) {
		err = btf__add_const(a->btf, (int)btf__type_cnt(a->btf) + 1);
		return err < 0 ? err : btf__add_volatile(a->btf, id);
	}
	return t->is_const ? btf__add_const(a->btf, id) : btf__add_volatile(a->btf, id);
}

static int add_one(struct adder *a, const struct ctype *t)
{
	s32 id = 0;

	if (t->unqualified != t)
		return add_qualified(a, t);
	if (t->kind == CTYPE_POINTER || t->kind == CTYPE_ARRAY || t->kind == CTYPE_TYPEDEF) {
		id = id_of(a, t->to);
		if (id < 0)
			return id;
	}
	switch (t->kind) {
	case CTYPE_BOOL: return btf__add_int(a->btf, t->name, t->size, BTF_INT_BOOL);
	case CTYPE_INT:
		return btf__add_int(a->btf, t->name, t->size, t->is_signed ? BTF_INT_SIGNED : 0);
	case CTYPE_FLOAT: return btf__add_float(a->btf, t->name, t->size);
	case CTYPE_ENUM: return add_enum(a, t);
	case CTYPE_POINTER: return btf__add_ptr(a->btf, id);
	case CTYPE_ARRAY: return btf__add_array(a->btf, (int)a->index, id, t->count);
	case CTYPE_STRUCT:
	case CTYPE_UNION: return add_record(a, t);
	case CTYPE_FUNC: return add_proto(a, t, false);
	case CTYPE_TYPEDEF: return btf__add_typedef(a->btf, t->name, id);
	default: return -EINVAL;
	}
}

static int adder_start(struct adder *a, struct btf *btf, struct hash *seen)
{
	s32 id = btf__find_by_name_kind(btf, "long unsigned int", BTF_KIND_INT);

	memset(a, 0, sizeof(*a));
	if (id < 0)
		id = btf__add_int(btf, "long unsigned int", sizeof(long), 0);
	if (id < 0)
		return id;
	a->btf = btf;
	a->seen = seen;
	a->index = (u32)id;
	a->next = btf__type_cnt(btf);
	return 0;
}

/* Makes all promises true. */
static int adder_finish(struct adder *a, int err)
{
	size_t i;

	for (i = 0; err >= 0 && i < a->n; i++)
		err = add_one(a, a->todo[i]);
	if (err >= 0 && btf__type_cnt(a->btf) != a->next)
		err = BROKEN("BTF ids differ from those promised");
	base_free(a->todo);
	return err < 0 ? err : 0;
}

int fbtf_add_ctype(struct btf *btf, struct hash *seen, const struct ctype *t)
{
	struct adder a;
	s32 id;
	int err = adder_start(&a, btf, seen);

	if (err < 0)
		return err;
	id = id_of(&a, t);
	err = adder_finish(&a, id);
	return err < 0 ? err : id;
}

int fbtf_add_func(struct btf *btf, struct hash *seen, const char *name, const struct ctype *func)
{
	struct adder a;
	int err = adder_start(&a, btf, seen), proto;

	if (err < 0)
		return err;
	/* The prototype takes the first id; its parameters' types are promised those behind it. */
	proto = (int)a.next++;
	err = adder_finish(&a, add_proto(&a, func, true));
	/* pahole says static of all functions of the kernel. */
	return err < 0 ? err : btf__add_func(btf, name, BTF_FUNC_STATIC, proto);
}
