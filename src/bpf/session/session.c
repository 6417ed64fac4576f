/* SPDX-License-Identifier: MIT */
/*
 * The session a process belongs to: a private directory that stands for bpffs, tracefs and the
 * like, numbers that are unique among its processes, and the broker that shares objects.
 * `ferry exec` makes one for its command (FERRY_SESSION); a process without one makes a directory
 * of its own when it first needs it.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bpf/session/session.h"
#include "bpf/sys_int.h"
#include "code/code.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char dir[SESSION_DIR_MAX];
static bool looked, joined;
static pid_t maker; /* of a directory of our own: who removes it */

/* ---- making and removing -------------------------------------------------------------------- */

static int make_file(const char *base, const char *name, const char *text)
{
	char path[PATH_MAX];
	ssize_t n = 0;
	int fd, err;

	snprintf(path, sizeof(path), "%s/%s", base, name);
	fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
	if (fd < 0)
		return -errno;
	while (*text && (n = write(fd, text, strlen(text))) > 0)
		text += n;
	err = *text ? (n < 0 ? -errno : -EIO) : 0;
	close(fd);
	return err;
}

/* The functions of the kernel that can be probed here, one a line. */
static const char probeable[] =
#define SYSCALL(name, ...) "__x64_sys_" #name "\n"
#include "btf/syscalls.def"
#undef SYSCALL
	;

static const struct {
	const char *name, *text; /* text NULL: a directory */
} entries[] = {
#define DIRECTORY(path)  { path, NULL },
#define FILE_(path, text) { path, text },
#include "bpf/session/session.def"
#undef DIRECTORY
#undef FILE_
};

/* What is in a directory of this version: the contents of its file "tree". */
static void name_tree(char out[20])
{
	u64 h = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(entries); i++) {
		h = hash_bytes(entries[i].name, strlen(entries[i].name), h);
		if (entries[i].text)
			h = hash_bytes(entries[i].text, strlen(entries[i].text), h);
	}
	snprintf(out, 20, "%016llx\n", (unsigned long long)h);
}

static bool is_our_tree(const char *base)
{
	char path[PATH_MAX], ours[20], text[20] = "";
	int fd;

	name_tree(ours);
	snprintf(path, sizeof(path), "%s/tree", base);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return false;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	return !strcmp(text, ours);
}

static int make_tree(const char *base)
{
	char path[PATH_MAX], tree[20];
	int fd, err = 0;
	size_t i;

	for (i = 0; !err && i < ARRAY_SIZE(entries); i++) {
		if (entries[i].text) {
			err = make_file(base, entries[i].name, entries[i].text);
			continue;
		}
		snprintf(path, sizeof(path), "%s/%s", base, entries[i].name);
		err = mkdir(path, 0700) ? -errno : 0;
	}
	name_tree(tree);
	if (!err)
		err = make_file(base, "tree", tree);
	if (err)
		return err;
	snprintf(path, sizeof(path), "%s/tracing/trace_pipe", base);
	if (mkfifo(path, 0600))
		return -errno;
	snprintf(path, sizeof(path), "%s/ids", base);
	fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	/* Not by ftruncate(2): on a disk that fills up numbers could not be written to it. */
	do
		err = fd < 0 ? -errno : -posix_fallocate(fd, 0, 4096);
	while (err == -EINTR); /* tmpfs(5) gives up when a signal is pending */
	if (fd >= 0)
		close(fd);
	return err;
}

static int make_below(const char *base, char out[SESSION_DIR_MAX])
{
	int err;

	if (snprintf(out, SESSION_DIR_MAX, "%s/ferry-%u-XXXXXX", base, code_euid()) >= SESSION_DIR_MAX)
		return -ENAMETOOLONG;
	if (!mkdtemp(out)) /* mode 0700: only this user gets in */
		return -errno;
	err = make_tree(out);
	if (err)
		sys_session_remove(out);
	return err;
}

/*
 * A folder where nobody but us and root renames what is ours: "The directory MUST be owned by the user" (XDG
 * Base Directory Specification), which another user's that su(1) left behind is not; or one like /tmp.
 */
