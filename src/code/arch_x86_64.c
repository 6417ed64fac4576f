/* SPDX-License-Identifier: MIT */
/* What src/code needs to know of x86-64. */
#include <signal.h>
#include <string.h>
#include <ucontext.h>

#include "code/code_int.h"

int code_x86_copy(void *dst, const void *src, size_t n);
s64 code_x86_copy_string(char *dst, const char *src, size_t n);
void code_x86_sigreturn(void);
u64 code_x86_guard(struct code_guard *g, const void *fn, const u64 *args);
extern const char code_x86_guard_resume[];
extern const char code_x86_copy_start[], code_x86_copy_end[];
extern const char code_x86_copy_string_start[], code_x86_copy_string_end[];
extern const char code_x86_copy_fault[];

static void fill_traps(u8 *p, size_t n)
{
	memset(p, 0xcc, n); /* int3 */
}

static const void *pc(const void *ucontext)
{
	const ucontext_t *uc = ucontext;

	return (const void *)uc->uc_mcontext.gregs[REG_RIP];
}

static u64 sp(const void *ucontext)
{
	const ucontext_t *uc = ucontext;

	return (u64)uc->uc_mcontext.gregs[REG_RSP];
}

static void set_pc(void *ucontext, const void *to)
{
	ucontext_t *uc = ucontext;

	uc->uc_mcontext.gregs[REG_RIP] = (greg_t)to;
}

static void set_sp(void *ucontext, void *sp)
{
	ucontext_t *uc = ucontext;

	uc->uc_mcontext.gregs[REG_RSP] = (greg_t)sp;
	uc->uc_mcontext.gregs[REG_RAX] = 0;
	uc->uc_mcontext.gregs[REG_EFL] &= ~0x400; /* the direction flag is clear at calls: SysV ABI 3.2.1 */
}

const struct code_arch code_arch = {
	.name = "x86-64",
	.fill_traps = fill_traps,
	.pc = pc,
	.sp = sp,
	.set_pc = set_pc,
	.sa_flags = 0x04000000, /* SA_RESTORER: the kernel has no signal trampoline of its own */
	.sa_restorer = code_x86_sigreturn,
	.copy = { { code_x86_copy_start, code_x86_copy_end, code_x86_copy_fault },
		  { code_x86_copy_string_start, code_x86_copy_string_end, code_x86_copy_fault } },
	.copy_bytes = code_x86_copy,
	.copy_string = code_x86_copy_string,
	.guard = code_x86_guard,
	.guard_resume = code_x86_guard_resume,
	.set_sp = set_sp,
	.return_register = 16,
	/* DW_CFA_def_cfa rbp 16; DW_CFA_offset rbp cfa-16; DW_CFA_offset ra cfa-8; nop */
	.frame_rules = { 0x0c, 6, 16, 0x80 | 6, 2, 0x80 | 16, 1, 0 },
};
