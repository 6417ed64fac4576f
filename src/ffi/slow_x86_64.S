/* SPDX-License-Identifier: MIT */
/*
 * The assembly path: calls and closures of any shape through blocks of registers that C fills and reads.
 * The block's layout is struct call_regs of call_int.h.
 */
#define REGS_GP 0
#define REGS_SSE 48
#define REGS_RAX 176
#define REGS_RDX 184
#define REGS_ST 192
#define REGS_CHAIN 224
#define REGS_NST 232
#define REGS_NSSE 236

	.text

/* void call_regs_sysv(struct call_regs *r, const void *stack, size_t bytes, void (*fn)(void)) */
	.globl call_regs_sysv
	.hidden call_regs_sysv
	.type call_regs_sysv, @function
call_regs_sysv:
	.cfi_startproc
	endbr64
	pushq %rbp
	.cfi_def_cfa_offset 16
	.cfi_offset %rbp, -16
	movq %rsp, %rbp
	.cfi_def_cfa_register %rbp
	pushq %rbx
	.cfi_offset %rbx, -24
	subq $8, %rsp
	movq %rdi, %rbx
	movq %rcx, %r11
	subq %rdx, %rsp
	movq %rdx, %rcx
	movq %rsp, %rdi
	rep movsb
	movq REGS_CHAIN(%rbx), %r10
	movl REGS_NSSE(%rbx), %eax
	testl %eax, %eax
	je 1f
	movups REGS_SSE+0(%rbx), %xmm0
	movups REGS_SSE+16(%rbx), %xmm1
	movups REGS_SSE+32(%rbx), %xmm2
	movups REGS_SSE+48(%rbx), %xmm3
	movups REGS_SSE+64(%rbx), %xmm4
	movups REGS_SSE+80(%rbx), %xmm5
	movups REGS_SSE+96(%rbx), %xmm6
	movups REGS_SSE+112(%rbx), %xmm7
1:	movq REGS_GP+0(%rbx), %rdi
	movq REGS_GP+8(%rbx), %rsi
	movq REGS_GP+16(%rbx), %rdx
	movq REGS_GP+24(%rbx), %rcx
	movq REGS_GP+32(%rbx), %r8
	movq REGS_GP+40(%rbx), %r9
	call *%r11
	movq %rax, REGS_RAX(%rbx)
	movq %rdx, REGS_RDX(%rbx)
	movups %xmm0, REGS_SSE+0(%rbx)
	movups %xmm1, REGS_SSE+16(%rbx)
	cmpl $1, REGS_NST(%rbx)
	jb 2f
	fstpt REGS_ST(%rbx)
	je 2f
	fstpt REGS_ST+16(%rbx)
2:	leaq -8(%rbp), %rsp
	popq %rbx
	.cfi_restore %rbx
	popq %rbp
	.cfi_def_cfa %rsp, 8
	ret
	.cfi_endproc
	.size call_regs_sysv, . - call_regs_sysv

/* The same for Microsoft's convention: rcx, rdx, r8, r9 and xmm0 to xmm3 are the block's first four. */
	.globl call_regs_win64
	.hidden call_regs_win64
	.type call_regs_win64, @function
call_regs_win64:
	.cfi_startproc
	endbr64
	pushq %rbp
	.cfi_def_cfa_offset 16
	.cfi_offset %rbp, -16
	movq %rsp, %rbp
	.cfi_def_cfa_register %rbp
	pushq %rbx
	.cfi_offset %rbx, -24
	subq $8, %rsp
	movq %rdi, %rbx
	movq %rcx, %r11
	subq %rdx, %rsp
	movq %rdx, %rcx
	movq %rsp, %rdi
	rep movsb
	movq REGS_CHAIN(%rbx), %r10
	movups REGS_SSE+0(%rbx), %xmm0
	movups REGS_SSE+16(%rbx), %xmm1
	movups REGS_SSE+32(%rbx), %xmm2
	movups REGS_SSE+48(%rbx), %xmm3
	movq REGS_GP+0(%rbx), %rcx
	movq REGS_GP+8(%rbx), %rdx
	movq REGS_GP+16(%rbx), %r8
	movq REGS_GP+24(%rbx), %r9
	call *%r11
	movq %rax, REGS_RAX(%rbx)
	movups %xmm0, REGS_SSE+0(%rbx)
	leaq -8(%rbp), %rsp
	popq %rbx
	.cfi_restore %rbx
	popq %rbp
	.cfi_def_cfa %rsp, 8
	ret
	.cfi_endproc
	.size call_regs_win64, . - call_regs_win64

/*
 * A closure's function: jumped to with the closure in r10. Fills a block with the argument registers, lets
 * call_closure_slow(closure, block, stack arguments) do the work, and returns what it left there.
 */
	.globl call_closure_entry_slow
	.hidden call_closure_entry_slow
	.type call_closure_entry_slow, @function
