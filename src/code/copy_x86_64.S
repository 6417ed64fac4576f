/* SPDX-License-Identifier: MIT */
/* Copies from addresses that may be bad. Every access lies in a range of the fault table. */
#include <errno.h>

	.text

	.macro func name
	.p2align 4
	.globl \name
	.hidden \name
	.type \name, @function
\name:
	.cfi_startproc
	.endm

	.macro endfunc name
	.cfi_endproc
	.size \name, . - \name
	.endm

	.macro mark name
	.globl \name
	.hidden \name
\name:
	.endm

/* int code_x86_copy(void *dst, const void *src, size_t n): 0 or -EFAULT. No stack is used. */
	.globl code_copy_ready
	.hidden code_copy_ready
	.set code_copy_ready, code_x86_copy
func code_x86_copy
	xorl %eax, %eax
mark code_x86_copy_start
	cmpq $256, %rdx
	jae 3f
1:	subq $8, %rdx
	jb 2f
	movq (%rsi), %rcx
	movq %rcx, (%rdi)
	addq $8, %rsi
	addq $8, %rdi
	jmp 1b
2:	testb $4, %dl	/* n - 8, whose low bits are n's: as few moves as there can be, so that */
	jz 4f		/* what is read next as a word was stored as one */
	movl (%rsi), %ecx
	movl %ecx, (%rdi)
	addq $4, %rsi
	addq $4, %rdi
4:	testb $2, %dl
	jz 5f
	movzwl (%rsi), %ecx
	movw %cx, (%rdi)
	addq $2, %rsi
	addq $2, %rdi
5:	testb $1, %dl
	jz 6f
	movzbl (%rsi), %ecx
	movb %cl, (%rdi)
6:	ret
3:	movq %rdx, %rcx
	rep movsb
	ret
mark code_copy_fields	/* each field by one load, that of an integer before it by its four bytes */
	movl (%rsi), %ecx
	movq 8(%rsi), %rdx
	movq 16(%rsi), %r8
	movq 24(%rsi), %r9
	movq %rcx, (%rdi)
	movq %rdx, 8(%rdi)
	movq %r8, 16(%rdi)
	movq %r9, 24(%rdi)
	xorl %eax, %eax
	ret
mark code_x86_copy_end
endfunc code_x86_copy

/* s64 code_x86_copy_string(char *dst, const char *src, size_t n): length with NUL, at most n. */
func code_x86_copy_string
	xorl %eax, %eax
mark code_x86_copy_string_start
1:	cmpq %rdx, %rax
	je 2f
	movzbl (%rsi,%rax), %ecx
	movb %cl, (%rdi,%rax)
	incq %rax
	testl %ecx, %ecx
	jnz 1b
2:	ret
mark code_x86_copy_string_end
endfunc code_x86_copy_string

func code_x86_copy_fault
	movq $-EFAULT, %rax
	ret
endfunc code_x86_copy_fault

/* u64 code_x86_guard(struct code_guard *g, const void *fn, const u64 *args): see code_guard. */
func code_x86_guard
	pushq %rbp
	pushq %rbx
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	subq $8, %rsp
	.cfi_adjust_cfa_offset 56
	movq %rsp, (%rdi)
	movq %rdx, %r11
	movq %rsi, %r10
	movq (%r11), %rdi
	movq 8(%r11), %rsi
	movq 16(%r11), %rdx
	movq 24(%r11), %rcx
	movq 32(%r11), %r8
	xorl %eax, %eax
	call *%r10
mark code_x86_guard_resume
	addq $8, %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbx
	popq %rbp
	.cfi_adjust_cfa_offset -56
	ret
endfunc code_x86_guard

	.section .note.GNU-stack, "", @progbits
