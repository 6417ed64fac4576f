/* SPDX-License-Identifier: MIT */
/* Programs as C functions: the oracle is the same C, compiled for this machine. */
#include "test.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <pthread.h>
#include <sched.h>
#include <unistd.h>

#include <ferry/ferry.h>

struct item {
	int key;
	char name[12];
	long weight;
};

struct bits {
	double x, y;
};

static const char types[] = "struct item { int key; char name[12]; long weight; };"
			    "struct bits { double x, y; }; struct small { int key; };"
			    "struct other { int key; char name[12]; long weight; };"
			    "struct handle; enum color { RED, GREEN, BLUE };";
static const struct ferry_closure_opts opts = { sizeof(opts), types, 77 };
static struct bpf_object *object;
static char last_log[512];

static void keep_log(void *arg, int level, const char *msg)
{
	(void)arg, (void)level;
	snprintf(last_log, sizeof(last_log), "%s", msg);
}

static int fd_of(const char *name)
{
	int fd = bpf_program__fd(bpf_object__find_program_by_name(object, name));

	assert_true(fd >= 0);
	return fd;
}

static struct ferry_closure *make(const char *name, const char *prototype)
{
	struct ferry_closure *c = NULL;
	int err = ferry_closure(fd_of(name), prototype, &opts, &c);

	if (err)
		print_message("# %s\n", last_log);
	assert_int_equal(err, 0);
	return c;
}

/* ---- native functions of the tests -------------------------------------------------------------- */

static int (*recurse_fn)(int);
static struct ferry_closure *to_free;

static int call_back(int depth)
{
	return recurse_fn(depth);
}

static void let_go(void)
{
	ferry_closure_free(to_free);
}

struct handle {
	int value;
};

static int handle_get(const struct handle *h)
{
	return h->value;
}

static void handle_set(struct handle *h, int value)
{
	h->value = value;
}

static int load(void **state)
{
	static const struct ferry_func funcs[] = {
		FERRY_FUNC("int call_back(int depth)", call_back),
		FERRY_FUNC("void let_go(void)", let_go),
		FERRY_FUNC("int handle_get(const struct handle *h)", handle_get),
		FERRY_FUNC("void handle_set(struct handle *h, int value)", handle_set),
	};
	static const struct ferry_module mod = { sizeof(mod), "closure_test", "struct handle;", funcs, 4 };
	char path[4096];

	(void)state;
	ferry_log_to(keep_log, NULL);
	assert_int_equal(ferry_module_register(&mod), 0);
	snprintf(path, sizeof(path), "%s/closure.bpf.o", getenv("CLOSURE_OBJECTS"));
	object = bpf_object__open_file(path, NULL);
	assert_non_null(object);
	return bpf_object__load(object);
}

static int unload(void **state)
{
	(void)state;
	bpf_object__close(object);
	return 0;
}

/* ---- values ------------------------------------------------------------------------------------- */

static int native_by_key(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	return x->key < y->key ? -1 : x->key > y->key;
}

static void qsort_and_bsearch_take_a_program(void **state)
{
	struct ferry_closure *c = make("by_key", "int (const struct item *, const struct item *)");
	int (*cmp)(const void *, const void *) = (int (*)(const void *, const void *))ferry_closure_code(c);
	struct item a[500], b[500], key = { .key = 0 }, *found, *expected;

	(void)state;
	for (int i = 0; i < 500; i++)
		a[i] = b[i] = (struct item){ .key = i * 7919 % 1009 - 300 };
	qsort(a, 500, sizeof(a[0]), cmp);
	qsort(b, 500, sizeof(b[0]), native_by_key);
	for (int i = 0; i < 500; i++)
		assert_int_equal(a[i].key, b[i].key);
	for (key.key = -300; key.key < 700; key.key++) {
		found = bsearch(&key, a, 500, sizeof(a[0]), cmp);
		expected = bsearch(&key, a, 500, sizeof(a[0]), native_by_key);
		assert_ptr_equal(found, expected);
	}
	ferry_closure_free(c);
}

