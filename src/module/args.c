/* SPDX-License-Identifier: MIT */
/* From a prototype and the suffixes of its parameters to what the verifier must prove of each. */
#include <errno.h>
#include <string.h>

#include "module/module_int.h"

/* Suffixes of the kernel's conventions (Documentation/bpf/kfuncs.rst, "Annotating kfunc
 * parameters"). */
enum {
	SUFFIX_SZ = 1 << 0, SUFFIX_SZK = 1 << 1, SUFFIX_K = 1 << 2, SUFFIX_STR = 1 << 3,
	SUFFIX_NULLABLE = 1 << 4, SUFFIX_UNINIT = 1 << 5, SUFFIX_IGN = 1 << 6,
};

static const struct {
	const char *text;
	u32 bit;
} suffixes[] = {
	{ "__sz", SUFFIX_SZ }, { "__szk", SUFFIX_SZK }, { "__k", SUFFIX_K },
	{ "__str", SUFFIX_STR }, { "__nullable", SUFFIX_NULLABLE }, { "__uninit", SUFFIX_UNINIT },
	{ "__ign", SUFFIX_IGN },
};

/* Suffixes that the kernel has and this version does not know how to prove. */
static const char *const unknown[] = { "__alloc", "__refcounted_kptr", "__map", "__irq_flag",
				       "__iter", "__prog", "__const_str", "__opt" };

/* One parameter and what its name says. */
struct param {
	const struct ctype *type; /* stripped of typedefs and qualifiers */
	const char *name;
	size_t base; /* bytes of the name without its suffixes */
	u32 suffix;
};

struct reader {
	const struct module_func *f;
	const struct ctype *proto;
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
				p->suffix |= suffixes[i].bit;
				more = true;
			}
	} while (more);
}

static int check_suffixes(struct reader *r, u32 i)
{
	struct param *p = &r->params[i];
	bool pointer = p->type->kind == CTYPE_POINTER;
	const char *dunder = strstr(p->name + (*p->name == '_'), "__");
	u32 sizes = p->suffix & (SUFFIX_SZ | SUFFIX_SZK | SUFFIX_K);
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
	if (!pointer && p->suffix & (SUFFIX_STR | SUFFIX_NULLABLE | SUFFIX_UNINIT))
		return refuse(r, i, "__str, __nullable and __uninit are for pointers");
	if (sizes & (sizes - 1))
		return refuse(r, i, "use one of __sz, __szk and __k");
	if (p->suffix & SUFFIX_STR && p->suffix & SUFFIX_UNINIT)
		return refuse(r, i,
			      "a string that is not initialised is not a string; use a buffer "
			      "with its size, `%.*s__uninit, u32 %.*s__sz'",
			      (int)p->base, p->name, (int)p->base, p->name);
	return 0;
}

/* Why values of this type, in memory that the program fills, could hurt; NULL when they cannot. */
static const char *unsafe_inside(const struct ctype *t)
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
		return unsafe_inside(t->to);
	case CTYPE_STRUCT:
	case CTYPE_UNION:
		for (i = 0; !bad && i < t->count; i++)
			bad = unsafe_inside(t->members[i].type);
		return bad;
	default: return "a pointer, which the program could set to anything";
	}
}

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
	case CTYPE_FUNC:
		return refuse(r, i,
			      "function pointers cannot be passed; give an integer that selects "
			      "the function");
	case CTYPE_VOID:
		if (sized)
			return 0;
		return refuse(r, i, "the size of the memory is not known; write "
				    "`%svoid *%.*s, u32 %.*s__sz'", to->is_const ? "const " : "", n,
			      p->name, n, p->name);
	case CTYPE_STRUCT:
	case CTYPE_UNION:
		if (s->incomplete)
			return refuse(r, i,
				      "`%s' is not defined, so its size is not known; define it "
				      "in the module's types",
				      s->name);
		break;
	default: break;
	}
	if (!s->size)
		return refuse(r, i, "the type has no size");
	if (!sized && s->kind == CTYPE_INT && s->size == 1)
		return refuse(r, i,
			      "this proves one byte and no more; write `%.*s__str' for a string or "
			      "`%.*s, u32 %.*s__sz' for a buffer",
			      n, p->name, n, p->name, n, p->name);
	bad = unsafe_inside(s);
	if (bad)
		return refuse(r, i, "the memory holds %s; use integers and arrays of them", bad);
	return 0;
}

static bool is_size(const struct param *p)
{
	return p->suffix & (SUFFIX_SZ | SUFFIX_SZK);
}

