/* SPDX-License-Identifier: MIT */
/*
 * Hooks of calls on paths. A few files are made in memory when they are opened (sys_file_open());
 * whole trees, as bpffs and tracefs, are directories of the session, and the path is replaced.
 */
#include <errno.h>
#include <linux/magic.h>
#include <stdarg.h>
#include <string.h>

#include "bpf/session/session.h"
#include "bpf/sys.h"
#include "preload/preload_int.h"

#define real preload_real

/* May the path be one that Ferry answers for? One comparison for nearly all. */
static bool candidate(const char *path)
{
	if (sys_inside || !path || path[0] != '/')
		return false;
	return (!strncmp(path, "/sys/", 5) || !strncmp(path, "/proc/", 6) ||
		!strncmp(path, "/lib/modules/", 13) || path[1] == '/') &&
	       !preload_off();
}

/* Is it one of the files that are made in memory? */
static bool ours(const char *path)
{
	bool known;
	int saved;

	if (!candidate(path))
		return false;
	saved = errno;
	sys_inside++;
	known = sys_file_known(path);
	sys_inside--;
	errno = saved;
	return known;
}

/*
 * Is the current folder one on the way to a place, as /sys/fs, so that a relative path may lead to it (mkdir -p goes so)?
 * Looked at when the first such path comes, and after each chdir(2).
 */
static _Atomic enum { UNKNOWN, ELSEWHERE, ON_THE_WAY } cwd;

static bool on_the_way(char out[PATH_MAX])
{
	bool near = getcwd(out, PATH_MAX) && sys_path_near(out);

	cwd = near ? ON_THE_WAY : ELSEWHERE;
	return near;
}

/* A relative path there, in full; false: it is what it is. */
static bool in_full(int dir, const char *path, char out[PATH_MAX])
{
	size_t n;

	if (__builtin_expect(cwd == ELSEWHERE, 1) || sys_inside || !path || path[0] == '/' || dir != AT_FDCWD ||
	    preload_off() || !on_the_way(out))
		return false;
	n = strlen(out);
	if (n + 1 + strlen(path) >= PATH_MAX)
		return false;
	out[n] = '/';
	strcpy(out + n + 1, path);
	return true;
}

/* Where the path really is: in the session's directory, or where it says. */
static const char *place(int dir, const char *path, char buf[PATH_MAX], enum session_fs *fs)
{
	char full[PATH_MAX];
	int saved = errno;

	*fs = SESSION_NO;
	if (!candidate(path) && !in_full(dir, path, full)) {
		errno = saved;
		return path;
	}
	sys_inside++;
	*fs = sys_path(path[0] == '/' ? path : full, buf);
	sys_inside--;
	errno = saved;
	return *fs == SESSION_NO ? path : buf;
}

#define PLACE(path) PLACE_AT(AT_FDCWD, path)
#define PLACE_AT(dir, path)                                                                        \
	char buf_[PATH_MAX];                                                                       \
	enum session_fs fs_;                                                                       \
	const char *at = place(dir, path, buf_, &fs_);                                                  \
	(void)fs_

#define PLAIN (-2) /* the file is what it is */

/*
 * Files whose opening does something: a pin of an iterator (BPF_ITER_CREATE), probes by text. As open(2), or PLAIN.
 */
static int open_special(const char *at, int flags, enum session_fs fs)
{
	int saved = errno, fd;

	if (fs != SESSION_BPFFS && fs != SESSION_TRACEFS)
		return PLAIN;
	sys_inside++;
	if (fs == SESSION_BPFFS)
		fd = sys_iter_open(at, flags);
	else
		fd = sys_probe_open(at, flags);
	sys_inside--;
	errno = saved;
	if (fd >= 0 || fs == SESSION_BPFFS || fd == -ENOENT)
		return fd >= 0 ? fd : PLAIN;
	errno = -fd;
	return -1;
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
	PLACE(path);
	int special = open_special(at, flags, fs_);

	return special != PLAIN ? special : ours(path) ? open_ours(path, flags) : real.open(at, flags, mode);
}

int hook_open64(const char *path, int flags, ...)
{
	mode_t mode = MODE(flags, flags);
	PLACE(path);
	int special = open_special(at, flags, fs_);

	return special != PLAIN ? special : ours(path) ? open_ours(path, flags) : real.open64(at, flags, mode);
}

int hook___open_2(const char *path, int flags)
{
	PLACE(path);
	int special = open_special(at, flags, fs_);

	return special != PLAIN ? special : ours(path) ? open_ours(path, flags) : real.__open_2(at, flags);
}