static void integers_arrive_extended_as_their_types_say(void **state)
{
	struct ferry_closure *c = make("sum5", "long (signed char, unsigned short, int, unsigned, long)");
	long (*volatile fn)(long, long, long, long, long) =
		(long (*)(long, long, long, long, long))ferry_closure_code(c);

	(void)state;
	/* The caller leaves anything in the upper bytes. */
	assert_int_equal(fn(0x1234ff, 0x12345ffff, 0x7fffffff80000000, 0x1ffffffff, 10),
			 -1 + 0xffff + (long)(int)0x80000000 + 0xffffffffl + 10);
	ferry_closure_free(c);
}

static void narrow_results_are_widened_as_their_types_say(void **state)
{
	struct ferry_closure *h = make("low_half", "short (long)"), *b = make("low_byte", "unsigned char (long)");
	/* Read as the whole register, as a caller does that takes it for widened. */
	int (*volatile half)(long) = (int (*)(long))ferry_closure_code(h);
	int (*volatile byte)(long) = (int (*)(long))ferry_closure_code(b);

	(void)state;
	assert_int_equal(half(0x12345678ffff8000), -32768);
	assert_int_equal(half(0x7fff), 32767);
	assert_int_equal(byte(0x123456ff), 255);
	assert_int_equal(byte(-256), 0);
	ferry_closure_free(h);
	ferry_closure_free(b);
}

static void pointers_may_be_null_or_be_returned(void **state)
{
	struct ferry_closure *h = make("heavy", "_Bool (const struct item *it__nullable, long limit)");
	struct ferry_closure *p = make("heavier", "struct item *(struct item *, struct item *)");
	_Bool (*heavy)(const struct item *, long) = (_Bool(*)(const struct item *, long))ferry_closure_code(h);
	struct item *(*heavier)(struct item *, struct item *) =
		(struct item * (*)(struct item *, struct item *)) ferry_closure_code(p);
	struct item a = { .weight = 5 }, b = { .weight = 6 };

	(void)state;
	assert_false(heavy(NULL, 1));
	assert_true(heavy(&a, 4));
	assert_false(heavy(&a, 5));
	assert_ptr_equal(heavier(&a, &b), &b);
	assert_ptr_equal(heavier(&b, &a), &b);
	ferry_closure_free(h);
	ferry_closure_free(p);
}

static void doubles_floats_and_structs_travel_as_bits(void **state)
{
	struct ferry_closure *d = make("negate", "double (double)"), *f = make("negate_float", "float (float)");
	struct ferry_closure *s = make("mirror", "struct bits (struct bits)");
	double (*negate)(double) = (double (*)(double))ferry_closure_code(d);
	float (*negate_float)(float) = (float (*)(float))ferry_closure_code(f);
	struct bits (*mirror)(struct bits) = (struct bits(*)(struct bits))ferry_closure_code(s), out;

	(void)state;
	assert_true(negate(2.5) == -2.5);
	assert_true(negate_float(-0.25f) == 0.25f);
	out = mirror((struct bits){ 1.5, -3 });
	assert_true(out.x == -3 && out.y == 1.5);
	ferry_closure_free(d);
	ferry_closure_free(f);
	ferry_closure_free(s);
}

static unsigned long bits_of(double x)
{
	unsigned long b;

	memcpy(&b, &x, sizeof(b));
	return b;
}

static unsigned int bits_of_float(float x)
{
	unsigned int b;

	memcpy(&b, &x, sizeof(b));
	return b;
}

