/* SPDX-License-Identifier: MIT */
/* USDT probes that a library ships with: libstdc++ says what is thrown and caught. */
#include <dlfcn.h>

#include "client.h"

/* Where the loader has libstdc++; links are followed, as libbpf compares with the process's map. */
static char *library(void *thrower)
{
	void *type = dlsym(thrower, "_ZTIi");
	Dl_info info;

	assert_non_null(type);
	assert_int_not_equal(dladdr(type, &info), 0);
	return realpath(info.dli_fname, NULL);
}

static void throws_and_catches_are_seen(void **state)
{
	void *thrower = dlopen(getenv("USDT_THROWER"), RTLD_NOW);
	struct bpf_link *thrown, *caught;
	int (*throw_often)(int);
	void *type;
	char *file;

	(void)state;
	assert_non_null(thrower);
	throw_often = dlsym(thrower, "throw_often");
	type = dlsym(thrower, "_ZTIi"); /* type_info of int: the second argument of both */
	assert_non_null(throw_often);
	file = library(thrower);
	thrown = attach(getpid(), file, "libstdcxx", "throw", 1);
	caught = attach(getpid(), file, "libstdcxx", "catch", 2);
	assert_non_null(thrown);
	assert_non_null(caught);
	assert_int_equal(throw_often(9), 9);
	assert_int_equal(look(1).calls, 9);
	assert_int_equal(look(2).calls, 9);
	assert_int_equal(look(1).count, 2);
	assert_ptr_equal(look(1).arg[1], type);
	assert_ptr_equal(look(2).arg[1], type);
	assert_int_equal(look(1).arg[0], look(2).arg[0]);
	bpf_link__destroy(thrown);
	assert_int_equal(throw_often(1), 1);
	assert_int_equal(look(1).calls, 9);
	assert_int_equal(look(2).calls, 10);
	bpf_link__destroy(caught);
	free(file);
	dlclose(thrower);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(throws_and_catches_are_seen) };
	void *lib = dlopen("libstdc++.so.6", RTLD_NOW);

	if (no_kernel(argc, argv, UPROBES))
		return skip_all("no uprobes of the machine's kernel");
	if (!lib || !getenv("USDT_THROWER"))
		return skip_all("no C++ here");
	return cmocka_run_group_tests(tests, setup, teardown);
}
