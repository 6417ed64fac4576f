/* SPDX-License-Identifier: MIT */
/* The table of the kernel's kfuncs, made from kfunc.def, and the module by which programs find them. */
#include <errno.h>
#include <string.h>

#include "ferry/module.h"
#include "helper/helper_int.h"
#include "module/module.h"

#define BASE HELPERS_BASE
#define SKB  HELPERS_SKB
#define TC   HELPERS_TC
#define XDP  HELPERS_XDP

static const struct helper_proto protos[] = {
#define KFUNC(text, func, bits, group, result, prototype, ...)                                     \
	{ .name = #text, .fn = func, .ret = result, .args = { __VA_ARGS__ },                       \
	  .flags = bits | HELPER_GPL, .groups = group },
#include "helper/kfunc.def"
#undef KFUNC
};

static const struct ferry_func funcs[] = {
#define KFUNC(text, func, bits, group, result, prototype, ...) FERRY_FUNC(prototype, func),
#include "helper/kfunc.def"
#undef KFUNC
};

static const char types[] = "struct bpf_iter_num { u64 __opaque[1]; };";

/* By address and name: the compiler may make one of two functions that do the same. */
const struct helper_proto *helper_kfunc(const struct module_func *f)
{
	for (size_t i = 0; i < ARRAY_SIZE(protos); i++)
		if (f->addr == (const void *)(uintptr_t)protos[i].fn && !strcmp(f->name, protos[i].name))
			return &protos[i];
	return NULL;
}

bool helper_kfunc_named(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(protos); i++)
		if (!strcmp(name, protos[i].name))
			return true;
	return false;
}

void helper_kfuncs(void)
{
	static const struct ferry_module def = { sizeof(def), HELPER_KFUNCS, types, funcs, ARRAY_SIZE(funcs) };
	struct text why = { 0 };
	int err = module_register(&def, NULL, &why);

	/* Twice is no harm: the first one stays. */
	if (err && err != -EEXIST)
		log_msg(LOG_ERROR, "module " HELPER_KFUNCS ": %s", text_str(&why));
	text_free(&why);
}
