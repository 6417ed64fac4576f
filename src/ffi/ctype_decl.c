/* SPDX-License-Identifier: MIT */
/* Declaration specifiers and declarators (C11 6.7.2 to 6.7.7), and attributes. */
#include <errno.h>
#include <string.h>

#include "ffi/ctype_int.h"

/* ---- words -------------------------------------------------------------------------------------
 */

enum {
	W_VOID = 1 << 0, W_BOOL = 1 << 1, W_CHAR = 1 << 2, W_SHORT = 1 << 3, W_INT = 1 << 4,
	W_LONG = 1 << 5, W_LLONG = 1 << 6, W_FLOAT = 1 << 7, W_DOUBLE = 1 << 8, W_SIGNED = 1 << 9,
	W_UNSIGNED = 1 << 10, W_INT128 = 1 << 11,
};

static const struct {
	const char *word;
	u32 bit;
} type_words[] = {
	{ "void", W_VOID }, { "_Bool", W_BOOL }, { "char", W_CHAR }, { "short", W_SHORT },
	{ "int", W_INT }, { "long", W_LONG }, { "float", W_FLOAT }, { "double", W_DOUBLE },
	{ "signed", W_SIGNED }, { "__signed__", W_SIGNED }, { "__signed", W_SIGNED },
	{ "unsigned", W_UNSIGNED }, { "__int128", W_INT128 },
};

/* What the words mean together, `int` left out where it says nothing (C11 6.7.2p2). */
static const struct {
	u32 words;
	u8 base;
} meanings[] = {
	{ W_VOID, BASE_VOID }, { W_BOOL, BASE_BOOL }, { W_CHAR, BASE_CHAR },
	{ W_CHAR | W_SIGNED, BASE_SCHAR }, { W_CHAR | W_UNSIGNED, BASE_UCHAR },
	{ W_SHORT, BASE_SHORT }, { W_SHORT | W_SIGNED, BASE_SHORT },
	{ W_SHORT | W_UNSIGNED, BASE_USHORT }, { W_INT, BASE_INT }, { W_SIGNED, BASE_INT },
	{ W_UNSIGNED, BASE_UINT }, { W_LONG, BASE_LONG }, { W_LONG | W_SIGNED, BASE_LONG },
	{ W_LONG | W_UNSIGNED, BASE_ULONG }, { W_LONG | W_LLONG, BASE_LLONG },
	{ W_LONG | W_LLONG | W_SIGNED, BASE_LLONG },
	{ W_LONG | W_LLONG | W_UNSIGNED, BASE_ULLONG }, { W_INT128, BASE_INT128 },
	{ W_INT128 | W_SIGNED, BASE_INT128 }, { W_INT128 | W_UNSIGNED, BASE_UINT128 },
	{ W_FLOAT, BASE_FLOAT }, { W_DOUBLE, BASE_DOUBLE }, { W_LONG | W_DOUBLE, BASE_LDOUBLE },
};

enum { Q_CONST = 1, Q_VOLATILE = 2, Q_RESTRICT = 4 };

static const struct {
	const char *word;
	u32 bit;
} qualifiers[] = {
	{ "const", Q_CONST }, { "__const", Q_CONST }, { "__const__", Q_CONST },
	{ "volatile", Q_VOLATILE }, { "__volatile__", Q_VOLATILE }, { "restrict", Q_RESTRICT },
	{ "__restrict", Q_RESTRICT }, { "__restrict__", Q_RESTRICT },
};

/* C that is understood by compilers and not here, with what to do about it. */
static const struct {
	const char *word, *advice;
} refused[] = {
	{ "static", "leave it out" },
	{ "inline", "leave it out" },
	{ "__inline", "leave it out" },
	{ "register", "leave it out" },
	{ "auto", "write the type" },
	{ "_Thread_local", "leave it out" },
	{ "__thread", "leave it out" },
	{ "_Noreturn", "leave it out" },
	{ "_Atomic", "programs see plain memory; write the type alone" },
	{ "_Complex", "complex numbers cannot be passed; use two members" },
	{ "__complex__", "complex numbers cannot be passed; use two members" },
	{ "_Alignas", "write __attribute__((aligned(N))) after the member" },
	{ "_Static_assert", "leave it out" },
	{ "typeof", "write the type" },
	{ "__typeof__", "write the type" },
	{ "_Float16", "write float" },
	{ "_Float128", "write long double" },
	{ "__float128", "write long double" },
};

