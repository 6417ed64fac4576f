/* SPDX-License-Identifier: MIT */
/*
 * System calls that Ferry makes for itself. They and all else that is in this section are no events, and
 * syscall user dispatch lets them through (src/attach).
 */
	.section ferry_calls, "ax", @progbits
	.globl code_syscall
	.hidden code_syscall
	.type code_syscall, @function
	.p2align 4
/* long code_syscall(long n, long a, long b, long c, long d, long e): its result or -errno. */
code_syscall:
	.cfi_startproc
	mov %rdi, %rax
	mov %rsi, %rdi
	mov %rdx, %rsi
	mov %rcx, %rdx
	mov %r8, %r10
	mov %r9, %r8
	xor %r9d, %r9d
	syscall
	ret
	.cfi_endproc
	.size code_syscall, . - code_syscall

	/* The return from a signal handler; debuggers know a signal frame by exactly these bytes. */
	.globl code_x86_sigreturn
	.hidden code_x86_sigreturn
	.type code_x86_sigreturn, @function
	.p2align 4
	nop
code_x86_sigreturn:
	mov $15, %rax
	syscall
	.size code_x86_sigreturn, . - code_x86_sigreturn

	.section .note.GNU-stack, "", @progbits