static void check_mixed(const char *mixed_prog, const char *floats_first_prog)
{
	struct ferry_closure *m = make(mixed_prog, "double (int, double, short, float, long)");
	struct ferry_closure *l = make(floats_first_prog, "long (float, double, int, double, unsigned char)");
	double (*mixed)(int, double, short, float, long) =
		(double (*)(int, double, short, float, long))ferry_closure_code(m);
	long (*floats_first)(float, double, int, double, unsigned char) =
		(long (*)(float, double, int, double, unsigned char))ferry_closure_code(l);
	unsigned long want = (unsigned long)-3 + 3 * bits_of(0.5) - 20 + 7ul * bits_of_float(-2.5f) + 11ul * (1ul << 40);

	assert_true(bits_of(mixed(-3, 0.5, -4, -2.5f, 1l << 40)) == want);
	want = bits_of_float(1.5f) + 3 * bits_of(-1e300) - 35 + 7 * bits_of(1e-5) + 11 * 200;
	assert_true((unsigned long)floats_first(1.5f, -1e300, -7, 1e-5, 200) == want);
	ferry_closure_free(m);
	ferry_closure_free(l);
}

static void integers_and_floats_each_come_to_their_place(void **state)
{
	(void)state;
	check_mixed("mixed", "floats_first");
	check_mixed("mixed_long", "floats_first_long");
}

static void more_than_five_arguments_come_as_a_block(void **state)
{
	struct ferry_closure *c = make("weigh", "long (int, long, short, char, long, int, long, unsigned)");
	long (*fn)(int, long, short, char, long, int, long, unsigned) =
		(long (*)(int, long, short, char, long, int, long, unsigned))ferry_closure_code(c);

	(void)state;
	assert_int_equal(fn(-1, 2, -3, 4, 5, -6, 7, 8), -1 + 4 - 9 + 16 + 25 - 36 + 49 + 64);
	ferry_closure_free(c);
}

static void programs_may_write_and_use_maps(void **state)
{
	struct ferry_closure *c = make("touch", "void (struct item *)");
	void (*fn)(struct item *) = (void (*)(struct item *))ferry_closure_code(c);
	int map = bpf_object__find_map_fd_by_name(object, "calls");
	struct item it = { .weight = 40 };
	unsigned int zero = 0;
	unsigned long before, after;

	(void)state;
	assert_int_equal(bpf_map_lookup_elem(map, &zero, &before), 0);
	fn(&it);
	fn(&it);
	assert_int_equal(bpf_map_lookup_elem(map, &zero, &after), 0);
	assert_int_equal(it.weight, 42);
	assert_int_equal(after - before, 2);
	ferry_closure_free(c);
}

static void helpers_that_ask_about_the_process_work(void **state)
{
	struct ferry_closure *c = make("pid", "int (int)");

	(void)state;
	assert_int_equal(((int (*)(int))ferry_closure_code(c))(3), getpid() + 3);
	ferry_closure_free(c);
}

static void handles_of_the_caller_go_to_native_functions(void **state)
{
	struct ferry_closure *p = make("peek", "int (const struct handle *)");
	struct ferry_closure *a = make("add", "void (struct handle *, int)");
	struct handle h = { 40 };

	(void)state;
	((void (*)(struct handle *, int))ferry_closure_code(a))(&h, 2);
	assert_int_equal(h.value, 42);
	assert_int_equal(((int (*)(const struct handle *))ferry_closure_code(p))(&h), 42);
	ferry_closure_free(p);
	ferry_closure_free(a);
}

/* ---- what does not fit -------------------------------------------------------------------------- */

