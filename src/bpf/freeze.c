/* SPDX-License-Identifier: MIT */
/* BPF_MAP_FREEZE. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bpf/sys_int.h"

/*
 * A line of /proc/PID/maps: is it a user's writable mapping of the map? A process that uses the map
 * by Ferry has one of the whole file, which no user gets, and of a ring buffer the data alone.
 */
static bool is_users(const struct sys_map *sm, const char *line)
{
	const struct map *m = sm->map;
	unsigned long start, end, off, ino;
	char perms[5];

	if (sscanf(line, "%lx-%lx %4s %lx %*s %lu", &start, &end, perms, &off, &ino) != 5 ||
	    ino != sm->o.ino || perms[1] != 'w' || perms[3] != 's')
		return false;
	if (m->attr.type != BPF_MAP_TYPE_ARRAY && off == 2 * 4096)
		return false;
	return off || end - start != m->mem_size;
}

static bool mapped_by(const struct sys_map *sm, const char *pid)
{
	char path[32], line[512];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%.10s/maps", pid);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f))
		found = is_users(sm, line);
	if (f)
		fclose(f);
	return found;
}

/*
 * Does a process have a writable mapping of it? Those that may not be looked at (other users') are
 * taken for having none. An array that programs only read is never mapped for writing.
 */
static bool has_writable_mmap(const struct sys_map *sm)
{
	struct dirent *e;
	bool found;
	DIR *dir;

	if (!sm->map->user_size || sm->map->attr.flags & BPF_F_RDONLY_PROG)
		return false;
	found = mapped_by(sm, "self");
	dir = found ? NULL : opendir("/proc");
	while (dir && !found && (e = readdir(dir)))
		found = isdigit((unsigned char)e->d_name[0]) && mapped_by(sm, e->d_name);
	if (dir)
		closedir(dir);
	return found;
}

long sys_cmd_map_freeze(struct sys_call *c)
{
	int err = 0;
	struct sys_map *sm = sys_map_of(c->attr.map_fd, &err);

	if (!sm)
		return err;
	if (sm->map->attr.type == BPF_MAP_TYPE_STRUCT_OPS || sm->map->fields)
		err = -SYS_ENOTSUPP; /* locks, timers and pointers in values change */
	else if (sys_fd_mode(sm, c->attr.map_fd, true))
		err = -EPERM;
	else if (map_is_frozen(sm->map) || has_writable_mmap(sm))
		err = -EBUSY;
	else
		err = map_freeze(sm->map);
	sys_put(&sm->o);
	return err;
}
