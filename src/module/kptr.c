/* SPDX-License-Identifier: MIT */
/*
 * Objects of modules that map values hold (kptrs): of which module's type each is, and the function that the map
 * gives it back with, the one marked FERRY_RELEASE that takes the object and nothing else.
 */
#include <errno.h>

#include "module/module.h"

static bool releases(const struct module_func *f, u32 id)
{
	const struct btf_type *t;
	u32 to = 0;

	if (!(f->flags & FERRY_RELEASE) || f->nargs != 1 || f->args[0].kind != MODULE_ARG_OBJECT)
		return false;
	t = fbtf_strip(f->mod->btf, f->args[0].btf_id, NULL);
	return t && btf_is_ptr(t) && fbtf_strip(f->mod->btf, t->type, &to) && to == id;
}

/* NULL: none; -EINVAL: several. */
static int find_release(const struct module *m, u32 id, const struct module_func **out)
{
	u32 i;

	*out = NULL;
	for (i = 0; i < m->nfuncs; i++) {
		if (!releases(&m->funcs[i], id))
			continue;
		if (*out) {
			log_msg(LOG_INFO, "values with pointers: both %s() and %s() of module %s release the object",
				(*out)->name, m->funcs[i].name, m->name);
			return -EINVAL;
		}
		*out = &m->funcs[i];
	}
	return 0;
}

/* The first module that has the type, and a release for it when that is needed: held by the field from here on. */
static int resolve(const struct btf *btf, const struct fbtf_kptr *from, struct map_kptr *to)
{
	const char *name = fbtf_name(btf, btf__type_by_id(btf, from->type)->name_off);
	const struct module_func *f = NULL;
	struct module *m;
	s32 id;
	u32 i;
	int err = 0;

	for (i = 0; !err && (m = module_nth_get(i)); i++) {
		id = *name ? btf__find_by_name_kind(m->btf, name, BTF_KIND_STRUCT) : -ENOENT;
		if (id > 0 && from->owned)
			err = find_release(m, (u32)id, &f);
		if (id > 0 && !err && (f || !from->owned)) {
			*to = (struct map_kptr){ from->off, (u32)id, m->btf, f, m };
			return 0;
		}
		module_put(m);
	}
	log_msg(LOG_INFO, "values with pointers to struct %s: no module has %s", name,
		from->owned ? "one function that takes such an object only and releases it" : "such objects");
	return err ? err : -ENOENT;
}

static void drop(const struct map_kptr *k, void *obj)
{
	const struct module_func *f = k->drop;
	const struct module_site none = { 0 };
	const u64 regs[MODULE_MAX_REGS] = { (u64)(uintptr_t)obj };

	if (f->bridged)
		module_invoke(f, regs, &none);
	else
		((u64 (*)(u64))f->addr)(regs[0]);
}

static void done(const struct map_kptr *k)
{
	module_put(k->mod);
}

int module_map_kptrs(const struct btf *btf, u32 value_id, struct map_kptr out[MAP_KPTRS])
{
	struct fbtf_kptr found[MAP_KPTRS];
	int n = fbtf_find_kptrs(btf, value_id, found, MAP_KPTRS), i, err;

	if (n > MAP_KPTRS)
		return -E2BIG;
	map_kptr_drop = drop;
	map_kptr_done = done;
	for (i = 0; i < n; i++) {
		err = resolve(btf, &found[i], &out[i]);
		if (err) {
			while (i--)
				done(&out[i]);
			return err;
		}
	}
	return n;
}
