/* SPDX-License-Identifier: MIT */
/* Private to src/code: what differs between machines. One file a machine implements it. */
#ifndef FERRY_CODE_INT_H
#define FERRY_CODE_INT_H

#include "code/code.h"

/* A range of hand-written code that touches foreign memory, and where it goes on after a fault. */
struct code_asm_range {
	const char *start, *end, *resume;
};

struct code_arch {
	const char *name;
	void (*fill_traps)(u8 *p, size_t n); /* unused room of a region */
	const void *(*pc)(const void *ucontext);
	u64 (*sp)(const void *ucontext);
	void (*set_pc)(void *ucontext, const void *pc);
	unsigned long sa_flags;  /* added to rt_sigaction(2): SA_RESTORER where the ABI wants one */
	void (*sa_restorer)(void);
	struct code_asm_range copy[2]; /* sorted by start */
	int (*copy_bytes)(void *dst, const void *src, size_t n);
	s64 (*copy_string)(char *dst, const char *src, size_t n);
	/* Calls fn; what a fault goes on with, on the stack of the guard. */
	u64 (*guard)(struct code_guard *g, const void *fn, const u64 *args);
	const void *guard_resume;
	void (*set_sp)(void *ucontext, void *sp);
	/* Unwinding through code that keeps a frame pointer: DWARF's return register and rules for a CIE. */
	u8 return_register, frame_rules[8];
};
extern const struct code_arch code_arch;

/* region.c: inaccessible address space of whole pages, within reach of `near` (may be NULL) if that is free; or NULL. */
void *code_reserve(size_t size, const void *near);

extern u32 code_vectors; /* keep.c */

#endif