static u32 type_word(const struct tok *t)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(type_words); i++)
		if (tok_is(t, type_words[i].word))
			return type_words[i].bit;
	return 0;
}

static u32 qualifier(const struct tok *t)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(qualifiers); i++)
		if (tok_is(t, qualifiers[i].word))
			return qualifiers[i].bit;
	return 0;
}

static const char *refusal(const struct tok *t)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(refused); i++)
		if (tok_is(t, refused[i].word))
			return refused[i].advice;
	return NULL;
}

static bool is_record(const struct tok *t)
{
	return tok_is(t, "struct") || tok_is(t, "union") || tok_is(t, "enum");
}

static bool is_attribute(const struct tok *t)
{
	return tok_is(t, "__attribute__") || tok_is(t, "__attribute") || tok_is(t, "__packed") ||
	       tok_is(t, "__aligned") || tok_is(t, "__extension__");
}

bool parse_is_keyword(const struct tok *t)
{
	return type_word(t) || qualifier(t) || is_record(t) || refusal(t) || is_attribute(t) ||
	       tok_is(t, "typedef") || tok_is(t, "extern") || tok_is(t, "sizeof") ||
	       tok_is(t, "_Alignof") || tok_is(t, "__alignof__");
}

static const struct ctype *typedef_named(const struct parser *p, const struct tok *t)
{
	const struct cdecl *d;

	if (t->kind != TOK_IDENT)
		return NULL;
	d = ctypes_find(p->cs, SPACE_ORDINARY, t->s, t->len);
	return d && d->what == DECL_TYPEDEF ? d->type : NULL;
}

bool parse_is_type(const struct parser *p, const struct tok *t)
{
	return type_word(t) || qualifier(t) || is_record(t) || typedef_named(p, t);
}

/* ---- attributes --------------------------------------------------------------------------------
 */

static bool is_attribute_name(const struct tok *t, const char *name)
{
	size_t n = strlen(name);

	return tok_is(t, name) || (t->kind == TOK_IDENT && t->len == n + 4 &&
				   !memcmp(t->s, "__", 2) && !memcmp(t->s + 2, name, n) &&
				   !memcmp(t->s + 2 + n, "__", 2));
}

static bool parse_aligned(struct parser *p, struct layout_opts *opts)
{
	const struct tok *at = parse_tok(p);
	struct cvalue v = { 16, false, 4 }; /* without a number: the largest of any type */

	if (parse_accept(p, '(') &&
	    (!parse_constant(p, &v) || !parse_expect(p, ')', "after the alignment")))
		return false;
	if (!v.v || v.v > 4096 || (v.v & (v.v - 1)))
		return parse_fail(p, at, "an alignment is a power of two, at most 4096");
	if (v.v > opts->aligned)
		opts->aligned = (u32)v.v;
	return true;
}

/* The list inside __attribute__((...)). Only what changes no layout and is common is passed over.
 */
static bool attribute_list(struct parser *p, struct layout_opts *opts)
{
	static const char *const harmless[] = { "preserve_access_index",
						"unused",
						"used",
						"deprecated",
						"may_alias",
						"pure",
						"const",
						"weak",
						"cold",
						"hot",
						"noinline",
						"btf_type_tag",
						"nonnull",
						"leaf" };
	size_t i;

	while (!parse_at(p, ')')) {
		const struct tok *t = parse_tok(p);

		p->pos += t->kind != TOK_END;
		if (is_attribute_name(t, "packed")) {
			opts->packed = true;
		} else if (is_attribute_name(t, "aligned")) {
			if (!parse_aligned(p, opts))
				return false;
		} else {
			for (i = 0; i < ARRAY_SIZE(harmless); i++)
				if (is_attribute_name(t, harmless[i]))
					break;
			if (i == ARRAY_SIZE(harmless))
				return parse_fail(p, t, "attribute `%.*s' is not understood; "
							"packed and aligned(N) are",
						  (int)t->len, t->s);
			if (parse_accept(p, '('))
				while (!parse_accept(p, ')')) {
					if (parse_tok(p)->kind == TOK_END || parse_at(p, '('))
						return parse_fail(p, t, "expected `)'");
					p->pos++;
				}
		}
		if (!parse_accept(p, ','))
			break;
	}
	return true;
}

