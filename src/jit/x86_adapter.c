/* SPDX-License-Identifier: MIT */
/* From C's arguments, whose upper bytes may be anything (SysV ABI 3.2.3), to eBPF's of 64 bits. */
#include <errno.h>
#include <string.h>

#include "jit/x86_int.h"

int jit_adapter(const void *target, const struct jit_arg *args, u32 n, struct code_region **out)
{
	static const u8 regs[] = { X86_RDI, X86_RSI, X86_RDX, X86_RCX, X86_R8 };
	struct x86_buf b = { 0 };
	int err;

	if (n > ARRAY_SIZE(regs))
		return -EOPNOTSUPP;
	for (u32 k = 0; k < n; k++) {
		if (args[k].width >= 8)
			continue;
		if (args[k].is_signed)
			x86_movsx_rr(&b, 8, args[k].width, regs[k], regs[k]);
		else
			x86_movzx_rr(&b, args[k].width, regs[k], regs[k]);
	}
	x86_mov_ri(&b, X86_RAX, (u64)(uintptr_t)target, false);
	x86_jmp_r(&b, X86_RAX);
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
