/* SPDX-License-Identifier: MIT */
/* From a prototype, its suffixes and annotations to what the verifier must prove of each parameter. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "module/module_int.h"

/*
 * Suffixes of the kernel's conventions (Documentation/bpf/kfuncs.rst, "Annotating kfunc parameters"):
 * those that stand for an annotation, and the two that tie a size to the pointer before it.
 */
enum { SUFFIX_SZ = 1 << 30, SUFFIX_SZK = 1 << 29 };
#define HAS(p, id) ((p)->says & 1u << ANNOT_##id)

static const struct {
	const char *text;
	u32 bit;
} suffixes[] = {
	{ "__sz", SUFFIX_SZ }, { "__szk", SUFFIX_SZK }, { "__k", 1u << ANNOT_K },
	{ "__str", 1u << ANNOT_STR }, { "__nullable", 1u << ANNOT_NULLABLE },
	{ "__uninit", 1u << ANNOT_UNINIT }, { "__ign", 1u << ANNOT_IGN },
};

/* Suffixes that the kernel has and this version does not know how to prove. */
static const char *const unknown[] = { "__alloc", "__refcounted_kptr", "__map", "__irq_flag",
				       "__iter", "__prog", "__const_str", "__opt" };

/* One parameter and what its name and annotations say. */
struct param {
	const struct ctype *type; /* stripped of typedefs and qualifiers */
	const char *name;
	size_t base; /* bytes of the name without its suffixes */
	u32 says;    /* 1 << ANNOT_*, SUFFIX_* */
};

struct reader {
	struct module_func *f;
	const struct ctype *proto;
	const struct annots *as;
	const char *types;
	struct param params[MODULE_MAX_ARGS];
	struct text *why;
};

