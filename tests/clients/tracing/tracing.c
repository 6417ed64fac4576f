/* SPDX-License-Identifier: MIT */
/* fentry and fexit on functions of a module, by libbpf's section names. */
#include "test.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ferry/ferry.h>
#include <pthread.h>
#include <setjmp.h>
#include <sys/mman.h>

struct item {
	int id;
	struct item *next;
};

/* Their addresses are taken below, and nothing of them is known to the compiler. */
#define HOST __attribute__((noinline, noclone))

static HOST int mix(signed char a, unsigned short b, int c, long d, _Bool e)
{
	return (int)(a + b + c + d + e);
}

static HOST int walk(struct item *first, const char *name)
{
	return first->id + name[0];
}

static HOST int fact(int n)
{
	int (*volatile again)(int) = fact;

	return n > 1 ? n * again(n - 1) : 1;
}

static jmp_buf out;

static HOST int leave(int n)
{
	int (*volatile again)(int) = leave;

	if (n == 0)
		longjmp(out, 1);
	return again(n - 1) + 1;
}

static HOST void nothing(int n)
{
	__asm__ volatile("" : : "r"(n));
}

static HOST double scale(double x)
{
	return 2 * x;
}

static HOST long wide(signed char a, short b, int c, long d, unsigned char e, unsigned f, int g, signed char h, long i)
{
	return a + b + c + d + e + f + g + h + i;
}

static const struct ferry_func entries[] = {
	FERRY_FUNC("long wide(signed char a, short b, int c, long d, unsigned char e, unsigned f, int g, signed char h, long i)",
		   wide),
	FERRY_FUNC("int mix(signed char a, unsigned short b, int c, long d, _Bool e)", mix),
	FERRY_FUNC("int walk(struct item *first, const char *name__str)", walk),
	FERRY_FUNC("int fact(int n)", fact),
	FERRY_FUNC("int leave(int n)", leave),
	FERRY_FUNC("void nothing(int n)", nothing),
	FERRY_FUNC("double scale(double x)", scale),
};
static const struct ferry_module module = { sizeof(module), "host", "struct item { int id; struct item *next; };",
					    entries, sizeof(entries) / sizeof(entries[0]) };

struct seen {
	unsigned long long calls, args[8], ret, count, past, func_ip, cookie, pid;
};

static struct bpf_object *obj;
static struct seen *seen;

static struct bpf_program *prog(const char *name)
{
	struct bpf_program *p = bpf_object__find_program_by_name(obj, name);

	assert_non_null(p);
	memset(seen, 0, sizeof(*seen));
	return p;
}

static int (*volatile call_mix)(signed char, unsigned short, int, long, _Bool) = mix;
static int (*volatile call_walk)(struct item *, const char *) = walk;
static int (*volatile call_fact)(int) = fact;
static int (*volatile call_leave)(int) = leave;

static void arguments_come_with_their_types(void **state)
{
	LIBBPF_OPTS(bpf_trace_opts, opts, .cookie = 0x1234567890);
	struct bpf_link *link = bpf_program__attach_trace_opts(prog("mix_entry"), &opts);
	const unsigned long long want[] = { -5ull, 65535, -7ull, ~0ull << 40, 1 };

	(void)state;
	assert_non_null(link);
	call_mix(-5, 65535, -7, (long)(~0ull << 40), 1);
	assert_int_equal(seen->calls, 1);
	assert_memory_equal(seen->args, want, sizeof(want));
	assert_int_equal(seen->cookie, 0x1234567890);
	assert_int_equal(seen->func_ip, (unsigned long long)(uintptr_t)mix);
	bpf_link__destroy(link);
	seen->calls = 0;
	call_mix(1, 2, 3, 4, 5);
	assert_int_equal(seen->calls, 0);
}

