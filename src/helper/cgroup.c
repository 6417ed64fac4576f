/* SPDX-License-Identifier: MIT */
/* Helpers on the process: its control group, signals to it. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "helper/helper_int.h"

#define ROOT "/sys/fs/cgroup"

/* The v2 control group's id is the inode of its directory; 0 when the machine shows none. */
u64 cgroup_id(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	char buf[PATH_MAX], path[sizeof(ROOT) + PATH_MAX] = ROOT, *line, *end;
	int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return 0;
	n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (n <= 0)
		return 0;
	buf[n] = '\0';
	line = strncmp(buf, "0::", 3) ? strstr(buf, "\n0::") : buf;
	if (!line)
		return 0;
	line = strstr(line, "::") + 2;
	end = strchr(line, '\n');
	if (end)
		*end = '\0';
	strcpy(path + sizeof(ROOT) - 1, line);
	return stat(path, &st) ? 0 : st.st_ino;
}

u64 signal_process(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	if (!(u32)a1 || (u32)a1 >= NSIG)
		return (u64)-EINVAL;
	if (helper_run.idle)
		return (u64)-EPERM;
	return kill(getpid(), (int)(u32)a1) ? (u64)-errno : 0;
}

u64 signal_thread(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	if (!(u32)a1 || (u32)a1 >= NSIG)
		return (u64)-EINVAL;
	if (helper_run.idle)
		return (u64)-EPERM;
	return syscall(SYS_tgkill, getpid(), gettid(), (int)(u32)a1) ? (u64)-errno : 0;
}
