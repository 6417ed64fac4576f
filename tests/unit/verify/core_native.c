/* SPDX-License-Identifier: MIT */
/* Native functions: what a program has to prove for each kind of argument. */
#include "core.h"

#include "module/module.h"

#define XDP BPF_PROG_TYPE_XDP

/* Never run: only the prototypes matter. */
static void never(void)
{
}
#define FN(prototype, ...) { prototype, never, __VA_ARGS__ }

static const struct ferry_func funcs[] = {
	FN("int add(int x, int y)", 0),
	FN("int sum(const void *mem, uint32_t mem__sz)", 0),
	FN("int fill(void *mem, uint32_t mem__sz)", 0),
	FN("int make(void *mem__uninit, uint32_t mem__sz)", 0),
	FN("int norm(const struct point *p)", 0),
	FN("int move(struct point *p)", 0),
	FN("int maybe(const struct point *p__nullable)", 0),
	FN("int konst(int x__k)", 0),
	FN("int length(const char *s__str)", 0),
	FN("int wait(void)", FERRY_SLEEPABLE),
	FN("int fixed(const void *mem, uint32_t mem__szk)", 0),
};
enum { ADD, SUM, FILL, MAKE, NORM, MOVE, MAYBE, KONST, LENGTH, WAIT, FIXED };

static const struct ferry_module def = {
	sizeof(def), "core_native", "struct point { long x, y; };", funcs, ARRAY_SIZE(funcs),
};
static struct module *mod;

static int setup(void **state)
{
	struct text why = { 0 };

	(void)state;
	if (module_register(&def, &mod, &why))
		fail_msg("%s", text_str(&why));
	text_free(&why);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return module_unregister("core_native");
}

/* `call kfunc N` in the source calls funcs[N]. */
static int verdict(u32 type, const char *source, const char **log)
{
	static char buf[8192];
	struct core c;
	u32 i;
	int err;

	core_open(&c, type, source);
	c.p->natives = base_array(ARRAY_SIZE(funcs), sizeof(*c.p->natives));
	assert_non_null(c.p->natives);
	for (i = 0; i < ARRAY_SIZE(funcs); i++) {
		c.p->natives[i] = &mod->funcs[i];
		module_get(mod);
	}
	c.p->nnatives = ARRAY_SIZE(funcs);
	err = core_verify(&c);
	snprintf(buf, sizeof(buf), "%s", text_str(&c.log));
	core_close(&c);
	*log = buf;
	return err;
}

struct native_case {
	const char *source, *error; /* NULL: accepted */
};

static void check(const struct native_case *cases, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		const char *log;
		int err = verdict(XDP, cases[i].source, &log);

		if (!err != !cases[i].error || (err && !strstr(log, cases[i].error)))
			fail_msg("gave %d: %s", err, log);
	}
}

static void integers_have_to_be_numbers(void **state)
{
	static const struct native_case cases[] = {
		{ "r1 = 1\nr2 = 2\ncall kfunc 0\nexit\n", NULL },
		{ "r2 = 2\ncall kfunc 0\nexit\n", "is not a scalar" },
		{ "r1 = 1\ncall kfunc 0\nexit\n", "R2 !read_ok" },
		{ "r1 = 1\nr2 = 2\ncall kfunc 0\nr0 = r1\nexit\n", "R1 !read_ok" },
		{ "r1 = 1\ncall kfunc 7\nexit\n", NULL },
		{ "r1 = *(u32 *)(r1 +12)\ncall kfunc 7\nexit\n", "R1 must be a known constant" },
	};

	(void)state;
	check(cases, ARRAY_SIZE(cases));
}

static void memory_has_the_size_that_is_passed(void **state)
{
	static const struct native_case cases[] = {
		{ "*(u64 *)(r10 -8) = 0\nr1 = r10\nr1 += -8\nr2 = 8\ncall kfunc 1\nexit\n", NULL },
		{ "*(u64 *)(r10 -8) = 0\nr1 = r10\nr1 += -8\nr2 = 9\ncall kfunc 1\nexit\n",
		  "invalid read from stack" },
		{ "r1 = r10\nr1 += -8\nr2 = 8\ncall kfunc 1\nexit\n", "invalid read from stack" },
		{ "r1 = r10\nr1 += -8\nr2 = 8\ncall kfunc 2\nexit\n", "invalid read from stack" },
		/* What the callee writes all of need not be initialised, and is afterwards. */
		{ "r1 = r10\nr1 += -8\nr2 = 8\ncall kfunc 3\nr0 = *(u64 *)(r10 -8)\nexit\n", NULL },
		{ "r2 = *(u32 *)(r1 +12)\nr2 &= 8\nr1 = r10\nr1 += -8\ncall kfunc 3\nr0 = 0\nexit\n",
		  "invalid read from stack" },
		{ "r2 = *(u32 *)(r1 +12)\nr1 = map_value[5]+0 ll\ncall kfunc 1\nexit\n", "R2 " },
		{ "r2 = *(u32 *)(r1 +12)\nr2 &= 63\nr1 = map_value[5]+0 ll\ncall kfunc 1\nexit\n", NULL },
		{ "r2 = -1\nr1 = map_value[5]+0 ll\ncall kfunc 1\nexit\n", "R2 min value is negative" },
		{ "r2 = 0xffffffff ll\nr1 = map_value[5]+0 ll\ncall kfunc 1\nexit\n", "" },
		/* Read-only memory may be read and not written. */
		{ "r2 = 8\nr1 = map_value[4]+0 ll\ncall kfunc 1\nexit\n", NULL },
		{ "r2 = 8\nr1 = map_value[4]+0 ll\ncall kfunc 2\nexit\n", "write into map forbidden" },
		{ "r1 = 0\nr2 = 8\ncall kfunc 1\nexit\n", "R1 type=scalar" },
		{ "r2 = 8\nr1 = map_value[5]+0 ll\ncall kfunc 10\nexit\n", NULL },
		{ "r2 = *(u32 *)(r1 +12)\nr2 &= 7\nr1 = map_value[5]+0 ll\ncall kfunc 10\nexit\n",
		  "R2 must be a known constant" },
	};

	(void)state;
	check(cases, ARRAY_SIZE(cases));
}

