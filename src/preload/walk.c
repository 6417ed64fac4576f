/* SPDX-License-Identifier: MIT */
/* Functions of libc that call others of libc on paths inside of it, where no hook is: setmntent(3), nftw(3), glob(3). */
#include <errno.h>
#include <ftw.h>
#include <limits.h>
#include <mntent.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/session/session.h"
#include "bpf/sys.h"
#include "preload/preload_int.h"

#define real preload_real

FILE *hook_setmntent(const char *path, const char *mode)
{
	bool mounts = path && mode && mode[0] == 'r' && !sys_inside &&
		      (!strcmp(path, "/proc/mounts") || !strcmp(path, "/proc/self/mounts") || !strcmp(path, "/etc/mtab"));

	return mounts && !preload_off() ? hook_fopen("/proc/mounts", "re") : real.setmntent(path, mode);
}

/* A walk in the session's directory, shown as one below the path that was asked for. */
static _Thread_local struct {
	preload_ftw fn;
	const char *shown;
	size_t skip; /* the real root's length */
} walk;

static int show(const char *path, const struct stat *st, int type, struct FTW *at)
{
	struct FTW moved = *at;
	char name[PATH_MAX];

	if (snprintf(name, sizeof(name), "%s%s", walk.shown, path + walk.skip) >= (int)sizeof(name))
		return 0;
	moved.base = (int)(strrchr(name, '/') + 1 - name);
	return walk.fn(name, st, type, &moved);
}

static int walk_with(__typeof__(real.nftw) how, const char *dir, preload_ftw fn, int nfds, int flags)
{
	__typeof__(walk) outer = walk;
	char place[PATH_MAX], shown[PATH_MAX];
	bool ours = false;
	int ret;

	if (dir && fn && dir[0] == '/' && strlen(dir) < sizeof(shown) && !sys_inside && !preload_off()) {
		sys_inside++;
		ours = sys_path(dir, place) != SESSION_NO;
		sys_inside--;
	}
	if (!ours)
		return how(dir, fn, nfds, flags);
	strcpy(shown, dir);
	for (size_t n = strlen(shown); n > 1 && shown[n - 1] == '/';)
		shown[--n] = '\0';
	walk.fn = fn;
	walk.shown = shown;
	walk.skip = strlen(place);
	ret = how(place, show, nfds, flags);
	walk = outer;
	return ret;
}

int hook_nftw(const char *dir, preload_ftw fn, int nfds, int flags)
{
	return walk_with(real.nftw, dir, fn, nfds, flags);
}

/* struct stat64 is struct stat on 64-bit machines. */
int hook_nftw64(const char *dir, preload_ftw fn, int nfds, int flags)
{
	return walk_with(real.nftw64, dir, fn, nfds, flags);
}

static bool has_place(const char *pattern)
{
	char dir[PATH_MAX], place[PATH_MAX];
	bool ours;
	size_t fixed = pattern && pattern[0] == '/' ? strcspn(pattern, "*?[{\\") : 0;

	while (fixed && pattern[fixed - 1] != '/')
		fixed--;
	if (fixed < 2 || fixed > sizeof(dir) || sys_inside || preload_off())
		return false;
	memcpy(dir, pattern, fixed - 1);
	dir[fixed - 1] = '\0';
	sys_inside++;
	ours = sys_path(dir, place) != SESSION_NO;
	sys_inside--;
	return ours;
}

/* glob(3) calls functions of ours if asked to, and so finds the names as the caller has them. */
#define GLOB(how)                                                                                  \
	do {                                                                                       \
		if (!out || flags & GLOB_ALTDIRFUNC || !has_place(pattern))                        \
			return real.how(pattern, flags, error, out);                               \
		out->gl_opendir = open_dir;                                                        \
		out->gl_closedir = close_dir;                                                      \
		out->gl_readdir = (void *)read_dir;                                                \
		out->gl_stat = (void *)hook_stat;                                                  \
		out->gl_lstat = (void *)hook_lstat;                                                \
		return real.how(pattern, flags | GLOB_ALTDIRFUNC, error, out);                     \
	} while (0)

static void *open_dir(const char *path)
{
	return hook_opendir(path);
}

static void close_dir(void *dir)
{
	closedir(dir);
}

static struct dirent *read_dir(void *dir)
{
	return readdir(dir);
}

int hook_glob(const char *pattern, int flags, int (*error)(const char *path, int err), glob_t *out)
{
	GLOB(glob);
}

/* struct dirent64 is struct dirent on 64-bit machines, too. */
int hook_glob64(const char *pattern, int flags, int (*error)(const char *path, int err), glob64_t *out)
{
	GLOB(glob64);
}
