/* SPDX-License-Identifier: MIT */
/* How the arguments of a C prototype become those of a program: closure_plan.c, for closure.c. */
#ifndef FERRY_CLOSURE_INT_H
#define FERRY_CLOSURE_INT_H

#include "ffi/call.h"
#include "ffi/ctype.h"
#include "jit/jit.h"
#include "prog/prog.h"

#define CLOSURE_MAX_ARGS 32

enum closure_ret { CLOSURE_VOID, CLOSURE_INT, CLOSURE_BYTES, CLOSURE_STRUCT };

struct closure_plan {
	u32 nargs;
	struct jit_arg args[CLOSURE_MAX_ARGS];
	u32 by_ref;     /* a bit an argument: a struct by value, handed on by its address */
	bool registers; /* all is passed and returned in registers, of which a program has as many */
	bool block;     /* the program takes one pointer to all arguments */
	u8 ret;         /* enum closure_ret */
	u8 ret_width;
	bool ret_signed;
	u32 ret_size;
};

/* 0, or -EOPNOTSUPP and the reason is logged. */
int closure_plan(const struct ctype *func, const ffi_cif *cif, struct closure_plan *out);
/* Does a program of this signature fit? 0, or -EINVAL: `why` names the argument and the reason. */
int closure_check(const struct ctype *func, const struct closure_plan *plan, const struct prog_sig *sig,
		  struct text *why);
/* The program's registers from the arguments, and the C result from the program's. */
void closure_load(const struct closure_plan *plan, void *ret, void **args, u64 *regs, u64 *block);
void closure_store(const struct closure_plan *plan, void *ret, u64 value);
/*
 * closure.c: a C function whose arguments are the program's context, a u64 each. Takes over the reference
 * on the program when it returns 0; freed with ferry_closure_free.
 */
struct ferry_closure;
int closure_of_context(struct prog *p, const char *prototype, const char *types,
		       struct ferry_closure **out);
void closure_drop(struct ferry_closure *c); /* frees one that surely nobody is inside of; NULL is fine */

#endif
