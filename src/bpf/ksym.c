/* SPDX-License-Identifier: MIT */
/*
 * Externs that nothing satisfies. libbpf looks names up in our BTF by itself and fails before it
 * asks us anything, so the object's own BTF is read to say what would have been near.
 */
#include <bpf/libbpf.h>
#include <string.h>

#include "bpf/sys_int.h"

#define NEAREST 3

void sys_explain_ksym(const char *name, struct text *out)
{
	const char *near[NEAREST];
	u32 n, i;

	if (module_func_named(name)) {
		text_printf(out, "native function '%s' is registered: does the program declare its "
			    "prototype as the module does?", name);
		return;
	}
	text_printf(out, "no native function '%s' is registered", name);
	n = module_nearest(name, near, NEAREST);
	for (i = 0; i < n; i++)
		text_printf(out, "%s'%s'", i ? i + 1 == n ? " or " : ", " : "; did you mean ", near[i]);
	text_puts(out, n ? "?" : module_nth(0) ? "" : "; there is no module at all");
}

static bool is_extern(const struct btf_type *t)
{
	return (btf_is_func(t) && btf_vlen(t) == BTF_FUNC_EXTERN) ||
	       (btf_is_var(t) && btf_var(t)->linkage == BTF_VAR_GLOBAL_EXTERN);
}

/* The kernel's configuration and version, which libbpf fills in (.kconfig). */
static bool libbpf_own(const char *name)
{
	return !strncmp(name, "CONFIG_", 7) || !strncmp(name, "LINUX_", 6);
}

int sys_missing_ksyms(const struct bpf_object *obj, struct text *out)
{
	const struct btf *btf = obj ? bpf_object__btf(obj) : NULL;
	u32 n = btf ? btf__type_cnt(btf) : 0, id;
	int missing = 0;

	for (id = 1; id < n; id++) {
		const struct btf_type *t = btf__type_by_id(btf, id);
		const char *name = fbtf_name(btf, t->name_off);

		if (!is_extern(t) || libbpf_own(name) || module_func_named(name))
			continue;
		if (missing++)
			text_puts(out, "\n");
		sys_explain_ksym(name, out);
	}
	return missing;
}
