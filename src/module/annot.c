/* SPDX-License-Identifier: MIT */
/*
 * Annotations in the text of a prototype: `int fd __range(0, 1023)`. They are read and blanked out, so
 * that the C parser sees C and its columns stay right.
 */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "module/module_int.h"

enum { P = 1, F = 2, B = 3 };
static const struct {
	const char *word;
	u8 where, nargs;
} table[] = {
#define ANNOT(id, word, where, nargs, meaning) [ANNOT_##id] = { word, where, nargs },
#include "module/annot.def"
#undef ANNOT
};

struct scan {
	char *text; /* being blanked */
	size_t at;
	u32 depth, param; /* parentheses; parameter counted from 0 */
	bool behind;      /* the parameter list */
	struct annots *out;
	struct text *why;
};

static int refuse(struct scan *s, const char *fmt, ...) PRINTF_LIKE(2, 3);
static int refuse(struct scan *s, const char *fmt, ...)
{
	va_list ap;

	if (s->why) {
		text_printf(s->why, "column %zu: ", s->at + 1);
		va_start(ap, fmt);
		text_vprintf(s->why, fmt, ap);
		va_end(ap);
	}
	return -EINVAL;
}

static bool word_char(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

static s32 find(const char *word, size_t len)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(table); i++)
		if (strlen(table[i].word) == len && !memcmp(table[i].word, word, len))
			return (s32)i;
	return -1;
}

/* One argument, `*len` or `1023`, up to a comma or parenthesis. */
static size_t read_arg(const char *s, char *out, size_t room)
{
	size_t n = 0, len = strcspn(s, ",()"), i;

	for (i = 0; i < len; i++)
		if (!isspace((unsigned char)s[i]) && n + 1 < room)
			out[n++] = s[i];
	out[n] = '\0';
	return len;
}

static int read_args(struct scan *s, size_t *end, struct annot *a)
{
	size_t at = *end;
	u32 n = 0;

	at += strspn(s->text + at, " \t\n");
	if (s->text[at] != '(')
		return refuse(s, "`%s' needs %u argument%s in parentheses", table[a->id].word,
			      table[a->id].nargs, table[a->id].nargs > 1 ? "s" : "");
	do {
		at++;
		if (n == table[a->id].nargs)
			return refuse(s, "`%s' takes %u argument%s", table[a->id].word, n, n > 1 ? "s" : "");
		at += read_arg(s->text + at, a->arg[n], sizeof(a->arg[n]));
		if (!*a->arg[n++])
			return refuse(s, "an argument of `%s' is empty", table[a->id].word);
	} while (s->text[at] == ',');
	if (s->text[at] != ')' || n != table[a->id].nargs)
		return refuse(s, "`%s' takes %u argument%s and a closing parenthesis", table[a->id].word,
			      table[a->id].nargs, table[a->id].nargs > 1 ? "s" : "");
	*end = at + 1;
	return 0;
}

/* The word at s->at, of `len` bytes: an annotation is entered and blanked. */
static int take(struct scan *s, size_t len)
{
	s32 id = find(s->text + s->at, len);
	struct annot *a = &s->out->all[s->out->n];
	size_t end = s->at + len;
	int err;

	if (id < 0 || (!s->behind && s->depth != 1)) {
		s->at = end;
		return 0;
	}
	if (s->out->n == ARRAY_SIZE(s->out->all))
		return refuse(s, "more than %zu annotations", ARRAY_SIZE(s->out->all));
	if (!(table[id].where & (s->behind ? F : P)))
		return refuse(s, s->behind ? "`%s' belongs behind a parameter" :
			      "`%s' belongs behind the list of parameters", table[id].word);
	memset(a, 0, sizeof(*a));
	a->id = (u8)id;
	a->param = s->behind ? ANNOT_FUNC : s->param;
	if (table[id].nargs) {
		err = read_args(s, &end, a);
		if (err)
			return err;
	}
	s->out->n++;
	memset(s->text + s->at, ' ', end - s->at);
	s->at = end;
	return 0;
}

static int scan(struct scan *s)
{
	size_t len;
	int err;

	while (s->text[s->at]) {
		char c = s->text[s->at];

		for (len = 0; word_char(s->text[s->at + len]);)
			len++;
		if (len) {
			err = take(s, len);
			if (err)
				return err;
			continue;
		}
		if (c == '(')
			s->depth++;
		else if (c == ',' && s->depth == 1)
			s->param++;
		else if (c == ')' && s->depth && !--s->depth)
			s->behind = true;
		s->at++;
	}
	return 0;
}

const char *annot_word(u32 id)
{
	return table[id].word;
}

const struct annot *annot_find(const struct annots *as, u32 param, u32 id)
{
	u32 i;

	for (i = 0; i < as->n; i++)
		if (as->all[i].param == param && as->all[i].id == id)
			return &as->all[i];
	return NULL;
}

int annots_read(const char *prototype, struct annots *out, struct text *why)
{
	struct scan s = { .out = out, .why = why };

	memset(out, 0, sizeof(*out));
	s.text = out->text = base_strdup(prototype);
	return s.text ? scan(&s) : -ENOMEM;
}
