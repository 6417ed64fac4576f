/* SPDX-License-Identifier: MIT */
/* Variables of the host: from their C types to BTF, and look-ups. */
#include <errno.h>
#include <string.h>

#include "module/module_int.h"

#define MAX_DECL 512

static int bad(struct text *why, const struct module *m, const struct ferry_func *def, const char *what)
{
	if (why)
		text_printf(why, "variable `%.200s' of module %s: %s",
			    def->prototype ? def->prototype : "", m->name, what);
	return -EINVAL;
}

/* The declared name: the identifier at the end, or before the brackets of an array. */
static bool find_name(const char *decl, char name[64])
{
	static const char any[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
	size_t end = strcspn(decl, "["), start, n;

	while (end && (decl[end - 1] == ' ' || decl[end - 1] == '\t'))
		end--;
	for (start = end; start && strchr(any, decl[start - 1]); start--)
		;
	n = end - start;
	if (!n || !start || n >= 64 || (decl[start] >= '0' && decl[start] <= '9'))
		return false;
	memcpy(name, decl + start, n);
	name[n] = '\0';
	return true;
}

/* A declaration is one of a type when `typedef` stands before it. */
static int parse(const struct module *m, const struct ferry_func *def, struct ctypes *cs, char name[64],
		 const struct ctype **t, struct text *why)
{
	struct text decl = { 0 }, inner = { 0 };
	int err;

	if (!def->prototype || !def->fn || strnlen(def->prototype, MAX_DECL) == MAX_DECL ||
	    !find_name(def->prototype, name))
		return bad(why, m, def, "write `type name' and give its address");
	text_printf(&decl, "typedef %s;", def->prototype);
	err = ctypes_declare(cs, text_str(&decl), &inner);
	if (!err)
		err = ctypes_type(cs, name, t, &inner);
	if (err == -EINVAL)
		bad(why, m, def, text_str(&inner));
	text_free(&decl);
	text_free(&inner);
	if (err)
		return err;
	/* The typedef itself is nobody's business; one that it names is. */
	if ((*t)->kind == CTYPE_TYPEDEF)
		*t = (*t)->to;
	return 0;
}

int module_add_var(struct module *m, const struct ferry_func *def, struct ctypes *cs, struct btf *btf,
		   struct hash *seen, struct text *why)
{
	struct module_var *out = &m->vars[m->nvars];
	const struct ctype *t, *bare;
	char name[64];
	int err = parse(m, def, cs, name, &t, why), type;

	if (err)
		return err;
	if (def->flags & ~(FERRY_VARIABLE | FERRY_WRITABLE | FERRY_PERCPU))
		return bad(why, m, def, "flags of variables are FERRY_WRITABLE and FERRY_PERCPU");
	bare = ctype_strip(t);
	out->count = 1;
	if (def->flags & FERRY_PERCPU) {
		if (bare->kind != CTYPE_ARRAY || !bare->count)
			return bad(why, m, def, "one a processor has to be an array");
		out->count = bare->count;
		t = bare->to;
		bare = ctype_strip(t);
	}
	if (bare->kind == CTYPE_FUNC || bare->kind == CTYPE_VOID || bare->incomplete || !bare->size)
		return bad(why, m, def, "its type has no size: declare the struct in `types'");
	type = fbtf_add_ctype(btf, seen, t);
	if (type < 0)
		return type;
	out->name = base_strdup(name);
	if (!out->name)
		return -ENOMEM;
	out->addr = (void *)(uintptr_t)def->fn;
	out->mod = m;
	out->flags = def->flags;
	out->type_id = (u32)type;
	out->stride = bare->size;
	m->nvars++;
	type = btf__add_var(btf, name, BTF_VAR_GLOBAL_ALLOCATED, type);
	if (type < 0)
		return type;
	out->btf_id = (u32)type;
	return 0;
}

const struct module_var *module_var(const struct module *m, u32 btf_id)
{
	u32 i;

	for (i = 0; i < m->nvars; i++)
		if (m->vars[i].btf_id == btf_id)
			return &m->vars[i];
	return NULL;
}
