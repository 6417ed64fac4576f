/* SPDX-License-Identifier: MIT */
/* Commands on numbers of objects: the next one, and a descriptor for one. */
#include <errno.h>

#include "bpf/sys_int.h"

u32 sys_any_next(int kind, u32 id)
{
	const struct sys_share_ops *share = sys_shared();
	u32 here = sys_id_next(kind, id), there = share ? share->next_id(kind, id) : 0;

	return there && (!here || there < here) ? there : here;
}

struct sys_obj *sys_any_get(int kind, u32 id)
{
	struct sys_obj *o = sys_id_get(kind, id);

	if (!o && sys_shared())
		o = sys_shared()->by_id(kind, id);
	/* What the broker sends says itself what it is: maybe something else than was asked for. */
	if (o && o->kind != kind) {
		sys_put(o);
		o = NULL;
	}
	return o;
}

static long next_id(struct sys_call *c, int kind)
{
	u32 id;
	int err = c->attr.start_id >= INT32_MAX ? -EINVAL : sys_btf_sync();

	if (err)
		return err;
	id = sys_any_next(kind, c->attr.start_id);
	return id ? SYS_PUT(c, next_id, id) : -ENOENT;
}

static long by_id(int kind, u32 id, u32 flags)
{
	struct sys_obj *o;
	int fd = sys_btf_sync();

	if (fd)
		return fd;
	o = sys_any_get(kind, id);
	if (!o)
		return -ENOENT;
	fd = sys_fd_new(o, flags);
	sys_put(o);
	return fd;
}

long sys_cmd_prog_next_id(struct sys_call *c)
{
	return next_id(c, SYS_PROG);
}

long sys_cmd_map_next_id(struct sys_call *c)
{
	return next_id(c, SYS_MAP);
}

long sys_cmd_btf_next_id(struct sys_call *c)
{
	return next_id(c, SYS_BTF);
}

long sys_cmd_link_next_id(struct sys_call *c)
{
	return next_id(c, SYS_LINK);
}

long sys_cmd_prog_by_id(struct sys_call *c)
{
	return by_id(SYS_PROG, c->attr.prog_id, 0);
}

long sys_cmd_map_by_id(struct sys_call *c)
{
	u32 flags = c->attr.open_flags;

	if (flags & ~(u32)(BPF_F_RDONLY | BPF_F_WRONLY) ||
	    flags == (u32)(BPF_F_RDONLY | BPF_F_WRONLY))
		return -EINVAL;
	return by_id(SYS_MAP, c->attr.map_id, flags);
}

long sys_cmd_btf_by_id(struct sys_call *c)
{
	return by_id(SYS_BTF, c->attr.btf_id, 0);
}

long sys_cmd_link_by_id(struct sys_call *c)
{
	return by_id(SYS_LINK, c->attr.link_id, 0);
}