int hook___open64_2(const char *path, int flags)
{
	PLACE(path);
	int special = open_special(at, flags, fs_);

	return special != PLAIN ? special : ours(path) ? open_ours(path, flags) : real.__open64_2(at, flags);
}

int hook_openat(int dir, const char *path, int flags, ...)
{
	mode_t mode = MODE(flags, flags);
	PLACE_AT(dir, path);
	int special = open_special(at, flags, fs_);

	return special != PLAIN ? special : ours(path) ? open_ours(path, flags) : real.openat(dir, at, flags, mode);
}

int hook_openat64(int dir, const char *path, int flags, ...)
{
	mode_t mode = MODE(flags, flags);
	PLACE_AT(dir, path);
	int special = open_special(at, flags, fs_);

	return special != PLAIN ? special : ours(path) ? open_ours(path, flags) : real.openat64(dir, at, flags, mode);
}

int hook___openat_2(int dir, const char *path, int flags)
{
	PLACE_AT(dir, path);
	int special = open_special(at, flags, fs_);

	return special != PLAIN ? special : ours(path) ? open_ours(path, flags) : real.__openat_2(dir, at, flags);
}

int hook___openat64_2(int dir, const char *path, int flags)
{
	PLACE_AT(dir, path);
	int special = open_special(at, flags, fs_);

	return special != PLAIN ? special : ours(path) ? open_ours(path, flags) : real.__openat64_2(dir, at, flags);
}

static bool fopen_special(const char *at, const char *mode, enum session_fs fs, FILE **f)
{
	int flags = (mode && strchr(mode, 'e') ? O_CLOEXEC : 0), fd;

	if (!mode || strchr(mode, '+'))
		return false;
	flags |= mode[0] == 'r' ? O_RDONLY : mode[0] == 'w' ? O_WRONLY | O_TRUNC : O_WRONLY;
	fd = fs == SESSION_BPFFS && mode[0] != 'r' ? PLAIN : open_special(at, flags, fs);
	if (fd == PLAIN)
		return false;
	*f = fd < 0 ? NULL : hook_fdopen(fd, mode);
	if (fd >= 0 && !*f)
		real.close(fd);
	return true;
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
	PLACE(path);
	FILE *f;

	if (fopen_special(at, mode, fs_, &f))
		return f;
	return ours(path) && mode ? fopen_ours(path, mode) : real.fopen(at, mode);
}

FILE *hook_fopen64(const char *path, const char *mode)
{
	PLACE(path);
	FILE *f;

	if (fopen_special(at, mode, fs_, &f))
		return f;
	return ours(path) && mode ? fopen_ours(path, mode) : real.fopen64(at, mode);
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
	PLACE(path);

	return ours(path) ? access_ours(mode) : real.access(at, mode);
}

int hook_faccessat(int dir, const char *path, int mode, int flags)
{
	PLACE_AT(dir, path);

	return ours(path) ? access_ours(mode) : real.faccessat(dir, at, mode, flags);
}

/* ---- what they look like -------------------------------------------------------------------- */

/* Files made in memory: read-only, of their size. */
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
	PLACE(path);

	return ours(path) ? STAT_OURS(path, st) : real.stat(at, st);
}

int hook_stat64(const char *path, struct stat64 *st)
{
	PLACE(path);

	return ours(path) ? STAT_OURS(path, st) : real.stat64(at, st);
}

int hook_lstat(const char *path, struct stat *st)
{
	PLACE(path);

	return ours(path) ? STAT_OURS(path, st) : real.lstat(at, st);
}

int hook_lstat64(const char *path, struct stat64 *st)
{
	PLACE(path);

	return ours(path) ? STAT_OURS(path, st) : real.lstat64(at, st);
}

int hook_fstatat(int dir, const char *path, struct stat *st, int flags)
{
	PLACE_AT(dir, path);

	return ours(path) ? STAT_OURS(path, st) : real.fstatat(dir, at, st, flags);
}

int hook_fstatat64(int dir, const char *path, struct stat64 *st, int flags)
{
	PLACE_AT(dir, path);

	return ours(path) ? STAT_OURS(path, st) : real.fstatat64(dir, at, st, flags);
}

int hook_statx(int dir, const char *path, int flags, unsigned int mask, struct statx *st)
{
	PLACE_AT(dir, path);

	return real.statx(dir, at, flags, mask, st);
}

