/* SPDX-License-Identifier: MIT */
/*
 * Loading a library into the target. Where it sees the file that we see, by name. In another mount
 * namespace (a container) by a memory file that we fill, and so are those that the library needs and
 * that are not found there.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "inject/inject_int.h"

#define LOAD_MS 20000
#define MAX_DEPTH 16
#define RTLD_NOW_ 2

static bool sees(pid_t pid, const char *path)
{
	char there[PATH_MAX + 32];
	struct stat a, b;

	snprintf(there, sizeof(there), "/proc/%d/root%s", pid, path);
	return !stat(path, &a) && !stat(there, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

/* dlopen() of a name in the target: its handle, or 0 with what dlerror() says. */
static int open_there(struct inject *in, const char *name, u64 *handle, char message[512], struct text *why)
{
	u64 args[6] = { 0, RTLD_NOW_ }, at = 0;
	int err = inject_text(in, name, &args[0]);
	size_t n;

	message[0] = '\0';
	if (!err)
		err = inject_raw(in, inject_fn_dlopen(in), args, LOAD_MS, handle, why);
	if (err || *handle)
		return err;
	err = inject_raw(in, inject_fn_dlerror(in), args, 1000, &at, why);
	if (err)
		return err;
	/* To the end of the page, then of the string. */
	n = 4096 - at % 4096 < 511 ? 4096 - at % 4096 : 511;
	if (!at || target_get(inject_pid(in), at, message, n))
		snprintf(message, 512, "no reason given");
	else
		message[n] = '\0';
	text_clean(message);
	return 0;
}

/* Whatever the target says that it made: a file with a name may be one that it may not write, and we may. */
static bool is_memory_file(int fd)
{
	struct stat st;

	return fcntl(fd, F_GET_SEALS) >= 0 && !fstat(fd, &st) && S_ISREG(st.st_mode) && !st.st_nlink;
}

static int copy_file(const char *from, const char *to)
{
	int in = open(from, O_RDONLY | O_CLOEXEC), out = open(to, O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY), err = 0;
	ssize_t n = 1;

	if (in < 0 || out < 0)
		err = -errno;
	else if (!is_memory_file(out))
		err = -EPERM;
	while (!err && n > 0) {
		n = sendfile(out, in, NULL, 1 << 20);
		if (n < 0)
			err = -errno;
	}
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	return err;
}

/* A memory file there with the contents of `path`: its descriptor. */
static int give_file(struct inject *in, const char *path, s32 *fd, struct text *why)
{
	u64 memfd = elf_find(inject_target(in), "memfd_create"), args[6] = { 0, MFD_CLOEXEC }, ret = 0;
	const char *base = strrchr(path, '/');
	char there[64];
	int err;

	if (!memfd) {
		text_puts(why, "its C library has no memfd_create()");
		return -ENOTSUP;
	}
	err = inject_text(in, base ? base + 1 : path, &args[0]);
	if (!err)
		err = inject_raw(in, memfd, args, 1000, &ret, why);
	if (err)
		return err;
	*fd = (s32)ret;
	if (*fd < 0) {
		text_printf(why, "process %d cannot make a memory file", inject_pid(in));
		return -ENOMEM;
	}
	snprintf(there, sizeof(there), "/proc/%d/fd/%d", inject_pid(in), *fd);
	err = copy_file(path, there);
	if (err)
		text_printf(why, "%s cannot be given to process %d: %s", path, inject_pid(in), strerror(-err));
	return err;
}

static void close_there(struct inject *in, s32 fd)
{
	u64 close = elf_find(inject_target(in), "close"), args[6] = { (u64)fd }, ret;
	struct text why = { 0 };

	if (close)
		inject_raw(in, close, args, 1000, &ret, &why);
	text_free(&why);
}

/* ---- libraries that it needs -------------------------------------------------------------------- */

struct wanted {
	const char *name;
	char *path;
};

static int look_at_own(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct wanted *w = arg;
	const char *base = info->dlpi_name ? strrchr(info->dlpi_name, '/') : NULL;

	(void)size;
	if (!base || strcmp(base + 1, w->name))
		return 0;
	snprintf(w->path, PATH_MAX, "%s", info->dlpi_name);
	return 1;
}

/* "NAME: cannot open shared object file: ...": which file of ours that is. */
static bool find_needed(const char *message, const char *beside, char path[PATH_MAX])
{
	const char *end = strstr(message, ": cannot open shared object file");
	struct wanted w = { .path = path };
	char name[256], *slash;

	if (!end || end - message >= (long)sizeof(name) || memchr(message, '/', (size_t)(end - message)))
		return false;
	snprintf(name, sizeof(name), "%.*s", (int)(end - message), message);
	w.name = name;
	snprintf(path, PATH_MAX, "%s", beside);
	slash = strrchr(path, '/');
	if (!slash || slash + 1 + strlen(name) + 1 > path + PATH_MAX)
		return false;
	strcpy(slash + 1, name);
	return !access(path, R_OK) || dl_iterate_phdr(look_at_own, &w);
}

static int load(struct inject *in, const char *path, u64 *handle, u32 depth, struct text *why)
{
	char message[512], name[64], needed[PATH_MAX];
	u64 ignored;
	s32 fd = -1;
	int err;

	if (sees(inject_pid(in), path)) {
		err = open_there(in, path, handle, message, why);
	} else {
		err = give_file(in, path, &fd, why);
		if (err)
			return err;
		snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
		do {
			err = open_there(in, name, handle, message, why);
			if (err || *handle || depth == MAX_DEPTH || !find_needed(message, path, needed))
				break;
			err = load(in, needed, &ignored, depth + 1, why);
		} while (!err);
		close_there(in, fd);
	}
	if (!err && !*handle) {
		text_printf(why, "process %d cannot load %s: %s", inject_pid(in), path, message);
		err = -ENOEXEC;
	}
	return err;
}

int inject_load(struct inject *in, const char *path, u64 *handle, struct text *why)
{
	return load(in, path, handle, 0, why);
}
