/* SPDX-License-Identifier: MIT */
/*
 * The assembly path: calls and closures of any shape through blocks of registers that C fills and
 * reads. The block's layout is struct call_regs of call_int.h.
 */
#include "ffi/regs_aarch64.h"

/* Landing pads, as hints that older assemblers and processors know too. */
#define BTI_C hint #34
#define BTI_JC hint #38

	.text

	.macro func name
	.p2align 4
	.globl \name
	.hidden \name
	.type \name, %function
\name:
	.cfi_startproc
	.endm

	.macro endfunc name
	.cfi_endproc
	.size \name, . - \name
	.endm

/* void call_regs_aapcs64(struct call_regs *r, const void *stack, size_t bytes, void (*fn)(void)) */
func call_regs_aapcs64
	BTI_C
	stp x29, x30, [sp, #-32]!
	.cfi_def_cfa_offset 32
	.cfi_offset x29, -32
	.cfi_offset x30, -24
	mov x29, sp
	.cfi_def_cfa_register x29
	str x19, [sp, #16]
	.cfi_offset x19, -16
	mov x19, x0
	mov x16, x3
	/* From the top down, so that a thread's guard page is met before what lies beyond it. */
	mov x9, sp
	add x10, x1, x2
	sub x11, x9, x2
1:	cmp x9, x11
	b.eq 2f
	ldr q16, [x10, #-16]!
	mov sp, x9
	str q16, [sp, #-16]!
	mov x9, sp
	b 1b
2:	ldr w9, [x19, #REGS_NSSE]
	cbz w9, 3f
	ldp q0, q1, [x19, #REGS_SSE]
	ldp q2, q3, [x19, #REGS_SSE + 32]
	ldp q4, q5, [x19, #REGS_SSE + 64]
	ldp q6, q7, [x19, #REGS_SSE + 96]
3:	ldr x9, [x19, #REGS_CHAIN]
	cbz x9, 4f
	mov x18, x9
4:	ldp x0, x1, [x19, #REGS_GP]
	ldp x2, x3, [x19, #REGS_GP + 16]
	ldp x4, x5, [x19, #REGS_GP + 32]
	ldp x6, x7, [x19, #REGS_GP + 48]
	ldr x8, [x19, #REGS_GP + 64]
	blr x16
	stp x0, x1, [x19, #REGS_RET]
	stp q0, q1, [x19, #REGS_SSE]
	stp q2, q3, [x19, #REGS_SSE + 32]
	mov sp, x29
	.cfi_def_cfa_register sp
	ldr x19, [sp, #16]
	.cfi_restore x19
	ldp x29, x30, [sp], #32
	.cfi_restore x29
	.cfi_restore x30
	.cfi_def_cfa_offset 0
	ret
endfunc call_regs_aapcs64

/*
 * A closure's function: jumped to with the closure in x17. Fills a block with the argument
 * registers, lets call_closure_slow(closure, block, stack arguments) do the work, and returns what
 * it left there.
 */
#define FRAME (16 + REGS_SIZE)
func call_closure_entry_slow
	BTI_JC
	stp x29, x30, [sp, #-FRAME]!
	.cfi_def_cfa_offset FRAME
	.cfi_offset x29, -FRAME
	.cfi_offset x30, -FRAME + 8
	mov x29, sp
	stp x0, x1, [sp, #16 + REGS_GP]
	stp x2, x3, [sp, #16 + REGS_GP + 16]
	stp x4, x5, [sp, #16 + REGS_GP + 32]
	stp x6, x7, [sp, #16 + REGS_GP + 48]
	str x8, [sp, #16 + REGS_GP + 64]
	stp q0, q1, [sp, #16 + REGS_SSE]
	stp q2, q3, [sp, #16 + REGS_SSE + 32]
	stp q4, q5, [sp, #16 + REGS_SSE + 64]
	stp q6, q7, [sp, #16 + REGS_SSE + 96]
	mov x0, x17
	add x1, sp, #16
	add x2, sp, #FRAME
	bl call_closure_slow
	ldp x0, x1, [sp, #16 + REGS_RET]
	ldp q0, q1, [sp, #16 + REGS_SSE]
	ldp q2, q3, [sp, #16 + REGS_SSE + 32]
	ldp x29, x30, [sp], #FRAME
	.cfi_restore x29
	.cfi_restore x30
	.cfi_def_cfa_offset 0
	ret
endfunc call_closure_entry_slow

/*
 * Go closures: the closure itself is in x18; its fields lie elsewhere: the tag in the low bit says
 * so.
 */
func call_go_entry
	BTI_JC
	orr x17, x18, #1
	b call_closure_entry_slow
endfunc call_go_entry

/*
 * The page of trampolines: copied, or mapped again from the library's file, with a page of data as
 * far behind it as the block is long. Entry i finds the closure and its target at its own address
 * plus the block's length.
 */
	.section .text.trampolines, "ax", %progbits
	.balign CALL_BLOCK
	.globl call_trampolines
	.hidden call_trampolines
	.type call_trampolines, %object
call_trampolines:
	.rept CALL_BLOCK / CALL_TRAMPOLINE
100:	BTI_C
	ldr x17, 100b + CALL_BLOCK
	ldr x16, 100b + CALL_BLOCK + 8
	br x16
	.rept CALL_TRAMPOLINE / 4 - 4
	brk #0
	.endr
	.endr
	.size call_trampolines, . - call_trampolines

	.section .note.GNU-stack, "", %progbits

/*
 * Every entry above has its landing pad: the linker may mark the library so, if the rest has them
 * too.
 */
	.section .note.gnu.property, "a"
	.p2align 3
	.word 4, 16, 5
	.asciz "GNU"
	.word 0xc0000000, 4, 1, 0
