/* SPDX-License-Identifier: MIT */
/*
 * Links: a program on an event, for as long as descriptors or pins of the link live. The commands
 * check what the kernel checks, in its order; the event itself is the table's (attach.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bpf/event/iter.h"
#include "bpf/event/link.h"
#include "bpf/ops.h"
#include "bpf/session/session.h"
#include "bpf/sys_int.h"

void sys_link_free(struct sys_obj *o)
{
	struct sys_link *l = container_of(o, struct sys_link, o);

	if (l->ops && o->id && sys_run_defer(o))
		return; /* a thread inside a program waits for nobody */
	sys_detach(&l->at);
	if (l->event)
		sys_event_unlink(l->event, l);
	if (o->id)
		close(o->fd);
	if (l->prog)
		sys_put(&l->prog->o);
	if (l->ops) {
		ops_unlink(l->ops);
		sys_put(&l->ops->o);
	}
	iter_what_free(l->iter);
	multi_free(l->multi);
	base_free(l->name);
	base_free(l);
}

static struct sys_link *new_link(struct sys_prog *sp, u32 type, u32 attach_type)
{
	struct sys_link *l = base_alloc(sizeof(*l));

	if (!l)
		return NULL;
	if (sp)
		sys_hold(&sp->o);
	l->prog = sp;
	l->type = type;
	l->attach_type = attach_type;
	l->o.kind = SYS_LINK;
	return l;
}

/* A descriptor for a link that is attached; the link is freed when there can be none. */
static long give(struct sys_link *l)
{
	struct link_file file = { .magic = SYS_LINK_MAGIC, .type = l->type, .attach_type = l->attach_type,
				  .id = sys_obj_number(SYS_LINK) };
	struct text more = { 0 };
	int fd, err;

	if (l->prog)
		file.prog = (struct prog_file_ref){ l->prog->o.dev, l->prog->o.ino };

	if (l->iter && l->iter->map)
		file.map = (struct prog_file_ref){ l->iter->map->o.dev, l->iter->map->o.ino };
	snprintf(file.name, sizeof(file.name), "%s", l->name ? l->name : "");
	file.tid = l->iter ? l->iter->tid : 0;
	file.tgid = l->iter ? l->iter->tgid : 0;
	if (l->multi)
		multi_save(l->multi, &more);
	err = fd = more.oom ? -ENOMEM : sys_memfd("bpf-link", &file, sizeof(file), more.s, more.len);
	text_free(&more);
	if (fd >= 0) {
		fd = sys_fd_move(fd);
		l->o.id = file.id;
		err = sys_obj_add(&l->o, SYS_LINK, fd);
		if (err) {
			l->o.id = 0;
			close(fd);
		}
	}
	if (err < 0) {
		sys_link_free(&l->o);
		return err;
	}
	sys_seal(fd);
	fd = sys_fd_new(&l->o, 0);
	sys_put(&l->o);
	return fd;
}

static int iter_from(struct sys_link *l, const struct link_file *f, struct sys_obj *map)
{
	union bpf_iter_link_info info = { 0 };
	int err;

	if (map)
		info.map.map_fd = map->fd;
	err = iter_what_new(l->prog, &info, &l->iter);
	if (!err && !map) {
		l->iter->tid = f->tid;
		l->iter->tgid = f->tgid;
	}
	return err;
}

static bool is_multi(u32 type)
{
	return type == BPF_LINK_TYPE_KPROBE_MULTI || type == SYS_LINK_TYPE_UPROBE_MULTI;
}

int sys_link_from(int fd, const struct link_file *f, size_t size, struct sys_obj *prog, struct sys_obj *map,
		  struct sys_obj **out)
{
	struct sys_prog *sp = prog && prog->kind == SYS_PROG ? container_of(prog, struct sys_prog, o) : NULL;
	struct sys_link *l;
	int err;

