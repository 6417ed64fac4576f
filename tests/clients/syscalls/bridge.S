/* SPDX-License-Identifier: MIT */
/*
 * Calls that may be cancelled, as glibc makes them from 2.41 on: long bridge(volatile int *word, long nr, a1, ... a6).
 * Between the two labels nothing has been done yet.
 */
	.text
	.globl bridge, bridge_start, bridge_end
	.type bridge, @function
	.p2align 4
bridge:
	.cfi_startproc
	endbr64
bridge_start:
	mov (%rdi), %eax
	testb $8, (%rdi)
	jne bridge_cancel
	mov %rdi, %r11
	mov %rsi, %rax
	mov %rdx, %rdi
	mov %rcx, %rsi
	mov %r8, %rdx
	mov %r9, %r10
	mov 8(%rsp), %r8
	mov 16(%rsp), %r9
	mov %r11, 8(%rsp)
	syscall
bridge_end:
	ret
	.cfi_endproc
	.size bridge, . - bridge

	/* And calls of the plain kind, each with a stub of its own. */
	.globl bridge_plain
	.type bridge_plain, @function
	.p2align 4
bridge_plain:
	.cfi_startproc
	.rept 8
	mov $110, %eax /* getppid */
	syscall
	.endr
	ret
	.cfi_endproc
	.size bridge_plain, . - bridge_plain

	.section .note.GNU-stack, "", @progbits
