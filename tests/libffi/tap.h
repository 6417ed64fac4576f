/* SPDX-License-Identifier: MIT */
/* The little of TAP that programs linked to libffi.so.8 need: they use nothing else of ours. */
#ifndef FERRY_TEST_TAP_H
#define FERRY_TEST_TAP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>

static int tap_number, tap_failed;

static inline bool ok(bool good, const char *name)
{
	tap_failed += !good;
	printf("%s %d - %s\n", good ? "ok" : "not ok", ++tap_number, name);
	fflush(stdout);
	return good;
}

/* Fails the test and says where: for loops of which only the first failure matters. */
#define CHECK(x) (check_failed += !(x) && (printf("# line %d: %s\n", __LINE__, #x), 1))
static int check_failed;

static inline bool checked(const char *name)
{
	bool good = !check_failed;

	check_failed = 0;
	return ok(good, name);
}

#ifdef DEBIAN_LIBFFI
#include <dlfcn.h>
/* Debian's library beside ours, each with its own symbols; NULL where it is not, or sanitizers forbid that. */
static inline void *open_debian(const char *skipped)
{
#ifdef __SANITIZE_ADDRESS__
	void *h = NULL;
#else
	void *h = dlopen(DEBIAN_LIBFFI, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
#endif

	if (!h)
		printf("ok %d - %s # SKIP no %s\n", ++tap_number, skipped, DEBIAN_LIBFFI);
	return h;
}
#endif

static inline int tap_done(void)
{
	printf("1..%d\n", tap_number);
	return tap_failed != 0;
}

#endif
