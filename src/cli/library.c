/* SPDX-License-Identifier: MIT */
/* Where libferry-preload.so is: what commands are started with, and brought into running processes. */
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
