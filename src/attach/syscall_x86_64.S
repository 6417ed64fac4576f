/* SPDX-License-Identifier: MIT */
/*
 * Where system calls come by. The `syscall` instructions of the process were replaced by jumps to
 * stubs, which leave the red zone alone and call this. rcx, which the kernel overwrites, brings the
 * address behind the instruction; all other registers are the program's.
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
#define FRAME 368
#define RESUME 360
#define BELOW (FRAME - 8)  /* the return address is the frame's last word */
#define ABOVE (FRAME + 128)
#define FLAGS_DF 0x400
#define ENOSYS 38

#define ACTION_CALL_ARGS 1
#define ACTION_SKIP 2
#define ACTION_SIGRETURN 3

/*
 * What is below belongs to nobody, but a hook that was left (cancellation, longjmp) may have poisoned it: a
 * sanitizer would see its frames where ours are to be.
 */
.macro fresh_stack
#if defined(__SANITIZE_ADDRESS__)
	lea -8192(%rsp), %rdi
	mov $8192, %esi
	mov __asan_unpoison_memory_region@GOTPCREL(%rip), %rax
	call code_kept_call
#endif
.endm

	/* With what else makes system calls of its own (src/code). */
	.section ferry_calls, "ax", @progbits
	.globl syscall_entry
	.hidden syscall_entry
	.type syscall_entry, @function
	.p2align 6
syscall_entry:
	.cfi_startproc
	.cfi_signal_frame
	.cfi_def_cfa rsp, 136
	.cfi_register rip, rcx
	lea -BELOW(%rsp), %rsp
	.cfi_adjust_cfa_offset BELOW
	mov %rcx, RIP(%rsp)
	.cfi_offset rip, RIP - ABOVE
	/* Is there anything to do? Flags stay as they are. */
	movzwl %ax, %ecx
	lea syscall_want(%rip), %r11
	movzbl (%r11, %rcx), %ecx
	jrcxz 1f
	jmp 2f
1:	syscall
	lea BELOW(%rsp), %rsp
	.cfi_adjust_cfa_offset -BELOW
	.cfi_register rip, rcx
	ret $128

	.cfi_adjust_cfa_offset BELOW
	.cfi_offset rip, RIP - ABOVE
2:	pushfq
	.cfi_adjust_cfa_offset 8
	pop EFLAGS(%rsp)
	.cfi_adjust_cfa_offset -8
	mov %r15, R15(%rsp)
	mov %r14, R14(%rsp)
	mov %r13, R13(%rsp)
	mov %r12, R12(%rsp)
	mov %rbp, RBP(%rsp)
	mov %rbx, RBX(%rsp)
	mov %r10, R10(%rsp)
	mov %r9, R9(%rsp)
	mov %r8, R8(%rsp)
	mov %rdx, RDX(%rsp)
	mov %rsi, RSI(%rsp)
	mov %rdi, RDI(%rsp)
	mov %rax, ORIG_RAX(%rsp)
	movq $-ENOSYS, RAX(%rsp)
	movq $0x33, CS(%rsp)
	movq $0x2b, SS(%rsp)
	mov RIP(%rsp), %rax
	mov %rax, RCX(%rsp)
	mov EFLAGS(%rsp), %rax
	mov %rax, R11(%rsp)
	test $FLAGS_DF, %eax
	jz 3f
	cld
3:	lea ABOVE(%rsp), %rax
	mov %rax, RSP(%rsp)
	mov %rsp, %rbx
	.cfi_def_cfa rbx, ABOVE
	.cfi_offset r15, R15 - ABOVE
	.cfi_offset r14, R14 - ABOVE
	.cfi_offset r13, R13 - ABOVE
	.cfi_offset r12, R12 - ABOVE
	.cfi_offset rbp, RBP - ABOVE
	.cfi_offset rbx, RBX - ABOVE
	.cfi_offset r10, R10 - ABOVE
	.cfi_offset r9, R9 - ABOVE
	.cfi_offset r8, R8 - ABOVE
	.cfi_offset rax, RAX - ABOVE
	.cfi_offset rdx, RDX - ABOVE
	.cfi_offset rsi, RSI - ABOVE
	.cfi_offset rdi, RDI - ABOVE
	and $-16, %rsp
	fresh_stack
	mov %rbx, %rdi
	call syscall_enter
	mov %rax, %rbx
	mov %rax, %rsp
	mov ACTION(%rbx), %ecx
	test %ecx, %ecx
	jnz 7f
	mov RDI(%rbx), %rdi
	mov RSI(%rbx), %rsi
	mov RDX(%rbx), %rdx
	mov R10(%rbx), %r10
	mov R8(%rbx), %r8
	mov R9(%rbx), %r9
4:	mov ORIG_RAX(%rbx), %rax
	syscall
	/* A child with a stack of its own has its copy of the frame at the end of that. */
	mov %rsp, %rbx
	mov %rax, RAX(%rbx)
5:	cmpb $0, EXIT(%rbx)
	je 6f
	and $-16, %rsp
	fresh_stack
	mov %rbx, %rdi
	call syscall_exit
	mov %rax, %rbx
	mov %rax, %rsp
6:	mov EFLAGS(%rbx), %eax
	test $FLAGS_DF, %eax
	jnz 9f
	/* OF by an addition that overflows when it was set, the others by sahf: popf is slow. */
	mov %eax, %ecx
	shr $11, %ecx
	and $1, %ecx
	add $0x7f, %cl
	mov %al, %ah
	sahf
8:	mov RAX(%rbx), %rax
	mov RDI(%rbx), %rdi
	mov RSI(%rbx), %rsi
	mov RDX(%rbx), %rdx
	mov R10(%rbx), %r10
	mov R8(%rbx), %r8
	mov R9(%rbx), %r9
	/* The stack may be another one than before, or the child of vfork() have written to it. */
	mov RESUME(%rbx), %r11
	mov RSP(%rbx), %rcx
	mov RBX(%rbx), %rbx
	lea -136(%rcx), %rsp
	mov %r11, (%rsp)
	ret $128
7:	cmp $ACTION_SKIP, %ecx
	je 5b
	cmp $ACTION_SIGRETURN, %ecx
	je 1f
	mov ARGS(%rbx), %rdi
	mov ARGS + 8(%rbx), %rsi
	mov ARGS + 16(%rbx), %rdx
	mov ARGS + 24(%rbx), %r10
	mov ARGS + 32(%rbx), %r8
	mov ARGS + 40(%rbx), %r9
	jmp 4b
9:	push %rax
	popfq
	jmp 8b
1:	/* All registers come from the signal frame, which is where the program's stack pointer says. */
	mov ORIG_RAX(%rbx), %rax
	mov RSP(%rbx), %rsp
	syscall
	hlt
	.cfi_endproc
	.size syscall_entry, . - syscall_entry

	.section .note.GNU-stack, "", @progbits
