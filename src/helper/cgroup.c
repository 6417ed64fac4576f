/* SPDX-License-Identifier: MIT */
/* Helpers on the process: its control group, signals to it. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "helper/helper_int.h"

#define MOUNT "/sys/fs/cgroup"

/* The process's v2 control group, "/" or "/a/b": false when the machine shows none. */
static bool own_cgroup(char path[PATH_MAX])
{
	char buf[PATH_MAX + 512], *line, *end;
	int fd = open("/proc/self/cgroup", O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return false;
	n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (n <= 0)
		return false;
	buf[n] = '\0';
	line = strncmp(buf, "0::", 3) ? strstr(buf, "\n0::") : buf;
	if (!line)
		return false;
	line = strstr(line, "::") + 2;
	end = strchr(line, '\n');
	if (end)
		*end = '\0';
	return strlen(line) < PATH_MAX && strcpy(path, line);
}

/* A control group's id is the inode of its directory; 0: it is not there. Beside groups of v1 they have a name. */
static u64 id_of(const char *cgroup)
{
	static const char *const mounts[] = { MOUNT, MOUNT "/unified" };
	char path[sizeof(MOUNT "/unified") + PATH_MAX];
	struct statfs fs;
	struct stat st;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(mounts); i++) {
		strcpy(stpcpy(path, mounts[i]), cgroup);
		if (!statfs(path, &fs) && fs.f_type == CGROUP2_SUPER_MAGIC && !stat(path, &st))
			return st.st_ino;
	}
	return 0;
}

u64 cgroup_id(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	char path[PATH_MAX];

	return own_cgroup(path) ? id_of(path) : 0;
}

/* Of the group itself or one above it: level 0 is the root; 0: it does not lie so deep. */
u64 cgroup_ancestor_id(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	s32 level = (s32)a1;
	char path[PATH_MAX], *at = path;

	if (level < 0 || !own_cgroup(path) || path[0] != '/')
		return 0;
	if (!level)
		return id_of("/");
	for (; level && *at == '/' && at[1]; level--)
		at += 1 + strcspn(at + 1, "/");
	if (level)
		return 0;
	*at = '\0';
	return id_of(path);
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
