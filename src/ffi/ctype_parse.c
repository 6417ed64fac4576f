/* SPDX-License-Identifier: MIT */
/* C declarations to types: the ways in, errors, declarations at file scope. */
#include <errno.h>
#include <string.h>

#include "ffi/ctype_int.h"

bool parse_fail(struct parser *p, const struct tok *t, const char *fmt, ...)
{
	va_list ap;

	if (p->err)
		return false;
	p->err = -EINVAL;
	if (!p->why)
		return false;
	text_printf(p->why, "line %u, column %u: ", t->line, t->col);
	va_start(ap, fmt);
	text_vprintf(p->why, fmt, ap);
	va_end(ap);
	return false;
}

bool parse_nomem(struct parser *p)
{
	if (!p->err) {
		p->err = -ENOMEM;
		if (p->why)
			text_puts(p->why, "out of memory");
	}
	return false;
}

bool parse_enter(struct parser *p)
{
	if (p->depth >= CTYPE_MAX_DEPTH)
		return parse_fail(p, parse_tok(p), "this nests deeper than %d levels",
				  CTYPE_MAX_DEPTH);
	p->depth++;
	return true;
}

void parse_leave(struct parser *p)
{
	p->depth--;
}

bool parse_accept(struct parser *p, u32 punct)
{
	if (!parse_at(p, punct))
		return false;
	p->pos++;
	return true;
}

bool parse_accept_word(struct parser *p, const char *word)
{
	if (!tok_is(parse_tok(p), word))
		return false;
	p->pos++;
	return true;
}

void parse_describe(const struct tok *t, struct text *out)
{
	if (t->kind == TOK_END)
		text_puts(out, "the end of the text");
	else
		text_printf(out, "`%.*s'", t->len > 40 ? 40 : (int)t->len, t->s);
}

bool parse_expect(struct parser *p, u32 punct, const char *where)
{
	struct text what = { 0 };

	if (parse_accept(p, punct))
		return true;
	parse_describe(parse_tok(p), &what);
	parse_fail(p, parse_tok(p), "expected `%c' %s, found %s", (int)punct, where,
		   text_str(&what));
	text_free(&what);
	return false;
}

/* The type in words, for messages. */
static bool fail_redeclared(struct parser *p, const struct tok *name, const struct cdecl *old)
{
	struct text was = { 0 };

	if (old->what == DECL_TYPEDEF)
		ctype_print(old->type->to, NULL, &was);
	else
		text_puts(&was, "an enumerator");
	parse_fail(p, name, "`%.*s' is already declared as %s", (int)name->len, name->s,
		   text_str(&was));
	text_free(&was);
	return false;
}

static bool declare_typedef(struct parser *p, const struct tok *name, const struct ctype *t)
{
	const struct cdecl *old = ctypes_find(p->cs, SPACE_ORDINARY, name->s, name->len);
	struct cdecl d = { NULL, SPACE_ORDINARY, DECL_TYPEDEF, .type = NULL };

	if (ctype_strip(t)->kind == CTYPE_ARRAY && t->incomplete)
		return parse_fail(p, name, "an array without a size cannot be named");
	/* The same typedef twice is allowed (C11 6.7p3). */
	if (old && !old->builtin) {
		if (old->what == DECL_TYPEDEF && ctype_same(old->type->to, t))
			return true;
		return fail_redeclared(p, name, old);
	}
	if (ctype_depth(t) >= CTYPE_MAX_DEPTH)
		return parse_fail(p, name, "this type nests deeper than %d levels",
				  CTYPE_MAX_DEPTH);
	d.name = ctypes_word(p->cs, name->s, name->len);
	d.type = d.name ? ctype_typedef(p->cs, d.name, t) : NULL;
	if (!d.type || ctypes_add_decl(p->cs, &d) < 0 || ctypes_add_order(p->cs, d.type) < 0)
		return parse_nomem(p);
	return true;
}

/* typedef int a, *b; */
static bool typedef_list(struct parser *p, const struct specs *s)
{
	do {
		struct layout_opts attrs = { 0 };
		const struct tok *name;
		const struct ctype *t = parse_declarator(p, s->type, &name);

		if (!t)
			return false;
		if (!name)
			return parse_fail(p, parse_tok(p), "expected the name of the typedef");
		if (!parse_attributes(p, &attrs))
			return false;
		if (attrs.packed || (attrs.aligned && attrs.aligned != t->align))
			return parse_fail(p, name, "a typedef that changes the layout is not "
						   "understood; put the attribute on the struct");
		if (!declare_typedef(p, name, t))
			return false;
	} while (parse_accept(p, ','));
	return true;
}

