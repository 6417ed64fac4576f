/* SPDX-License-Identifier: MIT */
/*
 * No page is writable and executable, at no moment: where tests are confined (confine.c) such memory cannot be
 * had, and code is made, shared, placed and patched nevertheless.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "attach/attach_int.h"
#include "code/code.h"
#include "code/pool.h"
#include "test.h"

static const u8 ret42[] = { 0xb8, 42, 0, 0, 0, 0xc3 }; /* mov eax, 42; ret */

static int call(const void *code)
{
	return ((int (*)(void))(uintptr_t)code)();
}

static void assert_nothing_writable_and_executable(void)
{
	FILE *f = fopen("/proc/self/maps", "r");
	char line[512], perms[8];

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%*s %7s", perms) == 1 && perms[1] == 'w' && perms[2] == 'x')
			fail_msg("writable and executable: %s", line);
	fclose(f);
}

static void code_of_all_kinds_is_made_without_memory_that_is_both(void **state)
{
	struct code_region *r;
	const void *piece;
	u8 *room;

	(void)state;
	assert_int_equal(code_alloc(sizeof(ret42), NULL, &r), 0);
	memcpy(code_write(r), ret42, sizeof(ret42));
	assert_nothing_writable_and_executable();
	assert_int_equal(code_seal(r), 0);
	piece = code_pool_add(ret42, sizeof(ret42));
	assert_non_null(piece);
	room = area_alloc((const void *)(uintptr_t)call, sizeof(ret42));
	assert_non_null(room);
	assert_int_equal(area_write(room, ret42, sizeof(ret42)), 0);
	assert_int_equal(call(code_addr(r)) + call(piece) + call(room), 3 * 42);
	assert_nothing_writable_and_executable();
	code_free(r);
}

/* ---- patching where /proc/self/mem is not to be had -------------------------------------------- */

/* The constant is patched; nothing else is on its page. */
__attribute__((noinline, noclone, aligned(4096))) static int patched(void)
{
	int n;

	__asm__ volatile("movl $0x11111111, %0" : "=r"(n));
	return n;
}
__attribute__((noinline, noclone, used, aligned(4096))) static int behind(void)
{
	return 1;
}

static atomic_bool stop;

static void *run(void *arg)
{
	int (*volatile f)(void) = patched;
	atomic_uint *others = arg;

	while (!atomic_load(&stop)) {
		int n = f();

		if (n != 0x11111111 && n != 0x22222222)
			atomic_fetch_add(others, 1);
	}
	return NULL;
}

static u8 *constant(void)
{
	u8 *p = (u8 *)(uintptr_t)patched;

	for (u32 i = 0; i < 64; i++)
		if (!memcmp(p + i, "\x11\x11\x11\x11", 4))
			return p + i;
	return NULL;
}

static void code_that_runs_is_patched_where_memory_cannot_be_forced(void **state)
{
	u8 *at = constant();
	struct rlimit all, none;
	atomic_uint others = 0;
	pthread_t t;

	(void)state;
	assert_non_null(at);
	assert_int_equal(pthread_create(&t, NULL, run, &others), 0);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &all), 0);
	none = (struct rlimit){ 0, all.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	for (u32 i = 0; i < 200; i++) {
		int err = area_write(at, i & 1 ? "\x11\x11\x11\x11" : "\x22\x22\x22\x22", 4);

		if (err || patched() != (i & 1 ? 0x11111111 : 0x22222222))
			atomic_fetch_add(&others, 1);
	}
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &all), 0);
	atomic_store(&stop, true);
	pthread_join(t, NULL);
	assert_int_equal(atomic_load(&others), 0);
	assert_int_equal(behind(), 1);
	assert_nothing_writable_and_executable();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(code_of_all_kinds_is_made_without_memory_that_is_both),
		cmocka_unit_test(code_that_runs_is_patched_where_memory_cannot_be_forced),
	};
	void *both = mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (both != MAP_FAILED) {
		munmap(both, 4096);
		return skip_all("not confined: the system gives memory that is both");
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