bool parse_attributes(struct parser *p, struct layout_opts *opts)
{
	for (;;) {
		if (parse_accept_word(p, "__packed")) {
			opts->packed = true;
		} else if (parse_accept_word(p, "__aligned")) {
			if (!parse_aligned(p, opts))
				return false;
		} else if (parse_accept_word(p, "__attribute__") ||
			   parse_accept_word(p, "__attribute")) {
			if (!parse_expect(p, '(', "after `__attribute__'") ||
			    !parse_expect(p, '(', "after `__attribute__('") ||
			    !attribute_list(p, opts) ||
			    !parse_expect(p, ')', "after the attributes") ||
			    !parse_expect(p, ')', "after the attributes"))
				return false;
		} else if (!parse_accept_word(p, "__extension__")) {
			return true;
		}
	}
}

/* ---- specifiers --------------------------------------------------------------------------------
 */

static bool fail_unknown_type(struct parser *p, const struct tok *t)
{
	const struct cdecl *tag;
	struct text what = { 0 };
	const char *near, *advice;

	if (t->kind != TOK_IDENT) {
		parse_describe(t, &what);
		parse_fail(p, t, "expected a type, found %s", text_str(&what));
		text_free(&what);
		return false;
	}
	advice = refusal(t);
	if (advice)
		return parse_fail(p, t, "`%.*s' is not understood here: %s", (int)t->len, t->s,
				  advice);
	tag = ctypes_find(p->cs, SPACE_TAG, t->s, t->len);
	if (tag) {
		ctype_print(tag->type, NULL, &what);
		parse_fail(p, t, "unknown type name `%.*s'; did you mean `%s'?", (int)t->len, t->s,
			   text_str(&what));
		text_free(&what);
		return false;
	}
	near = ctypes_nearest(p->cs, t->s, t->len);
	if (near)
		return parse_fail(p, t, "unknown type name `%.*s'; did you mean `%s'?", (int)t->len,
				  t->s, near);
	return parse_fail(p, t, "unknown type name `%.*s'", (int)t->len, t->s);
}

/* The base type that the words make; NULL when they make none. */
static const struct ctype *base_of(struct ctypes *cs, u32 words)
{
	size_t i;

	if (words & W_INT && words & (W_SHORT | W_LONG | W_SIGNED | W_UNSIGNED))
		words &= ~(u32)W_INT;
	for (i = 0; i < ARRAY_SIZE(meanings); i++)
		if (meanings[i].words == words)
			return cs->base[meanings[i].base];
	return NULL;
}

/* One more type word; false when it stands twice. */
static bool add_word(u32 *words, u32 bit)
{
	if (bit == W_LONG && *words & W_LONG)
		bit = W_LLONG;
	if (*words & bit)
		return false;
	*words |= bit;
	return true;
}

static bool at_storage(struct parser *p, struct specs *s)
{
	if (parse_accept_word(p, "typedef"))
		return s->is_typedef = true;
	if (parse_accept_word(p, "extern"))
		return s->is_extern = true;
	return false;
}

bool parse_specs(struct parser *p, struct specs *s)
{
	struct layout_opts attrs = { 0 };
	const struct tok *first = NULL;
	u32 words = 0, quals = 0, bit;

	memset(s, 0, sizeof(*s));
	s->start = parse_tok(p);
	for (;;) {
		const struct tok *t = parse_tok(p);

		bit = type_word(t);
		if (qualifier(t)) {
			quals |= qualifier(t);
			p->pos++;
		} else if (bit) {
			first = words ? first : t;
			if (s->type || !add_word(&words, bit))
				return parse_fail(p, t, "`%.*s' does not fit what stands before it",
						  (int)t->len, t->s);
			p->pos++;
		} else if (is_record(t)) {
			if (s->type || words)
				return parse_fail(p, t, "two types in one declaration");
			s->type = tok_is(t, "enum") ? parse_enum(p, s) : parse_record(p, s);
			if (!s->type)
				return false;
		} else if (is_attribute(t)) {
			if (!parse_attributes(p, &attrs))
				return false;
		} else if (!s->type && !words && typedef_named(p, t)) {
			s->type = typedef_named(p, t);
			p->pos++;
		} else if (!at_storage(p, s)) {
			break;
		}
	}
	if (attrs.packed || attrs.aligned)
		return parse_fail(p, s->start, "an attribute stands where it would have no effect");
	if (words)
		s->type = base_of(p->cs, words);
	if (!s->type)
		return words ? parse_fail(p, first, "these words make no type together") :
			       fail_unknown_type(p, parse_tok(p));
	if (refusal(parse_tok(p)))
		return fail_unknown_type(p, parse_tok(p));
	s->type = ctype_qualify(p->cs, s->type, quals & Q_CONST, quals & Q_VOLATILE);
	return s->type || parse_nomem(p);
}

