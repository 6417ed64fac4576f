/* SPDX-License-Identifier: MIT */
/*
 * Calls that keep all vector registers, for code that runs in the middle of other code. The upper parts
 * are mostly in their initial state, and XGETBV with ecx 1 tells which are (Intel SDM volume 1, 13.2):
 * what is not need not be kept. By hand, as XSAVE takes several times as long.
 */
#define IN_USE_YMM 0x04
#define IN_USE_K 0x20
#define IN_USE_ZMM 0x40
#define IN_USE_ZMM16 0x80

.macro each_low op, size
	.irp i, 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
	\op \i, (\size*\i)
	.endr
.endm
.macro each_high op, from
	.irp i, 16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31
	\op \i, (\from+64*(\i-16))
	.endr
.endm
.macro each_mask op, from
	.irp i, 0,1,2,3,4,5,6,7
	\op \i, (\from+8*\i)
	.endr
.endm
.macro put_xmm i, at
	movaps %xmm\i, \at(%rsp)
.endm
.macro get_xmm i, at
	movaps \at(%rsp), %xmm\i
.endm
.macro put_ymm i, at
	vmovdqu %ymm\i, \at(%rsp)
.endm
.macro get_ymm i, at
	vmovdqu \at(%rsp), %ymm\i
.endm
.macro put_zmm i, at
	vmovdqu64 %zmm\i, \at(%rsp)
.endm
.macro get_zmm i, at
	vmovdqu64 \at(%rsp), %zmm\i
.endm
.macro put_k i, at
	kmovq %k\i, \at(%rsp)
.endm
.macro get_k i, at
	kmovq \at(%rsp), %k\i
.endm

	.text
	.globl code_keep_vectors
	.hidden code_keep_vectors
	.type code_keep_vectors, @function
	.globl code_kept_call
	.hidden code_kept_call
	.type code_kept_call, @function
	.p2align 4
code_keep_vectors:
	.cfi_startproc
	mov %rdi, %rax
	mov %rsi, %rdi
	mov %rdx, %rsi
	.cfi_endproc
	.size code_keep_vectors, . - code_keep_vectors
code_kept_call:
	.cfi_startproc
	push %rbp
	.cfi_def_cfa_offset 16
	.cfi_offset rbp, -16
	mov %rsp, %rbp
	.cfi_def_cfa_register rbp
	mov %rax, %r11
	mov code_vectors(%rip), %eax
	test %eax, %eax
	jz 1f
	js 5f
	mov %rcx, %r10
	push %rdx
	mov $1, %ecx
	xgetbv
	pop %rdx
	mov %r10, %rcx
	and code_vectors(%rip), %eax
5:
	test $(IN_USE_ZMM | IN_USE_ZMM16 | IN_USE_K), %al
	jnz 3f
	test $IN_USE_YMM, %al
	jnz 2f
	/* SSE only */
1:	sub $256, %rsp
	and $-16, %rsp
	each_low put_xmm, 16
	call *%r11
	each_low get_xmm, 16
	jmp 9f
	/* AVX */
2:	sub $512, %rsp
	and $-64, %rsp
	each_low put_ymm, 32
	call *%r11
	each_low get_ymm, 32
	jmp 9f
3:	test $(IN_USE_YMM | IN_USE_ZMM), %al
	jnz 4f
	/* AVX-512, but the lower sixteen are in their SSE part: leave their upper parts alone. */
	sub $(256 + 1024 + 64), %rsp
	and $-64, %rsp
	each_low put_xmm, 16
	each_high put_zmm, 256
	each_mask put_k, 1280
	call *%r11
	each_low get_xmm, 16
	each_high get_zmm, 256
	each_mask get_k, 1280
	jmp 9f
4:	sub $(1024 + 1024 + 64), %rsp
	and $-64, %rsp
	each_low put_zmm, 64
	each_high put_zmm, 1024
	each_mask put_k, 2048
	call *%r11
	each_low get_zmm, 64
	each_high get_zmm, 1024
	each_mask get_k, 2048
9:	leave
	.cfi_def_cfa rsp, 8
	ret
	.cfi_endproc
	.size code_kept_call, . - code_kept_call

	.section .note.GNU-stack, "", @progbits
