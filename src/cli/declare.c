/* SPDX-License-Identifier: MIT */
/* Preprocessed C, cut into declarations. */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "base/base.h"
#include "cli/module_build.h"

static bool word_char(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

/* Behind the parenthesis that closes the one at s. */
static const char *behind(const char *s)
{
	u32 depth = 0;

	for (; *s; s++) {
		depth += *s == '(';
		if (*s == ')' && !--depth)
			return s + 1;
	}
	return s;
}

/* A word that says nothing of types: skipped, with its parentheses. NULL when it is to be kept. */
static const char *skip_word(const char *s, size_t len)
{
	static const char *const plain[] = { "extern", "__extension__", "__restrict", "__inline", "inline",
					     "__inline__", "_Noreturn", "__restrict__", "restrict", "static" };
	static const char *const with_args[] = { "__attribute__", "__asm__", "__asm", "asm", "__attribute" };
	const char *at = s + len, *end, *p;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(plain); i++)
		if (strlen(plain[i]) == len && !memcmp(plain[i], s, len))
			return at;
	for (i = 0; i < ARRAY_SIZE(with_args); i++) {
		if (strlen(with_args[i]) != len || memcmp(with_args[i], s, len))
			continue;
		at += strspn(at, " \t\n");
		if (*at != '(')
			return at;
		end = behind(at);
		for (p = at; p < end; p++)
			if (!strncmp(p, "packed", 6) || !strncmp(p, "aligned", 7))
				return NULL;
		return end;
	}
	return NULL;
}

struct cut {
	struct text decl;
	int depth;     /* of braces and parentheses */
	bool parens;   /* a parenthesis at file scope was met: it declares a function */
	bool body;     /* in the body of a function */
};

static void start(struct cut *c)
{
	text_reset(&c->decl);
	c->depth = 0;
	c->parens = c->body = false;
}

/* One character; true when the declaration is complete. */
static bool take(struct cut *c, char ch)
{
	bool braces = ch == '{' || ch == '}';

	if (ch == ';' && !c->depth)
		return true;
	if (ch == '(' && !c->depth)
		c->parens = true;
	if (ch == '{' && !c->depth)
		c->body = c->parens;
	if (ch == '(' || ch == '{' || ch == '[')
		c->depth++;
	if ((ch == ')' || ch == '}' || ch == ']') && c->depth)
		c->depth--;
	text_add(&c->decl, &ch, 1);
	if (braces && !c->depth && c->body)
		start(c);
	return false;
}

int cli_declarations(const char *text, int (*each)(void *arg, const char *decl), void *arg)
{
	struct cut c = { .depth = 0 };
	const char *s = text, *skip;
	size_t len;
	int err = 0;

	while (*s && !err) {
		for (len = 0; word_char(s[len]);)
			len++;
		skip = len ? skip_word(s, len) : NULL;
		if (skip) {
			s = skip;
		} else if (len) {
			text_add(&c.decl, s, len);
			s += len;
		} else if (!strncmp(s, "/*", 2)) {
			s = strstr(s, "*/");
			s = s ? s + 2 : "";
		} else if (*s == '#') {
			s += strcspn(s, "\n");
		} else if (take(&c, *s++)) {
			err = c.decl.oom ? -ENOMEM : each(arg, text_str(&c.decl) +
								strspn(text_str(&c.decl), " \t\n"));
			start(&c);
		}
	}
	text_free(&c.decl);
	return err;
}

void cli_declared_name(const char *decl, char *name, unsigned long room)
{
	const char *end = strchr(decl, '('), *start;
	size_t len;

	*name = '\0';
	while (end && end > decl && isspace((unsigned char)end[-1]))
		end--;
	for (start = end; start && start > decl && word_char(start[-1]);)
		start--;
	len = start ? (size_t)(end - start) : 0;
	if (len && len < room) {
		memcpy(name, start, len);
		name[len] = '\0';
	}
}