static int refuse(struct reader *r, u32 i, const char *fmt, ...) PRINTF_LIKE(3, 4);
static int refuse(struct reader *r, u32 i, const char *fmt, ...)
{
	struct text decl = { 0 };
	va_list ap;

	if (!r->why)
		return -EINVAL;
	ctype_print(r->proto->params[i].type, r->proto->params[i].name, &decl);
	text_printf(r->why, "function %s, argument %u (`%s'): ", r->f->name, i + 1,
		    text_str(&decl));
	text_free(&decl);
	va_start(ap, fmt);
	text_vprintf(r->why, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* ---- names and annotations --------------------------------------------------------------------- */

static bool cut_suffix(const char *s, size_t *len, const char *suffix)
{
	size_t n = strlen(suffix);

	if (*len <= n || memcmp(s + *len - n, suffix, n))
		return false;
	*len -= n;
	return true;
}

static void read_name(struct param *p)
{
	bool more;
	size_t i;

	p->base = strlen(p->name);
	do {
		more = false;
		for (i = 0; i < ARRAY_SIZE(suffixes); i++)
			if (cut_suffix(p->name, &p->base, suffixes[i].text)) {
				p->says |= suffixes[i].bit;
				more = true;
			}
	} while (more);
}

static void read_annots(struct reader *r)
{
	u32 i;

	for (i = 0; i < r->as->n; i++)
		if (r->as->all[i].param < r->proto->count)
			r->params[r->as->all[i].param].says |= 1u << r->as->all[i].id;
}

static int check_suffixes(struct reader *r, u32 i)
{
	struct param *p = &r->params[i];
	bool pointer = p->type->kind == CTYPE_POINTER;
	const char *dunder = strstr(p->name + (*p->name == '_'), "__");
	u32 sizes = p->says & (SUFFIX_SZ | SUFFIX_SZK | 1u << ANNOT_K);
	size_t j, len;

	for (j = 0; j < ARRAY_SIZE(unknown); j++) {
		len = strlen(p->name);
		if (cut_suffix(p->name, &len, unknown[j]))
			return refuse(r, i, "the suffix %s is not supported in this version",
				      unknown[j]);
	}
	/* A misspelt suffix would silently prove less than its author meant. */
	if (dunder && p->name + p->base > dunder && dunder != p->name)
		return refuse(r, i, "`%s' is no known suffix; known are __sz, __szk, __k, __str, "
				    "__nullable, __uninit, __ign", dunder);
	if (pointer && sizes)
		return refuse(r, i,
			      "a pointer cannot be a size or a constant; put the suffix on an "
			      "integer");
	if (!pointer && (HAS(p, STR) || HAS(p, NULLABLE) || HAS(p, UNINIT) || HAS(p, SIZE) ||
			 HAS(p, COUNT) || HAS(p, CTX) || HAS(p, OBJECT) || HAS(p, OWNER)))
		return refuse(r, i, "__str, __nullable, __uninit, __size, __count, __ctx, __object and "
				    "__owner are for pointers");
	if (pointer && HAS(p, RANGE))
		return refuse(r, i, "__range is for integers");
	if (sizes & (sizes - 1))
		return refuse(r, i, "use one of __sz, __szk and __k");
	if (HAS(p, SIZE) && HAS(p, COUNT))
		return refuse(r, i, "use one of __size and __count");
	if (HAS(p, STR) && HAS(p, UNINIT))
		return refuse(r, i,
			      "a string that is not initialised is not a string; use a buffer "
			      "with its size, `%.*s__uninit, u32 %.*s__sz'",
			      (int)p->base, p->name, (int)p->base, p->name);
	return 0;
}

/* ---- pointers ---------------------------------------------------------------------------------- */

/* Why values of this type, in memory that the program fills, could hurt; NULL when they cannot. */
const char *module_unsafe_inside(const struct ctype *t)
{
	const char *bad = NULL;
	u32 i;

	t = ctype_strip(t);
	switch (t->kind) {
	case CTYPE_BOOL:
	case CTYPE_INT:
	case CTYPE_FLOAT:
	case CTYPE_ENUM: return NULL;
	case CTYPE_ARRAY:
		if (!t->count)
			return "an array without a size, whose length is not known";
		return module_unsafe_inside(t->to);
	case CTYPE_STRUCT:
	case CTYPE_UNION:
		for (i = 0; !bad && i < t->count; i++)
			bad = module_unsafe_inside(t->members[i].type);
		return bad;
	default: return "a pointer, which the program could set to anything";
	}
}

static bool is_record(const struct ctype *t)
{
	return t->kind == CTYPE_STRUCT || t->kind == CTYPE_UNION;
}

/* Memory that the program may give: its size is known and no value in it can hurt. */
static int check_pointee(struct reader *r, u32 i, const struct ctype *to, bool sized)
{
	const struct param *p = &r->params[i];
	const struct ctype *s = ctype_strip(to);
	const char *bad;
	int n = (int)p->base;

	switch (s->kind) {
	case CTYPE_POINTER:
		return refuse(r, i,
			      "a pointer to a pointer cannot be checked; give the memory itself, "
			      "`void *%.*s, u32 %.*s__sz'",
			      n, p->name, n, p->name);
	case CTYPE_VOID:
		if (sized)
			return 0;
		return refuse(r, i, "the size of the memory is not known; write "
				    "`%svoid *%.*s, u32 %.*s__sz', or name a parameter with `__size(len)'",
			      to->is_const ? "const " : "", n, p->name, n, p->name);
	default: break;
	}
	if (!s->size)
		return refuse(r, i, "the type has no size");
	if (!sized && s->kind == CTYPE_INT && s->size == 1)
		return refuse(r, i,
			      "this proves one byte and no more; write `%.*s__str' for a string or "
			      "`%.*s, u32 %.*s__sz' for a buffer",
			      n, p->name, n, p->name, n, p->name);
	bad = module_unsafe_inside(s);
	if (bad)
		return refuse(r, i, "the memory holds %s; use integers and arrays of them", bad);
	return 0;
}

/* The parameter called `name`, with or without its suffixes; -1. */
static s32 named(const struct reader *r, const char *name)
{
	size_t len = strlen(name);
	u32 i;

	for (i = 0; i < r->proto->count; i++)
		if (len && (!strcmp(r->params[i].name, name) ||
			    (r->params[i].base == len && !memcmp(r->params[i].name, name, len))))
			return (s32)i;
	return -1;
}

static bool is_number(const char *s, u32 *out)
{
	char *end;
	unsigned long long v = strtoull(s, &end, 0);

	if (end == s || *end || *s == '-' || !v || v >= 1u << 29)
		return false;
	*out = (u32)v;
	return true;
}

/* Memory with __size(len), __size(*len), __size(64), __count(n): the argument that has its size. */
static int read_size_of(struct reader *r, u32 i, const struct annot *an, struct module_arg *a)
{
	const struct ctype *to = ctype_strip(r->params[i].type->to), *t;
	bool deref = an->arg[0][0] == '*';
	u32 elem = an->id == ANNOT_COUNT ? to->size : 1, n = 0;
	s32 j = named(r, an->arg[0] + deref);

	if (!elem)
		return refuse(r, i, "__count needs a type with a size; use __size");
	a->elem = elem;
	if (!deref && is_number(an->arg[0], &n) && (u64)n * elem < 1u << 29) {
		a->size = n * elem;
		return 0;
	}
	if (j < 0 || (u32)j == i)
		return refuse(r, i, "`%s' in %s is no parameter and no number", an->arg[0],
			      annot_word(an->id));
	t = r->params[j].type;
	if (deref && t->kind == CTYPE_POINTER)
		t = ctype_strip(t->to);
	else if (deref)
		return refuse(r, i, "`%s' in %s is no pointer", an->arg[0] + 1, annot_word(an->id));
	if (t->kind != CTYPE_INT || t->size < 4 || t->size > 8)
		return refuse(r, i, "`%s' in %s is no integer of 4 or 8 bytes", an->arg[0],
			      annot_word(an->id));
	a->size_arg = (u8)(j + 1);
	a->size_deref = deref;
	return 0;
}

static bool is_size(const struct param *p)
{
	return p->says & (SUFFIX_SZ | SUFFIX_SZK);
}

static int read_string(struct reader *r, u32 i, struct module_arg *a, bool is_const, bool sized)
{
	const struct param *p = &r->params[i];
	const struct ctype *s = ctype_strip(p->type->to);

	if (s->kind != CTYPE_INT || s->size != 1)
		return refuse(r, i, "a string is `const char *'");
	if (!is_const)
		return refuse(r, i, "a string that the function writes needs a size; write "
				    "`const char *', or `%.*s, u32 %.*s__sz'", (int)p->base,
			      p->name, (int)p->base, p->name);
	if (sized)
		return refuse(r, i, "a string needs no size; use one of __str and __sz");
	a->kind = MODULE_ARG_STRING;
	return 0;
}

static int read_context(struct reader *r, u32 i, struct module_arg *a)
{
	const struct ctype *s = ctype_strip(r->params[i].type->to);

	if (s->kind != CTYPE_VOID && (!is_record(s) || s->incomplete))
		return refuse(r, i, "a context is a pointer to void or to a struct that is defined");
	a->kind = MODULE_ARG_CTX;
	a->size = s->size;
	return 0;
}

/*
 * A struct that the host makes: one that the program could not make itself, or that has to be the
 * host's own, because it is marked, released or trusted.
 */
static bool is_object(const struct reader *r, u32 i, const struct ctype *s, bool sized)
{
	if (!is_record(s) || sized)
		return false;
	return s->incomplete || HAS(&r->params[i], OBJECT) || module_unsafe_inside(s) ||
	       r->f->flags & (FERRY_RELEASE | FERRY_TRUSTED_ARGS);
}

static int read_callback(struct reader *r, u32 i, const struct ctype *func, struct module_arg *a)
{
	struct text reason = { 0 };
	int err = module_callback_new(func, r->types, &a->callback, &reason);

	a->kind = MODULE_ARG_CALLBACK;
	/* It is replaced by one that is good for the call. */
	r->f->checks = true;
	if (err == -EINVAL)
		refuse(r, i, "%s", text_str(&reason));
	text_free(&reason);
	return err;
}

static int read_pointer(struct reader *r, u32 i, struct module_arg *a)
{
	const struct param *p = &r->params[i];
	const struct ctype *to = p->type->to, *s = ctype_strip(to);
	const struct annot *size = annot_find(r->as, i, ANNOT_SIZE);
	bool is_const = to->is_const, sized;

	size = size ? size : annot_find(r->as, i, ANNOT_COUNT);
	sized = size || (i + 1 < r->proto->count && is_size(&r->params[i + 1]));
	/* const may hide in a typedef */
	for (; to->kind == CTYPE_TYPEDEF; is_const |= to->is_const)
		to = to->to;
	a->width = 8;
	a->writable = !is_const;
	a->nullable = HAS(p, NULLABLE);
	a->uninit = HAS(p, UNINIT);
	a->owner = HAS(p, OWNER);
	a->elem = 1;
	if (HAS(p, IGN)) {
		a->kind = MODULE_ARG_IGNORE;
		return 0;
	}
	if (s->kind == CTYPE_FUNC)
		return read_callback(r, i, s, a);
	if (r->proto->variadic && i + 1 == r->proto->count && s->kind == CTYPE_INT && s->size == 1 && is_const) {
		a->kind = MODULE_ARG_FORMAT;
		return 0;
	}
	if (HAS(p, CTX))
		return read_context(r, i, a);
	if (a->uninit && is_const)
		return refuse(r, i, "memory that the function writes cannot be const");
	if (HAS(p, STR))
		return read_string(r, i, a, is_const, sized);
	if (is_object(r, i, s, sized)) {
		a->kind = MODULE_ARG_OBJECT;
		return 0;
	}
	if (HAS(p, OBJECT) || a->owner)
		return refuse(r, i, "__object and __owner are for pointers to structs of the host's");
	a->kind = MODULE_ARG_MEM;
	a->size = sized ? 0 : s->size;
	if (sized && !size)
		a->size_arg = (u8)(i + 2);
	return size ? read_size_of(r, i, size, a) ?: check_pointee(r, i, p->type->to, true) :
		      check_pointee(r, i, p->type->to, sized);
}

/* ---- numbers ----------------------------------------------------------------------------------- */

static int read_size(struct reader *r, u32 i, struct module_arg *a)
{
	const struct param *p = &r->params[i], *mem = i ? &r->params[i - 1] : NULL;

	if (!mem || mem->type->kind != CTYPE_POINTER)
		return refuse(r, i, "a size follows the pointer that it belongs to");
	if (mem->base != p->base || memcmp(mem->name, p->name, p->base))
		return refuse(r, i, "the pointer before it is `%s'; name its size `%.*s%s'",
			      mem->name, (int)mem->base, mem->name,
			      p->says & SUFFIX_SZ ? "__sz" : "__szk");
	if (p->type->kind != CTYPE_INT || p->type->size < 4)
		return refuse(r, i, "a size is an integer of 4 or 8 bytes");
	a->kind = p->says & SUFFIX_SZ ? MODULE_ARG_SIZE : MODULE_ARG_CONST_SIZE;
	return 0;
}

static int read_range(struct reader *r, u32 i, struct module_arg *a)
{
	const struct annot *an = annot_find(r->as, i, ANNOT_RANGE);
	const struct ctype *t = r->params[i].type;
	char *end[2];

	if (t->kind != CTYPE_INT)
		return refuse(r, i, "__range is for integers");
	errno = 0;
	a->min = strtoll(an->arg[0], &end[0], 0);
	a->max = strtoll(an->arg[1], &end[1], 0);
	if (*end[0] || *end[1] || errno)
		return refuse(r, i, "the limits of __range are integer constants");
	if (a->min > a->max || (!t->is_signed && a->min < 0))
		return refuse(r, i, "no value of the type is in __range(%s, %s)", an->arg[0], an->arg[1]);
	a->ranged = true;
	return 0;
}

static int by_value(const void *x, const void *y)
{
	s64 a = *(const s64 *)x, b = *(const s64 *)y;

	return (a > b) - (a < b);
}

/* The values of an enum: a range when they are in a row, else a list. */
static int read_enum(const struct ctype *t, struct module_arg *a)
{
	s64 *values = base_array(t->count ? t->count : 1, sizeof(*values));
	u32 n = 0, i;

	if (!values)
		return -ENOMEM;
	for (i = 0; i < t->count; i++)
		values[i] = t->enumerators[i].value;
	qsort(values, t->count, sizeof(*values), by_value);
	for (i = 0; i < t->count; i++)
		if (!n || values[i] != values[n - 1])
			values[n++] = values[i];
	a->ranged = n && (u64)values[n - 1] - (u64)values[0] == n - 1;
	if (a->ranged) {
		a->min = values[0];
		a->max = values[n - 1];
	}
	if (a->ranged || !n) {
		base_free(values);
	} else {
		a->values = values;
		a->nvalues = n;
	}
	return 0;
}

static int read_scalar(struct reader *r, u32 i, struct module_arg *a)
{
	const struct param *p = &r->params[i];

	a->width = (u8)p->type->size;
	a->is_signed = p->type->is_signed;
	a->is_bool = p->type->kind == CTYPE_BOOL;
	a->is_float = p->type->kind == CTYPE_FLOAT;
	if (p->type->size > 8)
		return refuse(r, i, a->is_float ? "long double takes two registers; use double" :
			      "an integer of 16 bytes takes two registers; pass it in memory");
	if (a->is_float && p->says & ~(1u << ANNOT_IGN))
		return refuse(r, i, "nothing can be proved of floating point");
	if (HAS(p, IGN)) {
		a->kind = MODULE_ARG_IGNORE;
		return 0;
	}
	if (is_size(p))
		return read_size(r, i, a);
	a->kind = HAS(p, K) ? MODULE_ARG_CONST : MODULE_ARG_SCALAR;
	if (HAS(p, RANGE))
		return read_range(r, i, a);
	return p->type->kind == CTYPE_ENUM ? read_enum(p->type, a) : 0;
}

static int read_value(struct reader *r, u32 i, struct module_arg *a)
{
	const struct ctype *t = r->params[i].type;
	const char *bad;

	if (t->incomplete || !t->size)
		return refuse(r, i, "`%s' is not defined, so its size is not known; define it in the "
				    "module's types", t->name);
	bad = module_unsafe_inside(t);
	if (bad)
		return refuse(r, i, "the struct holds %s", bad);
	if (t->size > 256)
		return refuse(r, i, "a struct of %u bytes by value does not fit on the stack beside others; "
				    "pass a pointer to it", t->size);
	a->kind = MODULE_ARG_VALUE;
	a->size = t->size;
	a->width = 8;
	return 0;
}

/* ---- all --------------------------------------------------------------------------------------- */

static int read_arg(struct reader *r, u32 i, struct module_arg *a)
{
	const struct param *p = &r->params[i];
	int err = check_suffixes(r, i);

	if (err)
		return err;
	if (strlen(p->name) >= sizeof(a->name))
		return refuse(r, i, "the name is longer than %zu characters", sizeof(a->name) - 1);
	strcpy(a->name, p->name);
	a->check = HAS(p, CHECK);
	switch (p->type->kind) {
	case CTYPE_BOOL:
	case CTYPE_INT:
	case CTYPE_FLOAT:
	case CTYPE_ENUM: err = read_scalar(r, i, a); break;
	case CTYPE_POINTER: err = read_pointer(r, i, a); break;
	case CTYPE_STRUCT:
	case CTYPE_UNION: err = read_value(r, i, a); break;
	default: return refuse(r, i, "this type cannot be passed");
	}
	if (!err && a->check && !a->ranged && !a->values && a->kind != MODULE_ARG_STRING &&
	    a->kind != MODULE_ARG_MEM && a->kind != MODULE_ARG_OBJECT)
		err = refuse(r, i, "__check has nothing to check here: it is for a __range, an enum, a "
				   "string, and pointers that may be NULL");
	return err;
}

/* Integers that __size and __count name become sizes. */
static void mark_sizes(struct module_func *f)
{
	u32 i;

	for (i = 0; i < f->nargs; i++) {
		const struct module_arg *a = &f->args[i];
		struct module_arg *size = a->size_arg ? &f->args[a->size_arg - 1] : NULL;

		if (size && !a->size_deref && size->kind == MODULE_ARG_SCALAR)
			size->kind = MODULE_ARG_SIZE;
		else if (size && !a->size_deref && size->kind == MODULE_ARG_CONST)
			size->kind = MODULE_ARG_CONST_SIZE;
	}
}

static int check_variadic(struct reader *r)
{
	u32 n = r->proto->count;

	if (!r->proto->variadic || (n && r->f->args[n - 1].kind == MODULE_ARG_FORMAT))
		return 0;
	if (r->why)
		text_printf(r->why,
			    "function %s is variadic, so its arguments cannot be checked; what stands "
			    "before the dots has to be a format as printf's, `const char *'",
			    r->f->name);
	return -EINVAL;
}

int module_args(struct module_func *f, const struct ctype *t, const struct annots *as, struct text *why)
{
	struct reader r = { .f = f, .proto = t, .as = as, .types = f->mod->types, .why = why };
	int err = 0;
	u32 i;

	if (t->count > MODULE_MAX_ARGS) {
		if (why)
			text_printf(why, "function %s has %u arguments, more than %d; put more into a struct",
				    f->name, t->count, MODULE_MAX_ARGS);
		return -EINVAL;
	}
	f->nargs = (u8)t->count;
	f->variadic = t->variadic;
	for (i = 0; i < t->count; i++) {
		r.params[i].type = ctype_strip(t->params[i].type);
		r.params[i].name = t->params[i].name;
		read_name(&r.params[i]);
	}
	read_annots(&r);
	for (i = 0; !err && i < t->count; i++) {
		err = read_arg(&r, i, &f->args[i]);
		f->checks |= f->args[i].check;
	}
	mark_sizes(f);
	return err ? err : check_variadic(&r);
}
