/* SPDX-License-Identifier: MIT */
/*
 * void call_with(void *fn, struct state *s): loads all registers from the state, calls, stores them. rsp is
 * the state's own stack, rdi the state's buffer.
 */
#define GP 0         /* rax rcx rdx rbx rbp rsi rdi r8 ... r15 */
#define FLAGS 120
#define STACK 128    /* the top of the stack to use */
#define VECTORS 160  /* 16 of 32 bytes */
#define AVX 136

	.text
	.globl call_with
	.type call_with, @function
call_with:
	.cfi_startproc
	push %rbx
	push %rbp
	push %r12
	push %r13
	push %r14
	push %r15
	.cfi_adjust_cfa_offset 48
	mov %rsp, saved_sp(%rip)
	mov %rsi, state(%rip)
	mov %rdi, fn(%rip)
	mov STACK(%rsi), %rsp
	cmpl $0, AVX(%rsi)
	je 1f
	.irp i, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
	vmovdqu (VECTORS+32*\i)(%rsi), %ymm\i
	.endr
	jmp 2f
1:
	.irp i, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
	movdqu (VECTORS+32*\i)(%rsi), %xmm\i
	.endr
2:	pushq FLAGS(%rsi)
	popfq
	mov GP+0(%rsi), %rax
	mov GP+8(%rsi), %rcx
	mov GP+16(%rsi), %rdx
	mov GP+24(%rsi), %rbx
	mov GP+32(%rsi), %rbp
	mov GP+48(%rsi), %rdi
	mov GP+56(%rsi), %r8
	mov GP+64(%rsi), %r9
	mov GP+72(%rsi), %r10
	mov GP+80(%rsi), %r11
	mov GP+88(%rsi), %r12
	mov GP+96(%rsi), %r13
	mov GP+104(%rsi), %r14
	mov GP+112(%rsi), %r15
	mov GP+40(%rsi), %rsi
	call *fn(%rip)
	/* The red zone below is the function's result as well: nothing is pushed before it is copied. */
	mov %rsp, after_sp(%rip)
	mov saved_sp(%rip), %rsp
	push %rsi
	pushfq
	mov state(%rip), %rsi
	mov %rax, GP+0(%rsi)
	mov %rcx, GP+8(%rsi)
	mov %rdx, GP+16(%rsi)
	mov %rbx, GP+24(%rsi)
	mov %rbp, GP+32(%rsi)
	mov %rdi, GP+48(%rsi)
	mov %r8, GP+56(%rsi)
	mov %r9, GP+64(%rsi)
	mov %r10, GP+72(%rsi)
	mov %r11, GP+80(%rsi)
	mov %r12, GP+88(%rsi)
	mov %r13, GP+96(%rsi)
	mov %r14, GP+104(%rsi)
	mov %r15, GP+112(%rsi)
	pop FLAGS(%rsi)
	pop %rax
	mov %rax, GP+40(%rsi)
	mov after_sp(%rip), %rax
	mov %rax, STACK(%rsi)
	cmpl $0, AVX(%rsi)
	je 3f
	.irp i, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
	vmovdqu %ymm\i, (VECTORS+32*\i)(%rsi)
	.endr
	vzeroupper
	jmp 4f
3:
	.irp i, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
	movdqu %xmm\i, (VECTORS+32*\i)(%rsi)
	.endr
4:	cld
	pop %r15
	pop %r14
	pop %r13
	pop %r12
	pop %rbp
	pop %rbx
	.cfi_adjust_cfa_offset -48
	ret
	.cfi_endproc
	.size call_with, . - call_with

	.bss
	.p2align 3
saved_sp: .skip 8
after_sp: .skip 8
state: .skip 8
fn: .skip 8

	.section .note.GNU-stack, "", @progbits
