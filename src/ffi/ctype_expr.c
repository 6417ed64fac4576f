/* SPDX-License-Identifier: MIT */
/* Integer constant expressions, as array sizes, bit-field widths and enumerators have them. */
#include <errno.h>
#include <string.h>

#include "ffi/ctype_int.h"

/* Binary operators, weakest first (C11 6.5.5 to 6.5.14). */
static const struct {
	u32 op;
	u8 level;
} binary[] = {
	{ P2('|', '|'), 1 }, { P2('&', '&'), 2 }, { '|', 3 }, { '^', 4 }, { '&', 5 },
	{ P2('=', '='), 6 }, { P2('!', '='), 6 }, { '<', 7 }, { '>', 7 }, { P2('<', '='), 7 },
	{ P2('>', '='), 7 }, { P2('<', '<'), 8 }, { P2('>', '>'), 8 }, { '+', 9 }, { '-', 9 },
	{ '*', 10 }, { '/', 10 }, { '%', 10 },
};

static bool conditional(struct parser *p, struct cvalue *out);

/* The value as its type holds it. */
static void wrap(struct cvalue *c)
{
	if (c->size == 4)
		c->v = c->is_unsigned ? (u64)(u32)c->v : (u64)(s64)(s32)c->v;
}

static struct cvalue int_value(s64 v)
{
	return (struct cvalue){ (u64)v, false, 4 };
}

/* sizeof (type) and _Alignof (type): size_t. */
static bool size_of(struct parser *p, bool align, struct cvalue *out)
{
	const struct tok *at = parse_tok(p);
	const struct ctype *t;

	if (!parse_expect(p, '(', align ? "after `_Alignof'" : "after `sizeof'"))
		return false;
	if (!parse_is_type(p, parse_tok(p)))
		return parse_fail(p, parse_tok(p), "expected a type");
	t = parse_type_name(p);
	if (!t)
		return false;
	if (t->incomplete || t->kind == CTYPE_VOID || ctype_strip(t)->kind == CTYPE_FUNC)
		return parse_fail(p, at, "the size of this type is not known");
	*out = (struct cvalue){ align ? t->align : t->size, true, 8 };
	return parse_expect(p, ')', "after the type");
}

static bool primary(struct parser *p, struct cvalue *out)
{
	const struct tok *t = parse_tok(p);
	const struct cdecl *d;
	struct text what = { 0 };

	if (t->kind == TOK_NUMBER) {
		p->pos++;
		*out = (struct cvalue){ t->value, t->is_unsigned, t->size };
		return true;
	}
	if (parse_accept(p, '('))
		return conditional(p, out) && parse_expect(p, ')', "to close the parenthesis");
	if (parse_accept_word(p, "sizeof"))
		return size_of(p, false, out);
	if (parse_accept_word(p, "_Alignof") || parse_accept_word(p, "__alignof__"))
		return size_of(p, true, out);
	if (t->kind == TOK_IDENT) {
		d = ctypes_find(p->cs, SPACE_ORDINARY, t->s, t->len);
		if (!d || d->what != DECL_ENUMERATOR)
			return parse_fail(p, t, "`%.*s' is not a constant known here", (int)t->len,
					  t->s);
		p->pos++;
		*out = (struct cvalue){ (u64)d->value, d->is_unsigned, 8 };
		if (!d->is_unsigned && d->value >= INT32_MIN && d->value <= INT32_MAX)
			out->size = 4;
		return true;
	}
	parse_describe(t, &what);
	parse_fail(p, t, "expected an integer constant, found %s", text_str(&what));
	text_free(&what);
	return false;
}

static bool unary(struct parser *p, struct cvalue *out)
{
	u32 op;
	bool ok;

	if (!parse_at(p, '-') && !parse_at(p, '+') && !parse_at(p, '~') && !parse_at(p, '!'))
		return primary(p, out);
	op = parse_tok(p)->punct;
	p->pos++;
	if (!parse_enter(p))
		return false;
	ok = unary(p, out);
	parse_leave(p);
	if (!ok)
		return false;
	if (op == '!')
		*out = int_value(!out->v);
	else if (op == '-')
		out->v = -out->v;
	else if (op == '~')
		out->v = ~out->v;
	wrap(out);
	return true;
}

