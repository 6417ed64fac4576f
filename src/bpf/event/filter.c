/* SPDX-License-Identifier: MIT */
/* Filters of events: the grammar of the kernel's kernel/trace/trace_events_filter.c, and its errors (filter.h). */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "bpf/event/filter.h"
#include "bpf/event/probe_line.h"

#define MOST_NUMBER 24	/* characters, with their end */
#define MOST_STRING 256 /* MAX_FILTER_STR_VAL */

/* Where an expression goes wrong the kernel hands on these as they are, as if they were errnos. */
enum { TOO_MANY_CLOSE = -1, TOO_MANY_OPEN = -2, MISSING_QUOTE = -3, UNEXPECTED = -1 };

struct field {
	u32 size;
	bool is_signed, is_string;
};

/* ---- fields --------------------------------------------------------------------------------- */

/* filter_assign_type() */
static bool holds_text(const char *type, size_t len, bool array)
{
	char t[64];

	if (len >= sizeof(t))
		return false;
	memcpy(t, type, len);
	t[len] = '\0';
	if (strstr(t, "char") && (strstr(t, "__data_loc") || array))
		return true;
	return !strcmp(t, "char *") || !strcmp(t, "const char *");
}

static u32 number_behind(const char *line, const char *end, const char *what)
{
	const char *at = memmem(line, end - line, what, strlen(what));
	u32 n = 0;

	for (at = at ? at + strlen(what) : end; at < end && isdigit((u8)*at); at++)
		n = n * 10 + (u32)(*at - '0');
	return n;
}

/* "\tfield:TYPE NAME[COUNT];\toffset:N;\tsize:N;\tsigned:N;" */
static bool field_of_line(const char *line, const char *end, const char *name, size_t len, struct field *out)
{
	const char *decl = line + strlen("\tfield:"), *stop = memchr(line, ';', end - line), *at;
	bool array = false;

	if (strncmp(line, "\tfield:", 7) || !stop)
		return false;
	if (stop[-1] == ']') {
		array = true;
		while (stop > decl && *stop != '[')
			stop--;
	}
	for (at = stop; at > decl && at[-1] != ' '; at--)
		;
	if ((size_t)(stop - at) != len || memcmp(at, name, len) || at == decl)
		return false;
	out->size = number_behind(stop, end, "size:");
	out->is_signed = number_behind(stop, end, "signed:");
	out->is_string = holds_text(decl, at - 1 - decl, array);
	return true;
}

static bool find_field(const char *format, const char *name, size_t len, struct field *out)
{
	/* trace_define_generic_fields() */
	static const struct {
		const char *name;
		struct field field;
	} everywhere[] = {
		{ "CPU", { 4, true, false } }, { "cpu", { 4, true, false } }, { "COMM", { 16, false, true } },
		{ "comm", { 16, false, true } },
	};
	const char *line, *end;
	size_t i;

	for (line = format; *line; line = *end ? end + 1 : end) {
		end = strchrnul(line, '\n');
		if (field_of_line(line, end, name, len, out))
			return true;
	}
	for (i = 0; i < ARRAY_SIZE(everywhere); i++)
		if (strlen(everywhere[i].name) == len && !memcmp(everywhere[i].name, name, len)) {
			*out = everywhere[i].field;
			return true;
		}
	return false;
}

/* ---- a predicate ---------------------------------------------------------------------------- */

enum op { EQUAL, UNEQUAL, GLOB, LE, LT, GE, GT, BITS, NO_OP };

static enum op operator_at(const char *s, size_t *len)
{
	static const char *const ops[] = { "==", "!=", "~", "<=", "<", ">=", ">", "&" };
	u32 i;

	for (i = 0; i < NO_OP; i++)
		if (!strncmp(s, ops[i], strlen(ops[i]))) {
			*len = strlen(ops[i]);
			break;
		}
	return i;
}

static size_t blank(const char *s, size_t i)
{
	while (isspace((u8)s[i]))
		i++;
	return i;
}

