/* SPDX-License-Identifier: MIT */
/*
 * The short way into a closure of a program that calls nothing which may call back: two stores say
 * that this thread is inside, where sys_run_wait() looks for them, and the program is called with the
 * arguments where they are. Entered from a trampoline with the ffi_closure in r10; the structs' offsets
 * are checked in closure.c and run.c.
 */
#include "bpf/closure_regs.h"

	.text
	.p2align 4
	.globl sys_closure_fast
	.hidden sys_closure_fast
	.type sys_closure_fast, @function
sys_closure_fast:
	.cfi_startproc
	endbr64
	movq FFI_USER_DATA(%r10), %r11
	movq sys_runner@gottpoff(%rip), %rax
	cmpl $0, %fs:RUNNER_FAST(%rax)
	jne 1f
	movl $1, %fs:RUNNER_FAST(%rax)
	movq CLOSURE_TARGET(%r11), %rax
	testq %rax, %rax
	je 2f
	subq $8, %rsp
	.cfi_adjust_cfa_offset 8
	call *%rax
	movq sys_runner@gottpoff(%rip), %rcx
	movl $0, %fs:RUNNER_FAST(%rcx)
	addq $8, %rsp
	.cfi_adjust_cfa_offset -8
	ret
2:	movq sys_runner@gottpoff(%rip), %rax
	movl $0, %fs:RUNNER_FAST(%rax)
1:	jmp *CLOSURE_SLOW(%r11)
	.cfi_endproc
	.size sys_closure_fast, . - sys_closure_fast

	.section .note.GNU-stack, "", @progbits
