/* SPDX-License-Identifier: MIT */
/* Variadic functions: what stands behind the dots is what the format asks for (C17 7.21.6.1). */
#include <ctype.h>
#include <errno.h>
#include <string.h>

#include "verify/native_int.h"

struct format {
	const char *s, *end;
	u32 n;        /* arguments asked for */
	u32 first;    /* register of the first */
	u8 kind[MODULE_MAX_REGS + 1]; /* d: integer, f: double, s: string */
};

/* One conversion, behind its %: adds what it takes. NULL, or what is wrong. */
static const char *conversion(struct format *f)
{
	static const char integers[] = "diouxXc", floats[] = "aAeEfFgG";
	bool wide = false;
	char c;

	for (; f->s < f->end; f->s++) {
		c = *f->s;
		if (c == '*' && f->n < MODULE_MAX_REGS)
			f->kind[f->n++] = 'd';
		else if (c == 'L')
			wide = true;
		else if (!strchr("-+ #0123456789.hljzt*", c))
			break;
	}
	if (f->s == f->end || !*f->s)
		return "ends within a conversion";
	c = *f->s++;
	if (c == '%')
		return NULL;
	if (f->n == MODULE_MAX_REGS)
		return "asks for more arguments than five registers hold";
	if (strchr(integers, c))
		f->kind[f->n++] = 'd';
	else if (strchr(floats, c) && !wide)
		f->kind[f->n++] = 'f';
	else if (c == 's')
		f->kind[f->n++] = 's';
	else
		return "has a conversion that programs may not use";
	return NULL;
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

static int check(struct verifier *v, const struct native *c, const struct format *f, u32 n)
{
	u32 r = f->first + n;
	int err = vcall_read_ok(v, r);

	if (err)
		return err;
	if (f->kind[n] == 's')
		return vcall_string(v, r);
	if (cur_reg(v, r)->type == REG_SCALAR)
		return 0;
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
