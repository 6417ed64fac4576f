/* SPDX-License-Identifier: MIT */
/*
 * Code that runs in the target; copied there, so that it refers to itself only. SysV ABI 3.2, system
 * calls as of A.2.1.
 */
#include "inject/blob.h"

	.text
	.balign 16
	.globl blob_start, blob_borrow, blob_end
	.hidden blob_start, blob_borrow, blob_end
blob_start:

#define DATA(off) (blob_start + BLOB_DATA + (off))(%rip)

/*
 * The borrowed thread: makes the new one, then goes on where it was. It stands on our stack, so that
 * its own, with the red zone, is left alone. From here on nobody has to help it.
 */
blob_borrow:
	cld
	lea	DATA(0), %rbx
	mov	$14, %eax			/* rt_sigprocmask(SIG_SETMASK, block, mask, 8) */
	mov	$2, %edi
	lea	D_BLOCK(%rbx), %rsi
	lea	D_MASK(%rbx), %rdx
	mov	$8, %r10d
	syscall
	mov	$-1, %eax
	mov	%eax, %edx
	xsave64	(BLOB_XSAVE - BLOB_DATA)(%rbx)
	call	*D_ERRNO(%rbx)
	mov	%rax, %r12			/* errno is the thread's, too */
	mov	(%rax), %r13d
	lea	D_THREAD(%rbx), %rdi
	xor	%esi, %esi
	lea	blob_thread(%rip), %rdx
	mov	%rbx, %rcx
	call	*D_CREATE(%rbx)
	mov	%eax, D_ERROR(%rbx)
	mov	%r13d, (%r12)
	mov	$-1, %eax
	mov	%eax, %edx
	xrstor64 (BLOB_XSAVE - BLOB_DATA)(%rbx)
	mov	$14, %eax
	mov	$2, %edi
	lea	D_MASK(%rbx), %rsi
	xor	%edx, %edx
	mov	$8, %r10d
	syscall
	movl	$1, D_LEFT(%rbx)
	push	DATA(D_FLAGS)
	popfq
	mov	DATA(D_RAX), %rax
	mov	DATA(D_RBX), %rbx
	mov	DATA(D_RCX), %rcx
	mov	DATA(D_RDX), %rdx
	mov	DATA(D_RSI), %rsi
	mov	DATA(D_RDI), %rdi
	mov	DATA(D_RBP), %rbp
	mov	DATA(D_R8), %r8
	mov	DATA(D_R9), %r9
	mov	DATA(D_R10), %r10
	mov	DATA(D_R11), %r11
	mov	DATA(D_R12), %r12
	mov	DATA(D_R13), %r13
	mov	DATA(D_R14), %r14
	mov	DATA(D_R15), %r15
	mov	DATA(D_RSP), %rsp
	jmp	*DATA(D_RIP)

/* The new thread: void *(void *data). Carries out calls until the last one, or until none comes. */
blob_thread:
	endbr64
	push	%rbp
	push	%rbx
	push	%r12
	mov	%rdi, %rbx
	xor	%ebp, %ebp			/* calls made */
again:
	mov	D_ROUNDS(%rbx), %r12d
look:
	cmp	D_WANT(%rbx), %ebp
	jne	serve
	mov	$35, %eax			/* nanosleep(pause, NULL) */
	lea	D_PAUSE(%rbx), %rdi
	lea	D_LONGER(%rbx), %rsi
	cmp	$BLOB_LONG_ROUNDS, %r12d
	cmovb	%rsi, %rdi
	xor	%esi, %esi
	syscall
	dec	%r12d
	jnz	look
	xor	%eax, %eax			/* nobody is there any more */
	jmp	leave
serve:
	inc	%ebp
	mov	D_ARG(%rbx), %rdi
	mov	(D_ARG + 8)(%rbx), %rsi
	mov	(D_ARG + 16)(%rbx), %rdx
	mov	(D_ARG + 24)(%rbx), %rcx
	mov	(D_ARG + 32)(%rbx), %r8
	mov	(D_ARG + 40)(%rbx), %r9
	cmpl	$0, D_LAST(%rbx)
	jne	last
	xor	%eax, %eax			/* no vector registers in a variadic call */
	call	*D_FN(%rbx)
	mov	%rax, D_RESULT(%rbx)
	mov	%ebp, D_DONE(%rbx)
	jmp	again
last:						/* it may unmap us: it returns to our caller */
	mov	D_FN(%rbx), %rax
	pop	%r12
	pop	%rbx
	pop	%rbp
	jmp	*%rax
leave:
	pop	%r12
	pop	%rbx
	pop	%rbp
	ret
	.balign 8
blob_end:

	.section .note.GNU-stack, "", @progbits
