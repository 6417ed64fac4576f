/* SPDX-License-Identifier: MIT */
/* The assembler's characters: names, registers, numbers, and what it says when they are wrong. */
#include <errno.h>
#include <string.h>

#include "isa/asm_int.h"

int asm_error(struct asm_state *s, const char *fmt, ...)
{
	va_list ap;

	if (!s->why)
		return -EINVAL;
	text_printf(s->why, "line %u: ", s->line);
	va_start(ap, fmt);
	text_vprintf(s->why, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

int asm_expected(struct asm_state *s, const char *what)
{
	int n;

	if (asm_done(s))
		return asm_error(s, "expected %s at the end of the line", what);
	n = s->end - s->p > 24 ? 24 : (int)(s->end - s->p);
	return asm_error(s, "expected %s, found '%.*s'", what, n, s->p);
}

void asm_blanks(struct asm_state *s)
{
	while (s->p < s->end && (*s->p == ' ' || *s->p == '\t' || *s->p == '\r'))
		s->p++;
}

bool asm_done(struct asm_state *s)
{
	asm_blanks(s);
	return s->p == s->end;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_name(char c)
{
	return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
	       c == '.' || c == '$';
}

bool asm_sym(struct asm_state *s, const char *sym)
{
	size_t n = strlen(sym);

	asm_blanks(s);
	if ((size_t)(s->end - s->p) < n || memcmp(s->p, sym, n))
		return false;
	s->p += n;
	return true;
}

bool asm_name(struct asm_state *s, const char **name, u32 *len)
{
	const char *p;

	asm_blanks(s);
	for (p = s->p; p < s->end && is_name(*p); p++)
		;
	if (p == s->p || is_digit(*s->p))
		return false;
	*name = s->p;
	*len = (u32)(p - s->p);
	s->p = p;
	return true;
}

bool asm_word(struct asm_state *s, const char *word)
{
	const char *name, *old;
	u32 len;

	asm_blanks(s);
	old = s->p;
	if (asm_name(s, &name, &len) && len == strlen(word) && !memcmp(name, word, len))
		return true;
	s->p = old;
	return false;
}

bool asm_reg(struct asm_state *s, char *letter, u8 *reg)
{
	const char *name, *old;
	u32 len;

	asm_blanks(s);
	old = s->p;
	if (asm_name(s, &name, &len) && (name[0] == 'r' || name[0] == 'w')) {
		*letter = name[0];
		if (len == 2 && is_digit(name[1])) {
			*reg = (u8)(name[1] - '0');
			return true;
		}
		if (len == 3 && name[1] == '1' && name[2] == '0') {
			*reg = 10;
			return true;
		}
	}
	s->p = old;
	return false;
}

static int digit_value(char c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return 99;
}

/* Magnitude and sign; the offset forms "+ 8" and "- 8" have blanks after the sign. */
static int number(struct asm_state *s, bool *negative, u64 *magnitude)
{
	const char *p, *first;
	u64 v = 0;
	u64 base = 10;

	asm_blanks(s);
	*negative = asm_sym(s, "-");
	if (!*negative)
		asm_sym(s, "+");
	asm_blanks(s);
	p = s->p;
	if (s->end - p > 2 && p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
		base = 16;
		p += 2;
	}
	for (first = p; p < s->end && (u64)digit_value(*p) < base; p++) {
		if (__builtin_mul_overflow(v, base, &v) ||
		    __builtin_add_overflow(v, (u64)digit_value(*p), &v))
			return asm_error(s, "number does not fit in 64 bits");
	}
	if (p == first || (p < s->end && is_name(*p)))
		return asm_expected(s, "a number");
	s->p = p;
	*magnitude = v;
	return 0;
}

int asm_u64(struct asm_state *s, u64 *value)
{
	bool negative;
	u64 v;
	int err = number(s, &negative, &v);

	if (err)
		return err;
	if (negative && v > 1ull << 63)
		return asm_error(s, "-%llu does not fit in 64 bits", (unsigned long long)v);
	*value = negative ? -v : v;
	return 0;
}

/* A number from -below to above. */
static int bounded(struct asm_state *s, u64 below, u64 above, u64 *value)
{
	bool negative;
	u64 v;
	int err = number(s, &negative, &v);

	if (err)
		return err;
	if (v > (negative ? below : above))
		return asm_error(s, "%s%llu is out of range, must be -%llu to %llu",
				 negative ? "-" : "", (unsigned long long)v,
				 (unsigned long long)below, (unsigned long long)above);
	*value = negative ? -v : v;
	return 0;
}

int asm_imm32(struct asm_state *s, s32 *value)
{
	u64 v = 0;
	int err = bounded(s, 1ull << 31, UINT32_MAX, &v);

	*value = (s32)(u32)v;
	return err;
}

int asm_off16(struct asm_state *s, s16 *value)
{
	u64 v = 0;
	int err = bounded(s, 1u << 15, INT16_MAX, &v);

	*value = (s16)(u16)v;
	return err;
}