/* ---- declarators -------------------------------------------------------------------------------
 */

static const struct ctype *suffixes(struct parser *p, const struct ctype *base);

static const struct ctype *bad(struct parser *p, const struct tok *at, const char *what)
{
	parse_fail(p, at, "%s", what);
	return NULL;
}

static const struct ctype *made(struct parser *p, const struct ctype *t)
{
	if (!t) {
		parse_nomem(p);
		return NULL;
	}
	if (ctype_depth(t) > CTYPE_MAX_DEPTH)
		return bad(p, parse_tok(p), "this type nests too deeply");
	return t;
}

static const struct ctype *array_suffix(struct parser *p, const struct ctype *base)
{
	const struct tok *at = parse_tok(p);
	struct cvalue n = { 0, false, 4 };
	bool open = true;

	p->pos++;
	while (qualifier(parse_tok(p)) || tok_is(parse_tok(p), "static"))
		p->pos++;
	if (!parse_at(p, ']')) {
		open = false;
		if (!parse_constant(p, &n))
			return NULL;
	}
	if (!parse_expect(p, ']', "after the array's size"))
		return NULL;
	base = suffixes(p, base);
	if (!base)
		return NULL;
	if (cvalue_negative(&n))
		return bad(p, at, "the size of this array is negative");
	if (ctype_strip(base)->kind == CTYPE_FUNC)
		return bad(p, at, "an array cannot hold functions; write pointers to them");
	if (ctype_strip(base)->kind == CTYPE_VOID || base->incomplete)
		return bad(p, at, "an array needs elements of known size");
	if (n.v > CTYPE_MAX_SIZE || n.v * base->size > CTYPE_MAX_SIZE)
		return bad(p, at, "this array is too large");
	return made(p, ctype_array(p->cs, base, (u32)n.v, open));
}

/* Arrays and functions as parameters are pointers (C11 6.7.6.3p7). */
static const struct ctype *adjust_param(struct parser *p, const struct ctype *t)
{
	const struct ctype *s = ctype_strip(t);

	if (s->kind == CTYPE_ARRAY)
		return made(p, ctype_pointer(p->cs, s->to));
	if (s->kind == CTYPE_FUNC)
		return made(p, ctype_pointer(p->cs, t));
	return t;
}

static bool one_param(struct parser *p, struct ctype_param *out)
{
	struct layout_opts attrs = { 0 };
	const struct tok *name, *at = parse_tok(p);
	struct specs s;

	if (!parse_specs(p, &s))
		return false;
	if (s.is_typedef || s.is_extern)
		return parse_fail(p, at, "a parameter cannot be typedef or extern");
	out->type = parse_declarator(p, s.type, &name);
	if (!out->type || !parse_attributes(p, &attrs))
		return false;
	if (ctype_strip(out->type)->kind == CTYPE_VOID)
		return parse_fail(p, at, "a parameter cannot be void");
	out->type = adjust_param(p, out->type);
	if (!out->type)
		return false;
	out->name = name ? ctypes_word(p->cs, name->s, name->len) : "";
	return out->name || parse_nomem(p);
}

static bool unique_param(struct parser *p, const struct ctype_param *params, u32 n,
			 const struct tok *at)
{
	u32 i;

	for (i = 0; *params[n].name && i < n; i++)
		if (!strcmp(params[i].name, params[n].name))
			return parse_fail(p, at, "two parameters are named `%s'", params[n].name);
	return true;
}

/* The parameters up to the closing parenthesis, into an array of CTYPE_MAX_PARAMS. */
static bool param_list(struct parser *p, struct ctype_param *params, struct ctype *f, u32 *depth)
{
	do {
		const struct tok *at = parse_tok(p);
		u32 d;

		if (f->count && parse_accept(p, P_ELLIPSIS)) {
			f->variadic = true;
			return true;
		}
		if (f->count == CTYPE_MAX_PARAMS)
			return parse_fail(p, at, "more than %d parameters", CTYPE_MAX_PARAMS);
		if (!one_param(p, &params[f->count]) || !unique_param(p, params, f->count, at))
			return false;
		d = ctype_depth(params[f->count].type);
		*depth = d > *depth ? d : *depth;
		f->count++;
	} while (parse_accept(p, ','));
	return true;
}

