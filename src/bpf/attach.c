/* SPDX-License-Identifier: MIT */
/*
 * Commands that put programs on events or name them in a file system. None is carried out here:
 * each checks what a client's probe looks at, then refuses and logs why.
 */
#include <errno.h>
#include <fcntl.h>

#include "bpf/sys_int.h"

static long refuse(int err, const char *what)
{
	log_msg(LOG_INFO, "bpf(2): %s is not supported", what);
	return err;
}

/* The program behind a descriptor, or why there is none, as the kernel says it. */
static int check_prog(int fd, u32 *type)
{
	struct prog *p = sys_fd_prog(fd);

	if (!p)
		return fcntl(fd, F_GETFD) < 0 ? -EBADF : -EINVAL;
	*type = p->type;
	sys_prog_put(p);
	return 0;
}

static bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

long sys_cmd_link_create(struct sys_call *c)
{
	u32 type;
	int err = check_prog(c->attr.link_create.prog_fd, &type);

	if (err)
		return err;
	/* libbpf asks with a bad descriptor whether perf events take links: EBADF says yes. */
	if (c->attr.link_create.attach_type == BPF_PERF_EVENT &&
	    !is_open(c->attr.link_create.target_fd))
		return -EBADF;
	return refuse(-EOPNOTSUPP, "BPF_LINK_CREATE");
}

long sys_cmd_raw_tracepoint_open(struct sys_call *c)
{
	u32 type;
	int err = check_prog(c->attr.raw_tracepoint.prog_fd, &type);

	return err ? err : refuse(-EOPNOTSUPP, "BPF_RAW_TRACEPOINT_OPEN");
}

long sys_cmd_prog_attach(struct sys_call *c)
{
	(void)c;
	return refuse(-EINVAL, "BPF_PROG_ATTACH");
}

long sys_cmd_prog_detach(struct sys_call *c)
{
	(void)c;
	return refuse(-EINVAL, "BPF_PROG_DETACH");
}

long sys_cmd_prog_query(struct sys_call *c)
{
	(void)c;
	return refuse(-EINVAL, "BPF_PROG_QUERY");
}

long sys_cmd_link_update(struct sys_call *c)
{
	return is_open(c->attr.link_update.link_fd) ? -EINVAL : -EBADF;
}

long sys_cmd_link_detach(struct sys_call *c)
{
	return is_open(c->attr.link_detach.link_fd) ? -EINVAL : -EBADF;
}

long sys_cmd_iter_create(struct sys_call *c)
{
	if (c->attr.iter_create.flags)
		return -EINVAL;
	return is_open(c->attr.iter_create.link_fd) ? -EINVAL : -EBADF;
}

long sys_cmd_task_fd_query(struct sys_call *c)
{
	if (c->attr.task_fd_query.flags)
		return -EINVAL;
	return refuse(-EOPNOTSUPP, "BPF_TASK_FD_QUERY");
}
