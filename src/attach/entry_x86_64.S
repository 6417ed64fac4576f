/* SPDX-License-Identifier: MIT */
/*
 * Where stubs and return slots come in: registers are saved as a struct pt_regs, the hooks run, and
 * everything is as it was. For unwinders each is a signal frame whose registers are in the pt_regs.
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
#define REGS_SIZE 168
#define SITE_HIT 8
#define FLAGS_DF 0x400

	.text

/* All but r11, rip, rsp and the flags, into the pt_regs at rsp. rax is free then. */
.macro save_regs
	mov %r15, R15(%rsp)
	mov %r14, R14(%rsp)
	mov %r13, R13(%rsp)
	mov %r12, R12(%rsp)
	mov %rbp, RBP(%rsp)
	mov %rbx, RBX(%rsp)
	mov %r10, R10(%rsp)
	mov %r9, R9(%rsp)
	mov %r8, R8(%rsp)
	mov %rcx, RCX(%rsp)
	mov %rdx, RDX(%rsp)
	mov %rsi, RSI(%rsp)
	mov %rdi, RDI(%rsp)
	movq $-1, ORIG_RAX(%rsp)
	movq $0x33, CS(%rsp)
	movq $0x2b, SS(%rsp)
.endm

/*
 * The flags into the pt_regs at rsp, and rax. Where functions begin DF is clear (SysV ABI 3.2.1): the rest is had
 * without pushf, which is slow in front of a locked instruction. IF and the bit that is always set are put in.
 */
.macro save_flags
	mov %rax, RAX(%rsp)
	lahf
	seto %al
	movzbl %al, %r10d
	movzbl %ah, %eax
	shl $11, %r10d
	lea 0x200(%rax,%r10), %eax
	mov %rax, EFLAGS(%rsp)
.endm

/* Anywhere else they were pushed just above. Behind a return, which is mispredicted, that is quicker, too. */
.macro save_pushed_flags
	mov %rax, RAX(%rsp)
	mov REGS_SIZE(%rsp), %rax
	mov %rax, EFLAGS(%rsp)
	test $FLAGS_DF, %eax
	jz 1f
	cld
1:
.endm

/*
 * Flags as in eax, but for DF: OF by an addition that overflows when it was set, the others by sahf, since
 * popf is slow. Changes eax and ecx.
 */
.macro load_flags
	mov %eax, %ecx
	shr $11, %ecx
	and $1, %ecx
	add $0x7f, %cl
	mov %al, %ah
	sahf
.endm

/* What C may have changed; flags stay. */
.macro load_regs
	mov RBX(%rsp), %rbx
	mov R10(%rsp), %r10
	mov R9(%rsp), %r9
	mov R8(%rsp), %r8
	mov RAX(%rsp), %rax
	mov RCX(%rsp), %rcx
	mov RDX(%rsp), %rdx
	mov RSI(%rsp), %rsi
	mov RDI(%rsp), %rdi
.endm

/* The pt_regs is at rbx, and the stack pointer was `above` bytes above it. */
.macro unwind_by_regs above
	.cfi_def_cfa rbx, \above
	.cfi_offset r15, R15 - \above
	.cfi_offset r14, R14 - \above
	.cfi_offset r13, R13 - \above
	.cfi_offset r12, R12 - \above
	.cfi_offset rbp, RBP - \above
	.cfi_offset rbx, RBX - \above
	.cfi_offset r11, R11 - \above
	.cfi_offset r10, R10 - \above
	.cfi_offset r9, R9 - \above
	.cfi_offset r8, R8 - \above
	.cfi_offset rax, RAX - \above
	.cfi_offset rcx, RCX - \above
	.cfi_offset rdx, RDX - \above
	.cfi_offset rsi, RSI - \above
	.cfi_offset rdi, RDI - \above
	.cfi_offset rip, RIP - \above
.endm

/*
 * From a stub, which left below the red zone: its r11, then the address to return to. r11 has the
 * site, whose first field is the probed address.
 */
#define ENTRY_ABOVE (REGS_SIZE + 8 + 8 + 8 + 128)

	.globl probe_entry
	.hidden probe_entry
	.type probe_entry, @function
	.globl probe_entry_start
	.hidden probe_entry_start
	.type probe_entry_start, @function
	.p2align 4
probe_entry_start: /* where functions begin */
	.cfi_startproc
	.cfi_signal_frame
	lea -(REGS_SIZE + 8)(%rsp), %rsp
	mov %r10, R10(%rsp)
	save_flags
	mov R10(%rsp), %r10
	jmp .Lentry
	.cfi_endproc
	.size probe_entry_start, . - probe_entry_start
	.p2align 4
probe_entry:
	.cfi_startproc
	.cfi_signal_frame
	pushfq
	lea -REGS_SIZE(%rsp), %rsp
	save_pushed_flags
.Lentry:
	save_regs
	mov REGS_SIZE + 16(%rsp), %rax
	mov %rax, R11(%rsp)
	mov (%r11), %rax
	mov %rax, RIP(%rsp)
	lea ENTRY_ABOVE(%rsp), %rax
	mov %rax, RSP(%rsp)
	mov %rsp, %rbx
	unwind_by_regs ENTRY_ABOVE
	and $-16, %rsp
	mov %r11, %rdi
	mov %rbx, %rsi
	call *SITE_HIT(%r11)
	mov %rbx, %rsp
	test %eax, %eax
	jnz 3f
	mov EFLAGS(%rsp), %eax
	test $FLAGS_DF, %eax
	jnz 2f
	load_flags
	load_regs
	lea REGS_SIZE + 8(%rsp), %rsp
	ret
2:	load_regs
	lea REGS_SIZE(%rsp), %rsp
	popfq
	ret
3:	/* The function is left out: back to its caller. */
	mov RAX(%rsp), %rax
	mov RBX(%rsp), %rbx
	lea ENTRY_ABOVE(%rsp), %rsp
	ret
	.cfi_endproc
	.size probe_entry, . - probe_entry

/* From a return slot, which pushed its number where the return address had been. */
#define RETURN_ABOVE (REGS_SIZE + 8 + 8)

	.globl probe_return
	.hidden probe_return
	.type probe_return, @function
	.p2align 4
probe_return:
	.cfi_startproc
	.cfi_signal_frame
	pushfq
	lea -REGS_SIZE(%rsp), %rsp
	save_pushed_flags
	save_regs
	mov %r11, R11(%rsp)
	movq $0, RIP(%rsp)
	lea RETURN_ABOVE(%rsp), %rax
	mov %rax, RSP(%rsp)
	mov %rsp, %rbx
	unwind_by_regs RETURN_ABOVE
	mov REGS_SIZE + 8(%rsp), %rdi
	mov %rbx, %rsi
	and $-16, %rsp
	call probe_returned
	mov %rbx, %rsp
	mov %rax, REGS_SIZE + 8(%rsp)
	mov R11(%rsp), %r11
	mov EFLAGS(%rsp), %eax
	test $FLAGS_DF, %eax
	jnz 4f
	load_flags
3:	load_regs
	/* By a jump: the return that led here has used up the prediction of this one. */
	lea RETURN_ABOVE(%rsp), %rsp
	jmp *-8(%rsp)
4:	push %rax
	popfq
	jmp 3b
	.cfi_endproc
	.size probe_return, . - probe_return

	.section .note.GNU-stack, "", @progbits
