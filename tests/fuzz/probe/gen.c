/* SPDX-License-Identifier: MIT */
/*
 * The generator. rsp, rdi and r15 are left alone but by units that put them right again, and jumps forward
 * go over whole units only, so that every function ends and returns.
 */
#include <stdarg.h>

#include "gen.h"

uint64_t gen_seed = 1;

uint32_t gen_rnd(uint32_t n)
{
	gen_seed ^= gen_seed << 13;
	gen_seed ^= gen_seed >> 7;
	gen_seed ^= gen_seed << 17;
	return (uint32_t)(gen_seed >> 32) % n;
}

static FILE *out;
static unsigned func, place, label;
static int framed, has_avx2;

/* One instruction, its place noted. */
static void ins(const char *format, ...)
{
	va_list args;

	fprintf(out, ".Lp%u_%u:\t", func, place++);
	va_start(args, format);
	vfprintf(out, format, args);
	va_end(args);
	fputc('\n', out);
}

#define PICK(list) list[gen_rnd(sizeof(list) / sizeof(list[0]))]

static const char *const reg64[] = { "rax", "rcx", "rdx", "rsi", "rbx", "r8", "r9", "r10", "r11", "r12", "r13", "r14" };
static const char *const reg32[] = { "eax", "ecx", "edx", "esi", "ebx", "r8d", "r9d", "r10d", "r11d", "r12d", "r13d", "r14d" };
static const char *const reg8[] = { "al", "cl", "dl", "sil", "bl", "r8b", "r9b", "r10b", "r11b", "r12b", "r13b", "r14b" };
static const char *const conditions[] = { "o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g" };

/* Memory: the buffer, the stack (a frame, or the red zone), or relative to the instruction pointer. */
static const char *mem(void)
{
	static char text[4][64];
	static unsigned turn;
	char *t = text[turn++ % 4];

	switch (gen_rnd(4)) {
	case 0: snprintf(t, 64, "%u(%%rdi)", gen_rnd(120)); break;
	case 1: snprintf(t, 64, "%u(%%rdi)", 120 + 8 * gen_rnd(40)); break;
	case 2: snprintf(t, 64, "%d(%%%s)", -8 - 8 * (int)gen_rnd(framed ? 7 : 15), framed ? "rbp" : "rsp"); break;
	default: snprintf(t, 64, "shared+%u(%%rip)", gen_rnd(240)); break;
	}
	return t;
}

static void arithmetic(void)
{
	static const char *const ops[] = { "add", "sub", "xor", "or", "and", "adc", "sbb", "cmp", "mov", "test" };
	const char *op = PICK(ops);
	unsigned a = gen_rnd(12), b = gen_rnd(12);

	switch (gen_rnd(7)) {
	case 0: ins("%sq %%%s, %%%s", op, reg64[a], reg64[b]); break;
	case 1: ins("%sl %%%s, %%%s", op, reg32[a], reg32[b]); break;
	case 2: ins("%sb %%%s, %%%s", op, reg8[a], reg8[b]); break;
	case 3: ins("%sq $%d, %%%s", op, (int)gen_rnd(1u << gen_rnd(31)) - 64, reg64[b]); break;
	case 4: ins("%sq %%%s, %s", op, reg64[a], mem()); break;
	/* An immediate behind the displacement. */
	case 5: ins("%sl $%u, %s", op, gen_rnd(1u << gen_rnd(31)), mem()); break;
	default:
		if (op[0] == 't')
			op = "cmp";
		ins("%sl %s, %%%s", op, mem(), reg32[b]);
	}
}

