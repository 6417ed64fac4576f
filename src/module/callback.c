/* SPDX-License-Identifier: MIT */
/* Function pointers as arguments: from the C type of one to what a subprogram behind it gets and may return. */
#include <errno.h>
#include <string.h>

#include "module/module_int.h"

struct reader {
	struct module_callback *cb;
	const struct ctype *proto;
	struct text *why;
};

static int refuse(struct reader *r, u32 i, const char *what)
{
	struct text decl = { 0 };

	if (!r->why)
		return -EINVAL;
	if (i < r->proto->count)
		ctype_print(r->proto->params[i].type, r->proto->params[i].name, &decl);
	else
		ctype_print(r->proto->to, NULL, &decl);
	text_printf(r->why, "the function pointed to %s `%s': %s", i < r->proto->count ? "takes" : "returns",
		    text_str(&decl), what);
	text_free(&decl);
	return -EINVAL;
}

static bool cut(const char *name, size_t *len, const char *suffix)
{
	size_t n = strlen(suffix);

	if (*len <= n || memcmp(name + *len - n, suffix, n))
		return false;
	*len -= n;
	return true;
}

/* A pointer that the native function hands on: memory of a known size, a string, an object of the host's. */
static int read_pointer(struct reader *r, u32 i, const struct ctype *t, struct module_arg *a, bool str)
{
	const struct ctype *to = t->to, *s = ctype_strip(to);
	bool is_const = to->is_const, record = s->kind == CTYPE_STRUCT || s->kind == CTYPE_UNION;

	for (; to->kind == CTYPE_TYPEDEF; is_const |= to->is_const)
		to = to->to;
	a->width = 8;
	a->writable = !is_const;
	if (str) {
		if (s->kind != CTYPE_INT || s->size != 1 || !is_const)
			return refuse(r, i, "a string is `const char *'");
		a->kind = MODULE_ARG_STRING;
		return 0;
	}
	if (s->kind == CTYPE_FUNC || s->kind == CTYPE_POINTER)
		return refuse(r, i, "a pointer to a pointer is of no use to programs");
	if (record && (s->incomplete || module_unsafe_inside(s))) {
		a->kind = MODULE_ARG_OBJECT;
		return 0;
	}
	if (s->kind == CTYPE_VOID || !s->size || s->size >= 1u << 29)
		return refuse(r, i, "the size of the memory is not known; write the type of what it points to");
	if (s->kind == CTYPE_INT && s->size == 1)
		return refuse(r, i, "this is one byte and no more; end the name with __str for a string, or "
				    "write a struct");
	if (module_unsafe_inside(s))
		return refuse(r, i, "the memory holds pointers");
	a->kind = MODULE_ARG_MEM;
	a->size = s->size;
	return 0;
}

static int read_param(struct reader *r, u32 i)
{
	const struct ctype *t = ctype_strip(r->proto->params[i].type);
	const char *name = r->proto->params[i].name;
	struct module_arg *a = &r->cb->args[i];
	size_t len = strlen(name);
	bool str, pointer = t->kind == CTYPE_POINTER;

	if (len >= sizeof(a->name))
		return refuse(r, i, "the name is too long");
	strcpy(a->name, name);
	a->nullable = cut(name, &len, "__nullable");
	str = cut(name, &len, "__str");
	if (memmem(name, len, "__", 2) > (void *)name || (!pointer && (a->nullable || str)))
		return refuse(r, i, "the suffixes known here are __nullable and __str, of pointers");
	if (str && a->nullable)
		return refuse(r, i, "a string that may be NULL is not supported here");
	switch (t->kind) {
	case CTYPE_BOOL:
	case CTYPE_INT:
	case CTYPE_ENUM:
	case CTYPE_FLOAT:
		if (t->size > 8)
			return refuse(r, i, "it does not fit into a register");
		a->kind = MODULE_ARG_SCALAR;
		a->width = (u8)t->size;
		a->is_signed = t->is_signed && t->kind != CTYPE_FLOAT;
		a->is_bool = t->kind == CTYPE_BOOL;
		a->is_float = t->kind == CTYPE_FLOAT;
		return 0;
	case CTYPE_POINTER: return read_pointer(r, i, t, a, str);
	case CTYPE_STRUCT:
	case CTYPE_UNION: return refuse(r, i, "a struct by value does not go through a function pointer; pass "
					      "a pointer to const");
	default: return refuse(r, i, "this type cannot be passed");
	}
}

static int read_result(struct reader *r)
{
	const struct ctype *t = ctype_strip(r->proto->to);
	struct module_callback *cb = r->cb;
	u32 i;

	if (t->kind == CTYPE_VOID)
		return 0;
	if (t->kind != CTYPE_BOOL && t->kind != CTYPE_INT && t->kind != CTYPE_ENUM && t->kind != CTYPE_FLOAT)
		return refuse(r, UINT32_MAX, "what a program returns to native code is a number or nothing");
	if (t->size > 8)
		return refuse(r, UINT32_MAX, "it does not fit into a register");
	cb->ret_width = (u8)t->size;
	cb->ret_signed = t->is_signed && t->kind != CTYPE_FLOAT;
	cb->ret_is_float = t->kind == CTYPE_FLOAT;
	if (t->kind == CTYPE_BOOL) {
		cb->ret_ranged = true;
		cb->ret_max = 1;
	} else if (t->kind == CTYPE_ENUM && t->count) {
		cb->ret_ranged = true;
		cb->ret_min = cb->ret_max = t->enumerators[0].value;
		for (i = 1; i < t->count; i++) {
			if (t->enumerators[i].value < cb->ret_min)
				cb->ret_min = t->enumerators[i].value;
			if (t->enumerators[i].value > cb->ret_max)
				cb->ret_max = t->enumerators[i].value;
		}
	}
	/* Of a char or short the register's upper bits are anything (clang from 15): lend.c widens it. */
	return 0;
}

int module_callback_new(const struct ctype *proto, const char *types, struct module_callback **out,
			struct text *why)
{
	struct module_callback *cb = base_alloc(sizeof(*cb));
	struct reader r = { .cb = cb, .proto = proto, .why = why };
	struct text text = { 0 };
	int err = 0;
	u32 i;

	if (!cb)
		return -ENOMEM;
	pthread_mutex_init(&cb->lock, NULL);
	*out = cb;
	if (proto->count > MODULE_MAX_REGS || proto->variadic) {
		if (why)
			text_printf(why, "the function pointed to takes %s; a program gets at most %d arguments",
				    proto->variadic ? "any number of arguments" : "too many arguments",
				    MODULE_MAX_REGS);
		return -EINVAL;
	}
	cb->nargs = (u8)proto->count;
	for (i = 0; !err && i < proto->count; i++)
		err = read_param(&r, i);
	err = err ? err : read_result(&r);
	ctype_print(proto, NULL, &text);
	cb->proto = base_strdup(text_str(&text));
	cb->types = base_strdup(types);
	if (!err && (text.oom || !cb->proto || !cb->types))
		err = -ENOMEM;
	text_free(&text);
	return err;
}

void module_callback_btf(struct module_callback *cb, const struct btf *btf, u32 id)
{
	const struct btf_type *t = fbtf_strip(btf, id, NULL);
	u32 i;

	t = t && btf_is_ptr(t) ? fbtf_strip(btf, t->type, NULL) : NULL;
	for (i = 0; t && btf_is_func_proto(t) && i < cb->nargs && i < btf_vlen(t); i++)
		cb->args[i].btf_id = btf_params(t)[i].type;
}
