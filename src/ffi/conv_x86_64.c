/* SPDX-License-Identifier: MIT */
/* The calling conventions of x86-64 by ffi_abi. */
#include <string.h>

#include "ffi/call_int.h"

_Static_assert(offsetof(struct call_regs, ret) == 176 && offsetof(struct call_regs, st) == 192 &&
		       offsetof(struct call_regs, nst) == 232 && sizeof(struct call_regs) <= 256,
	       "slow_x86_64.S has these numbers");

static struct shape *classify_sysv(const ffi_cif *cif, unsigned nfixed)
{
	(void)nfixed;
	return call_classify_sysv(cif->nargs, cif->rtype, cif->arg_types);
}

static struct shape *classify_win64(const ffi_cif *cif, unsigned nfixed)
{
	return call_classify_win64(cif->abi, cif->nargs, cif->rtype, cif->arg_types, nfixed);
}

/* Wider vectors would need AVX registers. */
#define WIN64                                                                                      \
	{                                                                                          \
		classify_win64, call_regs_win64, call_closure_entry_win64, call_go_entry_win64, 16 \
	}

static const struct call_conv convs[FFI_LAST_ABI] = {
	[FFI_UNIX64] = { classify_sysv, call_regs_sysv, call_closure_entry_slow, call_go_entry,
			 16 },
	[FFI_WIN64] = WIN64,
	[FFI_GNUW64] = WIN64,
};

const struct call_conv *call_conv(ffi_abi abi)
{
	return (unsigned)abi < FFI_LAST_ABI && convs[abi].classify ? &convs[abi] : NULL;
}

void call_own_trampoline(ffi_closure *closure, void *codeloc, call_entry target)
{
	u8 *t = (u8 *)closure->tramp;

	(void)codeloc;
	/* endbr64; movabs r10, closure; movabs r11, target; jmp r11 */
	memcpy(t, (const u8[]){ 0xf3, 0x0f, 0x1e, 0xfa, 0x49, 0xba }, 6);
	memcpy(t + 6, &closure, 8);
	memcpy(t + 14, (const u8[]){ 0x49, 0xbb }, 2);
	memcpy(t + 16, &target, 8);
	memcpy(t + 24, (const u8[]){ 0x41, 0xff, 0xe3 }, 3);
}
