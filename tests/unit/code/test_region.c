/* SPDX-License-Identifier: MIT */
/* Executable memory: /proc/self/maps is the witness that no page is writable and executable. */
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

#include "code/code.h"
#include "code/x86.h"

/* The permissions of the mapping at `addr`, like "r-xp"; "" when nothing is there. */
static const char *perms_at(const void *addr)
{
	static char perms[8];
	unsigned long lo, hi;
	char line[512];
	FILE *f = fopen("/proc/self/maps", "r");

	assert_non_null(f);
	perms[0] = 0;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%lx-%lx %7s", &lo, &hi, perms) == 3 && (unsigned long)addr >= lo &&
		    (unsigned long)addr < hi)
			break;
		else
			perms[0] = 0;
	fclose(f);
	return perms;
}

static void assert_nothing_writable_and_executable(void)
{
	char line[512];
	FILE *f = fopen("/proc/self/maps", "r");

	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		char perms[8];

		if (sscanf(line, "%*s %7s", perms) == 1 && perms[1] == 'w' && perms[2] == 'x')
			fail_msg("writable and executable: %s", line);
	}
	fclose(f);
}

static struct code_region *region(size_t size)
{
	struct code_region *r;

	assert_int_equal(code_alloc(size, NULL, &r), 0);
	return r;
}

static const u8 ret42[] = { 0xb8, 42, 0, 0, 0, 0xc3 }; /* mov eax, 42; ret */

static void a_region_is_writable_or_executable_never_both(void **state)
{
	struct code_region *r = region(sizeof(ret42));
	u8 *w = code_write(r);

	(void)state;
	assert_non_null(w);
	memcpy(w, ret42, sizeof(ret42));
	assert_null(strchr(perms_at(w), 'x'));
	assert_nothing_writable_and_executable();
	assert_int_equal(code_seal(r), 0);
	assert_string_equal(perms_at(code_addr(r)), "r-xp");
	assert_nothing_writable_and_executable();
	assert_null(code_write(r));
	assert_int_equal(code_seal(r), -EINVAL);
	code_free(r);
}

static void sealed_code_runs(void **state)
{
	struct code_region *r = region(sizeof(ret42));

	(void)state;
	memcpy(code_write(r), ret42, sizeof(ret42));
	assert_int_equal(code_seal(r), 0);
	assert_int_equal(((int (*)(void))(uintptr_t)code_addr(r))(), 42);
	code_free(r);
}

static void guard_pages_are_at_both_ends(void **state)
{
	struct code_region *r = region(5000);
	const u8 *code = code_addr(r);

	(void)state;
	assert_int_equal(code_size(r), 5000);
	assert_string_equal(perms_at(code - 1), "---p");
	assert_string_equal(perms_at(code + 8192), "---p");
	code_free(r);
}

static void unused_room_is_traps(void **state)
{
	struct code_region *r = region(10);

	(void)state;
	memset(code_write(r), 0x90, 10);
	assert_int_equal(code_seal(r), 0);
	for (int i = 10; i < 4096; i++)
		assert_int_equal(code_addr(r)[i], 0xcc);
	code_free(r);
}

static void a_region_is_placed_within_reach(void **state)
{
	struct code_region *r[8];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(r); i++) {
		const char *near = i & 1 ? (const char *)code_alloc : (const char *)printf;
		intptr_t d;

		assert_int_equal(code_alloc(100000, near, &r[i]), 0);
		d = (intptr_t)code_addr(r[i]) - (intptr_t)near;
		assert_true(d > -0x7fff0000l && d < 0x7fff0000l);
	}
	for (size_t i = 0; i < ARRAY_SIZE(r); i++)
		code_free(r[i]);
}

static void a_size_that_cannot_be_is_enomem(void **state)
{
	struct code_region *r;

	(void)state;
	assert_int_equal(code_alloc(SIZE_MAX, NULL, &r), -ENOMEM);
	assert_int_equal(code_alloc(SIZE_MAX - 8192, NULL, &r), -ENOMEM);
	assert_int_equal(code_alloc((size_t)1 << 60, NULL, &r), -ENOMEM);
	assert_null(r);
}

static void *no_memory(void *old, size_t size)
{
	(void)old, (void)size;
	return NULL;
}

static void without_memory_it_is_enomem(void **state)
{
	void *(*real)(void *, size_t) = base_allocator;
	struct code_region *r;
	int err;

	(void)state;
	base_allocator = no_memory;
	err = code_alloc(1, NULL, &r);
	base_allocator = real;
	assert_int_equal(err, -ENOMEM);
	assert_null(r);
	code_free(NULL);
}

/* In a child, as the answer is kept: the exit status is what code_allowed() and code_alloc() say. */
static int child(const char *no_jit)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		setenv("FERRY_NO_JIT", no_jit, 1);
		execl("/proc/self/exe", "test_region", "--allowed", NULL);
		_exit(99);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WEXITSTATUS(status);
}

static void ferry_no_jit_forbids_machine_code(void **state)
{
	(void)state;
	assert_int_equal(child("1"), 1);
	assert_int_equal(child("0"), 0);
}

static int allowed(void)
{
	struct code_region *r;
	int err = code_alloc(1, NULL, &r);

	code_free(r);
	return code_allowed() ? err != 0 : err == -EPERM ? 1 : 2;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_region_is_writable_or_executable_never_both),
		cmocka_unit_test(sealed_code_runs),
		cmocka_unit_test(guard_pages_are_at_both_ends),
		cmocka_unit_test(unused_room_is_traps),
		cmocka_unit_test(a_region_is_placed_within_reach),
		cmocka_unit_test(a_size_that_cannot_be_is_enomem),
		cmocka_unit_test(without_memory_it_is_enomem),
		cmocka_unit_test(ferry_no_jit_forbids_machine_code),
	};

	if (argc > 1 && !strcmp(argv[1], "--allowed"))
		return allowed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