/* File systems are told apart by their magic numbers (statfs(2)). */
static long magic_of(const char *path, enum session_fs fs)
{
	if (fs == SESSION_NO)
		return candidate(path) && !strcmp(path, "/sys/kernel/debug") ? DEBUGFS_MAGIC : 0;
	return fs == SESSION_BPFFS     ? BPF_FS_MAGIC
	       : fs == SESSION_TRACEFS ? TRACEFS_MAGIC
	       : fs == SESSION_SYSFS   ? SYSFS_MAGIC
	       : fs == SESSION_PLAIN   ? 0
				       : PROC_SUPER_MAGIC;
}

/* statvfs(3) tells it too, from glibc 2.39 on: behind f_namemax, where others have room to spare. */
#define SET_TYPE(st, magic)	((st)->f_type = (magic))
#define SET_VFS_TYPE(st, magic)                                                                    \
	(*(unsigned int *)((char *)&(st)->f_namemax + sizeof((st)->f_namemax)) = (unsigned int)(magic))

#define TELL_MAGIC(name, set)                                                                      \
	int hook_##name(const char *path, struct name *st)                                         \
	{                                                                                          \
		PLACE(path);                                                                       \
		long magic = magic_of(path, fs_);                                                  \
		int ret = real.name(at, st);                                                       \
                                                                                                   \
		if (!ret && magic)                                                                 \
			set(st, magic);                                                            \
		return ret;                                                                        \
	}

TELL_MAGIC(statfs, SET_TYPE)
TELL_MAGIC(statfs64, SET_TYPE)
TELL_MAGIC(statvfs, SET_VFS_TYPE)
TELL_MAGIC(statvfs64, SET_VFS_TYPE)

/* The name of an object's descriptor; NULL. */
static const char *link_of(const char *path)
{
	const char *name = NULL;
	int saved = errno;

	if (!candidate(path))
		return NULL;
	sys_inside++;
	name = sys_fd_link(path);
	sys_inside--;
	errno = saved;
	return name;
}

ssize_t hook_readlink(const char *path, char *buf, size_t size)
{
	PLACE(path);
	const char *name = link_of(path);
	ssize_t n;

	if (!name) {
		n = real.readlink(at, buf, size);
		if (n <= 0 || !candidate(path) || !(name = sys_fd_link_of(path, buf, (size_t)n)))
			return n;
	}
	if (size > strlen(name))
		size = strlen(name);
	memcpy(buf, name, size);
	return (ssize_t)size;
}

/* ---- directories and names ------------------------------------------------------------------ */

DIR *hook_opendir(const char *path)
{
	PLACE(path);

	return real.opendir(at);
}

int hook_chdir(const char *path)
{
	PLACE(path);
	int ret = real.chdir(at);

	if (!ret)
		cwd = UNKNOWN;
	return ret;
}

int hook_mkdir(const char *path, mode_t mode)
{
	PLACE(path);

	/* bpffs keeps names with a dot for later use (bpf_lookup). */
	if (fs_ == SESSION_BPFFS && strchr(strrchr(at, '/'), '.')) {
		errno = EPERM;
		return -1;
	}
	return real.mkdir(at, mode);
}

static int removed(int ret, enum session_fs fs)
{
	int saved = errno;

	if (!ret && fs == SESSION_BPFFS)
		sys_pins_sweep();
	errno = saved;
	return ret;
}

int hook_rmdir(const char *path)
{
	PLACE(path);

	return real.rmdir(at);
}

int hook_unlink(const char *path)
{
	PLACE(path);

	return removed(real.unlink(at), fs_);
}

int hook_unlinkat(int dir, const char *path, int flags)
{
	PLACE_AT(dir, path);

	return removed(real.unlinkat(dir, at, flags), fs_);
}

int hook_remove(const char *path)
{
	PLACE(path);

	return removed(real.remove(at), fs_);
}

#define TWO_PLACES(from_dir, from, to_dir, to)                                                     \
	char to_buf_[PATH_MAX];                                                                    \
	enum session_fs to_fs_;                                                                    \
	const char *target = place(to_dir, to, to_buf_, &to_fs_);                                  \
	PLACE_AT(from_dir, from)

int hook_rename(const char *from, const char *to)
{
	TWO_PLACES(AT_FDCWD, from, AT_FDCWD, to);

	return removed(real.rename(at, target), to_fs_);
}

int hook_renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	TWO_PLACES(from_dir, from, to_dir, to);

	return removed(real.renameat(from_dir, at, to_dir, target), to_fs_);
}

int hook_renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned int flags)
{
	TWO_PLACES(from_dir, from, to_dir, to);

	return removed(real.renameat2(from_dir, at, to_dir, target, flags), to_fs_);
}
