/* SPDX-License-Identifier: MIT */
/*
 * Externs that libbpf would not accept though they are right. It compares the prototype of a __ksym with that in
 * the module's BTF and knows no floating point (bpf_core_types_are_compat), which travels as its bits. So
 * before it loads an object, a float or double of such a prototype becomes an integer in the object's BTF, as
 * it is in the module's.
 */
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <string.h>

#include "bpf/sys.h"
#include "btf/fbtf.h"
#include "helper/helper.h"
#include "module/module.h"
#include "preload/preload_int.h"

static u32 any_integer(const struct btf *btf)
{
	u32 id;

	for (id = 1; id < btf__type_cnt(btf); id++)
		if (btf_is_int(btf__type_by_id(btf, id)))
			return id;
	return 0;
}

static bool is_float(const struct btf *btf, u32 id)
{
	const struct btf_type *t = fbtf_strip(btf, id, NULL);

	return t && btf_is_float(t);
}

/* What a function pointer points to; NULL for any other type. */
static struct btf_type *pointed_to(const struct btf *btf, u32 id)
{
	const struct btf_type *t = fbtf_strip(btf, id, NULL);

	t = t && btf_is_ptr(t) ? fbtf_strip(btf, t->type, NULL) : NULL;
	return t && btf_is_func_proto(t) ? (struct btf_type *)(uintptr_t)t : NULL;
}

/* In place: libbpf holds pointers into this BTF. Sizes of integers are not compared. */
static void fix_proto(const struct btf *btf, struct btf_type *proto, u32 integer, u32 depth)
{
	struct btf_param *p = btf_params(proto);
	struct btf_type *callback;
	u32 i;

	if (is_float(btf, proto->type))
		proto->type = integer;
	for (i = 0; i < btf_vlen(proto); i++)
		if (is_float(btf, p[i].type))
			p[i].type = integer;
	for (i = 0; depth && i < btf_vlen(proto); i++) {
		callback = pointed_to(btf, p[i].type);
		if (callback)
			fix_proto(btf, callback, integer, depth - 1);
	}
}

void preload_fix_externs(const struct bpf_object *obj)
{
	const struct btf *btf = bpf_object__btf(obj);
	u32 id, integer = btf ? any_integer(btf) : 0;

	for (id = 1; integer && id < btf__type_cnt(btf); id++) {
		const struct btf_type *t = btf__type_by_id(btf, id), *proto;
		const char *name = fbtf_name(btf, t->name_off);

		/* libbpf took away what told externs from functions of the program, whom it does no harm. */
		if (!btf_is_func(t))
			continue;
		proto = btf__type_by_id(btf, t->type);
		if (proto && btf_is_func_proto(proto))
			fix_proto(btf, (struct btf_type *)(uintptr_t)proto, integer, 1);
		if (!strncmp(name, "f64_", 4) || !strncmp(name, "f32_", 4))
			module_math();
		if (helper_kfunc_named(name))
			helper_kfuncs();
	}
}
