/* SPDX-License-Identifier: MIT */
/* Types as C declares them. */
#include <string.h>

#include "ffi/ctype_int.h"

static void print_type(const struct ctype *t, const char *decl, struct text *out);

static void print_params(const struct ctype *f, struct text *out)
{
	u32 i;

	text_puts(out, "(");
	for (i = 0; i < f->count; i++) {
		if (i)
			text_puts(out, ", ");
		print_type(f->params[i].type, f->params[i].name, out);
	}
	if (f->variadic)
		text_puts(out, i ? ", ..." : "...");
	else if (!i)
		text_puts(out, "void");
	text_puts(out, ")");
}

static void print_quals(const struct ctype *t, struct text *out)
{
	if (t->is_const)
		text_puts(out, "const ");
	if (t->is_volatile)
		text_puts(out, "volatile ");
}

static void print_members(const struct ctype *t, struct text *out)
{
	u32 i;

	text_puts(out, " { ");
	for (i = 0; i < t->count; i++) {
		print_type(t->members[i].type, t->members[i].name, out);
		if (t->members[i].bits)
			text_printf(out, ":%u", t->members[i].bits);
		text_puts(out, "; ");
	}
	text_puts(out, "}");
}

static void print_enumerators(const struct ctype *t, struct text *out)
{
	u32 i;

	text_puts(out, " { ");
	for (i = 0; i < t->count; i++)
		text_printf(out, t->is_signed ? "%s = %lld%s" : "%s = %llu%s",
			    t->enumerators[i].name, (long long)t->enumerators[i].value,
			    i + 1 < t->count ? ", " : "");
	text_puts(out, " }");
}

/* The part that is not a declarator: base types, tags, typedef names. */
static void print_base(const struct ctype *t, struct text *out)
{
	static const char *const words[] = { [CTYPE_STRUCT] = "struct", [CTYPE_UNION] = "union",
					     [CTYPE_ENUM] = "enum" };

	print_quals(t, out);
	if (t->kind != CTYPE_STRUCT && t->kind != CTYPE_UNION && t->kind != CTYPE_ENUM) {
		text_puts(out, t->name);
		return;
	}
	text_puts(out, words[t->kind]);
	if (*t->name)
		text_printf(out, " %s", t->name);
	else if (t->kind == CTYPE_ENUM)
		print_enumerators(t, out);
	else
		print_members(t, out);
}

/* `decl` is the declarator so far, around which C's types grow from the inside out. */
static void print_type(const struct ctype *t, const char *decl, struct text *out)
{
	struct text d = { 0 };
	bool inner;

	switch (t->kind) {
	case CTYPE_POINTER:
		inner = t->to->kind == CTYPE_ARRAY || t->to->kind == CTYPE_FUNC;
		text_puts(&d, inner ? "(*" : "*");
		print_quals(t, &d);
		/* Without a name the last qualifier needs no space behind it. */
		if (!*decl && d.len && d.s[d.len - 1] == ' ')
			d.s[--d.len] = '\0';
		text_puts(&d, decl);
		text_puts(&d, inner ? ")" : "");
		print_type(t->to, text_str(&d), out);
		break;
	case CTYPE_ARRAY:
		text_puts(&d, decl);
		if (t->incomplete)
			text_puts(&d, "[]");
		else
			text_printf(&d, "[%u]", t->count);
		print_type(t->to, text_str(&d), out);
		break;
	case CTYPE_FUNC:
		text_puts(&d, decl);
		print_params(t, &d);
		print_type(t->to, text_str(&d), out);
		break;
	default:
		print_base(t, out);
		if (*decl && *decl != '[')
			text_puts(out, " ");
		text_puts(out, decl);
		break;
	}
	if (d.oom)
		out->oom = true;
	text_free(&d);
}

void ctype_print(const struct ctype *t, const char *name, struct text *out)
{
	print_type(t, name ? name : "", out);
}
