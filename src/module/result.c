/* SPDX-License-Identifier: MIT */
/* What a function returns, and its flags. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "module/module_int.h"

#define KNOWN                                                                                      \
	(FERRY_ACQUIRE | FERRY_RELEASE | FERRY_RET_NULL | FERRY_TRUSTED_ARGS | FERRY_SLEEPABLE |   \
	 FERRY_DESTRUCTIVE)

static int refuse(const struct module_func *f, const struct ctype *t, struct text *why, const char *fmt, ...)
	PRINTF_LIKE(4, 5);
static int refuse(const struct module_func *f, const struct ctype *t, struct text *why, const char *fmt, ...)
{
	struct text type = { 0 };
	va_list ap;

	if (!why)
		return -EINVAL;
	ctype_print(t->to, NULL, &type);
	text_printf(why, "function %s: it returns `%s'; ", f->name, text_str(&type));
	text_free(&type);
	va_start(ap, fmt);
	text_vprintf(why, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

static bool pointer_free(const struct ctype *t)
{
	u32 i;

	t = ctype_strip(t);
	if (t->kind == CTYPE_ARRAY)
		return pointer_free(t->to);
	if (t->kind != CTYPE_STRUCT && t->kind != CTYPE_UNION)
		return t->kind != CTYPE_POINTER && t->kind != CTYPE_FUNC;
	for (i = 0; i < t->count; i++)
		if (!pointer_free(t->members[i].type))
			return false;
	return true;
}

/* The argument that says how large the returned memory is: annotated, or named as the kernel does. */
static s32 size_argument(const struct module_func *f, const struct annot *an)
{
	size_t len = an ? strlen(an->arg[0]) : 0;
	u32 i;

	for (i = 0; i < f->nargs; i++) {
		const char *name = f->args[i].name;

		if (an ? !strncmp(name, an->arg[0], len) && (!name[len] || !strncmp(name + len, "__", 2)) :
			 !strcmp(name, "rdonly_buf_size") || !strcmp(name, "rdwr_buf_size"))
			return (s32)i;
	}
	return -1;
}

static int memory(struct module_func *f, const struct ctype *t, const struct annots *as, struct text *why)
{
	const struct ctype *to = ctype_strip(ctype_strip(t->to)->to);
	const struct annot *size = annot_find(as, ANNOT_FUNC, ANNOT_SIZE),
			   *count = annot_find(as, ANNOT_FUNC, ANNOT_COUNT), *an = size ? size : count;
	s32 i = size_argument(f, an);
	unsigned long long n;
	char *end;

	f->ret_kind = MODULE_RET_MEM;
	f->ret_elem = count ? to->size : 1;
	if (!pointer_free(to))
		return refuse(f, t, why, "such memory cannot be given to programs: it holds pointers");
	if (i >= 0) {
		struct module_arg *a = &f->args[i];

		if (a->kind != MODULE_ARG_SCALAR && a->kind != MODULE_ARG_CONST)
			return refuse(f, t, why, "its size, `%s', is no integer", a->name);
		/* What the verifier knows at load is what can be proved of accesses. */
		a->kind = MODULE_ARG_CONST;
		f->ret_size_arg = (u8)(i + 1);
		if (!an)
			f->ret_writable = !strcmp(a->name, "rdwr_buf_size");
		return f->ret_elem ? 0 : refuse(f, t, why, "__count needs a type with a size");
	}
	if (an) {
		n = strtoull(an->arg[0], &end, 0);
		if (*end || !n || n * f->ret_elem >= 1u << 29)
			return refuse(f, t, why, "`%s' in %s is no parameter and no size", an->arg[0],
				      annot_word(an->id));
		f->ret_size = (u32)n * f->ret_elem;
		return 0;
	}
	if (to->kind == CTYPE_VOID || (to->kind == CTYPE_INT && to->size == 1) || !to->size)
		return refuse(f, t, why, "say how much memory that is with `__size(n)' behind the parameters, n "
					 "being a constant parameter or a number%s",
			      to->kind == CTYPE_INT ? ", or `__str' for a string" : "");
	f->ret_size = to->size;
	return 0;
}

