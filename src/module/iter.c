/* SPDX-License-Identifier: MIT */
/*
 * The module ferry_iter: the kernel's iterator over numbers, which libbpf's bpf_for() and bpf_repeat() call
 * (kernel/bpf/bpf_iter.c says what it gives). The verifier knows these functions (src/verify/iter.c): the
 * struct is on the program's stack, where nothing else writes to it, and owns no memory. Registered when a
 * program asks for one of its functions.
 */
#include <errno.h>

#include "ferry/module.h"
#include "module/module.h"

#define MAX_LOOPS (8 << 20) /* BPF_MAX_LOOPS */

struct iter_num {
	s32 cur, end; /* cur: what was given last */
};

static int num_new(struct iter_num *it, int start, int end)
{
	*it = (struct iter_num){ 0, 0 };
	if (start > end)
		return -EINVAL;
	if ((s64)end - start > MAX_LOOPS)
		return -E2BIG;
	it->cur = (s32)((u32)start - 1);
	it->end = end;
	return 0;
}

static int *num_next(struct iter_num *it)
{
	/* One before the lowest number is the highest: add as the kernel does, around. */
	s32 next = (s32)((u32)it->cur + 1);

	if (next >= it->end) {
		*it = (struct iter_num){ 0, 0 };
		return NULL;
	}
	it->cur = next;
	return &it->cur;
}

static void num_destroy(struct iter_num *it)
{
	*it = (struct iter_num){ 0, 0 };
}

static const struct ferry_func funcs[] = {
	FERRY_FUNC("int bpf_iter_num_new(struct bpf_iter_num *it, int start, int end)", num_new),
	FERRY_FUNC("int *bpf_iter_num_next(struct bpf_iter_num *it)", num_next, FERRY_RET_NULL),
	FERRY_FUNC("void bpf_iter_num_destroy(struct bpf_iter_num *it)", num_destroy),
};

enum module_iter module_iter_kind(const struct module_func *f)
{
	for (u32 i = 0; i < ARRAY_SIZE(funcs); i++)
		if (f->addr == (const void *)(uintptr_t)funcs[i].fn)
			return (enum module_iter)(MODULE_ITER_NEW + i);
	return MODULE_ITER_NONE;
}

void module_iter(void)
{
	static const struct ferry_module def = { sizeof(def), "ferry_iter",
						 "struct bpf_iter_num { u64 __opaque[1]; };", funcs,
						 ARRAY_SIZE(funcs) };
	struct text why = { 0 };
	int err = module_register(&def, NULL, &why);

	/* Twice is no harm: the first one stays. */
	if (err && err != -EEXIST)
		log_msg(LOG_ERROR, "module ferry_iter: %s", text_str(&why));
	text_free(&why);
}
