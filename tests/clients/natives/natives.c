/* SPDX-License-Identifier: MIT */
/*
 * Native functions as a host has them, called from programs that clang compiled: what keeps the rules runs and
 * gives what C gives; what breaks one is refused with the argument and the rule.   natives natives.bpf.o
 */
#include "test.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <ferry/ferry.h>
#include <stdio.h>

#include "one.h"
#include "things.h"

/* ---- the host ---------------------------------------------------------------------------------- */

static struct header headers = { 2, { 10, 20, 30 } };
static struct req second = { 8, "/second", &headers, NULL };
static struct req first = { 7, "/first", &headers, &second };
static int held;
static char said[128];

static struct req *req_get(int id)
{
	if (id < 0)
		return NULL;
	held++;
	return &first;
}
static void req_put(struct req *r) { held -= r == &first; }
static struct req *req_next(struct req *r) { return r->next; }
static const void *req_body(struct req *r, unsigned int n) { (void)r, (void)n; return "0123456789"; }
static const char *req_name(const struct req *r) { return r->uri; }
static int req_same(const struct req *a, const struct req *b) { return a == b; }
static unsigned long name_length(const char *s) { return strlen(s); }
static int set_mode(enum mode m) { return (int)m * 10; }
static int digit(int n) { return "0123456789"[n]; }
static long sum(const int *v, unsigned int n)
{
	long s = 0;

	while (n--)
		s += v[n];
	return s;
}
static double scale(double x, int k, float f) { return x * k + (double)f * 100; }
static struct plane plane_mid(struct plane a, struct plane b)
{
	return (struct plane){ (a.x + b.x) / 2, (a.y + b.y) / 2 };
}
static struct tag tag_make(char c) { return (struct tag){ { c, (char)(c + 1), (char)(c + 2) } }; }
static long cube_sum(int n, struct cube c) { return n + c.side[0] + c.side[1] + c.side[2] + c.side[3] + c.side[4]; }
static struct cube cube_make(long s) { return (struct cube){ { s, s + 1, s + 2, s + 3, s + 4 } }; }
static struct mixed mixed_make(int a, double d) { return (struct mixed){ a + 1, d * 2 }; }
static long many(signed char a, short b, int c, double d, float e, const struct header *h, struct plane p,
		 const char *s)
{
	return a + b + c + (long)(d * 100) + (long)(e * 1000) + h->count + (long)(p.x + p.y) + (long)strlen(s);
}
static int say(const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(said, sizeof(said), fmt, ap);
	va_end(ap);
	return n;
}
static int ctx_id(void *ctx) { return *(int *)ctx * 2; }

static const char types[] =
	"struct header { int count; int sizes[3]; };"
	"struct req { int id; const char *uri; struct header *headers; struct req *next; };"
	"struct plane { double x, y; }; struct tag { char c[3]; }; struct cube { long side[5]; };"
	"struct mixed { int a; double d; }; struct input { int n; }; enum mode { FAST = 1, SLOW = 4, OFF = 9 };";

static const struct ferry_func funcs[] = {
	FERRY_FUNC("struct req *req_get(int id)", req_get, FERRY_ACQUIRE | FERRY_RET_NULL),
	FERRY_FUNC("void req_put(struct req *r)", req_put, FERRY_RELEASE),
	FERRY_FUNC("struct req *req_next(struct req *r __owner) __nullable", req_next),
	FERRY_FUNC("const void *req_body(struct req *r __owner, unsigned n) __size(n)", req_body),
	FERRY_FUNC("const char *req_name(const struct req *r __owner) __str", req_name),
	FERRY_FUNC("int req_same(const struct req *a, const struct req *b)", req_same),
	FERRY_FUNC("unsigned long name_length(const char *s __str)", name_length),
	FERRY_FUNC("unsigned long name_checked(const char *s __str __check)", name_length),
	FERRY_FUNC("int set_mode(enum mode m)", set_mode),
	FERRY_FUNC("int set_mode_checked(enum mode m __check)", set_mode),
	FERRY_FUNC("int digit(int n __range(0, 9))", digit),
	FERRY_FUNC("int digit_checked(int n __range(0, 9) __check)", digit),
	FERRY_FUNC("long sum(const int *v __count(n), unsigned n)", sum),
	FERRY_FUNC("double scale(double x, int k, float f)", scale),
	FERRY_FUNC("struct plane plane_mid(struct plane a, struct plane b)", plane_mid),
	FERRY_FUNC("struct tag tag_make(char c)", tag_make),
	FERRY_FUNC("long cube_sum(int first, struct cube c)", cube_sum),
	FERRY_FUNC("struct cube cube_make(long side)", cube_make),
	FERRY_FUNC("struct mixed mixed_make(int a, double d)", mixed_make),
	FERRY_FUNC("long many(signed char a, short b, int c, double d, float e, const struct header *h, "
		   "struct plane p, const char *s __str)", many),
	FERRY_FUNC("int say(const char *fmt, ...)", say),
	FERRY_FUNC("int ctx_id(struct input *ctx __ctx)", ctx_id),
};

