/* SPDX-License-Identifier: MIT */
/* Shared by the files that classify signatures and carry calls out. */
#ifndef FERRY_CALL_INT_H
#define FERRY_CALL_INT_H

#include "ffi/call.h"
#if defined(__aarch64__)
#include "ffi/regs_aarch64.h"
#else
#include "ffi/regs_x86_64.h"
#endif

/* A zeroed shape with room for `per_arg` moves an argument and one for the result's address. */
struct shape *call_new_shape(unsigned nargs, unsigned per_arg);
/* Integers narrower than a register, which calls and results widen. */
bool call_is_small_int(const ffi_type *t);
bool call_is_signed(const ffi_type *t); /* an integer that is extended by its sign */

struct shape *call_classify_sysv(unsigned nargs, ffi_type *rtype, ffi_type **atypes);
struct shape *call_classify_win64(ffi_abi abi, unsigned nargs, ffi_type *rtype, ffi_type **atypes,
				  unsigned nfixed);
/* `in_order`: no vector registers and no gaps, as Microsoft's variadic functions want it. */
struct shape *call_classify_aapcs64(const ffi_cif *cif, bool in_order);

/* Makes machine code of a shape: NULL where it cannot be made. */
void call_compile(const struct shape *s, call_thunk *thunk, call_entry *entry);

/* The assembly path: for any shape, without machine code of its own. */
void call_slow(ffi_cif *cif, void (*fn)(void), void *rvalue, void **avalue);
/*
 * The registers of a call or closure, as the assembly knows them. The argument registers are in order of passing,
 * gp[CALL_RESULT_GP] the one for the address of a result in memory; results come in ret[], sse[] and, nst of them,
 * from the x87 stack.
 */
struct call_regs {
	u64 gp[CALL_NGP];
	_Alignas(16) u8 sse[8][16];
	u64 ret[2]; /* rax, rdx; x0, x1 */
	_Alignas(16) u8 st[2][16];
	u64 chain; /* static chain: r10, x18 */
	u32 nst, nsse;
};

/* A calling convention of the machine. */
struct call_conv {
	struct shape *(*classify)(const ffi_cif *cif, unsigned nfixed);
	/* Loads the registers, copies the stack's arguments, calls. */
	void (*call)(struct call_regs *r, const void *stack, size_t bytes, void (*fn)(void));
	/* What trampolines jump to, the closure in r10 or x17; go closures are in the chain register. */
	call_entry entry, go_entry;
	u32 max_vector; /* bytes of the largest vector that it can pass */
};
/* NULL for an ABI that the machine does not have. */
const struct call_conv *call_conv(ffi_abi abi);
/* Writes a trampoline that jumps to `target` into the closure, which runs at `codeloc`. */
void call_own_trampoline(ffi_closure *closure, void *codeloc, call_entry target);

void call_regs_aapcs64(struct call_regs *r, const void *stack, size_t bytes, void (*fn)(void));
void call_regs_sysv(struct call_regs *r, const void *stack, size_t bytes, void (*fn)(void));
void call_regs_win64(struct call_regs *r, const void *stack, size_t bytes, void (*fn)(void));
/* Entered as the closure's function, in assembly: not C functions. */
void call_closure_entry_slow(void);
void call_closure_entry_win64(void);
void call_go_entry(void);
void call_go_entry_win64(void);
void call_closure_slow(void *closure, struct call_regs *r, u8 *stack);
/* A call with the static chain register set. */
void call_with_chain(ffi_cif *cif, void (*fn)(void), void *rvalue, void **avalue, void *chain);

extern const u8 call_trampolines[CALL_BLOCK];

#endif
