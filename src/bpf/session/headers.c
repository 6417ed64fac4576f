/* SPDX-License-Identifier: MIT */
/*
 * Kernel headers for clients that compile (bcc). They look below /lib/modules/RELEASE for those of
 * the kernel that runs; where there are none, as in most containers, those of another kernel that
 * are installed do as well: programs run in Ferry, whose contexts are that of no running kernel.
 */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "bpf/session/session.h"
#include "bpf/sys_int.h"

#define MODULES "/lib/modules/"

static char own[80], other[NAME_MAX + 1]; /* "RELEASE/", and what stands for it; empty: nothing */

static bool has_headers(const char *release)
{
	char path[PATH_MAX];

	snprintf(path, sizeof(path), MODULES "%s/build/include", release);
	return !access(path, F_OK);
}

static void look(void)
{
	struct utsname name;
	struct dirent *e;
	DIR *dir;

	uname(&name);
	snprintf(own, sizeof(own), "%s/", name.release);
	if (has_headers(name.release))
		return;
	dir = opendir(MODULES);
	while (dir && (e = readdir(dir)))
		if (e->d_name[0] != '.' && has_headers(e->d_name) &&
		    strverscmp(e->d_name, other) > 0)
			strcpy(other, e->d_name);
	if (dir)
		closedir(dir);
	if (other[0])
		log_msg(LOG_INFO, "no headers of kernel %s are installed: those of %s stand in",
			name.release, other);
}

bool sys_headers_path(const char *path, char out[PATH_MAX])
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	const char *rest = path + strlen(MODULES);
	size_t n;

	pthread_once(&once, look);
	n = strlen(own);
	if (!other[0] || strncmp(rest, own, n))
		return false;
	rest += n;
	if (strncmp(rest, "build", 5) && strncmp(rest, "source", 6))
		return false;
	return snprintf(out, PATH_MAX, MODULES "%s/%s", other, rest) < PATH_MAX;
}