/* More than programs have registers for, and than C has. */
static void arguments_on_the_stack_come_too(void **state)
{
	long (*volatile call)(signed char, short, int, long, unsigned char, unsigned, int, signed char, long) = wide;
	const unsigned long long want[] = { -1ull, -2ull, -3ull, -4ull, 5, 4000000000, -7ull, -8ull };
	struct bpf_link *link = bpf_program__attach(prog("wide_entry"));

	(void)state;
	assert_non_null(link);
	assert_int_equal(call(-1, -2, -3, -4, 5, 4000000000, -7, -8, 1l << 40), 4000000000 - 20 + (1l << 40));
	assert_int_equal(seen->calls, 1);
	assert_memory_equal(seen->args, want, sizeof(want));
	assert_int_equal(seen->ret, 1l << 40);
	assert_int_equal(seen->count, 9);
	assert_int_equal(seen->past, -EINVAL);
	bpf_link__destroy(link);
	link = bpf_program__attach(prog("wide_exit"));
	assert_non_null(link);
	assert_int_equal(call(1, 2, 3, 4, 5, 6, 7, -8, 9), 29);
	assert_int_equal(seen->calls, 1);
	assert_int_equal(seen->args[7], -8ull);
	assert_int_equal(seen->args[0], 9);
	assert_int_equal(seen->ret, 29);
	bpf_link__destroy(link);
	assert_int_equal(call(1, 2, 3, 4, 5, 6, 7, -8, 9), 29);
	assert_int_equal(seen->calls, 1);
}

static void at_exit_arguments_are_those_of_the_entry(void **state)
{
	struct bpf_link *link = bpf_program__attach(prog("mix_exit"));
	int ret;

	(void)state;
	assert_non_null(link);
	ret = call_mix(-1, 2, -30, 4, 0);
	assert_int_equal(seen->calls, 1);
	assert_int_equal((int)seen->ret, ret);
	assert_int_equal(seen->args[0], -1ull);
	assert_int_equal(ret, -25);
	assert_int_equal(seen->args[1], 2);
	assert_int_equal(seen->args[6], 4);
	assert_int_equal((int)seen->args[5], ret); /* by bpf_get_func_ret() */
	assert_int_equal(seen->count, 5);
	assert_int_equal((long long)seen->past, -EINVAL);
	bpf_link__destroy(link);
}

static void pointers_are_followed_by_type(void **state)
{
	struct item second = { 22, NULL }, first = { 11, &second };
	struct bpf_link *link = bpf_program__attach(prog("walk_entry"));

	(void)state;
	assert_non_null(link);
	call_walk(&first, "ferry");
	assert_int_equal(seen->calls, 1);
	assert_int_equal(seen->args[0], 11);
	assert_int_equal(seen->args[1], 22);
	assert_int_equal(seen->args[2], 0);
	assert_memory_equal(&seen->args[3], "ferry", 6);
	bpf_link__destroy(link);
}

static void each_level_of_a_recursion_has_its_own(void **state)
{
	struct bpf_link *link = bpf_program__attach(prog("fact_exit"));
	const unsigned long long want[] = { 1, 2, 6, 24, 120, 720, 5040 };

	(void)state;
	assert_non_null(link);
	assert_int_equal(call_fact(7), 5040);
	assert_int_equal(seen->calls, 7);
	assert_memory_equal(&seen->args[1], want, sizeof(want));
	bpf_link__destroy(link);
}

static void what_is_left_by_longjmp_does_not_come_back(void **state)
{
	struct bpf_link *link = bpf_program__attach(prog("fact_exit"));
	struct bpf_link *left = bpf_program__attach(prog("leave_exit"));

	(void)state;
	assert_true(link && left);
	for (volatile int i = 0; i < 2000; i++) {
		memset(seen, 0, sizeof(*seen));
		if (!setjmp(out))
			call_leave(5);
		assert_int_equal(seen->calls, 0);
		assert_int_equal(call_fact(3), 6);
		assert_int_equal(seen->calls, 3);
		assert_int_equal(seen->args[3], 6);
	}
	bpf_link__destroy(left);
	bpf_link__destroy(link);
}

static void *many(void *arg)
{
	for (int i = 0; i < 3000; i++)
		if (call_fact(5) != 120)
			*(int *)arg = 1;
	return NULL;
}

static void links_come_and_go_under_calls(void **state)
{
	int wrong[2] = { 0 };
	pthread_t t[2];

	(void)state;
	for (int i = 0; i < 2; i++)
		pthread_create(&t[i], NULL, many, &wrong[i]);
	for (int i = 0; i < 10; i++) {
		struct bpf_link *link = bpf_program__attach(prog("fact_exit"));

		assert_non_null(link);
		bpf_link__destroy(link);
	}
	for (int i = 0; i < 2; i++)
		pthread_join(t[i], NULL);
	assert_true(!wrong[0] && !wrong[1]);
}

