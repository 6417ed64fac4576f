/* SPDX-License-Identifier: MIT */
/* Which pairs of operations have code of their own: the rows PAIR of vm.def. */
#include "vm/vm_int.h"

static const struct {
	u16 first, second, op;
} pairs[] = {
	{ VM_STOP, VM_STOP, VM_STOP },
#define PAIR(a, b)      { VM_##a, VM_##b, VM_##a##_##b },
#define PAIR_JUMP(a, b) { VM_##a, VM_##b, VM_##a##_##b },
#define PAIR_JA(a)      { VM_##a, VM_JA, VM_##a##_JA },
#include "vm/vm.def"
};

enum vm_op vm_pair(enum vm_op a, enum vm_op b)
{
	u32 n;

	for (n = 0; n < ARRAY_SIZE(pairs); n++)
		if (pairs[n].first == a && pairs[n].second == b)
			return pairs[n].op;
	return VM_STOP;
}
