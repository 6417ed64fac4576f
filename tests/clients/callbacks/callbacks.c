/* SPDX-License-Identifier: MIT */
/*
 * Subprograms as function pointers of native functions, from programs that clang compiled: what keeps the rules
 * gives what C gives, what breaks one is refused with the argument and the rule, and what attacks the host at
 * run time does it no harm.   callbacks callbacks.bpf.o
 */
#include "test.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ferry/ferry.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "one.h"

struct item {
	int key, value;
};
struct req {
	int id;
	const char *uri;
	struct req *next;
};
enum order { BEFORE = -1, SAME, AFTER };

/* ---- the host ---------------------------------------------------------------------------------- */

static struct req second = { 8, "/second", NULL }, first = { 7, "/first", &second };
static int held, depth, deepest, prog_fd = -1;
static int (*kept)(int);
static void *volatile nowhere;
static char logged[4096];

static long widths(long (*fn)(signed char, unsigned short, int, double, bool))
{
	return fn(-1, 65535, -2, 9.75, true);
}
static double apply(double (*fn)(double, float), double x) { return fn(x, 1.0f) * 2; }
static int each_req(int (*fn)(struct req *, const struct item *))
{
	struct item it = { 0, 1000 };

	return fn(&first, &it) * 10000 + fn(&first, NULL);
}
static unsigned long with_name(unsigned long (*fn)(const char *)) { return fn("ferry") + fn("ebpf") * 10; }
static unsigned long length(const char *s) { return strlen(s); }
static int fill(void (*fn)(struct item *, int))
{
	struct item it[2] = { { 0 } };

	fn(&it[0], 1);
	fn(&it[1], 2);
	return it[0].value * 100 + it[1].value + it[0].key;
}
static int maybe(int (*fn)(int), int x) { return fn ? fn(x) : -77; }
static int ask(bool (*fn)(int), int x) { return fn(x) ? 10 : 20; }
static int ordered(enum order (*fn)(int), int x) { return (int)fn(x) + 50; }
static int narrow(short (*fn)(int), int x) { return fn(x); }
static int again(int n, int (*fn)(int))
{
	int ret;

	depth++;
	deepest = depth > deepest ? depth : deepest;
	ret = fn(n);
	depth--;
	return ret;
}
static int keep(int n, int (*fn)(int))
{
	kept = fn;
	return fn(n);
}
static int call_kept(int n) { return again(n, kept); }
struct job {
	int (*fn)(int);
	int n;
};
static void *run_job(void *arg)
{
	struct job *j = arg;

	j->n = j->fn(j->n);
	return NULL;
}
static int on_thread(int n, int (*fn)(int))
{
	struct job j = { fn, n };
	pthread_t t;

	if (pthread_create(&t, NULL, run_job, &j) || pthread_join(t, NULL))
		return -1;
	return j.n;
}
/* Would take away what the caller stands on: its module, and the last descriptor of its program. */
static int leave(int n)
{
	if (n & 1)
		assert_int_equal(ferry_module_unregister("callbacks"), -EBUSY);
	if (n & 2) {
		close(prog_fd);
		prog_fd = -1;
	}
	return n + 10;
}
static struct req *req_get(int id)
{
	(void)id;
	held++;
	return &first;
}
static void req_put(struct req *r) { held -= r == &first; }
static long sum(const int *v, unsigned int n)
{
	long s = 0;

	while (n--)
		s += v[n];
	return s;
}
static int crash(int n, int (*fn)(int))
{
	kept = fn;
	if (fn(n) != n + 1)
		return -2;
	return *(volatile int *)nowhere;
}

static const char types[] =
	"struct item { int key, value; };"
	"struct req { int id; const char *uri; struct req *next; };"
	"enum order { BEFORE = -1, SAME, AFTER };";