static int read_pointer(struct reader *r, u32 i, struct module_arg *a)
{
	const struct param *p = &r->params[i];
	const struct ctype *to = p->type->to;
	bool sized = i + 1 < r->proto->count && is_size(&r->params[i + 1]);
	const struct ctype *s = ctype_strip(to);
	bool is_const = to->is_const;

	/* const may hide in a typedef */
	for (; to->kind == CTYPE_TYPEDEF; is_const |= to->is_const)
		to = to->to;
	a->width = 8;
	a->writable = !is_const;
	a->nullable = p->suffix & SUFFIX_NULLABLE;
	a->uninit = p->suffix & SUFFIX_UNINIT;
	if (p->suffix & SUFFIX_IGN) {
		a->kind = MODULE_ARG_IGNORE;
		return 0;
	}
	if (a->uninit && is_const)
		return refuse(r, i, "memory that the function writes cannot be const");
	if (p->suffix & SUFFIX_STR) {
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
	a->kind = MODULE_ARG_MEM;
	a->size = sized ? 0 : s->size;
	return check_pointee(r, i, p->type->to, sized);
}

static int read_size(struct reader *r, u32 i, struct module_arg *a)
{
	const struct param *p = &r->params[i], *mem = i ? &r->params[i - 1] : NULL;

	if (!mem || mem->type->kind != CTYPE_POINTER)
		return refuse(r, i, "a size follows the pointer that it belongs to");
	if (mem->base != p->base || memcmp(mem->name, p->name, p->base))
		return refuse(r, i, "the pointer before it is `%s'; name its size `%.*s%s'",
			      mem->name, (int)mem->base, mem->name,
			      p->suffix & SUFFIX_SZ ? "__sz" : "__szk");
	if (p->type->kind != CTYPE_INT || p->type->size < 4)
		return refuse(r, i, "a size is an integer of 4 or 8 bytes");
	a->kind = p->suffix & SUFFIX_SZ ? MODULE_ARG_SIZE : MODULE_ARG_CONST_SIZE;
	return 0;
}

static int read_scalar(struct reader *r, u32 i, struct module_arg *a)
{
	const struct param *p = &r->params[i];

	a->width = (u8)p->type->size;
	a->is_signed = p->type->is_signed;
	a->is_bool = p->type->kind == CTYPE_BOOL;
	if (p->type->size > 8)
		return refuse(r, i,
			      "an integer of 16 bytes takes two registers; pass it in memory");
	if (p->suffix & SUFFIX_IGN)
		a->kind = MODULE_ARG_IGNORE;
	else if (is_size(p))
		return read_size(r, i, a);
	else
		a->kind = p->suffix & SUFFIX_K ? MODULE_ARG_CONST : MODULE_ARG_SCALAR;
	return 0;
}

static int read_arg(struct reader *r, u32 i, struct module_arg *a)
{
	const struct param *p = &r->params[i];
	int err = check_suffixes(r, i);

	if (err)
		return err;
	if (strlen(p->name) >= sizeof(a->name))
		return refuse(r, i, "the name is longer than %zu characters", sizeof(a->name) - 1);
	strcpy(a->name, p->name);
	switch (p->type->kind) {
	case CTYPE_BOOL:
	case CTYPE_INT:
	case CTYPE_ENUM: return read_scalar(r, i, a);
	case CTYPE_POINTER: return read_pointer(r, i, a);
	case CTYPE_FLOAT:
		return refuse(r, i,
			      "eBPF has no floating point; pass an integer, or a pointer to it");
	case CTYPE_STRUCT:
	case CTYPE_UNION:
		return refuse(r, i, "a struct by value cannot be passed; pass a pointer to it");
	default: return refuse(r, i, "this type cannot be passed");
	}
}

static int read_result(struct reader *r, struct module_func *f)
{
	const struct ctype *t = ctype_strip(r->proto->to);
	struct text type = { 0 };

	switch (t->kind) {
	case CTYPE_VOID: f->ret_kind = MODULE_RET_VOID; return 0;
	case CTYPE_BOOL:
	case CTYPE_INT:
	case CTYPE_ENUM:
		if (t->size > 8)
			break;
		f->ret_kind = MODULE_RET_SCALAR;
		f->ret_width = (u8)t->size;
		f->ret_signed = t->is_signed;
		f->ret_bool = t->kind == CTYPE_BOOL;
		return 0;
	default: break;
	}
	if (r->why) {
		ctype_print(r->proto->to, NULL, &type);
		text_printf(r->why,
			    "function %s: it returns `%s'; a function returns void, an integer "
			    "of at most 8 bytes, an enum or bool%s",
			    f->name, text_str(&type),
			    t->kind == CTYPE_POINTER
				    ? "; write the result to memory that the program gives"
				    : "");
		text_free(&type);
	}
	return -EINVAL;
}

int module_args(struct module_func *f, const struct ctype *t, struct text *why)
{
	struct reader r = { .f = f, .proto = t, .why = why };
	int err;
	u32 i;

	if (t->variadic || t->count > MODULE_MAX_ARGS) {
		if (why && t->variadic)
			text_printf(why,
				    "function %s is variadic, so its arguments cannot be checked; "
				    "give it a fixed list",
				    f->name);
		else if (why)
			text_printf(why,
				    "function %s has %u arguments, eBPF passes %d; put more into "
				    "a struct",
				    f->name, t->count, MODULE_MAX_ARGS);
		return -EINVAL;
	}
	err = read_result(&r, f);
	if (err)
		return err;
	f->nargs = (u8)t->count;
	for (i = 0; i < t->count; i++) {
		r.params[i].type = ctype_strip(t->params[i].type);
		r.params[i].name = t->params[i].name;
		read_name(&r.params[i]);
	}
	for (i = 0; !err && i < t->count; i++)
		err = read_arg(&r, i, &f->args[i]);
	return err;
}
