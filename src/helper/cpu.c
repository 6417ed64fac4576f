/* SPDX-License-Identifier: MIT */
/* Helpers on variables of modules of which there is one a processor. */
#include "helper/helper_int.h"

u64 cpu_var(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	const struct module_var *v = ptr(a1);
	u32 cpu = (u32)a2;

	return cpu < v->count ? (u64)(uintptr_t)v->addr + (u64)cpu * v->stride : 0;
}

/* A host may have fewer than there are processors: they share. */
u64 cpu_this_var(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	const struct module_var *v = ptr(a1);

	return (u64)(uintptr_t)v->addr + (u64)(map_this_cpu() % v->count) * v->stride;
}
