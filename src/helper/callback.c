/* SPDX-License-Identifier: MIT */
/* Helpers that call a function of the program (prog.h, prog_callback) before they return. */
#include <errno.h>

#include "helper/helper_int.h"

#define MAX_LOOPS (8u << 20) /* the kernel's BPF_MAX_LOOPS */

static prog_callback func(u64 a)
{
	return (prog_callback)(uintptr_t)a;
}

u64 callback_loop(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	prog_callback f = func(a2);
	u32 rounds = (u32)a1, i;

	/* The kernel's order: E2BIG is found before EINVAL. */
	if (rounds > MAX_LOOPS)
		return (u64)-E2BIG;
	if (a4)
		return (u64)-EINVAL;
	for (i = 0; i < rounds; i++)
		if (f(i, a3, 0, 0, 0))
			return i + 1;
	return i;
}

u64 callback_each(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct map *m = ptr(a1);
	prog_callback f = func(a2);
	u8 small[64], *key = small;
	u64 pos = 0, n = 0;
	void *value;

	if (a4 || !m->ops->next_elem)
		return (u64)-EINVAL;
	if (m->attr.key_size > sizeof(small)) {
		key = base_alloc(m->attr.key_size);
		if (!key)
			return (u64)-ENOMEM;
	}
	/* The key is a copy: nobody changes it while the callback looks. */
	while ((value = m->ops->next_elem(m, &pos, key))) {
		n++;
		if (f(a1, (u64)(uintptr_t)key, (u64)(uintptr_t)value, a3, 0))
			break;
	}
	if (key != small)
		base_free(key);
	return n;
}
