/* SPDX-License-Identifier: MIT */
/* Hooks of calls on paths: the files that Ferry answers for, all below /sys/kernel. */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "bpf/sys.h"
#include "preload/preload_int.h"

#define real preload_real

/* Is it one of Ferry's files? One comparison for nearly all paths. */
static bool ours(const char *path)
{
	bool known;
	int saved;

	if (sys_inside || !path || strncmp(path, "/sys/kernel/", 12) || preload_off())
		return false;
	saved = errno;
	sys_inside++;
	known = sys_file_known(path);
	sys_inside--;
	errno = saved;
	return known;
}

static int open_ours(const char *path, int flags)
{
	int fd;

	sys_inside++;
	fd = sys_file_open(path, flags);
	sys_inside--;
	if (fd >= 0)
		return fd;
	errno = -fd;
	return -1;
}

/* The mode is an argument only with these flags. */
#define MODE(flags, last)                                                                          \
	({                                                                                         \
		mode_t mode_ = 0;                                                                  \
		if ((flags)&O_CREAT || ((flags)&O_TMPFILE) == O_TMPFILE) {                         \
			va_list ap_;                                                               \
			va_start(ap_, last);                                                       \
			mode_ = va_arg(ap_, mode_t);                                               \
			va_end(ap_);                                                               \
		}                                                                                  \
		mode_;                                                                             \
	})

int hook_open(const char *path, int flags, ...)
{
	mode_t mode = MODE(flags, flags);

	return ours(path) ? open_ours(path, flags) : real.open(path, flags, mode);
}

int hook_open64(const char *path, int flags, ...)
{
	mode_t mode = MODE(flags, flags);

	return ours(path) ? open_ours(path, flags) : real.open64(path, flags, mode);
}

int hook___open_2(const char *path, int flags)
{
	return ours(path) ? open_ours(path, flags) : real.__open_2(path, flags);
}

int hook___open64_2(const char *path, int flags)
{
	return ours(path) ? open_ours(path, flags) : real.__open64_2(path, flags);
}

int hook_openat(int dir, const char *path, int flags, ...)
{
	mode_t mode = MODE(flags, flags);

	return ours(path) ? open_ours(path, flags) : real.openat(dir, path, flags, mode);
}

int hook_openat64(int dir, const char *path, int flags, ...)
{
	mode_t mode = MODE(flags, flags);

	return ours(path) ? open_ours(path, flags) : real.openat64(dir, path, flags, mode);
}

int hook___openat_2(int dir, const char *path, int flags)
{
	return ours(path) ? open_ours(path, flags) : real.__openat_2(dir, path, flags);
}

int hook___openat64_2(int dir, const char *path, int flags)
{
	return ours(path) ? open_ours(path, flags) : real.__openat64_2(dir, path, flags);
}

static FILE *fopen_ours(const char *path, const char *mode)
{
	int flags = strchr(mode, 'e') ? O_CLOEXEC : 0, fd;
	FILE *f;

	if (mode[0] != 'r' || strchr(mode, '+')) {
		errno = EACCES;
		return NULL;
	}
	fd = open_ours(path, flags);
	if (fd < 0)
		return NULL;
	f = fdopen(fd, mode);
	if (!f)
		real.close(fd);
	return f;
}

FILE *hook_fopen(const char *path, const char *mode)
{
	return ours(path) && mode ? fopen_ours(path, mode) : real.fopen(path, mode);
}

FILE *hook_fopen64(const char *path, const char *mode)
{
	return ours(path) && mode ? fopen_ours(path, mode) : real.fopen64(path, mode);
}

static int access_ours(int mode)
{
	if (!(mode & (W_OK | X_OK)))
		return 0;
	errno = EACCES;
	return -1;
}

int hook_access(const char *path, int mode)
{
	return ours(path) ? access_ours(mode) : real.access(path, mode);
}

int hook_faccessat(int dir, const char *path, int mode, int flags)
{
	return ours(path) ? access_ours(mode) : real.faccessat(dir, path, mode, flags);
}

/* What they look like: read-only files of their size. */
#define STAT_OURS(path, st)                                                                        \
	({                                                                                         \
		size_t size_;                                                                      \
		void *data_;                                                                       \
		sys_inside++;                                                                      \
		data_ = sys_file(path, &size_);                                                    \
		base_free(data_);                                                                  \
		sys_inside--;                                                                      \
		memset((st), 0, sizeof(*(st)));                                                    \
		(st)->st_mode = S_IFREG | 0444;                                                    \
		(st)->st_nlink = 1;                                                                \
		(st)->st_size = size_;                                                             \
		(st)->st_blksize = 4096;                                                           \
		0;                                                                                 \
	})

int hook_stat(const char *path, struct stat *st)
{
	return ours(path) ? STAT_OURS(path, st) : real.stat(path, st);
}

int hook_stat64(const char *path, struct stat64 *st)
{
	return ours(path) ? STAT_OURS(path, st) : real.stat64(path, st);
}