static bool declaration(struct parser *p)
{
	struct layout_opts attrs = { 0 };
	const struct tok *at = parse_tok(p);
	struct specs s;

	if (parse_accept(p, ';'))
		return true;
	if (!parse_specs(p, &s) || !parse_attributes(p, &attrs))
		return false;
	if (parse_at(p, ';') && !s.is_typedef) {
		if (!s.declares)
			return parse_fail(p, at, "this declares no type");
		p->pos++;
		return true;
	}
	if (!s.is_typedef && parse_tok(p)->kind != TOK_END && s.declares && !s.is_extern)
		return parse_expect(p, ';', "after the declaration");
	if (!s.is_typedef && parse_tok(p)->kind != TOK_END)
		return parse_fail(p, at,
				  "only types are declared here: struct, union, enum, typedef");
	if (s.is_typedef && !typedef_list(p, &s))
		return false;
	return parse_expect(p, ';', "after the declaration");
}

/* ---- ways in -----------------------------------------------------------------------------------
 */

static int parse_start(struct parser *p, struct ctypes *cs, const char *text, struct text *why)
{
	struct tok *toks;
	u32 n;
	int err = ctype_lex(text, &toks, &n, why);

	memset(p, 0, sizeof(*p));
	p->cs = cs;
	p->toks = toks;
	p->why = why;
	if (err == -ENOMEM && why)
		text_puts(why, "out of memory");
	return err;
}

static int parse_finish(struct parser *p, struct ctypes_mark mark)
{
	if (p->err)
		ctypes_rollback(p->cs, mark);
	base_free((void *)(uintptr_t)p->toks);
	return p->err;
}

int ctypes_declare(struct ctypes *cs, const char *text, struct text *why)
{
	struct ctypes_mark mark = ctypes_mark(cs);
	struct parser p;
	int err = parse_start(&p, cs, text, why);

	if (err)
		return err;
	while (!p.err && parse_tok(&p)->kind != TOK_END)
		declaration(&p);
	return parse_finish(&p, mark);
}

/* Words that programs put after a prototype and that say nothing about its type. */
static void skip_trailer(struct parser *p)
{
	while (parse_accept_word(p, "__ksym") || parse_accept_word(p, "__weak"))
		;
}

static const struct ctype *prototype(struct parser *p, const struct tok **name)
{
	static const char *const how = "expected a function such as `int add(int x, int y)'";
	struct layout_opts attrs = { 0 };
	const struct tok *at = parse_tok(p);
	const struct ctype *t;
	struct specs s;

	if (!parse_specs(p, &s))
		return NULL;
	if (s.is_typedef) {
		parse_fail(p, at, "%s", how);
		return NULL;
	}
	t = parse_declarator(p, s.type, name);
	if (!t)
		return NULL;
	skip_trailer(p);
	if (!parse_attributes(p, &attrs))
		return NULL;
	if (!*name || t->kind != CTYPE_FUNC || attrs.packed || attrs.aligned) {
		parse_fail(p, *name ? *name : at, "%s", how);
		return NULL;
	}
	parse_accept(p, ';');
	if (parse_tok(p)->kind != TOK_END) {
		parse_fail(p, parse_tok(p), "there is more after the prototype");
		return NULL;
	}
	return t;
}

int ctypes_prototype(struct ctypes *cs, const char *text, const struct ctype **func,
		     const char **name, struct text *why)
{
	struct ctypes_mark mark = ctypes_mark(cs);
	const struct tok *id = NULL;
	const struct ctype *t;
	struct parser p;
	int err = parse_start(&p, cs, text, why);

	if (err)
		return err;
	t = prototype(&p, &id);
	if (t) {
		*func = t;
		*name = ctypes_word(cs, id->s, id->len);
		if (!*name)
			parse_nomem(&p);
	}
	return parse_finish(&p, mark);
}

int ctypes_type(struct ctypes *cs, const char *text, const struct ctype **type, struct text *why)
{
	struct ctypes_mark mark = ctypes_mark(cs);
	const struct ctype *t;
	struct parser p;
	int err = parse_start(&p, cs, text, why);

	if (err)
		return err;
	t = parse_type_name(&p);
	if (t && parse_tok(&p)->kind != TOK_END)
		parse_fail(&p, parse_tok(&p), "there is more after the type");
	if (!p.err)
		*type = t;
	return parse_finish(&p, mark);
}