/* Usual arithmetic conversions (C11 6.3.1.8) of two types of rank int or above. */
static void convert(struct cvalue *a, struct cvalue *b)
{
	u8 size = a->size > b->size ? a->size : b->size;
	bool uns = (a->size == size && a->is_unsigned) || (b->size == size && b->is_unsigned);

	a->size = b->size = size;
	a->is_unsigned = b->is_unsigned = uns;
	wrap(a);
	wrap(b);
}

static bool shift(struct parser *p, const struct tok *at, u32 op, struct cvalue *a, struct cvalue b)
{
	if (b.v >= a->size * 8u)
		return parse_fail(p, at, "shift by more than the width");
	if (op == P2('<', '<'))
		a->v <<= b.v;
	else
		a->v = a->is_unsigned ? a->v >> b.v : (u64)((s64)a->v >> b.v);
	wrap(a);
	return true;
}

static bool divide(struct parser *p, const struct tok *at, u32 op, struct cvalue *a,
		   struct cvalue b)
{
	if (!b.v)
		return parse_fail(p, at, "division by zero");
	if (a->is_unsigned)
		a->v = op == '/' ? a->v / b.v : a->v % b.v;
	else if ((s64)b.v == -1)
		a->v = op == '/' ? -a->v : 0;
	else
		a->v = (u64)(op == '/' ? (s64)a->v / (s64)b.v : (s64)a->v % (s64)b.v);
	wrap(a);
	return true;
}

static bool apply(struct parser *p, const struct tok *at, u32 op, struct cvalue *a, struct cvalue b)
{
	bool less, equal;

	if (op == P2('|', '|') || op == P2('&', '&')) {
		*a = int_value(op == P2('|', '|') ? a->v || b.v : a->v && b.v);
		return true;
	}
	if (op == P2('<', '<') || op == P2('>', '>'))
		return shift(p, at, op, a, b);
	convert(a, &b);
	less = a->is_unsigned ? a->v < b.v : (s64)a->v < (s64)b.v;
	equal = a->v == b.v;
	switch (op) {
	case '+': a->v += b.v; break;
	case '-': a->v -= b.v; break;
	case '*': a->v *= b.v; break;
	case '/':
	case '%': return divide(p, at, op, a, b);
	case '&': a->v &= b.v; break;
	case '|': a->v |= b.v; break;
	case '^': a->v ^= b.v; break;
	case '<': *a = int_value(less); break;
	case '>': *a = int_value(!less && !equal); break;
	case P2('<', '='): *a = int_value(less || equal); break;
	case P2('>', '='): *a = int_value(!less); break;
	case P2('=', '='): *a = int_value(equal); break;
	default: *a = int_value(!equal); break;
	}
	wrap(a);
	return true;
}

static u8 level_of(const struct tok *t)
{
	size_t i;

	for (i = 0; t->kind == TOK_PUNCT && i < ARRAY_SIZE(binary); i++)
		if (binary[i].op == t->punct)
			return binary[i].level;
	return 0;
}

/* Operators of at least this level; each level of recursion raises it, so it is at most ten deep.
 */
static bool operators(struct parser *p, u8 least, struct cvalue *out)
{
	struct cvalue right;
	u8 level;

	if (!unary(p, out))
		return false;
	while ((level = level_of(parse_tok(p))) >= least && level) {
		const struct tok *at = parse_tok(p);

		p->pos++;
		if (!operators(p, level + 1, &right) || !apply(p, at, at->punct, out, right))
			return false;
	}
	return true;
}

static bool conditional(struct parser *p, struct cvalue *out)
{
	struct cvalue yes, no;
	bool ok;

	if (!parse_enter(p))
		return false;
	ok = operators(p, 1, out);
	if (ok && parse_accept(p, '?')) {
		ok = conditional(p, &yes) &&
		     parse_expect(p, ':', "between the two values of `?'") && conditional(p, &no);
		if (ok) {
			convert(&yes, &no);
			*out = out->v ? yes : no;
		}
	}
	parse_leave(p);
	return ok;
}

bool parse_constant(struct parser *p, struct cvalue *out)
{
	return conditional(p, out);
}
