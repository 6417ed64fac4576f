/* SPDX-License-Identifier: MIT */
/* src/code on AArch64: safe copies, regions, the pool. Prints TAP. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "code/a64.h"
#include "code/code.h"
#include "code/pool.h"

static int number, failed;

static void ok(bool good, const char *name)
{
	failed += !good;
	printf("%s %d - %s\n", good ? "ok" : "not ok", ++number, name);
}

static void copies(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	char *p = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char out[100];
	bool good = true;

	mprotect(p + page, page, PROT_NONE);
	for (size_t n = 0; n <= 64; n++) {
		memset(p + page - n, (int)n + 1, n);
		memset(out, 0, sizeof(out));
		good = good && !code_copy_safe(out, p + page - n, n) &&
		       !memcmp(out, p + page - n, n) && !out[n];
	}
	ok(good, "copies_of_any_length_up_to_a_bad_page");
	ok(code_copy_safe(out, p + page - 5, 6) == -EFAULT &&
		   code_copy_safe(out, p + page, 40) == -EFAULT &&
		   code_copy_safe(p + page, out, 1) == -EFAULT &&
		   code_copy_safe(out, NULL, 1) == -EFAULT,
	   "copies_from_and_to_bad_addresses_are_efault");
	memcpy(p + page - 4, "abc", 4);
	ok(code_copy_string_safe(out, p + page - 4, 50) == 4 && !strcmp(out, "abc"),
	   "string_with_its_nul");
	ok(code_copy_string_safe(out, p + page - 4, 2) == 2, "string_cut_at_its_limit");
	p[page - 1] = 'd';
	ok(code_copy_string_safe(out, p + page - 4, 50) == -EFAULT,
	   "string_that_runs_into_a_bad_page");
}

/* mov w0, #n; ret */
static void returning(u32 *code, u32 n)
{
	code[0] = 0x52800000 | n << 5;
	code[1] = 0xd65f03c0;
}

static int run(const void *code)
{
	int (*fn)(void);

	memcpy(&fn, &code, sizeof(fn));
	return fn();
}

static void regions(void)
{
	struct code_region *r;
	const void *piece;
	u32 code[2];
	int err = code_alloc(8, NULL, &r);

	ok(!err && code_write(r), "region_is_made");
	if (!err) {
		returning((u32 *)(void *)code_write(r), 42);
		ok(!code_seal(r) && run(code_addr(r)) == 42 && !code_write(r),
		   "sealed_region_runs");
		code_free(r);
	}
	returning(code, 7);
	piece = code_pool_add(code, sizeof(code));
	ok(piece && run(piece) == 7, "piece_of_the_pool_runs");
	returning(code, 8);
	piece = code_pool_add(code, sizeof(code));
	ok(piece && run(piece) == 8, "next_piece_of_the_pool_runs");
}

/* ---- the emitter against the assembler ------------------------------------------------------- */

extern const u8 want_start[], want_end[];
__asm__("	.pushsection .rodata\n"
	"	.globl want_start, want_end\n"
	"	.p2align 2\n"
	"want_start:\n"
	"	bti c\n"
	"	bti jc\n"
	"	mov x3, x17\n"
	"	movz x9, #0x1234\n"
	"	movz x10, #0\n"
	"	movk x10, #0xffff, lsl #16\n"
	"	movk x10, #0x8000, lsl #48\n"
	"	add x0, sp, #0\n"
	"	add x1, x29, #4095\n"
	"	add sp, sp, #16, lsl #12\n"
	"	sub sp, sp, #1, lsl #12\n"
	"	sub sp, sp, #16\n"
	"	orr x4, x4, x10, lsl #24\n"
	"	lsr x0, x0, #32\n"
	"	sxtb x0, w0\n"
	"	ubfx x1, x2, #0, #16\n"
	"	sxtw x7, w7\n"
	"	ldrb w5, [x14, #4095]\n"
	"	ldrh w5, [x14, #2]\n"
	"	ldr w5, [x14, #16380]\n"
	"	ldr x5, [sp, #32760]\n"
	"	ldur x5, [x29, #-16]\n"
	"	ldur w5, [x14, #3]\n"
	"	add x16, x14, #8, lsl #12\n"
	"	ldr x5, [x16]\n"
	"	ldrsb x6, [x14, #1]\n"
	"	ldrsh x6, [x14]\n"
	"	ldrsw x6, [x14, #4]\n"
	"	ldr x6, [x14]\n"
	"	strb w7, [sp, #3]\n"
	"	strh w7, [sp, #6]\n"
	"	str w7, [sp, #8]\n"
	"	stur x7, [sp, #1]\n"
	"	ldr s3, [x14, #4]\n"
	"	ldr d3, [x14, #8]\n"
	"	ldr q31, [x14, #65520]\n"
	"	ldur q3, [x14, #-4]\n"
	"	str s4, [sp, #12]\n"
	"	str d4, [sp, #16]\n"
	"	str q4, [sp, #48]\n"
	"	stp x29, x30, [sp, #-16]!\n"
	"	mov x29, sp\n"
	"	mov sp, x29\n"
	"	ldp x29, x30, [sp], #16\n"
	"	ret\n"
	"	blr x12\n"
	"	cbz x10, 1f\n"
	"	cbnz x8, 1f\n"
	"	movz x11, #20\n"
	"2:	ldr q16, [x10], #16\n"
	"	str q16, [x9], #16\n"
	"	subs x11, x11, #1\n"
	"	b.ne 2b\n"
	"1:\n"
	"want_end:\n"
	"	.popsection\n");

