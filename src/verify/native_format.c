/* SPDX-License-Identifier: MIT */
/* Variadic functions: what stands behind the dots is what the format asks for (C17 7.21.6.1). */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "verify/native_int.h"

/* Larger ones would have the host write (and libc allocate) gigabytes for a few characters of format. */
#define MAX_FIELD 4096

struct format {
	const char *s, *end;
	u32 n;        /* arguments asked for */
	u32 first;    /* register of the first */
	u8 kind[MODULE_MAX_REGS + 1]; /* d: integer, w: width, f: double, s: string */
};

/* A width or precision: digits, or `*` for an argument. */
static const char *field(struct format *f)
{
	u32 n = 0;

	if (f->s < f->end && *f->s == '*' && f->n < MODULE_MAX_REGS) {
		f->s++;
		f->kind[f->n++] = 'w';
		return NULL;
	}
	for (; f->s < f->end && isdigit((unsigned char)*f->s) && n <= MAX_FIELD; f->s++)
		n = n * 10 + (u32)(*f->s - '0');
	return n > MAX_FIELD ? "has a width or precision above 4096" : NULL;
}

/* The length modifiers that stand before a conversion: the first letter, or 'H' and 'q' for hh and ll; 0. */
static char length(struct format *f)
{
	char c = f->s < f->end ? *f->s : 0;

	if (!c || !strchr("hljztL", c))
		return 0;
	f->s++;
	if ((c != 'h' && c != 'l') || f->s == f->end || *f->s != c)
		return c;
	f->s++;
	return c == 'h' ? 'H' : 'q';
}

/* The conversion itself: what it takes, by the length that C17 7.21.6.1 has for it and no other. */
static const char *specifier(struct format *f, char len, bool precise)
{
	char c;

	if (f->s == f->end || !*f->s)
		return "ends within a conversion";
	c = *f->s++;
	if (c == '%')
		return NULL;
	if (f->n == MODULE_MAX_REGS)
		return "asks for more arguments than five registers hold";
	/* How much of a string is read at most is nothing to bound. */
	if (c == 's' && precise && f->n && f->kind[f->n - 1] == 'w')
		f->kind[f->n - 1] = 'd';
	if (strchr("diouxX", c) && len != 'L')
		f->kind[f->n++] = 'd';
	else if (c == 'c' && !len)
		f->kind[f->n++] = 'd';
	else if (strchr("aAeEfFgG", c) && (!len || len == 'l'))
		f->kind[f->n++] = 'f';
	else if (c == 's' && !len)
		f->kind[f->n++] = 's';
	else
		return "has a conversion that programs may not use";
	return NULL;
}

/* One conversion, behind its %: adds what it takes. NULL, or what is wrong. */
static const char *conversion(struct format *f)
{
	const char *bad;
	bool precise = false;

	while (f->s < f->end && *f->s && strchr("-+ #0", *f->s))
		f->s++;
	bad = field(f);
	if (!bad && f->s < f->end && *f->s == '.') {
		f->s++;
		precise = f->s < f->end && *f->s == '*';
		bad = field(f);
	}
	return bad ? bad : specifier(f, length(f), precise);
}

static const char *read_format(struct format *f)
{
	const char *bad = NULL;

	while (!bad && f->s < f->end && *f->s)
		if (*f->s++ == '%')
			bad = conversion(f);
	if (!bad && f->first + f->n > MODULE_MAX_REGS + 1)
		return "asks for more arguments than five registers hold";
	return bad;
}

/* Is it a width, which is an int, within its bounds? */
static int check_width(struct verifier *v, const struct native *c, u32 r)
{
	struct num n = cur_reg(v, r)->n;

	vprecise_reg(v, cur_reg(v, r));
	num_sext(&n, 32);
	if (n.smin >= -MAX_FIELD && n.smax <= MAX_FIELD)
		return 0;
	return refuse(v, -EINVAL, "bound the width before the call",
		      "argument %u of %s() (R%u): the format takes it for a width, which is not proved to be within "
		      "%d", r, c->f->name, r, MAX_FIELD);
}

static int check(struct verifier *v, struct native *c, const struct format *f, u32 n)
{
	u32 r = f->first + n;
	int err = vcall_read_ok(v, r);

	if (err)
		return err;
	if (f->kind[n] == 's') {
		c->texts[c->ntexts] = *cur_reg(v, r);
		c->text_bytes[c->ntexts++] = vstack_string_size(v, cur_reg(v, r));
		return vcall_string(v, r);
	}
	if (cur_reg(v, r)->type == REG_SCALAR)
		return f->kind[n] == 'w' ? check_width(v, c, r) : 0;
	return refuse(v, -EINVAL, "pass a number, as the format says",
		      "argument %u of %s() (R%u, %s): the format asks for a number", r, c->f->name, r,
		      reg_type_name(cur_reg(v, r)));
}

int native_format(struct verifier *v, struct native *c, u32 i)
{
	const struct reg *reg = &c->args[i];
	struct format f = { .first = c->f->args[i].reg + 1u };
	const char *bad;
	size_t n = 0;
	int err = 0;
	u32 k;

	f.s = reg->type == REG_MAP_VALUE ? vcall_frozen(v, reg, &n) : NULL;
	if (!f.s || !memchr(f.s, 0, n))
		return native_error(v, c, i, "write the format as a string constant in the call",
				    "the format has to be a constant");
	f.end = f.s + n;
	bad = read_format(&f);
	if (bad)
		return native_error(v, c, i, "use %d, %u, %x, %s, %f and their like", bad);
	for (k = 0; k < f.n && !err; k++) {
		err = check(v, c, &f, k);
		if (f.kind[k] == 'f')
			c->site.va_float |= (u8)(1u << k);
	}
	c->site.va_count = (u8)f.n;
	return err;
}
