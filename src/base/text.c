/* SPDX-License-Identifier: MIT */
/* Strings being built, and the log. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

/* Drops what is more than `keep` bytes before the end, once n bytes more are there. */
static void forget(struct text *t, const char **s, size_t *n)
{
	size_t left;

	if (*n > t->keep) {
		*s += *n - t->keep;
		*n = t->keep;
	}
	left = t->keep - *n < t->len ? t->keep - *n : t->len;
	memmove(t->s, t->s + t->len - left, left);
	t->len = left;
}

void text_add(struct text *t, const char *s, size_t n)
{
	char *p;

	t->full += n;
	if (t->full > t->most)
		t->most = t->full;
	if (t->keep && t->s && t->len + n > 2 * t->keep)
		forget(t, &s, &n);
	if (t->limit && n > t->limit - t->len)
		n = t->limit - t->len;
	if (t->oom)
		return;
	if (!t->s || t->cap - t->len <= n) {
		p = base_grow(t->s, &t->cap, t->len + n + 1, 1);
		if (!p) {
			t->oom = true;
			return;
		}
		t->s = p;
	}
	memcpy(t->s + t->len, s, n);
	t->len += n;
	t->s[t->len] = '\0';
}

void text_puts(struct text *t, const char *s)
{
	text_add(t, s, strlen(s));
}

void text_vprintf(struct text *t, const char *fmt, va_list ap)
{
	char small[256], *big;
	va_list again;
	int n;

	va_copy(again, ap);
	n = vsnprintf(small, sizeof(small), fmt, ap);
	if (n >= 0 && (size_t)n < sizeof(small)) {
		text_add(t, small, (size_t)n);
	} else if (n >= 0) {
		big = base_alloc((size_t)n + 1);
		if (big) {
			vsnprintf(big, (size_t)n + 1, fmt, again);
			text_add(t, big, (size_t)n);
			base_free(big);
		} else {
			t->oom = true;
		}
	}
	va_end(again);
}

void text_printf(struct text *t, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	text_vprintf(t, fmt, ap);
	va_end(ap);
}

/* Bytes of the UTF-8 character at p; 0 when it is none (RFC 3629, 4: no overlong ones, no
 * surrogates). */
static size_t utf8_len(const unsigned char *p)
{
	size_t n = *p < 0x80   ? 1
		   : *p < 0xc2 ? 0
		   : *p < 0xe0 ? 2
		   : *p < 0xf0 ? 3
		   : *p < 0xf5 ? 4
			       : 0,
	       i;

	for (i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((*p == 0xe0 && p[1] < 0xa0) || (*p == 0xed && p[1] > 0x9f) ||
	    (*p == 0xf0 && p[1] < 0x90) || (*p == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

void text_clean(char *s)
{
	unsigned char *p = (unsigned char *)s;
	size_t n;

	for (; *p; p += n) {
		n = utf8_len(p);
		if (!n)
			*p = '?';
		if ((*p < 0x20 && *p != '\n') || *p == 0x7f)
			*p = ' ';
		/* U+0080 to U+009F are control characters too. */
		if (*p == 0xc2 && p[1] < 0xa0)
			p[0] = p[1] = ' ';
		n = n ? n : 1;
	}
}

void text_json(struct text *t, const char *s)
{
	size_t n;

	text_puts(t, "\"");
	for (; *s; s += n) {
		unsigned char c = (unsigned char)*s;

		n = utf8_len((const unsigned char *)s);
		if (c == '"' || c == '\\')
			text_printf(t, "\\%c", c);
		else if (c == '\n')
			text_puts(t, "\\n");
		else if (c == '\t')
			text_puts(t, "\\t");
		else if (c < 0x20 || c == 0x7f)
			text_printf(t, "\\u%04x", c);
		else if (n)
			text_add(t, s, n);
		else
			text_puts(t, "\\ufffd");
		n = n ? n : 1;
	}
	text_puts(t, "\"");
}

const char *text_str(const struct text *t)
{
	return t->s ? t->s : "";
}

void text_cut(struct text *t, size_t full)
{
	/* With `keep`, text before this was forgotten. */
	size_t gone = t->keep ? t->full - t->len : 0;

	if (full >= t->full)
		return;
	t->full = full;
	full = full > gone ? full - gone : 0;
	if (full < t->len)
		t->len = full;
	if (t->s)
		t->s[t->len] = '\0';
}

void text_reset(struct text *t)
{
	t->len = t->full = t->most = 0;
	t->oom = false;
	if (t->s)
		t->s[0] = '\0';
}

void text_free(struct text *t)
{
	base_free(t->s);
	memset(t, 0, sizeof(*t));
}

unsigned text_distance(const char *a, const char *b)
{
	size_t n = strlen(a), m = strlen(b), i, j;
	u8 row[64];

	if (n >= sizeof(row) || m >= sizeof(row))
		return 255;
	for (j = 0; j <= m; j++)
		row[j] = (u8)j;
	for (i = 1; i <= n; i++) {
		u8 diag = row[0];

		row[0] = (u8)i;
		for (j = 1; j <= m; j++) {
			u8 best = (u8)(diag + (a[i - 1] != b[j - 1]));

			diag = row[j];
			if (row[j] + 1 < best)
				best = (u8)(row[j] + 1);
			if (row[j - 1] + 1 < best)
				best = (u8)(row[j - 1] + 1);
			row[j] = best;
		}
	}
	return row[m];
}

/* ---- log -------------------------------------------------------------------------------------- */

static int stderr_level(void)
{
	static const char *const names[] = { "error", "warn", "info", "debug" };
	const char *env = secure_getenv("FERRY_LOG");
	size_t i;

	for (i = 0; env && i < ARRAY_SIZE(names); i++)
		if (!strcmp(env, names[i]))
			return (int)i;
	return LOG_WARN;
}

static void log_stderr(void *arg, int level, const char *msg)
{
	static int most = -1;

	(void)arg;
	if (most < 0)
		most = stderr_level();
	if (level <= most)
		fprintf(stderr, "ferry: %s\n", msg);
}

static log_fn log_sink = log_stderr;
static void *log_arg;

void log_to(log_fn fn, void *arg)
{
	log_sink = fn ? fn : log_stderr;
	log_arg = fn ? arg : NULL;
}

void log_msg(enum log_level level, const char *fmt, ...)
{
	char msg[1024];
	va_list ap;

	if (base_in_signal)
		return;
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	log_sink(log_arg, (int)level, msg);
}

int base_broken(const char *file, int line, const char *what)
{
	log_msg(LOG_ERROR, "%s:%d: broken invariant: %s", file, line, what);
#ifndef NDEBUG
	abort();
#endif
	return -EFAULT;
}
