/* SPDX-License-Identifier: MIT */
/*
 * A host whose structs a program reads by BTF: this file is built with two layouts, and both builds
 * load the one object file.
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ferry/ferry.h>
#include <sys/mman.h>

#include "host.h"
#include "test.h"

static struct server app_server;
static int app_level = -7;
static struct stats app_stats;
static long app_cpus[4] = { 10, 11, 12, 13 };
static char app_typeless;

static int app_call(int x)
{
	return x + 41;
}

static const struct ferry_func entries[] = {
	FERRY_VAR("struct server app_server", &app_server),
	FERRY_FUNC("int app_call(int x)", app_call),
	FERRY_VAR("const int app_level", &app_level),
	FERRY_VAR("struct stats app_stats", &app_stats, FERRY_WRITABLE),
	FERRY_VAR("long app_cpus[4]", app_cpus, FERRY_PERCPU),
	FERRY_VAR("char app_typeless", &app_typeless),
};
static const struct ferry_module module = { sizeof(module), "app", host_types, entries,
					    sizeof(entries) / sizeof(entries[0]) };

struct out {
	long id, count, level, x, state, prio, path, missing, typeless, cpu0, cpu2, cpu9, calls;
};

static struct bpf_object *obj;
static struct out *out;

static int setup(void **state)
{
	(void)state;
	assert_int_equal(ferry_module_register(&module), 0);
	obj = bpf_object__open_file(getenv("HOST_OBJECT"), NULL);
	assert_non_null(obj);
	if (bpf_object__load(obj))
		fail_msg("%s does not load", getenv("HOST_OBJECT"));
	out = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED,
		   bpf_map__fd(bpf_object__find_map_by_name(obj, ".bss")), 0);
	assert_true(out != MAP_FAILED);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	munmap(out, 4096);
	bpf_object__close(obj);
	return ferry_module_unregister("app");
}

static int prog_fd(const char *name)
{
	return bpf_program__fd(bpf_object__find_program_by_name(obj, name));
}

static void run(const char *name)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	assert_int_equal(bpf_prog_test_run_opts(prog_fd(name), &opts), 0);
	assert_int_equal(opts.retval, 0);
}

static void members_are_found_where_this_build_has_them(void **state)
{
	struct headers h = { .count = 12345, .flags = 3 };
	struct req r = { .id = 77, .headers = &h, .path = "/index", .state = 5, .prio = 19,
			 .pos = { { .x = 1 }, { .x = -2, .y = 3 } } };

	(void)state;
	app_server.current = &r;
	run("read_host");
	assert_int_equal(out->id, 77);
	assert_int_equal(out->count, 12345);
	assert_int_equal(out->x, -2);
	assert_int_equal(out->state, 5);
	assert_int_equal(out->prio, 19);
	assert_int_equal(out->path, 'n');
	app_server.current = NULL;
}

static void variables_are_read_by_name(void **state)
{
	(void)state;
	run("read_host");
	assert_int_equal(out->level, -7);
	assert_int_equal(out->missing, -1);
	assert_int_equal(out->typeless, (long)&app_typeless);
	assert_int_equal(out->cpu0, 10);
	assert_int_equal(out->cpu2, 12);
	assert_int_equal(out->cpu9, -1);
	assert_int_equal(out->calls, 42);
}

static void writable_ones_are_written(void **state)
{
	long before = app_stats.hits;

	(void)state;
	run("write_host");
	assert_int_equal(app_stats.hits, before + 5);
}

static void stale_pointers_give_zero_and_are_counted(void **state)
{
	struct ferry_fault faults[16];
	struct req *gone = mmap((void *)0x223400000000ull, 4096, PROT_NONE,
				MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int n, i;
	uint64_t all = 0;

	(void)state;
	assert_true(gone != MAP_FAILED);
	app_server.current = gone;
	out->id = out->count = out->path = 1;
	run("read_host");
	run("read_host");
	app_server.current = NULL;
	munmap(gone, 4096);
	assert_int_equal(out->id, 0);
	assert_int_equal(out->count, 0);
	assert_int_equal(out->path, 0);
	n = ferry_prog_faults(prog_fd("read_host"), faults, 16);
	assert_in_range(n, 5, 16); /* id, headers, count, path and its byte, x, bit-fields */
	for (i = 0; i < n; i++) {
		assert_true(!i || faults[i].insn > faults[i - 1].insn);
		assert_true(faults[i].count >= 2);
		all += faults[i].count;
	}
	assert_true(all >= 12);
	assert_int_equal(ferry_prog_faults(prog_fd("write_host"), faults, 16), 0);
	assert_int_equal(ferry_prog_faults(-1, faults, 16), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(members_are_found_where_this_build_has_them),
		cmocka_unit_test(variables_are_read_by_name),
		cmocka_unit_test(writable_ones_are_written),
		cmocka_unit_test(stale_pointers_give_zero_and_are_counted),
	};

	return cmocka_run_group_tests_name("host", tests, setup, teardown);
}
