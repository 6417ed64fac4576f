/* SPDX-License-Identifier: MIT */
/* BPF_ENABLE_STATS: programs count their runs and time while a descriptor of it is open. */
#include <errno.h>
#include <unistd.h>

#include "bpf/session/look.h"
#include "bpf/sys_int.h"

void sys_stats_count(bool on)
{
	if (on)
		sys_stats_on++;
	else
		sys_stats_on--;
}

void sys_stats_free(struct sys_obj *o)
{
	sys_stats_on--;
	if (sys_shared())
		sys_shared()->count(false);
	close(o->fd);
	base_free(o);
}

long sys_cmd_enable_stats(struct sys_call *c)
{
	struct sys_obj *o;
	int fd, err;

	if (c->attr.enable_stats.type != BPF_STATS_RUN_TIME)
		return -EINVAL;
	o = base_alloc(sizeof(*o));
	if (!o)
		return -ENOMEM;
	fd = sys_memfd("bpf-stats", NULL, 0, NULL, 0);
	if (fd < 0) {
		base_free(o);
		return fd;
	}
	fd = sys_fd_move(fd);
	err = sys_obj_add(o, SYS_STATS, fd);
	if (err) {
		close(fd);
		base_free(o);
		return err;
	}
	sys_seal(fd);
	sys_stats_on++;
	if (sys_shared())
		sys_shared()->count(true);
	fd = sys_fd_new(o, 0);
	sys_put(o);
	return fd;
}
