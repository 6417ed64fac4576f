/* SPDX-License-Identifier: MIT */
/* The calling conventions of AArch64 by ffi_abi. */
#include <string.h>

#include "ffi/call_int.h"

_Static_assert(offsetof(struct call_regs, gp) == REGS_GP &&
		       offsetof(struct call_regs, sse) == REGS_SSE &&
		       offsetof(struct call_regs, ret) == REGS_RET &&
		       offsetof(struct call_regs, chain) == REGS_CHAIN &&
		       offsetof(struct call_regs, nsse) == REGS_NSSE &&
		       sizeof(struct call_regs) == REGS_SIZE,
	       "slow_aarch64.S has these numbers");

static struct shape *classify_aapcs64(const ffi_cif *cif, unsigned nfixed)
{
	/* IHI0055 6.8.2: on Linux what is not named is passed as if it were. */
	(void)nfixed;
	return call_classify_aapcs64(cif, false);
}

/* As many named arguments as cif->flags can tell are taken for all of them. */
static struct shape *classify_win64(const ffi_cif *cif, unsigned nfixed)
{
	return call_classify_aapcs64(cif, nfixed < cif->nargs && nfixed < 127);
}

/* Vectors larger than a register are passed by reference, as compilers do: any size will do. */
static const struct call_conv convs[FFI_LAST_ABI] = {
	[FFI_SYSV] = { classify_aapcs64, call_regs_aapcs64, call_closure_entry_slow, call_go_entry,
		       ~0u },
	[FFI_WIN64] = { classify_win64, call_regs_aapcs64, call_closure_entry_slow, call_go_entry,
			~0u },
};

const struct call_conv *call_conv(ffi_abi abi)
{
	return (unsigned)abi < FFI_LAST_ABI && convs[abi].classify ? &convs[abi] : NULL;
}

void call_own_trampoline(ffi_closure *closure, void *codeloc, call_entry target)
{
	static const u32 code[] = {
		0xd503245f, /* bti c */
		0x10fffff1, /* adr x17, .-4: the closure, by its executable address */
		0x58000050, /* ldr x16, .+8 */
		0xd61f0200, /* br x16 */
	};

	memcpy(closure->tramp, code, sizeof(code));
	memcpy(closure->tramp + sizeof(code), &target, sizeof(target));
	__builtin___clear_cache(codeloc, (char *)codeloc + sizeof(closure->tramp));
}
