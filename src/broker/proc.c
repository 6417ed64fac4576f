/* SPDX-License-Identifier: MIT */
/* What /proc says of a process (proc(5)). */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "broker/broker_int.h"

bool proc_read(s32 pid, const char *name, char *text, size_t size)
{
	char path[32];
	ssize_t n = -1;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, text, size - 1);
		close(fd);
	}
	text[n > 0 ? n : 0] = '\0';
	return n > 0;
}

/* The name may hold anything, but nothing behind it does. */
bool proc_state(s32 pid, char *state, s32 *parent)
{
	char text[512], *at;

	if (!proc_read(pid, "stat", text, sizeof(text)))
		return false;
	at = strrchr(text, ')');
	return at && sscanf(at + 1, " %c %d", state, parent) == 2;
}