call_closure_entry_slow:
	.cfi_startproc
	endbr64
	pushq %rbp
	.cfi_def_cfa_offset 16
	.cfi_offset %rbp, -16
	movq %rsp, %rbp
	.cfi_def_cfa_register %rbp
	subq $256, %rsp
	movq %rdi, REGS_GP+0(%rsp)
	movq %rsi, REGS_GP+8(%rsp)
	movq %rdx, REGS_GP+16(%rsp)
	movq %rcx, REGS_GP+24(%rsp)
	movq %r8, REGS_GP+32(%rsp)
	movq %r9, REGS_GP+40(%rsp)
	movups %xmm0, REGS_SSE+0(%rsp)
	movups %xmm1, REGS_SSE+16(%rsp)
	movups %xmm2, REGS_SSE+32(%rsp)
	movups %xmm3, REGS_SSE+48(%rsp)
	movups %xmm4, REGS_SSE+64(%rsp)
	movups %xmm5, REGS_SSE+80(%rsp)
	movups %xmm6, REGS_SSE+96(%rsp)
	movups %xmm7, REGS_SSE+112(%rsp)
	movq %r10, %rdi
	movq %rsp, %rsi
	leaq 16(%rbp), %rdx
	call call_closure_slow
	movl REGS_NST(%rsp), %ecx
	cmpl $2, %ecx
	jb 1f
	fldt REGS_ST+16(%rsp)
1:	testl %ecx, %ecx
	je 2f
	fldt REGS_ST(%rsp)
2:	movq REGS_RAX(%rsp), %rax
	movq REGS_RDX(%rsp), %rdx
	movups REGS_SSE+0(%rsp), %xmm0
	movups REGS_SSE+16(%rsp), %xmm1
	leave
	.cfi_def_cfa %rsp, 8
	ret
	.cfi_endproc
	.size call_closure_entry_slow, . - call_closure_entry_slow

/*
 * The same for Microsoft's convention, which has the callee keep rdi, rsi and xmm6 to xmm15, and the caller leave
 * 32 bytes above the return address where the four register arguments may be put.
 */
	.globl call_closure_entry_win64
	.hidden call_closure_entry_win64
	.type call_closure_entry_win64, @function
call_closure_entry_win64:
	.cfi_startproc
	endbr64
	pushq %rbp
	.cfi_def_cfa_offset 16
	.cfi_offset %rbp, -16
	movq %rsp, %rbp
	.cfi_def_cfa_register %rbp
	pushq %rdi
	.cfi_offset %rdi, -24
	pushq %rsi
	.cfi_offset %rsi, -32
	subq $416, %rsp
	movups %xmm6, 256(%rsp)
	movups %xmm7, 272(%rsp)
	movups %xmm8, 288(%rsp)
	movups %xmm9, 304(%rsp)
	movups %xmm10, 320(%rsp)
	movups %xmm11, 336(%rsp)
	movups %xmm12, 352(%rsp)
	movups %xmm13, 368(%rsp)
	movups %xmm14, 384(%rsp)
	movups %xmm15, 400(%rsp)
	movq %rcx, REGS_GP+0(%rsp)
	movq %rdx, REGS_GP+8(%rsp)
	movq %r8, REGS_GP+16(%rsp)
	movq %r9, REGS_GP+24(%rsp)
	movups %xmm0, REGS_SSE+0(%rsp)
	movups %xmm1, REGS_SSE+16(%rsp)
	movups %xmm2, REGS_SSE+32(%rsp)
	movups %xmm3, REGS_SSE+48(%rsp)
	movq %r10, %rdi
	movq %rsp, %rsi
	leaq 16(%rbp), %rdx
	call call_closure_slow
	movq REGS_RAX(%rsp), %rax
	movups REGS_SSE+0(%rsp), %xmm0
	movups 256(%rsp), %xmm6
	movups 272(%rsp), %xmm7
	movups 288(%rsp), %xmm8
	movups 304(%rsp), %xmm9
	movups 320(%rsp), %xmm10
	movups 336(%rsp), %xmm11
	movups 352(%rsp), %xmm12
	movups 368(%rsp), %xmm13
	movups 384(%rsp), %xmm14
	movups 400(%rsp), %xmm15
	addq $416, %rsp
	popq %rsi
	.cfi_restore %rsi
	popq %rdi
	.cfi_restore %rdi
	popq %rbp
	.cfi_def_cfa %rsp, 8
	ret
	.cfi_endproc
	.size call_closure_entry_win64, . - call_closure_entry_win64

/* Go closures: the closure itself is in r10; its fields lie elsewhere: the tag in the low bit says so. */
	.globl call_go_entry
	.hidden call_go_entry
	.type call_go_entry, @function
call_go_entry:
	.cfi_startproc
	endbr64
	orq $1, %r10
	jmp call_closure_entry_slow
	.cfi_endproc
	.size call_go_entry, . - call_go_entry

	.globl call_go_entry_win64
	.hidden call_go_entry_win64
	.type call_go_entry_win64, @function
call_go_entry_win64:
	.cfi_startproc
	endbr64
	orq $1, %r10
	jmp call_closure_entry_win64
	.cfi_endproc
	.size call_go_entry_win64, . - call_go_entry_win64

/*
 * The page of trampolines: copied, or mapped again from the library's file, with a page of data as far behind it as
 * the block is long. Entry i finds the closure and its target at its own address plus the block's length.
 */
#define BLOCK 16384
	.section .text.trampolines, "ax", @progbits
	.balign 4096
	.globl call_trampolines
	.hidden call_trampolines
	.type call_trampolines, @object
call_trampolines:
	.rept BLOCK / 32
100:	endbr64
	movq 100b + BLOCK(%rip), %r10
	jmp *100b + BLOCK + 8(%rip)
	.balign 32, 0xcc
	.endr
	.size call_trampolines, . - call_trampolines

	.section .note.GNU-stack, "", @progbits