static void what_a_callee_may_write_is_no_longer_known(void **state)
{
	static const struct native_case cases[] = {
		{ "*(u64 *)(r10 -8) = 3\nr1 = r10\nr1 += -8\nr2 = 8\ncall kfunc 1\nr1 = map_value[5]+0 ll\n"
		  "r2 = *(u64 *)(r10 -8)\nr1 += r2\nr0 = *(u8 *)(r1 +0)\nexit\n", NULL },
		{ "*(u64 *)(r10 -8) = 3\nr1 = r10\nr1 += -8\nr2 = 8\ncall kfunc 2\nr1 = map_value[5]+0 ll\n"
		  "r2 = *(u64 *)(r10 -8)\nr1 += r2\nr0 = *(u8 *)(r1 +0)\nexit\n", "unbounded" },
		/* A pointer in it is lost too. */
		{ "*(u64 *)(r10 -8) = r1\nr1 = r10\nr1 += -8\nr2 = 8\ncall kfunc 2\nr1 = *(u64 *)(r10 -8)\n"
		  "r0 = *(u32 *)(r1 +12)\nexit\n", "invalid mem access 'scalar'" },
	};

	(void)state;
	check(cases, ARRAY_SIZE(cases));
}

static void pointers_to_structs_need_the_whole_struct(void **state)
{
	static const struct native_case cases[] = {
		{ "r1 = map_value[5]+48 ll\ncall kfunc 4\nexit\n", NULL },
		{ "r1 = map_value[5]+56 ll\ncall kfunc 4\nexit\n", "invalid access to map value" },
		{ "r1 = map_value[4]+0 ll\ncall kfunc 5\nexit\n", "write into map forbidden" },
		{ "r1 = 0\ncall kfunc 4\nexit\n", "R1 type=scalar" },
		{ "r1 = 0\ncall kfunc 6\nexit\n", NULL },
		{ "r1 = 1\ncall kfunc 6\nexit\n", "R1 type=scalar" },
		{ "*(u64 *)(r10 -8) = 9\nr2 = r10\nr2 += -8\nr1 = map[1] ll\ncall 1\nr1 = r0\ncall kfunc 4\n"
		  "exit\n", "possibly NULL pointer" },
		{ "*(u64 *)(r10 -8) = 9\nr2 = r10\nr2 += -8\nr1 = map[1] ll\ncall 1\nr1 = r0\ncall kfunc 6\n"
		  "exit\n", NULL },
	};

	(void)state;
	check(cases, ARRAY_SIZE(cases));
}

static void strings_end_with_a_zero_that_is_known(void **state)
{
	static const struct native_case cases[] = {
		{ "r1 = map_value[4]+8 ll\ncall kfunc 8\nexit\n", NULL },
		{ "r1 = map_value[4]+24 ll\ncall kfunc 8\nexit\n", "not zero-terminated" },
		{ "r1 = map_value[5]+0 ll\ncall kfunc 8\nexit\n", "readonly map" },
		{ "*(u64 *)(r10 -8) = 0x6f6c6c\nr1 = r10\nr1 += -8\ncall kfunc 8\nexit\n", NULL },
		{ "r2 = 0x6161616161616161 ll\n*(u64 *)(r10 -8) = r2\nr1 = r10\nr1 += -8\ncall kfunc 8\nexit\n",
		  "not known to be zero-terminated" },
		{ "r2 = *(u32 *)(r1 +12)\n*(u64 *)(r10 -8) = r2\nr1 = r10\nr1 += -8\ncall kfunc 8\nexit\n",
		  "not known to be zero-terminated" },
		{ "r2 = *(u32 *)(r1 +12)\n*(u64 *)(r10 -8) = r2\n*(u8 *)(r10 -1) = 0\nr1 = r10\nr1 += -8\n"
		  "call kfunc 8\nexit\n", NULL },
		{ "*(u8 *)(r10 -1) = 0\nr1 = r10\nr1 += -8\ncall kfunc 8\nexit\n", "invalid read from stack" },
	};

	(void)state;
	check(cases, ARRAY_SIZE(cases));
}

static void sleepable_functions_need_a_sleepable_program(void **state)
{
	const char *log;

	(void)state;
	assert_int_equal(verdict(XDP, "call kfunc 9\nexit\n", &log), -EACCES);
	assert_non_null(strstr(log, "must be sleepable"));
	assert_int_equal(verdict(BPF_PROG_TYPE_SYSCALL, "call kfunc 9\nexit\n", &log), 0);
}

static void unknown_native_functions_are_refused(void **state)
{
	const char *log;

	(void)state;
	assert_int_equal(verdict(XDP, "call kfunc 99\nexit\n", &log), -EINVAL);
	assert_int_equal(verdict(XDP, "call kfunc -1\nexit\n", &log), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(integers_have_to_be_numbers),
		cmocka_unit_test(memory_has_the_size_that_is_passed),
		cmocka_unit_test(what_a_callee_may_write_is_no_longer_known),
		cmocka_unit_test(pointers_to_structs_need_the_whole_struct),
		cmocka_unit_test(strings_end_with_a_zero_that_is_known),
		cmocka_unit_test(sleepable_functions_need_a_sleepable_program),
		cmocka_unit_test(unknown_native_functions_are_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
