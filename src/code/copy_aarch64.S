/* SPDX-License-Identifier: MIT */
/* Copies from addresses that may be bad. Every access lies in a range of the fault table. */
#include <errno.h>

	.text

	.macro func name
	.p2align 4
	.globl \name
	.hidden \name
	.type \name, %function
\name:
	.cfi_startproc
	hint #34 /* bti c */
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

/* int code_a64_copy(void *dst, const void *src, size_t n): 0 or -EFAULT. No stack is used. */
	.globl code_copy_ready
	.hidden code_copy_ready
	.set code_copy_ready, code_a64_copy
func code_a64_copy
mark code_a64_copy_start
1:	subs x2, x2, #16
	b.lo 2f
	ldp x3, x4, [x1], #16
	stp x3, x4, [x0], #16
	b 1b
2:	tbz x2, #3, 3f	/* n - 16, whose low bits are n's */
	ldr x3, [x1], #8
	str x3, [x0], #8
3:	tbz x2, #2, 4f
	ldr w3, [x1], #4
	str w3, [x0], #4
4:	tbz x2, #1, 5f
	ldrh w3, [x1], #2
	strh w3, [x0], #2
5:	tbz x2, #0, 6f
	ldrb w3, [x1]
	strb w3, [x0]
6:	mov w0, #0
	ret
mark code_copy_fields	/* each field by one load, that of an integer before it by its four bytes */
	hint #34 /* bti c */
	ldr w3, [x1]
	ldp x4, x5, [x1, #8]
	ldr x6, [x1, #24]
	stp x3, x4, [x0]
	stp x5, x6, [x0, #16]
	mov w0, #0
	ret
mark code_a64_copy_end
endfunc code_a64_copy

/* s64 code_a64_copy_string(char *dst, const char *src, size_t n): length with NUL, at most n. */
func code_a64_copy_string
	mov x3, #0
mark code_a64_copy_string_start
1:	cmp x3, x2
	b.eq 2f
	ldrb w4, [x1, x3]
	strb w4, [x0, x3]
	add x3, x3, #1
	cbnz w4, 1b
2:	mov x0, x3
	ret
mark code_a64_copy_string_end
endfunc code_a64_copy_string

func code_a64_copy_fault
	mov x0, #-EFAULT
	ret
endfunc code_a64_copy_fault

	.section .note.GNU-stack, "", %progbits

/* Every function above has its landing pad. */
	.section .note.gnu.property, "a"
	.p2align 3
	.word 4, 16, 5
	.asciz "GNU"
	.word 0xc0000000, 4, 1, 0