	if (!sp || (f->type == BPF_LINK_TYPE_ITER) != (sp->p->attach_type == BPF_TRACE_ITER) ||
	    f->name[sizeof(f->name) - 1] || (size > sizeof(*f) && !is_multi(f->type)))
		return -EINVAL;
	l = new_link(sp, f->type, f->attach_type);
	if (!l)
		return -ENOMEM;
	l->foreign = f->type != BPF_LINK_TYPE_ITER;
	err = l->foreign ? 0 : iter_from(l, f, map);
	if (is_multi(f->type))
		err = multi_load(f + 1, size - sizeof(*f), f->type == SYS_LINK_TYPE_UPROBE_MULTI, &l->multi);
	if (!err && f->name[0] && !(l->name = base_strdup(f->name)))
		err = -ENOMEM;
	if (!err) {
		l->o.id = f->id & INT32_MAX;
		err = sys_obj_add(&l->o, SYS_LINK, fd);
	}
	if (err) {
		l->o.id = 0;
		sys_link_free(&l->o);
		return err;
	}
	*out = &l->o;
	return 0;
}

static struct sys_prog *prog_of(int fd, long *err)
{
	struct sys_obj *o = sys_fd_get(fd, SYS_PROG);

	if (!o)
		*err = sys_fd_error(fd);
	return o ? container_of(o, struct sys_prog, o) : NULL;
}

static struct sys_link *link_of(int fd, long *err)
{
	struct sys_obj *o = sys_fd_get(fd, SYS_LINK);

	if (!o)
		*err = sys_fd_error(fd);
	return o ? container_of(o, struct sys_link, o) : NULL;
}

/* ---- create --------------------------------------------------------------------------------- */

static long create_on_event(struct sys_call *c, struct sys_prog *sp)
{
	int target = c->attr.link_create.target_fd;
	struct sys_obj *o;
	struct sys_link *l;
	long err;

	if (c->attr.link_create.flags)
		return -EINVAL;
	o = sys_fd_get(target, SYS_EVENT);
	if (!o) /* bpf_perf_link_attach(): perf_event_get() */
		return -EBADF;
	l = new_link(sp, BPF_LINK_TYPE_PERF_EVENT, BPF_PERF_EVENT);
	if (!l) {
		sys_put(o);
		return -ENOMEM;
	}
	/* The link has the event from here on, and gives it back. */
	err = sys_event_link(o, l, c->attr.link_create.perf_event.bpf_cookie);
	if (err) {
		sys_put(o);
		sys_link_free(&l->o);
		return err;
	}
	return give(l);
}

static long create_on(enum sys_attach_kind kind, u32 type, struct sys_call *c, struct sys_prog *sp,
		      const char *name)
{
	struct sys_attach a = { .p = sp->p, .pid = -1, .cpu = -1 };
	struct sys_link *l = new_link(sp, type, c->cmd == BPF_LINK_CREATE
							? c->attr.link_create.attach_type
							: 0);
	int err;

	if (!l)
		return -ENOMEM;
	if (name)
		l->name = base_strdup(name);
	a.name = l->name;
	err = name && !l->name ? -ENOMEM : sys_attach(kind, &a, &l->at);
	if (err) {
		sys_link_free(&l->o);
		return err;
	}
	return give(l);
}

static long create_iter(struct sys_call *c, struct sys_prog *sp)
{
	struct sys_link *l;
	struct iter_what *what;
	int err = iter_what_asked(c, sp, &what);

	if (err)
		return err;
	l = new_link(sp, BPF_LINK_TYPE_ITER, BPF_TRACE_ITER);
	if (!l) {
		iter_what_free(what);
		return -ENOMEM;
	}
	l->iter = what;
	return give(l);
}