static void odd(void)
{
	unsigned a = gen_rnd(12), b = gen_rnd(12);

	switch (gen_rnd(16)) {
	case 0: ins("set%s %%%s", PICK(conditions), reg8[a]); break;
	case 1: ins("cmov%sq %%%s, %%%s", PICK(conditions), reg64[a], reg64[b]); break;
	case 2: ins("leaq %d(%%%s,%%%s,4), %%%s", (int)gen_rnd(2000) - 1000, reg64[a], reg64[b], PICK(reg64)); break;
	case 3: ins("leaq shared+%u(%%rip), %%%s", gen_rnd(200), reg64[a]); break;
	case 4: ins("shlq $%u, %%%s", gen_rnd(64), reg64[a]); break;
	case 5: ins("rorl %%cl, %%%s", reg32[a]); break;
	case 6: ins("imulq $%d, %s, %%%s", (int)gen_rnd(1000) - 500, mem(), reg64[a]); break;
	case 7: ins("lock xaddq %%%s, %s", reg64[a], mem()); break;
	case 8: ins("movabsq $0x%x%08x, %%%s", gen_rnd(1u << 31), gen_rnd(1u << 31), reg64[a]); break;
	case 9: ins("nopw %u(%%rax,%%rax,1)", gen_rnd(300)); break;
	case 10: ins("btq $%u, %%%s", gen_rnd(64), reg64[a]); break;
	case 11: ins("bswapq %%%s", reg64[a]); break;
	case 12: ins("movslq %%%s, %%%s", reg32[a], reg64[b]); break;
	case 13: ins("stc"); break;
	case 14: ins("incb %s", mem()); break;
	default: ins("negq %%%s", reg64[a]);
	}
}

static void vectors(void)
{
	unsigned a = gen_rnd(16), b = gen_rnd(16);

	switch (gen_rnd(has_avx2 ? 9 : 6)) {
	case 0: ins("movdqu %u(%%rdi), %%xmm%u", gen_rnd(400), a); break;
	case 1: ins("paddd %%xmm%u, %%xmm%u", a, b); break;
	case 2: ins("movdqu %%xmm%u, %u(%%rdi)", a, gen_rnd(400)); break;
	case 3: ins("pmovmskb %%xmm%u, %%%s", a, PICK(reg32)); break;
	case 4: ins("movq %%%s, %%xmm%u", PICK(reg64), a); break;
	case 5: ins("movdqu shared+%u(%%rip), %%xmm%u", gen_rnd(200), a); break;
	case 6: ins("vpaddq %%ymm%u, %%ymm%u, %%ymm%u", a, b, gen_rnd(16)); break;
	case 7: ins("vmovdqu %u(%%rdi), %%ymm%u", gen_rnd(400), a); break;
	default: ins("vpxor %%ymm%u, %%ymm%u, %%ymm%u", a, b, gen_rnd(16));
	}
}

static void unit(int depth);

/* A branch forward over some units. */
static void forward(int depth)
{
	unsigned to = label++, n = 1 + gen_rnd(3);
	/* Far ones cannot be short; those of loops must be. */
	int far = gen_rnd(6) == 0, near = 0;

	switch (gen_rnd(6)) {
	case 0: ins("jmp .Lf%u", to); break;
	case 1: ins("jrcxz .Lf%u", to); near = 1; break;
	case 2: ins("loop .Lf%u", to); near = 1; break;
	default: ins("j%s .Lf%u", PICK(conditions), to);
	}
	while (n--)
		if (far || near || depth > 1)
			arithmetic();
		else
			unit(depth + 1);
	if (far && !near)
		fprintf(out, "\t.skip 200, 0x90\n");
	fprintf(out, ".Lf%u:\n", to);
}