static void prototypes_that_do_not_fit_are_refused(void **state)
{
	static const struct {
		const char *program, *prototype, *reason;
	} cases[] = {
		{ "by_weight", "int (const struct small *, const struct small *)", "argument 1" },
		{ "by_weight", "int (const struct other *, const struct item *)", "pointer to item" },
		{ "by_weight", "int (const struct item *, long)", "it is a number" },
		{ "by_weight", "int (const struct item *)", "2 parameters" },
		{ "by_weight", "long (const struct item *, const struct item *)", "the result" },
		{ "by_weight", "int (const void *, const void *)", "accesses 24 bytes" },
		{ "touch", "void (const struct item *)", "is const" },
		{ "touch", "void (struct item *it__nullable)", "may be NULL" },
		{ "sum5", "long (signed char, unsigned, int, unsigned, long)", "argument 2" },
		{ "heavier", "struct other *(struct item *, struct item *)", "another type" },
		{ "weigh", "long (int, int, int, int, int, int, int)", "accesses 64 bytes" },
		{ "negate", "float (float)", "4 bytes" },
		{ "mirror", "struct item (struct bits)", "pointer to bits" },
		{ "peek", "int (const void *)", "is none" },
		{ "peek", "int (const struct item *)", "pointer to handle" },
		{ "peek", "int (const struct handle *h__nullable)", "may be NULL" },
		{ "add", "void (const struct handle *, int)", "is const" },
		{ "negate", "long double (double)", NULL },
		{ "negate", "int (", NULL },
	};
	struct ferry_closure *c;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_true(ferry_closure(fd_of(cases[i].program), cases[i].prototype, &opts, &c) < 0);
		if (cases[i].reason && !strstr(last_log, cases[i].reason))
			fail_msg("%s as \"%s\": %s", cases[i].program, cases[i].prototype, last_log);
	}
	assert_int_equal(ferry_closure(-1, "int (void)", &opts, &c), -EBADF);
}

static void handles_that_the_caller_did_not_give_are_refused(void **state)
{
	static const struct {
		const char *program, *reason;
	} cases[] = {
		{ "other_handle", "_mem, h): expects an object of the host's" },
		{ "inner_handle", "_mem, h): expects an object of the host's" },
		{ "const_handle", "_mem, h): the caller gave it as const" },
		{ "number_handle", "arg#0 of handle_get() (R1, scalar, h): expects an object of the host's" },
		{ "null_handle", "h): possibly NULL pointer" },
	};
	static char log[65536];
	char path[4096];

	(void)state;
	snprintf(path, sizeof(path), "%s/closure.bpf.o", getenv("CLOSURE_OBJECTS"));
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct bpf_object *o = bpf_object__open_file(path, NULL);
		struct bpf_program *p;

		bpf_object__for_each_program(p, o) {
			bpf_program__set_autoload(p, !strcmp(bpf_program__name(p), cases[i].program));
			bpf_program__set_log_buf(p, log, sizeof(log));
		}
		*log = '\0';
		assert_true(bpf_object__load(o) < 0);
		if (!strstr(log, cases[i].reason))
			fail_msg("%s: %s", cases[i].program, log);
		bpf_object__close(o);
	}
}

static void typed_programs_are_not_run_on_a_context(void **state)
{
	LIBBPF_OPTS(bpf_test_run_opts, run);
	uint64_t ret;

	(void)state;
	assert_int_equal(ferry_prog_run(fd_of("by_key"), &ret, sizeof(ret), &ret), -EINVAL);
	assert_true(bpf_prog_test_run_opts(fd_of("by_key"), &run) < 0);
}

/* ---- calls back, threads, freeing --------------------------------------------------------------- */

static void recursion_ends_at_a_depth_that_the_stack_bears(void **state)
{
	struct ferry_closure *c = make("recurse", "int (int)");

	(void)state;
	recurse_fn = (int (*)(int))ferry_closure_code(c);
	assert_int_equal(recurse_fn(20), 20);
	/* The 65th returns on_error. */
	assert_int_equal(recurse_fn(1000000), 64 + (int)opts.on_error);
	assert_int_equal(recurse_fn(3), 3);
	ferry_closure_free(c);
}

static void a_program_may_free_the_closure_it_runs_in(void **state)
{
	int (*fn)(int);

	(void)state;
	to_free = make("free_myself", "int (int)");
	fn = (int (*)(int))ferry_closure_code(to_free);
	assert_int_equal(fn(5), 6);
	/* And is gone now. */
	assert_int_equal(fn(5), (int)opts.on_error);
}