/* ---- expectations ------------------------------------------------------------------------------ */

static const struct {
	const char *prog;
	int in, want;      /* runs */
	const char *rule;  /* or is refused */
} cases[] = {
	{ "object_read", 0, 2 + 20 + 7, NULL },
	{ "object_null", 0, 5, NULL },
	{ "object_body", 0, '7', NULL },
	{ "object_name", 0, 6, NULL },
	{ "object_unchecked", 0, 0, "invalid mem access 'trusted_ptr_or_null_" },
	{ "object_leaked", 0, 0, "Unreleased reference" },
	{ "object_leaked_on_one_path", 0, 0, "Unreleased reference" },
	{ "object_released_twice", 0, 0, "!read_ok" },
	{ "object_used_after_release", 0, 0, "!read_ok" },
	{ "object_returned_after_release", 0, 0, "!read_ok" },
	{ "object_body_after_release", 0, 0, "!read_ok" },
	{ "object_body_too_far", 0, 0, "mem_size=8 off=8 size=1" },
	{ "object_forged_from_number", 0, 0, "arg#0 of req_put() (R1, scalar, r): expects an object of the host's" },
	{ "object_forged_on_stack", 0, 0, "arg#0 of req_same() (R1, fp, a): expects an object of the host's" },
	{ "object_moved", 0, 0, "arg#0 of req_put()" },
	{ "object_borrowed_released", 0, 0, "req_put expects refcounted pointer" },
	{ "object_walked_is_no_handle", 0, 0, "arg#1 of req_same()" },
	{ "object_to_map", 0, 0, "leaks addr into map" },
	{ "object_member_to_map", 0, 0, "leaks addr into map" },
	{ "object_half_returned", 0, 0, "pointer arithmetic with this operator prohibited" },
	{ "range_in", 9, '9', NULL },
	{ "range_off_by_one", 0, 0, "arg#0 of digit() (R1, scalar, n): not proved to be in [0, 9]" },
	{ "range_checked", 9, '9', NULL },
	{ "range_checked", 10, -EINVAL, NULL },
	{ "range_checked", -1, -EINVAL, NULL },
	{ "enum_in", 1, 10, NULL },
	{ "enum_out", 0, 0, "arg#0 of set_mode() (R1, scalar, m): not proved to be one of the 3 values" },
	{ "enum_checked", 9, 90, NULL },
	{ "enum_checked", 5, -EINVAL, NULL },
	{ "string_in", 0, 5, NULL },
	{ "string_without_end", 0, 0, "not known to be zero-terminated" },
	{ "string_in_map", 0, 0, "in the call of name_length(), argument 1, s" },
	{ "string_checked", 0, 7, NULL },
	{ "count_in", 0, 10, NULL },
	{ "count_out", 0, 0, "in the call of sum(), argument 1, v" },
	{ "count_wraps", 0, 0, "R2 unbounded memory access" },
	{ "count_of_another", 0, 0, "R2 unbounded memory access" },
	{ "doubles", 0, 6 + 225, NULL },
	{ "struct_sse", 0, 305, NULL },
	{ "struct_small", 0, 'a' * 3 + 3, NULL },
	{ "struct_memory", 0, 100 + 3 + 4 + 5 + 6 + 7, NULL },
	{ "struct_two_classes", 0, 55, NULL },
	{ "struct_half_initialised", 0, 0, "in the call of plane_mid(), argument 1, a" },
	{ "struct_result_too_small", 0, 0, "the memory for its result, a struct of 40 bytes" },
	{ "many_in", 0, -1 + 200 + 3 + 50 + 250 + 1000 + 48 + 3, NULL },
	{ "many_in_map", 0, 0, "struct many_args, have to be on the stack" },
	{ "many_bad_pointer", 0, 0, "in the call of many(), argument 6, h" },
	{ "format", 3, 19, NULL },
	{ "format_string_is_number", 0, 0, "R2 type=scalar" },
	{ "format_writes", 0, 0, "has a conversion that programs may not use" },
	{ "format_too_many", 0, 0, "more arguments than five registers hold" },
	{ "context", 21, 42, NULL },
	{ "context_moved", 0, 0, "arg#0 of ctx_id() (R1, ctx, ctx): is not the context" },
};

