/* SPDX-License-Identifier: MIT */
/* What crashes in a test says so: cmocka's runs of groups, with handlers of our own. tests/test.h includes it. */
#ifndef FERRY_CRASH_H
#define FERRY_CRASH_H

/* As cmocka's macros of the same names, which have handlers that end a thread other than the test's without a word. */
#undef cmocka_run_group_tests
#define cmocka_run_group_tests(tests, setup, teardown) \
	crash_run_group(#tests, tests, sizeof(tests) / sizeof((tests)[0]), setup, teardown)
#undef cmocka_run_group_tests_name
#define cmocka_run_group_tests_name(name, tests, setup, teardown) \
	crash_run_group(name, tests, sizeof(tests) / sizeof((tests)[0]), setup, teardown)

int crash_run_group(const char *name, const struct CMUnitTest *tests, size_t n, CMFixtureFunction setup,
		    CMFixtureFunction teardown);

#endif