#define CMP "int (*cmp)(const struct item *a, const struct item *b)"
static const struct ferry_func funcs[] = {
	FERRY_FUNC("void qsort(struct item *base __count(n), unsigned long n, "
		   "unsigned long size __range(8, 8), " CMP ")", qsort),
	FERRY_FUNC("const struct item *bsearch(const struct item *key, const struct item *base __count(n), "
		   "unsigned long n, unsigned long size __range(8, 8), " CMP ") __nullable", bsearch),
	FERRY_FUNC("long widths(long (*fn)(signed char a, unsigned short b, int c, double d, bool e))", widths),
	FERRY_FUNC("double apply(double (*fn)(double x, float y), double x)", apply),
	FERRY_FUNC("int each_req(int (*fn)(struct req *r, const struct item *it__nullable))", each_req),
	FERRY_FUNC("unsigned long with_name(unsigned long (*fn)(const char *s__str))", with_name),
	FERRY_FUNC("unsigned long length(const char *s __str)", length),
	FERRY_FUNC("int fill(void (*fn)(struct item *out, int i))", fill),
	FERRY_FUNC("int maybe(int (*fn)(int x) __nullable, int x)", maybe),
	FERRY_FUNC("int ask(bool (*fn)(int x), int x)", ask),
	FERRY_FUNC("int ordered(enum order (*fn)(int x), int x)", ordered),
	FERRY_FUNC("int narrow(short (*fn)(int x), int x)", narrow),
	FERRY_FUNC("int again(int n, int (*fn)(int n))", again),
	FERRY_FUNC("int keep(int n, int (*fn)(int n))", keep),
	FERRY_FUNC("int call_kept(int n)", call_kept),
	FERRY_FUNC("int on_thread(int n, int (*fn)(int n))", on_thread),
	FERRY_FUNC("int leave(int n)", leave),
	FERRY_FUNC("struct req *req_get(int id)", req_get, FERRY_ACQUIRE | FERRY_RET_NULL),
	FERRY_FUNC("void req_put(struct req *r)", req_put, FERRY_RELEASE),
	FERRY_FUNC("long sum(const int *v __count(n), unsigned n)", sum),
	FERRY_FUNC("int crash(int n, int (*fn)(int n))", crash),
};
static const struct ferry_module def = { sizeof(def), "callbacks", types, funcs,
					 sizeof(funcs) / sizeof(funcs[0]) };

/* ---- expectations ------------------------------------------------------------------------------ */

static const struct {
	const char *prog;
	int in, want;      /* runs */
	const char *rule;  /* or is refused */
} cases[] = {
	{ "sorted", 0, 1234, NULL },
	{ "found", 30, 3, NULL },
	{ "found", 35, -1, NULL },
	{ "registers_hold_the_c_types", 0, 31, NULL },
	{ "doubles_come_back", 0, -84, NULL },
	{ "objects_are_read", 0, 1078 * 10000 + 78, NULL },
	{ "strings_are_handed_on", 0, 45, NULL },
	{ "memory_is_written", 0, 714, NULL },
	{ "given", 41, 42, NULL },
	{ "not_given", 41, -77, NULL },
	{ "bool_inside", 3, 10, NULL },
	{ "bool_inside", 4, 20, NULL },
	{ "enum_inside", -9, 49, NULL },
	{ "short_inside", -100000, -32768, NULL },
	{ "short_outside", 0x12348001, -32767, NULL },
	{ "called_by_another_thread", 6, 7, NULL },
	{ "callback_acquires_and_releases", 0, 7, NULL },
	{ "size_of_its_own_object", 0, 3, NULL },
	{ "recursion", 5, 5, NULL },
	{ "const_is_written", 0, 0, "write into" },
	{ "beyond_the_struct", 0, 0, "mem_size=8 off=8 size=4" },
	{ "other_element_size", 0, 0, "arg#2 of qsort() (R3, scalar, size): not proved to be in [8, 8]" },
	{ "address_is_returned", 0, 0, "R0" },
	{ "address_goes_to_map", 0, 0, "leaks addr into map" },
	{ "nullable_is_not_compared", 0, 0, "invalid mem access 'rdonly_mem_or_null'" },
	{ "what_is_lent_is_released", 0, 0, "req_put expects refcounted pointer" },
	{ "string_is_read", 0, 0, "mem_size=0 off=0 size=1" },
	{ "bool_outside", 0, 0, "should have been in [0, 1], as native code that calls `" },
	{ "enum_outside", 0, 0, "should have been in [-1, 1], as native code that calls `" },
	{ "number_as_function", 0, 0, "arg#0 of maybe() (R1, scalar, fn): is not a function of the program" },
	{ "null_as_function", 0, 0, "arg#1 of keep() (R2, scalar, fn): is not a function of the program" },
	{ "memory_as_function", 0, 0, "arg#0 of maybe() (R1, fp, fn): is not a function of the program" },
	{ "global_function", 0, 0, "callback function not static" },
	{ "reference_is_leaked", 0, 0, "Unreleased reference" },
	{ "callers_register_is_read", 0, 0, "R6 !read_ok" },
	{ "size_of_another_object", 0, 0, "in the call of sum(), argument 1, v" },
};