static const char *object_file;

static void calls_give_what_c_gives_and_broken_rules_are_refused(void **state)
{
	struct bpf_object *obj;
	uint64_t ret;
	size_t i;
	int fd, bad = 0;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int in[8] = { cases[i].in };

		obj = load_one(object_file, cases[i].prog, &fd);
		if ((!cases[i].rule && fd < 0) ||
		    (cases[i].rule && (fd >= 0 || !strstr(one_log, cases[i].rule)))) {
			print_error("%s: wanted '%s': %.3000s", cases[i].prog,
				    cases[i].rule ? cases[i].rule : "that it runs", one_log);
			bad++;
		}
		if (fd >= 0) {
			assert_int_equal(ferry_prog_run(fd, in, sizeof(in), &ret), 0);
			if (!cases[i].rule && (int)ret != cases[i].want) {
				print_error("%s(%d): %d, wanted %d\n", cases[i].prog, cases[i].in, (int)ret,
					    cases[i].want);
				bad++;
			}
		}
		bpf_object__close(obj);
	}
	assert_int_equal(bad, 0);
	assert_int_equal(held, 0);
}

static void formats_print_what_printf_prints(void **state)
{
	struct bpf_object *obj;
	int fd, in[8] = { -3 };
	uint64_t ret;

	(void)state;
	obj = load_one(object_file, "format", &fd);
	assert_true(fd >= 0);
	assert_int_equal(ferry_prog_run(fd, in, sizeof(in), &ret), 0);
	assert_string_equal(said, "ferry has -3 of 0.50");
	bpf_object__close(obj);
}

/* Seven bytes without an end, then whatever: looked for no further than the map's value goes. */
static void strings_without_an_end_are_not_passed_on(void **state)
{
	struct bpf_object *obj;
	int fd, in[8] = { 1 };
	uint64_t ret = 1;

	(void)state;
	obj = load_one(object_file, "string_checked", &fd);
	assert_true(fd >= 0);
	assert_int_equal(ferry_prog_run(fd, in, sizeof(in), &ret), 0);
	/* `out' and `n' hold ones without a zero in the first four bytes, `out' zeros above. */
	assert_true(ret == 12 || ret == 0);
	bpf_object__close(obj);
}

static uint64_t run_in(struct bpf_object *obj, const char *name)
{
	uint64_t ret = 0;
	int in = 1;

	assert_int_equal(ferry_prog_run(bpf_program__fd(bpf_object__find_program_by_name(obj, name)), &in, sizeof(in), &ret), 0);
	return ret;
}

/* The programs of kptrs, loaded alone. */
static struct bpf_object *load_kptrs(int *map)
{
	struct bpf_object *obj = bpf_object__open_file(object_file, NULL);
	struct bpf_program *p;

	assert_non_null(obj);
	bpf_object__for_each_program(p, obj) bpf_program__set_autoload(p, !strncmp(bpf_program__name(p), "kptr_", 5));
	assert_int_equal(bpf_object__load(obj), 0);
	*map = bpf_object__find_map_fd_by_name(obj, "kept");
	return obj;
}

