/* SPDX-License-Identifier: MIT */
/* C text to tokens: words, numbers, punctuators; comments and some preprocessor lines are skipped.
 */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ffi/ctype_int.h"

struct lexer {
	const char *s, *end;
	u32 line;
	const char *line_start;
	bool fresh; /* nothing but space so far on this line */
	struct text *why;
};

static int lex_fail(struct lexer *lx, const char *at, const char *what)
{
	if (lx->why)
		text_printf(lx->why, "line %u, column %u: %s", lx->line,
			    (u32)(at - lx->line_start) + 1, what);
	return -EINVAL;
}

static void newline(struct lexer *lx)
{
	lx->line++;
	lx->line_start = lx->s;
	lx->fresh = true;
}

static bool is_word(char c)
{
	return isalnum((unsigned char)c) || c == '_';
}

bool tok_is(const struct tok *t, const char *word)
{
	return t->kind == TOK_IDENT && *t->s == *word && strlen(word) == t->len &&
	       !memcmp(t->s, word, t->len);
}

static int skip_comment(struct lexer *lx)
{
	const char *start = lx->s;
	struct lexer at = *lx;

	for (lx->s += 2; lx->s < lx->end; lx->s++) {
		if (lx->s[0] == '*' && lx->end - lx->s > 1 && lx->s[1] == '/') {
			lx->s += 2;
			return 0;
		}
		if (*lx->s == '\n') {
			lx->line++;
			lx->line_start = lx->s + 1;
		}
	}
	return lex_fail(&at, start, "this comment has no end");
}

/*
 * A preprocessor line. Those that change no type (#include, #line, #pragma other than pack) are
 * skipped; the rest would change what the text means, so they are refused.
 */
static int skip_directive(struct lexer *lx)
{
	static const char *const harmless[] = { "include", "line", "ident", "pragma", "warning" };
	const char *start = lx->s, *w, *e, *rest;
	bool ok = false;
	size_t i;

	for (w = lx->s + 1; w < lx->end && (*w == ' ' || *w == '\t');)
		w++;
	for (e = w; e < lx->end && is_word(*e);)
		e++;
	ok = e == w || isdigit((unsigned char)*w);
	for (i = 0; i < ARRAY_SIZE(harmless); i++)
		if (strlen(harmless[i]) == (size_t)(e - w) &&
		    !memcmp(w, harmless[i], (size_t)(e - w)))
			ok = true;
	for (rest = e; rest < lx->end && (*rest == ' ' || *rest == '\t');)
		rest++;
	if (e - w == 6 && !memcmp(w, "pragma", 6) && lx->end - rest >= 4 &&
	    !memcmp(rest, "pack", 4))
		return lex_fail(lx, start, "`#pragma pack' is not understood; "
					   "write __attribute__((packed)) on the struct");
	if (!ok)
		return lex_fail(lx, start, "preprocessor directives are not understood; "
					   "write the declarations as the compiler sees them");
	while (lx->s < lx->end && *lx->s != '\n') {
		if (*lx->s == '\\' && lx->end - lx->s > 1 && lx->s[1] == '\n') {
			lx->s += 2;
			newline(lx);
			continue;
		}
		lx->s++;
	}
	return 0;
}

/* Space, comments, directives. */
static int skip_blank(struct lexer *lx)
{
	int err = 0;

	while (!err && lx->s < lx->end) {
		char c = *lx->s;

		if (c == '\n') {
			lx->s++;
			newline(lx);
		} else if (c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v') {
			lx->s++;
		} else if (c == '\\' && lx->end - lx->s > 1 && lx->s[1] == '\n') {
			lx->s += 2;
			newline(lx);
		} else if (c == '/' && lx->end - lx->s > 1 && lx->s[1] == '*') {
			err = skip_comment(lx);
		} else if (c == '/' && lx->end - lx->s > 1 && lx->s[1] == '/') {
			while (lx->s < lx->end && *lx->s != '\n')
				lx->s++;
		} else if (c == '#' && lx->fresh) {
			err = skip_directive(lx);
		} else {
			break;
		}
	}
	return err;
}

/* The type of an integer constant: the first of its list that holds it (C11 6.4.4.1). */
static bool number_type(struct tok *t, bool decimal, bool u, int longs)
{
	bool fits_int = t->value <= (u ? UINT32_MAX : (u64)INT32_MAX);

	t->is_unsigned = u;
	t->size = 8;
	if (!longs && fits_int) {
		t->size = 4;
	} else if (!longs && !u && !decimal && t->value <= UINT32_MAX) {
		t->size = 4;
		t->is_unsigned = true;
	} else if (!u && t->value > INT64_MAX) {
		if (decimal)
			return false;
		t->is_unsigned = true;
	}
	return true;
}

static int lex_number(struct lexer *lx, struct tok *t)
{
	const char *s = lx->s, *start = s;
	unsigned base = 10, digits = 0;
	bool u = false;
	int longs = 0;

	if (*s == '0' && lx->end - s > 1 && (s[1] == 'x' || s[1] == 'X')) {
		base = 16;
		s += 2;
	} else if (*s == '0' && lx->end - s > 1 && (s[1] == 'b' || s[1] == 'B')) {
		base = 2;
		s += 2;
	} else if (*s == '0') {
		base = 8;
	}
	for (; s < lx->end && isxdigit((unsigned char)*s); s++, digits++) {
		unsigned d = isdigit((unsigned char)*s) ? (unsigned)(*s - '0') :
							  (unsigned)(tolower(*s) - 'a') + 10;

		if (d >= base)
			break;
		if (__builtin_mul_overflow(t->value, base, &t->value) ||
		    __builtin_add_overflow(t->value, d, &t->value))
			return lex_fail(lx, start, "this number does not fit 64 bits");
	}
	for (; s < lx->end && (*s == 'u' || *s == 'U' || *s == 'l' || *s == 'L'); s++) {
		if (*s == 'u' || *s == 'U')
			digits = u ? 0 : digits, u = true;
		else
			longs++;
	}
	if (!digits || longs > 2 || (s < lx->end && (is_word(*s) || *s == '.')))
		return lex_fail(lx, start, "this is not an integer constant");
	if (!number_type(t, base == 10, u, longs))
		return lex_fail(lx, start,
				"this number does not fit any signed type; write it with `u'");
	t->kind = TOK_NUMBER;
	t->len = (u32)(s - start);
	lx->s = s;
	return 0;
}