static const char *object_file;

static struct bpf_object *load(const char *name, int *fd)
{
	logged[0] = '\0';
	return load_one(object_file, name, fd);
}

static int run(int fd, int n)
{
	int in[8] = { n };
	uint64_t ret;

	assert_true(fd >= 0);
	assert_int_equal(ferry_prog_run(fd, in, sizeof(in), &ret), 0);
	return (int)ret;
}

static int load_and_run(const char *name, int n)
{
	int fd, ret;
	struct bpf_object *obj = load(name, &fd);

	if (fd < 0)
		print_error("%s: %.3000s", name, one_log);
	ret = run(fd, n);
	bpf_object__close(obj);
	return ret;
}

static void callbacks_give_what_c_gives_and_broken_rules_are_refused(void **state)
{
	struct bpf_object *obj;
	int fd, ret, bad = 0;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		obj = load(cases[i].prog, &fd);
		if ((!cases[i].rule && fd < 0) ||
		    (cases[i].rule && (fd >= 0 || !strstr(one_log, cases[i].rule)))) {
			print_error("%s: wanted '%s': %.3000s", cases[i].prog,
				    cases[i].rule ? cases[i].rule : "that it runs", one_log);
			bad++;
		} else if (!cases[i].rule && (ret = run(fd, cases[i].in)) != cases[i].want) {
			print_error("%s(%d): %d, wanted %d\n", cases[i].prog, cases[i].in, ret, cases[i].want);
			bad++;
		}
		bpf_object__close(obj);
	}
	assert_int_equal(bad, 0);
	assert_int_equal(held, 0);
}

static void recursion_without_end_ends_with_a_reason(void **state)
{
	static const char *const names[] = { "endless_recursion", "endless_recursion_through_kept" };
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		deepest = 0;
		load_and_run(names[i], 1);
		assert_int_equal(depth, 0);
		assert_true(deepest > 5 && deepest < 40);
		assert_non_null(strstr(logged, "too deep"));
		/* Nothing is left of it. */
		assert_int_equal(load_and_run("recursion", 5), 5);
	}
}

static void a_pointer_that_was_kept_gives_zero_after_the_call(void **state)
{
	struct bpf_object *obj;
	int fd;

	(void)state;
	obj = load("is_kept", &fd);
	assert_int_equal(run(fd, 1), 2);
	assert_int_equal(kept(5), 0);
	assert_non_null(strstr(logged, "after the call"));
	bpf_object__close(obj);
	assert_int_equal(kept(5), 0);
	assert_int_equal(load_and_run("other_is_kept", 1), 101);
	assert_int_equal(kept(5), 0);
}

static void a_program_that_was_closed_while_it_runs_ends_well(void **state)
{
	struct bpf_object *obj;
	int fd;

	(void)state;
	obj = load("callback_leaves", &fd);
	assert_true(fd >= 0);
	prog_fd = dup(fd);
	bpf_object__close(obj);
	assert_int_equal(run(prog_fd, 2), 13);
	assert_int_equal(prog_fd, -1);
}

/* Reads what is left of pointers and counts of the thread after a fault in native code that had lent some. */
static void a_fault_takes_back_what_was_lent(void **state)
{
	static const struct ferry_limits limits = { .sz = sizeof(limits), .on_fault = FERRY_FAULT_END };
	struct bpf_object *obj;
	int fd, i;

	(void)state;
	assert_int_equal(ferry_limits_default(&limits), 0);
	obj = load("faults_while_lent", &fd);
	assert_int_equal(ferry_limits_default(NULL), 0);
	/* Far more often than one thread can lend at once. */
	for (i = 0; i < 100; i++)
		run(fd, 3);
	assert_int_equal(kept(5), 0);
	bpf_object__close(obj);
	assert_int_equal(load_and_run("recursion", 9), 9);
}

