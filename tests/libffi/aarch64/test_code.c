/* SPDX-License-Identifier: MIT */
/* src/code on AArch64: safe copies, regions, the pool. Prints TAP. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

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
		good = good && !code_copy_safe(out, p + page - n, n) && !memcmp(out, p + page - n, n) && !out[n];
	}
	ok(good, "copies_of_any_length_up_to_a_bad_page");
	ok(code_copy_safe(out, p + page - 5, 6) == -EFAULT && code_copy_safe(out, p + page, 40) == -EFAULT &&
	   code_copy_safe(p + page, out, 1) == -EFAULT && code_copy_safe(out, NULL, 1) == -EFAULT,
	   "copies_from_and_to_bad_addresses_are_efault");
	memcpy(p + page - 4, "abc", 4);
	ok(code_copy_string_safe(out, p + page - 4, 50) == 4 && !strcmp(out, "abc"), "string_with_its_nul");
	ok(code_copy_string_safe(out, p + page - 4, 2) == 2, "string_cut_at_its_limit");
	p[page - 1] = 'd';
	ok(code_copy_string_safe(out, p + page - 4, 50) == -EFAULT, "string_that_runs_into_a_bad_page");
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
		ok(!code_seal(r) && run(code_addr(r)) == 42 && !code_write(r), "sealed_region_runs");
		code_free(r);
	}
	returning(code, 7);
	piece = code_pool_add(code, sizeof(code));
	ok(piece && run(piece) == 7, "piece_of_the_pool_runs");
	returning(code, 8);
	piece = code_pool_add(code, sizeof(code));
	ok(piece && run(piece) == 8, "next_piece_of_the_pool_runs");
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

	ok(code_fault_owns(SIGSEGV) && !code_fault_host_action(SIGSEGV, &act, NULL), "signals_are_owned");
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
	host_handler();
	printf("1..%d\n", number);
	return failed != 0;
}
