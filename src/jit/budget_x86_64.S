/* SPDX-License-Identifier: MIT */
/*
 * Where code goes whose budget's slice is used up: keeps every register, and returns, or, when the program
 * has ended, goes to the address in r10. Called with rsp at any multiple of 8, no red zone in use.
 */
	.text
	.p2align 4
	.globl jit_budget_slow
	.hidden jit_budget_slow
	.type jit_budget_slow, @function
jit_budget_slow:
	.cfi_startproc
	endbr64
	pushq %rax
	pushq %rcx
	pushq %rdx
	pushq %rsi
	pushq %rdi
	pushq %r8
	pushq %r9
	pushq %rbx
	.cfi_adjust_cfa_offset 64
	pushq %r10
	.cfi_adjust_cfa_offset 8
	movq %rsp, %rbx
	andq $-16, %rsp
	call prog_budget_slow
	movq %rbx, %rsp
	popq %r10
	.cfi_adjust_cfa_offset -8
	testl %eax, %eax
	je 1f
	movq %r10, 64(%rsp)
1:	popq %rbx
	popq %r9
	popq %r8
	popq %rdi
	popq %rsi
	popq %rdx
	popq %rcx
	popq %rax
	.cfi_adjust_cfa_offset -64
	ret
	.cfi_endproc
	.size jit_budget_slow, . - jit_budget_slow

	.section .note.GNU-stack, "", @progbits
