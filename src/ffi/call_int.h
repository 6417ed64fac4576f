/* SPDX-License-Identifier: MIT */
/* Shared by the files that classify signatures and carry calls out. */
#ifndef FERRY_CALL_INT_H
#define FERRY_CALL_INT_H

#include "ffi/call.h"

/* A zeroed shape with room for `per_arg` moves an argument and one for the result's address. */
struct shape *call_new_shape(unsigned nargs, unsigned per_arg);
/* Integers narrower than a register, which calls and results widen. */
bool call_is_small_int(const ffi_type *t);

struct shape *call_classify_sysv(unsigned nargs, ffi_type *rtype, ffi_type **atypes);
struct shape *call_classify_win64(ffi_abi abi, unsigned nargs, ffi_type *rtype, ffi_type **atypes,
				  unsigned nfixed);

/* Makes machine code of a shape: NULL where it cannot be made. */
void call_compile(const struct shape *s, call_thunk *thunk, call_entry *entry);

/* The assembly path: for any shape, without machine code of its own. */
void call_slow(ffi_cif *cif, void (*fn)(void), void *rvalue, void **avalue);
void call_closure_entry_slow(void); /* in assembly; the closure in r10 */

/*
 * The registers of a call or closure, as the assembly knows them. The argument registers are in order of passing;
 * results come in rax, rdx, sse[0], sse[1] and, nst of them, from the x87 stack.
 */
struct call_regs {
	u64 gp[6];
	_Alignas(16) u8 sse[8][16];
	u64 rax, rdx;
	_Alignas(16) u8 st[2][16];
	u64 chain; /* static chain: r10 */
	u32 nst, nsse;
};
_Static_assert(offsetof(struct call_regs, rax) == 176 && offsetof(struct call_regs, st) == 192 &&
	       offsetof(struct call_regs, nst) == 232 && sizeof(struct call_regs) <= 256,
	       "slow_x86_64.S has these numbers");

void call_regs_sysv(struct call_regs *r, const void *stack, size_t bytes, void (*fn)(void));
void call_regs_win64(struct call_regs *r, const void *stack, size_t bytes, void (*fn)(void));
void call_closure_entry_win64(void);
void call_go_entry(void);
void call_go_entry_win64(void);
void call_closure_slow(void *closure, struct call_regs *r, u8 *stack);
/* A call with the static chain register set. */
void call_with_chain(ffi_cif *cif, void (*fn)(void), void *rvalue, void **avalue, void *chain);

#define CALL_BLOCK 16384 /* bytes of trampolines, and of their data behind them */
#define CALL_TRAMPOLINE 32
extern const u8 call_trampolines[CALL_BLOCK];

#endif