static bool is_safe(const char *base)
{
	struct stat st;

	if (!base || base[0] != '/' || stat(base, &st) || !S_ISDIR(st.st_mode) || access(base, W_OK))
		return false;
	if (st.st_mode & S_ISVTX)
		return !st.st_uid || st.st_uid == code_euid();
	return st.st_uid == code_euid() && !(st.st_mode & 022);
}

int sys_session_make(char out[SESSION_DIR_MAX])
{
	const char *base = secure_getenv("XDG_RUNTIME_DIR");

	if (!is_safe(base))
		base = secure_getenv("TMPDIR");
	return make_below(is_safe(base) ? base : "/tmp", out);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st, (void)flag, (void)ftw;
	remove(path);
	return 0;
}

void sys_session_remove(const char *path)
{
	nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

__attribute__((destructor)) static void at_end(void)
{
	if (maker && maker == getpid() && dir[0]) {
		sys_inside++;
		sys_session_remove(dir);
		sys_inside--;
	}
}

/* ---- joining -------------------------------------------------------------------------------- */

/*
 * Somebody else's directory would let them choose what we see: it must be ours alone. And it itself, not
 * one of ours that somebody's link leads to.
 */
static bool is_private(const char *path)
{
	struct stat st;

	return !lstat(path, &st) && S_ISDIR(st.st_mode) && st.st_uid == code_euid() &&
	       !(st.st_mode & 077);
}

/*
 * A directory that another version of Ferry left, with other files: nothing lives in it when nobody serves it
 * (broker/server.c holds that lock), and it makes way. Else those who serve it say of what version they are.
 */
static void replace_old(const char *path)
{
	char name[PATH_MAX], old[SESSION_DIR_MAX];
	int serving;

	if (!is_private(path) || is_our_tree(path) || snprintf(old, sizeof(old), "%s.%d", path, getpid()) >= (int)sizeof(old))
		return;
	snprintf(name, sizeof(name), "%s/serving", path);
	serving = open(name, O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (serving >= 0 && !flock(serving, LOCK_EX | LOCK_NB) && !rename(path, old))
		sys_session_remove(old);
	if (serving >= 0)
		close(serving);
}

int sys_session_user(char out[SESSION_DIR_MAX])
{
	const char *base = secure_getenv("XDG_RUNTIME_DIR");
	char made[SESSION_DIR_MAX];
	int err;

	if (!is_safe(base))
		base = "/tmp"; /* the same in all of this user's terminals */
	if (snprintf(out, SESSION_DIR_MAX, "%s/ferry-%u", base, code_euid()) >= SESSION_DIR_MAX)
		return -ENAMETOOLONG;
	replace_old(out);
	if (faccessat(AT_FDCWD, out, F_OK, AT_SYMLINK_NOFOLLOW)) {
		err = make_below(base, made);
		if (err)
			return err;
		/* Whole or not at all; who comes second finds that of the first. */
		err = rename(made, out) ? -errno : 0;
		if (err)
			sys_session_remove(made);
		if (err && err != -ENOTEMPTY && err != -EEXIST)
			return err;
	}
	return is_private(out) ? 0 : -EPERM;
}

static void look(void)
{
	const char *env = secure_getenv("FERRY_SESSION");

	looked = true;
	if (!env || !*env || strlen(env) >= sizeof(dir))
		return;
	if (!is_private(env)) {
		log_msg(LOG_WARN, "FERRY_SESSION=%s is not a directory of this user alone: ignored",
			env);
		return;
	}
	strcpy(dir, env);
	joined = true;
}

const char *sys_session(bool make)
{
	const char *ret;

	sys_inside++;
	pthread_mutex_lock(&lock);
	if (!looked)
		look();
	if (!dir[0] && make) {
		int err = sys_session_make(dir);

		if (err) {
			log_msg(LOG_WARN, "cannot make a directory for pins and events: %s",
				strerror(-err));
			dir[0] = '\0';
		} else {
			maker = getpid();
		}
	}
	ret = dir[0] ? dir : NULL;
	pthread_mutex_unlock(&lock);
	sys_inside--;
	return ret;
}

void sys_session_enter(const char *path)
{
	setenv("FERRY_SESSION", path, 1);
	pthread_mutex_lock(&lock);
	looked = joined = false;
	dir[0] = '\0';
	pthread_mutex_unlock(&lock);
}

/* The environment of a process that runs is not touched: other threads may be reading it. */
int sys_session_join(const char *path)
{
	if (path && (strlen(path) >= sizeof(dir) || !is_private(path)))
		return -EACCES;
	pthread_mutex_lock(&lock);
	strcpy(dir, path ? path : "");
	looked = true;
	joined = path;
	pthread_mutex_unlock(&lock);
	return 0;
}

bool sys_session_joined(void)
{
	sys_session(false);
	return joined;
}

/*
 * Read and written, not mapped: a process of the user's may cut the file at any moment. Who holds its lock for
 * long is not waited for.
 */
u32 sys_session_id(int kind)
{
	const char *base = sys_session(false);
	char path[PATH_MAX];
	u32 last = 0, tries;
	int fd;

	if (!base || snprintf(path, sizeof(path), "%s/ids", base) >= (int)sizeof(path))
		return 0;
	sys_inside++;
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd >= 0) {
		for (tries = 0; tries < 200 && flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK; tries++)
			usleep(100);
		/* Whatever it says is taken as a number and no more: above 0, 31 bits. */
		if (pread(fd, &last, sizeof(last), kind * (off_t)sizeof(last)) != sizeof(last))
			last = 0;
		last = (last + 1) & INT32_MAX ? (last + 1) & INT32_MAX : 1;
		if (pwrite(fd, &last, sizeof(last), kind * (off_t)sizeof(last)) != sizeof(last))
			last = 0;
		close(fd);
	}
	sys_inside--;
	return last;
}

/* ---- paths ---------------------------------------------------------------------------------- */

static const struct {
	const char *from, *to;
	enum session_fs fs;
} places[] = {
#define PLACE(from, to, fs) { from, to, fs },
#include "bpf/session/session.def"
#undef PLACE
};

static size_t place_of(const char *path, size_t *len)
{
	size_t i, n;

	for (i = 0; i < ARRAY_SIZE(places); i++) {
		n = strlen(places[i].from);
		if (!strncmp(path, places[i].from, n) && (path[n] == '/' || !path[n])) {
			*len = n;
			break;
		}
	}
	return i;
}

bool sys_path_near(const char *folder)
{
	size_t i, n = strlen(folder);

	for (i = 0; i < ARRAY_SIZE(places); i++)
		if (n > 1 && !strncmp(places[i].from, folder, n) && places[i].from[n] == '/')
			return true;
	return false;
}

/* "a//b/./c" as "a/b/c": what is compared is the name, as the kernel would walk it. */
static bool tidy(const char *path, char *out, size_t size)
{
	size_t n = 0;

	while (*path) {
		while (path[0] == '/' && (path[1] == '/' || (path[1] == '.' && (path[2] == '/' || !path[2]))))
			path += path[1] == '/' ? 1 : 2;
		if (!*path)
			break;
		if (n + 1 >= size)
			return false;
		out[n++] = *path++;
	}
	while (n > 1 && out[n - 1] == '/')
		n--;
	out[n] = '\0';
	return true;
}

enum session_fs sys_path(const char *path, char out[PATH_MAX])
{
	char name[PATH_MAX];
	const char *base;
	size_t i, n;

	if (!strncmp(path, "/lib/modules/", 13))
		return sys_headers_path(path, out) ? SESSION_PLAIN : SESSION_NO;
	if ((strncmp(path, "/sys/", 5) && strncmp(path, "/proc/sys/", 10) && strncmp(path, "//", 2)) ||
	    !tidy(path, name, sizeof(name)))
		return SESSION_NO;
	i = place_of(name, &n);
	/* Ways out of the place are the kernel's to refuse. */
	if (i == ARRAY_SIZE(places) || strstr(name, "/../") ||
	    (strlen(name) > 3 && !strcmp(name + strlen(name) - 3, "/..")))
		return SESSION_NO;
	base = sys_session(true);
	if (!base || snprintf(out, PATH_MAX, "%s/%s%s", base, places[i].to, name + n) >= PATH_MAX)
		return SESSION_NO;
	if (places[i].fs == SESSION_TRACEFS)
		sys_tracefs_fill(base, name + n);
	return places[i].fs;
}
