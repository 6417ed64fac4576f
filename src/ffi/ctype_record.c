/* SPDX-License-Identifier: MIT */
/* struct, union and enum: their tags, members and enumerators. */
#include <errno.h>
#include <string.h>

#include "ffi/ctype_int.h"

/* Members while they are read. */
struct members {
	struct raw_member *m;
	size_t n, cap;
	struct hash names; /* hash of a name: index + 1 of the member that has it */
	const struct tok *open_array; /* where `[]` was: nothing may follow */
};

/* ---- tags --------------------------------------------------------------------------------------
 */

static const char *const tag_words[] = { [CTYPE_STRUCT] = "struct", [CTYPE_UNION] = "union",
					 [CTYPE_ENUM] = "enum" };

/* The type with this tag, made incomplete when there is none; `tag` is NULL for no tag. */
static struct cnode *tagged(struct parser *p, enum ctype_kind kind, const struct tok *tag)
{
	struct cdecl d = { "", SPACE_TAG, DECL_TAG, .type = NULL };
	const struct cdecl *old = tag ? ctypes_find(p->cs, SPACE_TAG, tag->s, tag->len) : NULL;
	struct cnode *node;

	if (old && old->type->kind != kind) {
		parse_fail(p, tag, "`%s' is already declared as %s", old->name,
			   tag_words[old->type->kind]);
		return NULL;
	}
	if (old)
		return cnode(old->type);
	node = ctype_make(p->cs, kind, 0, 1);
	if (!node) {
		parse_nomem(p);
		return NULL;
	}
	node->t.incomplete = true;
	if (tag) {
		d.name = node->t.name = ctypes_word(p->cs, tag->s, tag->len);
		d.type = &node->t;
		if (!d.name || ctypes_add_decl(p->cs, &d) < 0 ||
		    ctypes_add_order(p->cs, &node->t) < 0) {
			parse_nomem(p);
			return NULL;
		}
	}
	return node;
}

/* struct TAG and enum TAG up to the brace; NULL on error. *body says whether one follows. */
static struct cnode *tag_of(struct parser *p, enum ctype_kind kind, struct specs *s,
			    struct layout_opts *opts, bool *body)
{
	const struct tok *tag = NULL;
	struct text what = { 0 };
	struct cnode *node;

	p->pos++;
	if (!parse_attributes(p, opts))
		return NULL;
	if (parse_tok(p)->kind == TOK_IDENT && !parse_is_keyword(parse_tok(p)))
		tag = &p->toks[p->pos++];
	*body = parse_at(p, '{');
	if (!tag && !*body) {
		parse_describe(parse_tok(p), &what);
		parse_fail(p, parse_tok(p), "expected a name or `{' after `%s', found %s",
			   tag_words[kind], text_str(&what));
		text_free(&what);
		return NULL;
	}
	s->anonymous = !tag;
	s->declares = tag || kind == CTYPE_ENUM;
	node = tagged(p, kind, tag);
	if (node && *body && (!node->t.incomplete || node->being_defined)) {
		parse_fail(p, tag, "`%s %s' is already defined", tag_words[kind], node->t.name);
		return NULL;
	}
	return node;
}

/* ---- members -----------------------------------------------------------------------------------
 */

static bool note_name(struct parser *p, struct members *ms, const char *name, const struct tok *at)
{
	u64 key = hash_bytes(name, strlen(name), 0);

	if (!*name)
		return true;
	/* 64 bits: two names that only share a hash do not happen by accident, and refusing is
	 * safe. */
	if (hash_get(&ms->names, key))
		return parse_fail(p, at, "two members are named `%s'", name);
	return hash_put(&ms->names, key, ms) == 0 || parse_nomem(p);
}

/* The names inside an anonymous struct or union are names of the outer one (C11 6.7.2.1p13). */
static bool note_inner(struct parser *p, struct members *ms, const struct ctype *t,
		       const struct tok *at)
{
	u32 i;

	for (i = 0; i < t->count; i++) {
		const struct ctype_member *m = &t->members[i];

		if (*m->name ? !note_name(p, ms, m->name, at) :
			       !note_inner(p, ms, ctype_strip(m->type), at))
			return false;
	}
	return true;
}

static bool add_member(struct parser *p, struct members *ms, const struct raw_member *m,
		       const struct tok *at)
{
	struct raw_member *all = base_grow(ms->m, &ms->cap, ms->n + 1, sizeof(*all));

	if (!all)
		return parse_nomem(p);
	ms->m = all;
	if (ms->n == CTYPE_MAX_MEMBERS)
		return parse_fail(p, at, "more than %d members", CTYPE_MAX_MEMBERS);
	if (ms->open_array)
		return parse_fail(p, ms->open_array,
				  "an array without a size must be the last member");
	if (ctype_depth(m->type) >= CTYPE_MAX_DEPTH)
		return parse_fail(p, at, "this type nests deeper than %d levels", CTYPE_MAX_DEPTH);
	all[ms->n++] = *m;
	return note_name(p, ms, m->name, at);
}