/* 'x' with the simple escapes; its type is int. */
static int lex_char(struct lexer *lx, struct tok *t)
{
	static const char esc[] = "n\nt\tr\ra\ab\bf\fv\v\\\\''\"\"0\0";
	const char *s = lx->s + 1;
	size_t i;

	if (lx->end - s < 2 || *s == '\'' || *s == '\n')
		return lex_fail(lx, lx->s, "this is not a character constant");
	t->value = (u64)(s64)(signed char)*s;
	if (*s == '\\') {
		s++;
		for (i = 0; i + 1 < sizeof(esc) - 1; i += 2)
			if (esc[i] == *s)
				break;
		if (i + 1 >= sizeof(esc) - 1)
			return lex_fail(lx, lx->s, "this escape is not understood");
		t->value = (u64)esc[i + 1];
	}
	s++;
	if (s >= lx->end || *s != '\'')
		return lex_fail(lx, lx->s, "this is not a character constant");
	t->kind = TOK_NUMBER;
	t->size = 4;
	t->len = (u32)(s + 1 - lx->s);
	lx->s = s + 1;
	return 0;
}

static int lex_string(struct lexer *lx, struct tok *t)
{
	const char *s = lx->s + 1;

	for (; s < lx->end && *s != '"' && *s != '\n'; s++)
		if (*s == '\\' && lx->end - s > 1)
			s++;
	if (s >= lx->end || *s != '"')
		return lex_fail(lx, lx->s, "this string has no end");
	t->kind = TOK_STRING;
	t->len = (u32)(s + 1 - lx->s);
	lx->s = s + 1;
	return 0;
}

static int lex_punct(struct lexer *lx, struct tok *t)
{
	static const char pairs[] = "<<>>&&||==!=<=>=->";
	size_t i, left = (size_t)(lx->end - lx->s);

	t->kind = TOK_PUNCT;
	t->len = 1;
	t->punct = (u8)*lx->s;
	for (i = 0; left > 1 && i + 1 < sizeof(pairs); i += 2)
		if (lx->s[0] == pairs[i] && lx->s[1] == pairs[i + 1]) {
			t->len = 2;
			t->punct = P2(pairs[i], pairs[i + 1]);
		}
	if (left > 2 && !memcmp(lx->s, "...", 3)) {
		t->len = 3;
		t->punct = P_ELLIPSIS;
	}
	if (t->len == 1 && !strchr("(){}[];,:*=+-/%&|^~!<>?.", *lx->s)) {
		if (isprint((unsigned char)*lx->s))
			return lex_fail(lx, lx->s, "this character has no place in a declaration");
		return lex_fail(lx, lx->s, "this byte has no place in C text");
	}
	lx->s += t->len;
	return 0;
}

static int lex_one(struct lexer *lx, struct tok *t)
{
	int err = skip_blank(lx);

	if (err)
		return err;
	lx->fresh = false;
	t->s = lx->s;
	t->line = lx->line;
	t->col = (u32)(lx->s - lx->line_start) + 1;
	if (lx->s >= lx->end) {
		t->kind = TOK_END;
		return 0;
	}
	if (isdigit((unsigned char)*lx->s))
		return lex_number(lx, t);
	if (*lx->s == '\'')
		return lex_char(lx, t);
	if (*lx->s == '"')
		return lex_string(lx, t);
	if (!is_word(*lx->s))
		return lex_punct(lx, t);
	t->kind = TOK_IDENT;
	while (lx->s < lx->end && is_word(*lx->s))
		lx->s++;
	t->len = (u32)(lx->s - t->s);
	/* BTF names end at KSYM_NAME_LEN, and so do all that people write. */
	return t->len < 128 ? 0 : lex_fail(lx, t->s, "this name is longer than 127 characters");
}

int ctype_lex(const char *text, struct tok **toks, u32 *n, struct text *why)
{
	size_t len = strnlen(text, CTYPE_MAX_TEXT + 1), cap = 0;
	struct lexer lx = { text, text + len, 1, text, true, why };
	struct tok *all = NULL, *more;
	int err = 0;

	*toks = NULL;
	*n = 0;
	if (len > CTYPE_MAX_TEXT) {
		if (why)
			text_printf(why, "the text is longer than %u bytes", CTYPE_MAX_TEXT);
		return -EINVAL;
	}
	do {
		more = base_grow(all, &cap, (size_t)*n + 1, sizeof(*all));
		if (!more) {
			err = -ENOMEM;
			break;
		}
		all = more;
		memset(&all[*n], 0, sizeof(*all));
		err = lex_one(&lx, &all[*n]);
		(*n)++;
	} while (!err && all[*n - 1].kind != TOK_END);
	if (err) {
		base_free(all);
		return err;
	}
	*toks = all;
	return 0;
}