static const struct ctype *func_suffix(struct parser *p, const struct ctype *base)
{
	const struct tok *at = parse_tok(p);
	struct ctype_param *params = NULL;
	const struct ctype *f = NULL;
	u32 depth = ctype_depth(base);
	struct cnode *node;

	if (ctype_strip(base)->kind == CTYPE_FUNC || ctype_strip(base)->kind == CTYPE_ARRAY)
		return bad(p, at, "a function returns neither an array nor a function");
	node = ctype_make(p->cs, CTYPE_FUNC, 1, 1);
	params = base_array(CTYPE_MAX_PARAMS, sizeof(*params));
	if (!node || !params) {
		parse_nomem(p);
		goto out;
	}
	node->t.to = base;
	p->pos++;
	if (tok_is(parse_tok(p), "void") && p->toks[p->pos + 1].kind == TOK_PUNCT &&
	    p->toks[p->pos + 1].punct == ')')
		p->pos++;
	else if (!parse_at(p, ')') && !param_list(p, params, &node->t, &depth))
		goto out;
	if (!parse_expect(p, ')', "after the parameters"))
		goto out;
	if (parse_at(p, '(') || parse_at(p, '[')) {
		bad(p, parse_tok(p), "a function returns neither an array nor a function");
		goto out;
	}
	node->depth = depth + 1;
	node->t.params = arena_alloc(&p->cs->arena, (node->t.count + 1) * sizeof(*params));
	if (!node->t.params) {
		parse_nomem(p);
		goto out;
	}
	memcpy((void *)(uintptr_t)node->t.params, params, node->t.count * sizeof(*params));
	f = made(p, &node->t);
out:
	base_free(params);
	return f;
}

/* [..] and (..) after a declarator; they bind tighter than what stands before it. */
static const struct ctype *suffixes(struct parser *p, const struct ctype *base)
{
	const struct ctype *t = base;

	if (!parse_at(p, '[') && !parse_at(p, '('))
		return base;
	if (!parse_enter(p))
		return NULL;
	t = parse_at(p, '[') ? array_suffix(p, base) : func_suffix(p, base);
	parse_leave(p);
	return t;
}

/* Behind the parenthesis that closes the one before the current token. */
static bool skip_parentheses(struct parser *p)
{
	const struct tok *open = &p->toks[p->pos - 1];
	u32 level = 1;

	for (; level; p->pos++) {
		if (parse_tok(p)->kind == TOK_END)
			return parse_fail(p, open, "this parenthesis is not closed");
		if (parse_at(p, '('))
			level++;
		else if (parse_at(p, ')'))
			level--;
	}
	return true;
}

static const struct ctype *pointers(struct parser *p, const struct ctype *t)
{
	while (t && parse_accept(p, '*')) {
		u32 quals = 0;

		for (; qualifier(parse_tok(p)); p->pos++)
			quals |= qualifier(parse_tok(p));
		t = made(p, ctype_pointer(p->cs, t));
		if (t)
			t = made(p, ctype_qualify(p->cs, t, quals & Q_CONST, quals & Q_VOLATILE));
	}
	return t;
}

const struct ctype *parse_declarator(struct parser *p, const struct ctype *base,
				     const struct tok **name)
{
	const struct tok *next;
	u32 inner, after;

	*name = NULL;
	base = pointers(p, base);
	if (!base)
		return NULL;
	next = &p->toks[p->pos + (parse_tok(p)->kind != TOK_END)];
	/* `(` opens a nested declarator, unless a parameter list of a nameless function follows. */
	if (parse_at(p, '(') && !(next->kind == TOK_PUNCT && next->punct == ')') &&
	    !parse_is_type(p, next)) {
		inner = ++p->pos;
		if (!parse_enter(p) || !skip_parentheses(p))
			return NULL;
		base = suffixes(p, base);
		after = p->pos;
		p->pos = inner;
		if (base)
			base = parse_declarator(p, base, name);
		if (!base || !parse_expect(p, ')', "to close the parenthesis"))
			return NULL;
		parse_leave(p);
		p->pos = after;
		return base;
	}
	if (parse_tok(p)->kind == TOK_IDENT && !parse_is_keyword(parse_tok(p)))
		*name = &p->toks[p->pos++];
	return suffixes(p, base);
}

const struct ctype *parse_type_name(struct parser *p)
{
	const struct tok *name, *at = parse_tok(p);
	const struct ctype *t;
	struct specs s;

	if (!parse_specs(p, &s))
		return NULL;
	if (s.is_typedef || s.is_extern)
		return bad(p, at, "expected a type");
	t = parse_declarator(p, s.type, &name);
	if (t && name)
		return bad(p, name, "a name has no place in a type");
	return t;
}