static bool bit_width(struct parser *p, struct raw_member *m, const struct tok *at)
{
	const struct ctype *t = ctype_strip(m->type);
	u32 most = t->kind == CTYPE_BOOL ? 1 : t->size * 8;
	struct cvalue w;

	if (!parse_constant(p, &w))
		return false;
	if (t->kind != CTYPE_INT && t->kind != CTYPE_BOOL && t->kind != CTYPE_ENUM)
		return parse_fail(p, at, "only integers can be bit-fields");
	if (t->incomplete)
		return parse_fail(p, at, "a bit-field needs a complete type");
	if (cvalue_negative(&w) || w.v > most)
		return parse_fail(p, at, "a bit-field of this type has 0 to %u bits", most);
	if (!w.v && *m->name)
		return parse_fail(p, at, "a bit-field of 0 bits has no name");
	m->is_bits = true;
	m->bits = (u32)w.v;
	return true;
}

/* A member must have a size; only the last may be an array without. */
static bool check_member(struct parser *p, struct members *ms, const struct raw_member *m,
			 bool is_union, const struct tok *at)
{
	const struct ctype *t = ctype_strip(m->type);

	if (t->kind == CTYPE_FUNC)
		return parse_fail(p, at, "a member cannot be a function; write a pointer to it");
	if (t->kind == CTYPE_ARRAY && t->incomplete) {
		if (is_union)
			return parse_fail(p, at, "an array without a size cannot be in a union");
		ms->open_array = NULL;
		return true;
	}
	if (t->kind == CTYPE_VOID || t->incomplete)
		return parse_fail(p, at, "the size of member `%s' is not known", m->name);
	return true;
}

static bool one_member(struct parser *p, struct members *ms, const struct specs *s, bool is_union)
{
	const struct tok *name = NULL, *at = parse_tok(p);
	struct raw_member m = { .name = "", .type = s->type };
	struct layout_opts attrs = { 0 };

	if (!parse_at(p, ':')) {
		m.type = parse_declarator(p, s->type, &name);
		if (!m.type)
			return false;
	}
	if (name)
		m.name = ctypes_word(p->cs, name->s, name->len);
	if (!m.name)
		return parse_nomem(p);
	at = name ? name : at;
	if (parse_accept(p, ':')) {
		if (!bit_width(p, &m, at))
			return false;
	} else if (!name) {
		return parse_fail(p, at, "expected the name of a member");
	} else if (!check_member(p, ms, &m, is_union, at)) {
		return false;
	}
	if (!parse_attributes(p, &attrs))
		return false;
	if (m.is_bits && attrs.aligned)
		return parse_fail(p, at, "aligned bit-fields are not understood");
	m.packed = attrs.packed;
	m.aligned = attrs.aligned;
	if (!add_member(p, ms, &m, at))
		return false;
	if (ctype_strip(m.type)->kind == CTYPE_ARRAY && ctype_strip(m.type)->incomplete)
		ms->open_array = at;
	return true;
}

static bool member_declaration(struct parser *p, struct members *ms, bool is_union)
{
	const struct tok *at = parse_tok(p);
	struct raw_member m = { .name = "" };
	struct specs s;

	if (parse_accept(p, ';'))
		return true;
	if (!parse_specs(p, &s))
		return false;
	if (s.is_typedef || s.is_extern)
		return parse_fail(p, at, "a member cannot be typedef or extern");
	if (parse_accept(p, ';')) {
		m.type = s.type;
		if (!s.anonymous || ctype_strip(s.type)->kind == CTYPE_ENUM)
			return parse_fail(p, at, "this declares no member");
		return note_inner(p, ms, s.type->unqualified, at) && add_member(p, ms, &m, at);
	}
	do {
		if (!one_member(p, ms, &s, is_union))
			return false;
	} while (parse_accept(p, ','));
	return parse_expect(p, ';', "after the member");
}

static bool record_body(struct parser *p, struct cnode *node, struct layout_opts *opts)
{
	const struct tok *at = parse_tok(p);
	struct members ms = { 0 };
	bool ok = parse_enter(p);
	int err;

	p->pos++;
	node->being_defined = true;
	while (ok && !parse_at(p, '}')) {
		if (parse_tok(p)->kind == TOK_END)
			ok = parse_fail(p, at, "this `{' is not closed");
		else
			ok = member_declaration(p, &ms, node->t.kind == CTYPE_UNION);
	}
	node->being_defined = false;
	if (ok) {
		p->pos++;
		parse_leave(p);
		ok = parse_attributes(p, opts);
	}
	if (ok) {
		err = ctype_lay_out(p->cs, node, ms.m, (u32)ms.n, opts);
		if (err == -E2BIG)
			ok = parse_fail(p, at, "this type is too large");
		else if (err)
			ok = parse_nomem(p);
	}
	base_free(ms.m);
	hash_free(&ms.names);
	return ok;
}

const struct ctype *parse_record(struct parser *p, struct specs *s)
{
	enum ctype_kind kind = tok_is(parse_tok(p), "struct") ? CTYPE_STRUCT : CTYPE_UNION;
	struct layout_opts opts = { 0 };
	struct cnode *node;
	bool body;

	node = tag_of(p, kind, s, &opts, &body);
	if (!node || (body && !record_body(p, node, &opts)))
		return NULL;
	return &node->t;
}