static _Atomic int stop;

struct worker {
	int (*fn)(const void *, const void *);
	int bad;
	_Atomic long calls;
};

static void *call_often(void *arg)
{
	struct worker *w = arg;
	struct item a = { .key = 1, .weight = 2 }, b = { .key = 2, .weight = 1 };

	while (!stop) {
		int r = w->fn(&a, &b);

		w->bad += r != -1 && r != 1;
		w->calls++;
	}
	return NULL;
}

/* Until that many calls have come back: threads that are not run yet call nothing. */
static void wait_calls(const struct worker *w, long calls)
{
	while (w->calls < calls)
		usleep(100);
}

/* by_key says -1 and by_weight 1: anything else would be a call that was lost. */
static void no_call_is_lost_while_the_program_is_exchanged(void **state)
{
	struct ferry_closure *c = make("by_key", "int (const struct item *, const struct item *)");
	struct worker w[3];
	pthread_t threads[3];

	(void)state;
	stop = 0;
	for (int i = 0; i < 3; i++) {
		w[i] = (struct worker){ (int (*)(const void *, const void *))ferry_closure_code(c), 0, 0 };
		pthread_create(&threads[i], NULL, call_often, &w[i]);
	}
	for (int i = 0; i < 3; i++)
		wait_calls(&w[i], 1);
	for (int i = 0; i < 200; i++) {
		assert_int_equal(ferry_closure_update(c, fd_of(i & 1 ? "by_key" : "by_weight")), 0);
		if (i % 16 == 0)
			sched_yield();
	}
	for (int i = 0; i < 3; i++)
		wait_calls(&w[i], w[i].calls + 2);
	stop = 1;
	for (int i = 0; i < 3; i++) {
		pthread_join(threads[i], NULL);
		assert_int_equal(w[i].bad, 0);
	}
	ferry_closure_free(c);
}

static void closures_are_freed_while_threads_are_inside(void **state)
{
	(void)state;
	for (int round = 0; round < 20; round++) {
		struct ferry_closure *c = make(round & 1 ? "touch" : "pid",
					       round & 1 ? "void (struct item *)" : "int (int)");
		struct worker w = { (int (*)(const void *, const void *))ferry_closure_code(c), 0, 0 };
		pthread_t thread;

		stop = 0;
		pthread_create(&thread, NULL, call_often, &w);
		wait_calls(&w, 1);
		ferry_closure_free(c);
		wait_calls(&w, w.calls + 2);
		stop = 1;
		pthread_join(thread, NULL);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(qsort_and_bsearch_take_a_program),
		cmocka_unit_test(integers_arrive_extended_as_their_types_say),
		cmocka_unit_test(narrow_results_are_widened_as_their_types_say),
		cmocka_unit_test(pointers_may_be_null_or_be_returned),
		cmocka_unit_test(doubles_floats_and_structs_travel_as_bits),
		cmocka_unit_test(integers_and_floats_each_come_to_their_place),
		cmocka_unit_test(more_than_five_arguments_come_as_a_block),
		cmocka_unit_test(programs_may_write_and_use_maps),
		cmocka_unit_test(helpers_that_ask_about_the_process_work),
		cmocka_unit_test(handles_of_the_caller_go_to_native_functions),
		cmocka_unit_test(prototypes_that_do_not_fit_are_refused),
		cmocka_unit_test(handles_that_the_caller_did_not_give_are_refused),
		cmocka_unit_test(typed_programs_are_not_run_on_a_context),
		cmocka_unit_test(recursion_ends_at_a_depth_that_the_stack_bears),
		cmocka_unit_test(a_program_may_free_the_closure_it_runs_in),
		cmocka_unit_test(no_call_is_lost_while_the_program_is_exchanged),
		cmocka_unit_test(closures_are_freed_while_threads_are_inside),
	};

	return cmocka_run_group_tests(tests, load, unload);
}