static void maps_own_the_objects_in_their_values(void **state)
{
	long zero[2] = { 0 }, value[2] = { 5, (long)0xbad0bad0bad0 };
	unsigned key = 1;
	struct bpf_object *obj;
	int map, i;

	(void)state;
	held = 0;
	obj = load_kptrs(&map);
	/* What a user writes there is no pointer. */
	assert_int_equal(bpf_map_update_elem(map, &key, value, 0), 0);
	assert_int_equal(run_in(obj, "kptr_read"), 0);
	for (i = 0; i < 3; i++) {
		assert_int_equal(run_in(obj, "kptr_put"), i > 0);
		assert_int_equal(held, 1); /* the one before was given back */
		assert_int_equal(run_in(obj, "kptr_read"), 7);
	}
	assert_int_equal(bpf_map_lookup_elem(map, &key, value), 0);
	assert_int_equal(value[0], 5);
	assert_int_equal(value[1], 0);
	assert_int_equal(bpf_map_delete_elem(map, &key), 0);
	assert_int_equal(held, 0);
	assert_int_equal(bpf_map_update_elem(map, &key, zero, 0), 0);
	assert_int_equal(run_in(obj, "kptr_put"), 0);
	assert_int_equal(bpf_map_update_elem(map, &key, zero, 0), 0); /* another element in its place */
	assert_int_equal(held, 0);
	assert_int_equal(run_in(obj, "kptr_put"), 0);
	assert_int_equal(run_in(obj, "kptr_take"), 7);
	assert_int_equal(held, 0);
	assert_int_equal(run_in(obj, "kptr_put"), 0);
	assert_int_equal(bpf_map_update_elem(map, &key, zero, BPF_NOEXIST), -EEXIST);
	assert_int_equal(held, 1);
	bpf_object__close(obj);
	assert_int_equal(held, 0);
}

/* The descriptor may get to another process: it reaches no memory that programs follow pointers in. */
static void what_a_descriptor_reaches_holds_no_objects(void **state)
{
	char page[4096], none[4096] = { 0 };
	unsigned key = 1, i, pages = 0;
	long zero[2] = { 0 };
	struct bpf_object *obj;
	struct stat st;
	int map, file;

	(void)state;
	obj = load_kptrs(&map);
	assert_int_equal(bpf_map_update_elem(map, &key, zero, 0), 0);
	assert_int_equal(run_in(obj, "kptr_put"), 0);
	snprintf(page, sizeof(page), "/proc/self/fd/%d", map);
	file = open(page, O_RDWR);
	assert_true(file >= 0);
	assert_int_equal(fstat(file, &st), 0);
	memset(none, 0xa5, sizeof(none));
	for (i = 0; i < st.st_size / sizeof(page); i++, pages++)
		assert_int_equal(pwrite(file, none, sizeof(none), (off_t)(i * sizeof(page))), sizeof(none));
	assert_true(pages > 0);
	assert_int_equal(run_in(obj, "kptr_read"), 7);
	assert_int_equal(run_in(obj, "kptr_take"), 7);
	close(file);
	bpf_object__close(obj);
	assert_int_equal(held, 0);
}

static int quiet(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	(void)level, (void)fmt, (void)ap;
	return 0;
}
static void no_log(void *arg, int level, const char *msg)
{
	(void)arg, (void)level, (void)msg;
}

int main(int argc, char **argv)
{
	static const struct ferry_module def = { sizeof(def), "natives", types, funcs,
						 sizeof(funcs) / sizeof(funcs[0]) };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calls_give_what_c_gives_and_broken_rules_are_refused),
		cmocka_unit_test(formats_print_what_printf_prints),
		cmocka_unit_test(strings_without_an_end_are_not_passed_on),
		cmocka_unit_test(maps_own_the_objects_in_their_values),
		cmocka_unit_test(what_a_descriptor_reaches_holds_no_objects),
	};

	if (argc < 2 || ferry_module_register(&def))
		return 2;
	object_file = argv[1];
	if (argc < 3)
		libbpf_set_print(quiet);
	if (argc < 3)
		ferry_log_to(no_log, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