struct worker {
	int fd, bad;
};
static void *work(void *arg)
{
	struct worker *w = arg;
	int i;

	for (i = 0; i < 2000; i++)
		w->bad += run(w->fd, i % 7) != i % 7;
	return NULL;
}

static void threads_have_pointers_of_their_own(void **state)
{
	struct worker w[4] = { { 0 } };
	pthread_t t[4];
	struct bpf_object *obj;
	int fd, i;

	(void)state;
	obj = load("recursion", &fd);
	for (i = 0; i < 4; i++) {
		w[i].fd = fd;
		assert_int_equal(pthread_create(&t[i], NULL, work, &w[i]), 0);
	}
	for (i = 0; i < 4; i++) {
		pthread_join(t[i], NULL);
		assert_int_equal(w[i].bad, 0);
	}
	bpf_object__close(obj);
}

/* Last: the module is gone then. */
static void a_callback_cannot_unregister_its_own_module(void **state)
{
	struct bpf_object *obj, *other;
	int fd, ofd;

	(void)state;
	obj = load("callback_leaves", &fd);
	assert_int_equal(run(fd, 1), 12);
	assert_int_equal(ferry_module_unregister("callbacks"), 0);
	other = load("sorted", &ofd);
	assert_true(ofd < 0);
	bpf_object__close(other);
	bpf_object__close(obj);
	/* Its memory is gone; what native code kept is not. */
	assert_int_equal(kept(5), 0);
	assert_int_equal(ferry_module_register(&def), 0);
	assert_int_equal(load_and_run("sorted", 0), 1234);
}

static const struct {
	const char *prototype, *reason;
} refused[] = {
	{ "int f(int (*fn)(struct item by_value))", "a struct by value does not go through a function pointer" },
	{ "int f(int (*fn)(void *p))", "the size of the memory is not known" },
	{ "int f(int (*fn)(const char *s))", "this is one byte and no more" },
	{ "int f(int (*fn)(int **p))", "a pointer to a pointer" },
	{ "int f(struct item *(*fn)(int n))", "a number or nothing" },
	{ "int f(struct item (*fn)(int n))", "a number or nothing" },
	{ "int f(int (*fn)(const char *fmt, ...))", "any number of arguments" },
	{ "int f(int (*fn)(int a, int b, int c, int d, int e, int f))", "too many arguments" },
	{ "int f(int (*fn)(const struct item *p__sz))", "the suffixes known here" },
	{ "int f(int (*fn)(long double x))", "does not fit into a register" },
};

static void prototypes_that_cannot_be_checked_are_refused(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		const struct ferry_func func = { refused[i].prototype, (void (*)(void))maybe, 0 };
		const struct ferry_module m = { sizeof(m), "refused", types, &func, 1 };

		logged[0] = '\0';
		assert_int_equal(ferry_module_register(&m), -EINVAL);
		if (!strstr(logged, refused[i].reason) || !strstr(logged, "function f, argument 1"))
			fail_msg("%s: %s", refused[i].prototype, logged);
	}
}

static int quiet(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	(void)level, (void)fmt, (void)ap;
	return 0;
}
static void keep_log(void *arg, int level, const char *msg)
{
	(void)arg, (void)level;
	strncat(logged, msg, sizeof(logged) - strlen(logged) - 1);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(callbacks_give_what_c_gives_and_broken_rules_are_refused),
		cmocka_unit_test(recursion_without_end_ends_with_a_reason),
		cmocka_unit_test(a_pointer_that_was_kept_gives_zero_after_the_call),
		cmocka_unit_test(a_program_that_was_closed_while_it_runs_ends_well),
		cmocka_unit_test(a_fault_takes_back_what_was_lent),
		cmocka_unit_test(threads_have_pointers_of_their_own),
		cmocka_unit_test(prototypes_that_cannot_be_checked_are_refused),
		cmocka_unit_test(a_callback_cannot_unregister_its_own_module),
	};

	if (argc < 2 || ferry_module_register(&def))
		return 2;
	object_file = argv[1];
	if (argc < 3)
		libbpf_set_print(quiet);
	ferry_log_to(keep_log, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
