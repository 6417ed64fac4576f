/* SPDX-License-Identifier: MIT */
/*
 * From C's arguments, whose upper bytes may be anything and of which float and double are in registers of their own
 * (SysV ABI 3.2.3), to eBPF's of 64 bits.
 */
#include <errno.h>
#include <string.h>

#include "jit/x86_int.h"

static const u8 regs[] = { X86_RDI, X86_RSI, X86_RDX, X86_RCX, X86_R8 };

/* The last one first: an integer stands in its own place or one in front of it, which nobody has written to then. */
static void load_args(struct x86_buf *b, const struct jit_arg *args, u32 n)
{
	u32 floats = 0, k;
	u8 from;

	for (k = 0; k < n; k++)
		floats += args[k].is_float;
	for (k = n; k-- > 0;) {
		if (args[k].is_float) {
			x86_gp_from_xmm(b, args[k].width, regs[k], (u8)--floats);
			continue;
		}
		from = regs[k - floats];
		if (args[k].width >= 8) {
			if (from != regs[k])
				x86_mov_rr(b, 8, regs[k], from);
		} else if (args[k].is_signed) {
			x86_movsx_rr(b, 8, args[k].width, regs[k], from);
		} else {
			x86_movzx_rr(b, args[k].width, regs[k], from);
		}
	}
}

int jit_adapter(const void *target, const struct jit_arg *args, u32 n, u32 ret_float, struct code_region **out)
{
	struct x86_buf b = { 0 };
	int err;

	if (n > ARRAY_SIZE(regs))
		return -EOPNOTSUPP;
	load_args(&b, args, n);
	x86_mov_ri(&b, X86_RAX, (u64)(uintptr_t)target, false);
	if (ret_float) {
		x86_push(&b, X86_RBP);
		x86_mov_rr(&b, 8, X86_RBP, X86_RSP);
		x86_call_r(&b, X86_RAX);
		x86_xmm_from_gp(&b, (int)ret_float, 0, X86_RAX);
		x86_pop(&b, X86_RBP);
		x86_ret(&b);
	} else {
		x86_jmp_r(&b, X86_RAX);
	}
	err = b.oom ? -ENOMEM : code_alloc(b.len, target, out);
	if (!err) {
		memcpy(code_write(*out), b.data, b.len);
		err = code_seal(*out);
		if (err) {
			code_free(*out);
			*out = NULL;
		}
	}
	base_free(b.data);
	return err;
}