/* More than one instruction, or one that goes elsewhere. */
static void compound(int depth)
{
	unsigned l;

	switch (gen_rnd(framed ? 11 : 5)) {
	case 0:
		forward(depth);
		break;
	case 1:
		ins("movq %%rdi, %%r10");
		ins("leaq 128(%%rdi), %%rdi");
		ins("movl $%u, %%ecx", gen_rnd(40));
		ins("rep stosb");
		ins("movq %%r10, %%rdi");
		break;
	case 2: /* backwards, with the flag set all the while */
		ins("movq %%rdi, %%r11");
		ins("leaq 200(%%rdi), %%rsi");
		ins("leaq 300(%%rdi), %%rdi");
		ins("movl $%u, %%ecx", gen_rnd(40));
		ins("std");
		ins("rep movsb");
		ins("cld");
		ins("movq %%r11, %%rdi");
		break;
	case 3:
		ins("fld1");
		ins("fstpl %u(%%rdi)", 8 * gen_rnd(50));
		break;
	case 4:
		l = label++;
		ins("leaq .Lf%u(%%rip), %%rax", l);
		if (gen_rnd(4)) {
			ins("movl $%u, %%eax", gen_rnd(1000));
		} else {
			ins("jmp *%%rax");
			ins("ud2");
		}
		fprintf(out, ".Lf%u:\n", l);
		break;
	case 5:
		l = gen_rnd(12);
		ins("pushq %%%s", reg64[l]);
		unit(depth + 1);
		ins("popq %%%s", PICK(reg64));
		break;
	case 6:
		ins("pushfq");
		ins("popq %%%s", PICK(reg64));
		break;
	case 7: ins("call helper"); break;
	case 8: ins("call *helper_at(%%rip)"); break;
	case 9: /* where am I? */
		l = label++;
		ins("call .Lf%u", l);
		fprintf(out, ".Lf%u:\n", l);
		ins("popq %%%s", PICK(reg64));
		break;
	default:
		ins("leaq helper(%%rip), %%rax");
		ins("call *%%rax");
	}
}

static void unit(int depth)
{
	unsigned what = gen_rnd(16);

	if (what < 8)
		arithmetic();
	else if (what < 11)
		odd();
	else if (what < 13 || depth > 2)
		vectors();
	else
		compound(depth);
}

static void function(void)
{
	unsigned n = gen_rnd(4) ? 2 + gen_rnd(14) : gen_rnd(3);
	int comes_back = !gen_rnd(5), to_first = comes_back && gen_rnd(2);

	place = 0;
	framed = gen_rnd(3) != 0;
	if (gen_rnd(2))
		fprintf(out, "\t.p2align 4\n");
	fprintf(out, "\t.globl f%u\n\t.type f%u, @function\nf%u:\n\t.cfi_startproc\n", func, func, func);
	if (comes_back && to_first)
		fprintf(out, ".Lback%u:\n", func);
	if (!gen_rnd(3))
		ins("endbr64");
	if (framed && !to_first) {
		ins("pushq %%rbp");
		ins("movq %%rsp, %%rbp");
		ins("subq $64, %%rsp");
	} else {
		framed = 0;
	}
	if (comes_back && !to_first) {
		if (gen_rnd(2))
			arithmetic();
		fprintf(out, ".Lback%u:\n", func);
	}
	while (n--)
		unit(0);
	if (comes_back) {
		ins("decq %%r15");
		ins("jns .Lback%u", func);
	}
	if (framed)
		ins("leave");
	if (gen_rnd(6))
		ins("ret");
	else
		ins(gen_rnd(2) ? "jmp helper" : "jmp *helper_at(%%rip)");
	fprintf(out, "\t.cfi_endproc\n\t.size f%u, . - f%u\n", func, func);
}

void gen_object(FILE *to, unsigned functions, int avx2)
{
	static unsigned places[1024];
	unsigned i;

	out = to;
	has_avx2 = avx2;
	label = 0;
	fprintf(out, "\t.text\n\t.type helper, @function\nhelper:\n\t.cfi_startproc\n\taddq $12345, %%rax\n"
		     "\trolq $7, %%rdx\n\tincl shared+16(%%rip)\n\tret\n\t.cfi_endproc\n");
	for (func = 0; func < functions; func++) {
		function();
		places[func] = place;
	}
	fprintf(out, "\t.data\n\t.p2align 3\nhelper_at: .quad helper\n\t.globl shared\n\t.hidden shared_\n"
		     "shared_:\n\t.type shared, @object\n\t.size shared, 256\n\t.globl shared_at\n");
	fprintf(out, "\t.local shared\nshared:\n\t.skip 256, 0x5a\nshared_at: .quad shared\n\t.globl places\nplaces:\n");
	for (func = 0; func < functions; func++)
		for (i = 0; i < places[func]; i++)
			fprintf(out, "\t.quad %u, .Lp%u_%u\n", func, func, i);
	fprintf(out, "\t.quad 0, 0\n\t.section .note.GNU-stack, \"\", @progbits\n");
}