/* bpf_tracing_prog_attach() */
static long create_tracing(struct sys_call *c, struct sys_prog *sp)
{
	bool by_link = c->cmd == BPF_LINK_CREATE;
	struct sys_attach a = { .p = sp->p, .pid = -1, .cpu = -1 };
	struct sys_link *l;
	int err;

	/* bpf_raw_tp_link_attach() */
	if (sp->p->type == BPF_PROG_TYPE_TRACING && sp->p->attach_type == BPF_TRACE_RAW_TP)
		return create_on(SYS_ATTACH_RAW_TRACEPOINT, BPF_LINK_TYPE_RAW_TRACEPOINT, c, sp, sp->p->args.name);
	if (sp->p->type == BPF_PROG_TYPE_TRACING && sp->p->attach_type != BPF_TRACE_FENTRY &&
	    sp->p->attach_type != BPF_TRACE_FEXIT && sp->p->attach_type != BPF_MODIFY_RETURN)
		return -EINVAL;
	if (by_link && (c->attr.link_create.target_fd || c->attr.link_create.target_btf_id))
		return -EINVAL; /* another target is for extensions of programs */
	if (by_link)
		a.cookie = c->attr.link_create.tracing.cookie;
	if (sp->attach_btf && sp->attach_btf->mod)
		a.func = module_func(sp->attach_btf->mod, sp->attach_btf_id);
	else
		a.name = sp->p->args.name;
	l = new_link(sp, BPF_LINK_TYPE_TRACING, sp->p->attach_type);
	if (!l)
		return -ENOMEM;
	err = sys_attach(SYS_ATTACH_TRACING, &a, &l->at);
	if (err) {
		sys_link_free(&l->o);
		return err;
	}
	return give(l);
}

static long create_multi(struct sys_call *c, struct sys_prog *sp)
{
	bool user = c->attr.link_create.attach_type == SYS_TRACE_UPROBE_MULTI;
	struct sys_multi *m;
	struct sys_link *l;
	int err = user ? multi_uprobe(c, sp, &m) : multi_kprobe(c, sp, &m);

	if (err)
		return err;
	l = new_link(sp, user ? SYS_LINK_TYPE_UPROBE_MULTI : BPF_LINK_TYPE_KPROBE_MULTI,
		     c->attr.link_create.attach_type);
	if (!l) {
		multi_free(m);
		return -ENOMEM;
	}
	l->multi = m;
	return give(l);
}

static bool on_events(const struct prog *p)
{
	return p->type == BPF_PROG_TYPE_PERF_EVENT || p->type == BPF_PROG_TYPE_TRACEPOINT ||
	       p->type == BPF_PROG_TYPE_KPROBE;
}

static long create(struct sys_call *c, struct sys_prog *sp)
{
	u32 attach_type = c->attr.link_create.attach_type;
	enum sys_attach_kind kind = 0;

	if (!sys_attach_type_fits(sp->p, attach_type))
		return -EINVAL;
	if (on_events(sp->p)) {
		bool multi = attach_type == BPF_TRACE_KPROBE_MULTI || attach_type == SYS_TRACE_UPROBE_MULTI;

		/* bpf_prog_attach_check_attach_type() */
		if (sp->p->type == BPF_PROG_TYPE_KPROBE && (multi || sp->p->attach_type == BPF_TRACE_KPROBE_MULTI ||
							    sp->p->attach_type == SYS_TRACE_UPROBE_MULTI))
			return multi && sp->p->attach_type == attach_type ? create_multi(c, sp) : -EINVAL;
		return attach_type == BPF_PERF_EVENT ? create_on_event(c, sp) : -EINVAL;
	}
	if (sp->p->type == BPF_PROG_TYPE_TRACING && attach_type != sp->p->attach_type)
		return -EINVAL;
	if (sp->p->type == BPF_PROG_TYPE_TRACING && attach_type == BPF_TRACE_ITER)
		return create_iter(c, sp);
	if (sp->p->type == BPF_PROG_TYPE_TRACING || sp->p->type == BPF_PROG_TYPE_EXT ||
	    sp->p->type == BPF_PROG_TYPE_LSM)
		return create_tracing(c, sp);
	if (sys_attach_prog_type(attach_type, &kind) != sp->p->type)
		return -EINVAL;
	switch (kind) {
	case SYS_ATTACH_CGROUP:
		if (c->attr.link_create.flags)
			return -EINVAL;
		return create_on(kind, BPF_LINK_TYPE_CGROUP, c, sp, NULL);
	case SYS_ATTACH_NETNS: return create_on(kind, BPF_LINK_TYPE_NETNS, c, sp, NULL);
	case SYS_ATTACH_XDP: return create_on(kind, BPF_LINK_TYPE_XDP, c, sp, NULL);
	default: return -EINVAL;
	}
}