static void emit_moves(struct a64_buf *b)
{
	a64_bti(b, false);
	a64_bti(b, true);
	a64_mov_rr(b, 3, 17);
	a64_mov_ri(b, 9, 0x1234);
	a64_mov_ri(b, 10, 0x80000000ffff0000);
	a64_add_ri(b, 0, A64_SP, 0);
	a64_add_ri(b, 1, A64_X29, 4095);
	a64_add_ri(b, A64_SP, A64_SP, 65536);
	a64_add_ri(b, A64_SP, A64_SP, -4112);
	a64_orr_lsl(b, 4, 4, 10, 24);
	a64_lsr(b, 0, 0, 32);
	a64_extend(b, 0, 0, 1, true);
	a64_extend(b, 1, 2, 2, false);
	a64_extend(b, 7, 7, 4, true);
}

static void emit_memory(struct a64_buf *b)
{
	a64_load(b, 1, 5, 14, 4095);
	a64_load(b, 2, 5, 14, 2);
	a64_load(b, 4, 5, 14, 16380);
	a64_load(b, 8, 5, A64_SP, 32760);
	a64_load(b, 8, 5, A64_X29, -16);
	a64_load(b, 4, 5, 14, 3);
	a64_load(b, 8, 5, 14, 32768);
	a64_load_sx(b, 1, 6, 14, 1);
	a64_load_sx(b, 2, 6, 14, 0);
	a64_load_sx(b, 4, 6, 14, 4);
	a64_load_sx(b, 8, 6, 14, 0);
	a64_store(b, 1, 7, A64_SP, 3);
	a64_store(b, 2, 7, A64_SP, 6);
	a64_store(b, 4, 7, A64_SP, 8);
	a64_store(b, 8, 7, A64_SP, 1);
	a64_vload(b, 4, 3, 14, 4);
	a64_vload(b, 8, 3, 14, 8);
	a64_vload(b, 16, 31, 14, 65520);
	a64_vload(b, 16, 3, 14, -4);
	a64_vstore(b, 4, 4, A64_SP, 12);
	a64_vstore(b, 8, 4, A64_SP, 16);
	a64_vstore(b, 16, 4, A64_SP, 48);
}

static void emitter(void)
{
	struct a64_buf b = { 0 };
	size_t zero, not_zero, i = 0, n = (size_t)(want_end - want_start);

	emit_moves(&b);
	emit_memory(&b);
	a64_push_frame(&b);
	a64_pop_frame(&b);
	a64_blr(&b, 12);
	zero = a64_cbz(&b, 10);
	not_zero = a64_cbnz(&b, 8);
	a64_copy_loop(&b, 9, 10, 11, 20);
	a64_land(&b, zero);
	a64_land(&b, not_zero);
	while (i < n && i < b.len && b.data[i] == want_start[i])
		i++;
	if (i < n)
		printf("# instruction %zu differs\n", i / 4);
	ok(i == n && b.len == n, "emitter_encodes_as_the_assembler_does");
	base_free(b.data);
}

static sigjmp_buf back;

static void on_host_signal(int sig)
{
	siglongjmp(back, sig);
}

static void host_handler(void)
{
	struct sigaction act = { .sa_handler = on_host_signal };
	volatile int *bad = NULL;

	ok(code_fault_owns(SIGSEGV) && !code_fault_host_action(SIGSEGV, &act, NULL),
	   "signals_are_owned");
	if (!sigsetjmp(back, 1)) {
		*bad = 1;
		ok(false, "fault_elsewhere_goes_to_the_host");
	} else {
		ok(true, "fault_elsewhere_goes_to_the_host");
	}
}

int main(void)
{
	copies();
	regions();
	emitter();
	host_handler();
	printf("1..%d\n", number);
	return failed != 0;
}
