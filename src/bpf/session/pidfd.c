/* SPDX-License-Identifier: MIT */
/* Descriptors of processes (pidfd_open(2)), the keys of task-local storage to bpf(2). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpf/sys_int.h"

int sys_pidfd(int fd, u32 *tid)
{
	char path[48], buf[512], *line;
	ssize_t n;
	long pid;
	int info;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	info = open(path, O_RDONLY | O_CLOEXEC);
	if (info < 0)
		return -EBADF;
	n = read(info, buf, sizeof(buf) - 1);
	close(info);
	if (n <= 0)
		return -EBADF;
	buf[n] = '\0';
	line = strstr(buf, "\nPid:\t");
	if (!line)
		return -EBADF;
	pid = strtol(line + 6, NULL, 10);
	if (pid <= 0)
		return -ENOENT; /* it has ended */
	*tid = (u32)pid;
	return 0;
}