static int text_value(const char *s, size_t i, enum op op, const struct field *f)
{
	size_t from = i + 1;

	if ((op != UNEQUAL && op != GLOB && op != EQUAL) || !f->is_string)
		return -EINVAL;
	for (i++; s[i] && s[i] != s[from - 1]; i++)
		;
	return s[i] && i - from < MOST_STRING ? (int)i + 1 : -EINVAL;
}

static int number_value(const char *s, size_t i, enum op op, const struct field *f)
{
	char number[MOST_NUMBER];
	size_t from = i;
	u64 u;
	s64 v;
	int err;

	if (f->is_string || op == GLOB)
		return -EINVAL;
	i += s[i] == '-';
	while (isalnum((u8)s[i]))
		i++;
	if (i - from >= sizeof(number))
		return -EINVAL;
	memcpy(number, s + from, i - from);
	number[i - from] = '\0';
	err = f->is_signed ? probe_signed(number, &v) : probe_number(number, &u);
	return err ? -EINVAL : (int)i;
}

/* parse_pred(): how many characters it has, or -errno. */
static int predicate(const char *s, const char *format)
{
	size_t i = blank(s, 0), from = i, len = 0;
	struct field f;
	enum op op;

	while (isalnum((u8)s[i]) || s[i] == '_')
		i++;
	if (i == from)
		return UNEXPECTED;
	if (!find_field(format, s + from, i - from, &f))
		return -EINVAL;
	i = blank(s, i);
	op = operator_at(s + i, &len);
	if (op == NO_OP)
		return -EINVAL;
	i = blank(s, i + len);
	if (s[i] == '\'' || s[i] == '"')
		return text_value(s, i, op, &f);
	if (isdigit((u8)s[i]) || s[i] == '-')
		return number_value(s, i, op, &f);
	return -EINVAL;
}

/* ---- an expression -------------------------------------------------------------------------- */

/* calc_stack(): parentheses and quotes must match. How many predicates there may be, or the error. */
static int balance(const char *s)
{
	bool is_pred = false;
	int open = 1, preds = 0;
	char quote = 0;
	size_t i;

	for (i = 0; s[i]; i++) {
		if (isspace((u8)s[i]))
			continue;
		if (quote) {
			if (s[i] == quote)
				quote = 0;
			continue;
		}
		if (s[i] == '\'' || s[i] == '"')
			quote = s[i];
		if (((s[i] == '|' || s[i] == '&') && s[i + 1] == s[i]) || s[i] == '(' || s[i] == ')') {
			is_pred = false;
			open += s[i] == '(' ? 1 : s[i] == ')' ? -1 : 0;
			if (!open)
				return TOO_MANY_CLOSE;
			continue;
		}
		preds += !is_pred;
		is_pred = true;
	}
	return quote ? MISSING_QUOTE : open != 1 ? TOO_MANY_OPEN : preds;
}

/* What is behind a predicate: closing parentheses, then an operator (1) or the end (0). */
static int behind(const char *s, size_t *at, int *open)
{
	for (;;) {
		*at = blank(s, *at);
		if (s[*at] == ')') {
			if (!*open)
				return UNEXPECTED;
			--*open;
			++*at;
		} else if ((s[*at] == '&' || s[*at] == '|') && s[*at + 1] == s[*at]) {
			*at += 2;
			return 1;
		} else {
			return s[*at] ? UNEXPECTED : 0;
		}
	}
}

/* predicate_parse() */
int filter_check(const char *s, const char *format)
{
	int preds = balance(s), open = 0, n = 0, more = 1, len;
	size_t at = 0;

	if (preds < 0)
		return preds;
	while (more && s[at = blank(s, at)]) {
		if (s[at] == '(') {
			open++;
			at++;
			continue;
		}
		if (s[at] == '!' && s[at + 1] != '=' && s[at + 1] != '~') { /* is_not() */
			at++;
			continue;
		}
		if (n++ >= preds)
			return -EINVAL;
		len = predicate(s + at, format);
		if (len < 0)
			return len;
		at += (size_t)len;
		more = behind(s, &at, &open);
		if (more < 0)
			return more;
	}
	return open ? UNEXPECTED : n ? 0 : -EINVAL;
}