/* ---- enums -------------------------------------------------------------------------------------
 */

struct enumerators {
	struct ctype_enumerator *e;
	size_t n, cap;
	bool negative;
	u64 most; /* of those that are not negative */
	s64 least;
	struct cvalue next;
	bool full; /* there is no next */
};

static bool one_enumerator(struct parser *p, struct enumerators *es, struct cnode *node)
{
	const struct tok *name = parse_tok(p);
	struct cdecl d = { NULL, SPACE_ORDINARY, DECL_ENUMERATOR, .type = &node->t };
	struct ctype_enumerator *all;
	const struct cdecl *old;

	if (name->kind != TOK_IDENT || parse_is_keyword(name))
		return parse_fail(p, name, "expected the name of an enumerator");
	p->pos++;
	old = ctypes_find(p->cs, SPACE_ORDINARY, name->s, name->len);
	if (old && !old->builtin)
		return parse_fail(p, name, "`%s' is already declared", old->name);
	if (parse_accept(p, '=')) {
		if (!parse_constant(p, &es->next))
			return false;
	} else if (es->full) {
		return parse_fail(p, name, "the value of `%.*s' does not fit 64 bits",
				  (int)name->len, name->s);
	}
	es->full = false;
	if (es->n == CTYPE_MAX_MEMBERS)
		return parse_fail(p, name, "more than %d enumerators", CTYPE_MAX_MEMBERS);
	all = base_grow(es->e, &es->cap, es->n + 1, sizeof(*all));
	if (!all)
		return parse_nomem(p);
	es->e = all;
	d.name = ctypes_word(p->cs, name->s, name->len);
	d.value = (s64)es->next.v;
	d.is_unsigned = !cvalue_negative(&es->next) && es->next.v > INT64_MAX;
	if (!d.name || ctypes_add_decl(p->cs, &d) < 0)
		return parse_nomem(p);
	all[es->n++] = (struct ctype_enumerator){ d.name, d.value };
	if (cvalue_negative(&es->next)) {
		es->negative = true;
		es->least = d.value < es->least ? d.value : es->least;
	} else {
		es->most = es->next.v > es->most ? es->next.v : es->most;
		es->full = es->next.v == UINT64_MAX;
		es->next.is_unsigned = es->next.v >= INT64_MAX;
	}
	es->next.v++;
	es->next.size = 8;
	return true;
}

/* The smallest of int and unsigned, long and unsigned long that holds all (gcc and clang do so). */
static bool enum_type(struct parser *p, struct enumerators *es, struct cnode *node,
		      const struct tok *at)
{
	bool wide = es->negative ? es->most > INT32_MAX || es->least < INT32_MIN :
				   es->most > UINT32_MAX;

	if (es->negative && es->most > INT64_MAX)
		return parse_fail(p, at, "no integer type holds all values of this enum");
	node->t.size = node->t.align = wide ? 8 : 4;
	node->t.is_signed = es->negative;
	return true;
}

static bool enum_body(struct parser *p, struct cnode *node)
{
	struct enumerators es = { .next = { 0, false, 4 } };
	const struct tok *at = parse_tok(p);
	struct ctype_enumerator *out = NULL;
	bool ok = true;

	p->pos++;
	node->being_defined = true;
	while (ok && !parse_at(p, '}')) {
		ok = one_enumerator(p, &es, node);
		if (ok && !parse_accept(p, ','))
			break;
	}
	ok = ok && parse_expect(p, '}', "after the enumerators");
	if (ok && !es.n)
		ok = parse_fail(p, at, "an enum needs an enumerator");
	ok = ok && enum_type(p, &es, node, at);
	if (ok) {
		out = arena_alloc(&p->cs->arena, es.n * sizeof(*out));
		ok = out || parse_nomem(p);
	}
	if (ok) {
		memcpy(out, es.e, es.n * sizeof(*out));
		node->t.enumerators = out;
		node->t.count = (u32)es.n;
		node->t.incomplete = false;
		if (ctype_completed(p->cs, node) < 0 ||
		    (!*node->t.name && ctypes_add_order(p->cs, &node->t) < 0))
			ok = parse_nomem(p);
	}
	node->being_defined = false;
	base_free(es.e);
	return ok;
}

const struct ctype *parse_enum(struct parser *p, struct specs *s)
{
	const struct tok *at = parse_tok(p);
	struct layout_opts opts = { 0 };
	struct cnode *node;
	bool body;

	node = tag_of(p, CTYPE_ENUM, s, &opts, &body);
	if (!node || (body && (!enum_body(p, node) || !parse_attributes(p, &opts))))
		return NULL;
	if (opts.packed || opts.aligned) {
		parse_fail(p, at, "attributes of enums are not understood");
		return NULL;
	}
	if (!body && node->t.incomplete) {
		parse_fail(p, at, "`enum %s' is not defined", node->t.name);
		return NULL;
	}
	return &node->t;
}