static int pointer(struct module_func *f, const struct ctype *t, const struct annots *as, struct text *why)
{
	const struct ctype *to = ctype_strip(t->to)->to, *s = ctype_strip(to);
	bool is_const = to->is_const;

	for (; to->kind == CTYPE_TYPEDEF; is_const |= to->is_const)
		to = to->to;
	f->ret_width = 8;
	f->ret_writable = !is_const;
	if (annot_find(as, ANNOT_FUNC, ANNOT_STR)) {
		f->ret_kind = MODULE_RET_STRING;
		f->ret_writable = false;
		return s->kind == CTYPE_INT && s->size == 1 ? 0 : refuse(f, t, why, "a string is `const char *'");
	}
	if (s->kind == CTYPE_FUNC || s->kind == CTYPE_POINTER)
		return refuse(f, t, why, "a pointer to a %s is of no use to programs",
			      s->kind == CTYPE_FUNC ? "function" : "pointer");
	if ((s->kind == CTYPE_STRUCT || s->kind == CTYPE_UNION) &&
	    !annot_find(as, ANNOT_FUNC, ANNOT_SIZE) && !annot_find(as, ANNOT_FUNC, ANNOT_COUNT)) {
		f->ret_kind = MODULE_RET_OBJECT;
		f->ret_size = s->size;
		return 0;
	}
	return memory(f, t, as, why);
}

void module_flags(struct module_func *f, const struct annots *as)
{
	static const struct {
		u8 id;
		u32 flag;
	} flags[] = {
		{ ANNOT_ACQUIRE, FERRY_ACQUIRE }, { ANNOT_RELEASE, FERRY_RELEASE },
		{ ANNOT_NULLABLE, FERRY_RET_NULL }, { ANNOT_TRUSTED, FERRY_TRUSTED_ARGS },
		{ ANNOT_SLEEPABLE, FERRY_SLEEPABLE }, { ANNOT_DESTRUCTIVE, FERRY_DESTRUCTIVE },
	};
	u32 i;

	for (i = 0; i < ARRAY_SIZE(flags); i++)
		if (annot_find(as, ANNOT_FUNC, flags[i].id))
			f->flags |= flags[i].flag;
}

static u32 count_kind(const struct module_func *f, u8 kind)
{
	u32 i, n = 0;

	for (i = 0; i < f->nargs; i++)
		n += f->args[i].kind == kind;
	return n;
}

static int check_flags(const struct module_func *f, struct text *why)
{
	bool pointer = f->ret_kind == MODULE_RET_OBJECT || f->ret_kind == MODULE_RET_MEM ||
		       f->ret_kind == MODULE_RET_STRING;
	const char *what = NULL;

	if (f->flags & ~(u32)KNOWN)
		what = "has flags that do not exist";
	else if (f->flags & FERRY_ACQUIRE && f->ret_kind != MODULE_RET_OBJECT)
		what = "is FERRY_ACQUIRE, which is for functions that return a pointer to a struct";
	else if (f->flags & FERRY_RET_NULL && !pointer)
		what = "is FERRY_RET_NULL, which is for functions that return a pointer";
	else if (f->flags & FERRY_RELEASE && count_kind(f, MODULE_ARG_OBJECT) != 1)
		what = "is FERRY_RELEASE, which takes one object to release";
	if (what && why)
		text_printf(why, "function %s %s (flags 0x%x)", f->name, what, f->flags);
	return what ? -EINVAL : 0;
}

int module_result(struct module_func *f, const struct ctype *t, const struct annots *as, struct text *why)
{
	const struct ctype *to = ctype_strip(t->to);
	int err = 0;

	switch (to->kind) {
	case CTYPE_VOID: f->ret_kind = MODULE_RET_VOID; break;
	case CTYPE_BOOL:
	case CTYPE_INT:
	case CTYPE_FLOAT:
	case CTYPE_ENUM:
		if (to->size > 8)
			return refuse(f, t, why, "a function returns numbers of at most 8 bytes");
		f->ret_kind = MODULE_RET_SCALAR;
		f->ret_width = (u8)to->size;
		f->ret_signed = to->is_signed && to->kind != CTYPE_FLOAT;
		f->ret_bool = to->kind == CTYPE_BOOL;
		f->ret_float = to->kind == CTYPE_FLOAT;
		break;
	case CTYPE_STRUCT:
	case CTYPE_UNION:
		if (to->incomplete || !to->size || to->size > 256)
			return refuse(f, t, why, "a struct by value is defined and has at most 256 bytes");
		if (!pointer_free(to))
			return refuse(f, t, why, "such a struct cannot be given to programs: it holds pointers");
		f->ret_kind = MODULE_RET_STRUCT;
		f->ret_size = to->size;
		break;
	case CTYPE_POINTER: err = pointer(f, t, as, why); break;
	default: return refuse(f, t, why, "this type cannot be returned");
	}
	return err ? err : check_flags(f, why);
}
