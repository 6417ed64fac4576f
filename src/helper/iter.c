/* SPDX-License-Identifier: MIT */
/*
 * The kernel's iterator over numbers, which libbpf's bpf_for() and bpf_repeat() call (kernel/bpf/bpf_iter.c says
 * what it gives). The verifier knows iterators (src/verify/iter.c): the struct is on the program's stack, where
 * nothing else writes to it, and owns no memory.
 */
#include <errno.h>

#include "helper/helper_int.h"

#define MAX_LOOPS (8 << 20) /* BPF_MAX_LOOPS */

struct iter_num {
	s32 cur, end; /* cur: what was given last */
};

u64 iter_num_new(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct iter_num *it = ptr(a1);
	s32 start = (s32)a2, end = (s32)a3;

	*it = (struct iter_num){ 0, 0 };
	if (start > end)
		return (u64)-EINVAL;
	if ((s64)end - start > MAX_LOOPS)
		return (u64)-E2BIG;
	it->cur = (s32)((u32)start - 1);
	it->end = end;
	return 0;
}

u64 iter_num_next(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct iter_num *it = ptr(a1);
	/* One before the lowest number is the highest: add as the kernel does, around. */
	s32 next = (s32)((u32)it->cur + 1);

	if (next >= it->end) {
		*it = (struct iter_num){ 0, 0 };
		return 0;
	}
	it->cur = next;
	return (u64)(uintptr_t)&it->cur;
}

u64 iter_num_destroy(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	*(struct iter_num *)ptr(a1) = (struct iter_num){ 0, 0 };
	return 0;
}
