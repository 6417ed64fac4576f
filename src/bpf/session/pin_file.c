/* SPDX-License-Identifier: MIT */
/*
 * What the file of a pin says: which object it is of. The broker knows by the file's inode, and nobody reads it
 * while it lives; when broker and guardian died together, who still has the object finds by it what to hand back.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bpf/session/session.h"
#include "bpf/sys_int.h"

#define MAX_DEPTH 16 /* of folders */
#define TEXT_MAX  128

int sys_pin_say(int fd, const struct sys_obj *o)
{
	char text[TEXT_MAX];
	int n = snprintf(text, sizeof(text), "pin of kind %u id %u inode %" PRIu64 " of %" PRIu64 "\n", o->kind, o->id,
			 o->ino, o->dev);

	/* Held for as long as the pin is being made: until then nobody takes the name for one that lost its object. */
	if (flock(fd, LOCK_SH))
		return -errno;
	return write(fd, text, (size_t)n) == n ? 0 : -ENOSPC;
}

bool sys_pin_says(int fd, struct pin_is *is)
{
	char text[TEXT_MAX], end;
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return false;
	text[n] = '\0';
	return sscanf(text, "pin of kind %u id %u inode %" SCNu64 " of %" SCNu64 "%c", &is->kind, &is->id, &is->ino,
		      &is->dev, &end) == 5 && end == '\n';
}

/* Takes the descriptor. */
static void walk(int folder, sys_pin_fn *fn, void *arg, int depth)
{
	DIR *dir = fdopendir(folder);
	struct pin_is is;
	struct dirent *e;
	struct stat st;
	int fd;

	if (!dir) {
		close(folder);
		return;
	}
	while ((e = readdir(dir))) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		fd = openat(dirfd(dir), e->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0 || fstat(fd, &st))
			st.st_mode = 0;
		if (S_ISDIR(st.st_mode) && depth < MAX_DEPTH) {
			walk(fd, fn, arg, depth + 1);
			continue;
		}
		if (S_ISREG(st.st_mode) && sys_pin_says(fd, &is))
			fn(dirfd(dir), e->d_name, fd, &is, arg);
		if (fd >= 0)
			close(fd);
	}
	closedir(dir);
}

void sys_pins_each(const char *session, sys_pin_fn *fn, void *arg)
{
	char path[SESSION_DIR_MAX + 8];
	int fd;

	snprintf(path, sizeof(path), "%s/bpf", session);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0)
		walk(fd, fn, arg, 0);
}