static void links_say_what_they_are_on(void **state)
{
	struct bpf_link *link = bpf_program__attach(prog("walk_entry"));
	struct bpf_prog_info pi = { 0 };
	struct bpf_link_info li = { 0 };
	struct bpf_btf_info bi = { 0 };
	char name[16] = "";
	__u32 len = sizeof(li);
	int fd;

	(void)state;
	assert_non_null(link);
	assert_int_equal(bpf_obj_get_info_by_fd(bpf_link__fd(link), &li, &len), 0);
	assert_int_equal(li.type, BPF_LINK_TYPE_TRACING);
	assert_int_equal(li.tracing.attach_type, BPF_TRACE_FENTRY);
	len = sizeof(pi);
	assert_int_equal(bpf_obj_get_info_by_fd(bpf_program__fd(prog("walk_entry")), &pi, &len), 0);
	assert_int_equal(li.tracing.target_obj_id, pi.attach_btf_obj_id);
	assert_int_equal(li.tracing.target_btf_id, pi.attach_btf_id);
	fd = bpf_btf_get_fd_by_id(pi.attach_btf_obj_id);
	bi.name = (__u64)(unsigned long)name;
	bi.name_len = sizeof(name);
	len = sizeof(bi);
	assert_int_equal(bpf_obj_get_info_by_fd(fd, &bi, &len), 0);
	assert_string_equal(name, "host");
	/* One program is on one function once (bpf_trampoline_link_prog). */
	assert_null(bpf_program__attach(prog("walk_entry")));
	assert_int_equal(errno, EBUSY);
	assert_int_equal(bpf_link_update(bpf_link__fd(link), bpf_program__fd(prog("walk_entry")), NULL), -EINVAL);
	bpf_link__destroy(link);
}

static int quiet(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	(void)level, (void)fmt, (void)ap;
	return 0;
}

static void what_is_wrong_is_refused(void **state)
{
	static const char *const names[] = { "too_many", "returns_one", "writes", "asks_for_the_result",
					     "result_of_nothing" };
	static const int errors[] = { -EACCES, -EINVAL, -EACCES, -EINVAL, -EACCES };
	libbpf_print_fn_t old = libbpf_set_print(quiet);
	struct bpf_program *p;

	(void)state;
	assert_null(bpf_program__attach(prog("scale_entry"))); /* floating point is in no context */
	assert_int_equal(errno, EOPNOTSUPP);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct bpf_object *o = bpf_object__open_file(getenv("REFUSED_OBJECT"), NULL);

		assert_non_null(o);
		bpf_object__for_each_program(p, o)
			bpf_program__set_autoload(p, !strcmp(bpf_program__name(p), names[i]));
		assert_int_equal(bpf_object__load(o), errors[i]);
		bpf_object__close(o);
	}
	libbpf_set_print(old);
}

/* Last: the module goes, and the links hold nothing any more. */
static void an_unregistered_module_is_left_alone(void **state)
{
	struct bpf_link *link = bpf_program__attach(prog("fact_exit"));

	(void)state;
	assert_non_null(link);
	call_fact(2);
	assert_int_equal(seen->calls, 2);
	assert_int_equal(ferry_module_unregister("host"), 0);
	assert_int_equal(call_fact(2), 2);
	assert_int_equal(seen->calls, 2);
	bpf_link__destroy(link);
	assert_null(bpf_program__attach(prog("walk_entry")));
}

static int setup(void **state)
{
	(void)state;
	assert_int_equal(ferry_module_register(&module), 0);
	obj = bpf_object__open_file(getenv("TRACING_OBJECT"), NULL);
	assert_non_null(obj);
	if (bpf_object__load(obj))
		return -1;
	seen = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED,
		    bpf_map__fd(bpf_object__find_map_by_name(obj, ".bss")), 0);
	return seen == MAP_FAILED ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	bpf_object__close(obj);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arguments_come_with_their_types),
		cmocka_unit_test(arguments_on_the_stack_come_too),
		cmocka_unit_test(at_exit_arguments_are_those_of_the_entry),
		cmocka_unit_test(pointers_are_followed_by_type),
		cmocka_unit_test(each_level_of_a_recursion_has_its_own),
		cmocka_unit_test(what_is_left_by_longjmp_does_not_come_back),
		cmocka_unit_test(links_come_and_go_under_calls),
		cmocka_unit_test(links_say_what_they_are_on),
		cmocka_unit_test(what_is_wrong_is_refused),
		cmocka_unit_test(an_unregistered_module_is_left_alone),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
