/* SPDX-License-Identifier: MIT */
/* Where libferry-preload.so is: what commands are started with, and brought into running processes. */
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

/* Beside the command as built, else where it was installed. */
bool cli_find_library(char out[PATH_MAX])
{
	static const char *const beside[] = { "../..", ".", "../lib", "../lib64" };
	char dir[PATH_MAX], path[PATH_MAX + 64];
	ssize_t n = readlink("/proc/self/exe", dir, sizeof(dir) - 1);
	char *slash;
	size_t i;

	dir[n < 0 ? 0 : n] = '\0';
	slash = strrchr(dir, '/');
	for (i = 0; slash && i < ARRAY_SIZE(beside); i++) {
		*slash = '\0';
		snprintf(path, sizeof(path), "%s/%s/libferry-preload.so", dir, beside[i]);
		if (realpath(path, out))
			return true;
	}
	return realpath(FERRY_LIBDIR "/libferry-preload.so", out);
}

/*
 * A library that was built with AddressSanitizer (-Db_sanitize=address) needs its runtime before all others, where
 * malloc() is the runtime's from the first call on: "" in other builds, and where the runtime is no library.
 */
const char *cli_sanitizer(void)
{
#if defined(__SANITIZE_ADDRESS__)
	extern void __asan_init(void);
	Dl_info info;

	if (dladdr((void *)(uintptr_t)__asan_init, &info) && info.dli_fname && strstr(info.dli_fname, ".so"))
		return info.dli_fname;
#endif
	return "";
}