/* bpf_struct_ops_link_create(): the program's field has the map. */
static long create_ops(struct sys_call *c)
{
	int err = 0;
	struct sys_map *sm = sys_map_of((int)c->attr.link_create.prog_fd, &err);
	struct sys_link *l;

	if (!sm)
		return err;
	l = new_link(NULL, OPS_LINK_TYPE, OPS_ATTACH_TYPE);
	err = l ? ops_link(sm) : -ENOMEM;
	if (err) {
		base_free(l);
		sys_put(&sm->o);
		return err;
	}
	l->ops = sm;
	return give(l);
}

long sys_cmd_link_create(struct sys_call *c)
{
	long err;
	struct sys_prog *sp;

	if (c->attr.link_create.attach_type == OPS_ATTACH_TYPE)
		return create_ops(c);
	sp = prog_of(c->attr.link_create.prog_fd, &err);
	if (!sp)
		return err;
	err = create(c, sp);
	sys_put(&sp->o);
	return err;
}

/* Tracepoints by name: those of tracefs and, as the kernel has it, without their category. */
static bool is_raw_tracepoint(const char *name)
{
	char full[128];
	u32 id;

	for (id = 0; id < 256; id++) {
		if (!sys_event_name(id, full))
			continue;
		if (!strcmp(strchr(full, ':') + 1, name))
			return true;
	}
	return false;
}

long sys_cmd_raw_tracepoint_open(struct sys_call *c)
{
	char name[128];
	long err;
	struct sys_prog *sp = prog_of(c->attr.raw_tracepoint.prog_fd, &err);
	s64 n;

	if (!sp)
		return err;
	switch (sp->p->type) {
	case BPF_PROG_TYPE_TRACING:
	case BPF_PROG_TYPE_EXT:
	case BPF_PROG_TYPE_LSM:
		/* These say at load what they go on. */
		err = c->attr.raw_tracepoint.name
			      ? -EINVAL
			      : create_tracing(c, sp);
		break;
	case BPF_PROG_TYPE_RAW_TRACEPOINT:
	case BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE:
		n = sys_in_string(name, c->attr.raw_tracepoint.name, sizeof(name) - 1);
		name[sizeof(name) - 1] = '\0';
		err = n < 0		   ? -EFAULT
		      : !is_raw_tracepoint(name) ? -ENOENT
						 : create_on(SYS_ATTACH_RAW_TRACEPOINT,
							     BPF_LINK_TYPE_RAW_TRACEPOINT, c, sp, name);
		break;
	default: err = -EINVAL;
	}
	sys_put(&sp->o);
	return err;
}

/* ---- update, detach ------------------------------------------------------------------------- */

/* Which program a link runs may be exchanged where the kernel's links have an operation for it. */
static long update(struct sys_link *l, struct sys_call *c)
{
	struct sys_prog *sp, *old = NULL;
	long err = 0;

	sp = prog_of(c->attr.link_update.new_prog_fd, &err);
	if (!sp)
		return err;
	if (c->attr.link_update.flags & BPF_F_REPLACE)
		old = prog_of(c->attr.link_update.old_prog_fd, &err);
	else if (c->attr.link_update.old_prog_fd)
		err = -EINVAL;
	sys_slow_lock();
	if (!err)
		err = l->iter ? iter_link_update(l, sp, old) : -EINVAL;
	sys_slow_unlock();
	if (old)
		sys_put(&old->o);
	sys_put(&sp->o);
	return err;
}

/* The programs' fields have maps. bpf_struct_ops_map_link_update() */
static long update_ops(struct sys_link *l, struct sys_call *c)
{
	bool replace = c->attr.link_update.flags & BPF_F_REPLACE;
	struct sys_map *sm, *old = NULL, *was;
	int err = 0;

	sm = sys_map_of((int)c->attr.link_update.new_prog_fd, &err);
	if (!sm)
		return err;
	if (replace)
		old = sys_map_of((int)c->attr.link_update.old_prog_fd, &err);
	else if (c->attr.link_update.old_prog_fd)
		err = -EINVAL;
	/* Not while the exchange waits for who is inside: of two at once the later finds that it is late. */
	sys_slow_lock();
	was = l->ops;
	sys_hold(&was->o);
	sys_slow_unlock();
	if (!err)
		err = old && old != was ? -EPERM : ops_link_update(was, sm);
	if (!err) {
		sys_slow_lock();
		l->ops = sm; /* and the link's reference on the old one is dropped below */
		sys_slow_unlock();
		sm = was;
	}
	if (old)
		sys_put(&old->o);
	sys_put(&was->o);
	sys_put(&sm->o);
	return err;
}

