/* SPDX-License-Identifier: MIT */
/* What src/code needs to know of AArch64. */
#include <errno.h>
#include <signal.h>
#include <ucontext.h>
#include <unistd.h>

#include "code/code_int.h"

int code_a64_copy(void *dst, const void *src, size_t n);
s64 code_a64_copy_string(char *dst, const char *src, size_t n);
extern const char code_a64_copy_start[], code_a64_copy_end[];
extern const char code_a64_copy_string_start[], code_a64_copy_string_end[];
extern const char code_a64_copy_fault[];

static void fill_traps(u8 *p, size_t n)
{
	static const u8 brk[4] = { 0x00, 0x00, 0x20, 0xd4 }; /* brk #0 */
	size_t i;

	for (i = 0; i < n; i++)
		p[i] = brk[i % 4];
}

static const void *pc(const void *ucontext)
{
	const ucontext_t *uc = ucontext;

	return (const void *)uc->uc_mcontext.pc;
}

static u64 sp(const void *ucontext)
{
	const ucontext_t *uc = ucontext;

	return uc->uc_mcontext.sp;
}

static void set_pc(void *ucontext, const void *to)
{
	ucontext_t *uc = ucontext;

	uc->uc_mcontext.pc = (unsigned long long)(uintptr_t)to;
}

/* The kernel's vdso has the return from signals: no restorer. */
long code_syscall(long n, long a, long b, long c, long d, long e)
{
	long ret = syscall(n, a, b, c, d, e, 0);

	return ret < 0 ? -errno : ret;
}

const struct code_arch code_arch = {
	.name = "AArch64",
	.fill_traps = fill_traps,
	.pc = pc,
	.sp = sp,
	.set_pc = set_pc,
	.copy = { { code_a64_copy_start, code_a64_copy_end, code_a64_copy_fault },
		  { code_a64_copy_string_start, code_a64_copy_string_end, code_a64_copy_fault } },
	.copy_bytes = code_a64_copy,
	.copy_string = code_a64_copy_string,
	.return_register = 30,
	/* DW_CFA_def_cfa x29 16; DW_CFA_offset x29 cfa-16; DW_CFA_offset x30 cfa-8; nop */
	.frame_rules = { 0x0c, 29, 16, 0x80 | 29, 2, 0x80 | 30, 1, 0 },
};
