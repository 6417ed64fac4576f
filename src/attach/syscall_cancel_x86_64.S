/* SPDX-License-Identifier: MIT */
/*
 * In place of libc's function for calls that a thread may be cancelled in (syscall_cancel.c):
 *   long (volatile int *word, long nr, long a1, ... a6)
 * rcx to r9 and the stack have the arguments of a function; r11 has libc's own, r10 the address behind its `syscall`.
 */
#define R15 0
#define R14 8
#define R13 16
#define R12 24
#define RBP 32
#define RBX 40
#define R11 48
#define R10 56
#define R9 64
#define R8 72
#define RAX 80
#define RCX 88
#define RDX 96
#define RSI 104
#define RDI 112
#define ORIG_RAX 120
#define RIP 128
#define CS 136
#define EFLAGS 144
#define RSP 152
#define SS 160
#define ARGS 168
#define ACTION 216
#define EXIT 220
#define WORD 368 /* behind the frame */
#define FUNC 376
#define SELECTOR 384
#define SIZE 400
#define ABOVE (SIZE + 16) /* rbx, and the return address */
#define ENOSYS 38
#define ACTION_SKIP 2

	.text
	.globl syscall_cancellable
	.hidden syscall_cancellable
	.type syscall_cancellable, @function
	.p2align 4
syscall_cancellable:
	.cfi_startproc
	movzwl %si, %eax
	push %rbx
	.cfi_adjust_cfa_offset 8
	.cfi_rel_offset rbx, 0
	lea syscall_want(%rip), %rbx
	cmpb $0, (%rbx, %rax)
	mov (%rsp), %rbx
	jne 1f
	lea 8(%rsp), %rsp
	.cfi_remember_state
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbx
	jmp *%r11
	.cfi_restore_state
1:	pushfq
	pop %rax
	sub $SIZE, %rsp
	mov %rax, EFLAGS(%rsp)
	mov %rax, R11(%rsp)
	mov %rbx, RBX(%rsp)
	mov %rsp, %rbx
	.cfi_def_cfa rbx, ABOVE
	mov %rdi, WORD(%rbx)
	mov %r11, FUNC(%rbx)
	mov %r15, R15(%rbx)
	mov %r14, R14(%rbx)
	mov %r13, R13(%rbx)
	mov %r12, R12(%rbx)
	mov %rbp, RBP(%rbx)
	/* As the registers are at its `syscall`. */
	mov %rdx, RDI(%rbx)
	mov %rcx, RSI(%rbx)
	mov %r8, RDX(%rbx)
	mov %r9, R10(%rbx)
	mov ABOVE(%rbx), %rax
	mov %rax, R8(%rbx)
	mov ABOVE + 8(%rbx), %rax
	mov %rax, R9(%rbx)
	mov %rsi, ORIG_RAX(%rbx)
	movq $-ENOSYS, RAX(%rbx)
	mov %r10, RIP(%rbx)
	mov %r10, RCX(%rbx)
	movq $0x33, CS(%rbx)
	movq $0x2b, SS(%rbx)
	lea ABOVE - 8(%rbx), %rax
	mov %rax, RSP(%rbx)
	mov %rbx, %rdi
	call syscall_cancel_enter
	cmpl $ACTION_SKIP, ACTION(%rbx)
	je 2f
	/* Libc's function looks at the word first: whoever cancelled since sees to it that it does not call. */
	mov syscall_selector@gottpoff(%rip), %rax
	movzbl %fs:(%rax), %ecx
	mov %ecx, SELECTOR(%rbx)
	movb $0, %fs:(%rax)
	push ARGS + 40(%rbx)
	push ARGS + 32(%rbx)
	mov WORD(%rbx), %rdi
	mov ORIG_RAX(%rbx), %rsi
	mov ARGS(%rbx), %rdx
	mov ARGS + 8(%rbx), %rcx
	mov ARGS + 16(%rbx), %r8
	mov ARGS + 24(%rbx), %r9
	call *FUNC(%rbx)
	mov %rbx, %rsp
	mov %rax, RAX(%rbx)
	mov SELECTOR(%rbx), %ecx
	mov syscall_selector@gottpoff(%rip), %rax
	mov %cl, %fs:(%rax)
2:	cmpb $0, EXIT(%rbx)
	je 3f
	mov %rbx, %rdi
	call syscall_exit
3:	mov RAX(%rbx), %rax
	lea SIZE(%rbx), %rsp
	.cfi_def_cfa rsp, 16
	pop %rbx
	.cfi_adjust_cfa_offset -8
	.cfi_restore rbx
	ret
	.cfi_endproc
	.size syscall_cancellable, . - syscall_cancellable

	.section .note.GNU-stack, "", @progbits