long sys_cmd_link_update(struct sys_call *c)
{
	struct sys_link *l;
	long err;

	if (c->attr.link_update.flags & ~(u32)BPF_F_REPLACE)
		return -EINVAL;
	l = link_of(c->attr.link_update.link_fd, &err);
	if (!l)
		return err;
	err = l->ops ? update_ops(l, c) : update(l, c);
	sys_put(&l->o);
	return err;
}

long sys_cmd_link_detach(struct sys_call *c)
{
	long err = 0;
	struct sys_link *l = link_of(c->attr.link_detach.link_fd, &err);

	if (!l)
		return err;
	if (l->ops && sys_run_inside())
		err = -EBUSY;
	else if (l->ops)
		ops_unlink(l->ops);
	if (!l->ops)
		err = -EOPNOTSUPP; /* as the kernel's links on events: closing them is what ends them */
	sys_put(&l->o);
	return err;
}

/* ---- what is known of them ------------------------------------------------------------------ */

static int raw_tracepoint_info(struct sys_link *l, struct bpf_link_info *in, struct bpf_link_info *out)
{
	u32 len = l->name ? strlen(l->name) + 1 : 0, room;

	/* bpf_raw_tp_link_fill_link_info() */
	if (!in->raw_tracepoint.tp_name != !in->raw_tracepoint.tp_name_len)
		return -EINVAL;
	room = in->raw_tracepoint.tp_name_len;
	out->raw_tracepoint.tp_name = in->raw_tracepoint.tp_name;
	out->raw_tracepoint.tp_name_len = len;
	if (!room)
		return 0;
	if (sys_out(in->raw_tracepoint.tp_name, l->name, room < len ? room - 1 : len))
		return -EFAULT;
	if (room >= len)
		return 0;
	return sys_out(in->raw_tracepoint.tp_name + room - 1, "", 1) ? -EFAULT : -ENOSPC;
}

int sys_link_info(struct sys_link *l, union sys_link_info *in, union sys_link_info *out)
{
	memset(out, 0, sizeof(*out));
	out->any.type = l->type;
	out->any.id = l->o.id;
	if (l->ops) { /* struct_ops.map_id, which is younger than these headers */
		out->any.netns.netns_ino = l->ops->o.id;
		return 0;
	}
	out->any.prog_id = l->prog->o.id;
	if (l->iter)
		return iter_link_info(l, &in->any, &out->any);
	if (l->multi)
		return multi_info(l->multi, &in->multi.of, &out->multi.of);
	switch (l->type) {
	case BPF_LINK_TYPE_TRACING:
		out->any.tracing.attach_type = l->attach_type;
		out->any.tracing.target_obj_id = l->prog->attach_btf ? l->prog->attach_btf->o.id : 0;
		out->any.tracing.target_btf_id = l->prog->attach_btf_id;
		return 0;
	case BPF_LINK_TYPE_RAW_TRACEPOINT: return raw_tracepoint_info(l, &in->any, &out->any);
	case BPF_LINK_TYPE_PERF_EVENT: return sys_perf_link_info(l, &in->perf, &out->perf);
	default: return 0;
	}
}

const char *sys_link_type_name(u32 type)
{
	switch (type) {
	case BPF_LINK_TYPE_RAW_TRACEPOINT: return "raw_tracepoint";
	case BPF_LINK_TYPE_TRACING: return "tracing";
	case BPF_LINK_TYPE_CGROUP: return "cgroup";
	case BPF_LINK_TYPE_ITER: return "iter";
	case BPF_LINK_TYPE_NETNS: return "netns";
	case BPF_LINK_TYPE_XDP: return "xdp";
	case BPF_LINK_TYPE_PERF_EVENT: return "perf";
	case BPF_LINK_TYPE_KPROBE_MULTI: return "kprobe_multi";
	case SYS_LINK_TYPE_UPROBE_MULTI: return "uprobe_multi";
	case OPS_LINK_TYPE: return "struct_ops";
	default: return "unknown";
	}
}
