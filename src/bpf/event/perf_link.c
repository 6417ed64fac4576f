/* SPDX-License-Identifier: MIT */
/*
 * What is told of links on events of perf, here and in other processes: BPF_OBJ_GET_INFO_BY_FD of the
 * link, and BPF_TASK_FD_QUERY of the event. What others have is known from what they show (look.h).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bpf/event/link.h"
#include "bpf/session/look.h"
#include "bpf/sys_int.h"

/* What both commands tell, of an event here or a row from elsewhere. */
struct told {
	enum sys_attach_kind kind;
	u32 prog, config;
	u64 offset, cookie, ref_ctr_off;
	char name[PATH_MAX];
};

static void tell_row(const struct look_row *r, struct told *t)
{
	t->kind = r->type;
	t->prog = r->prog;
	t->config = r->config;
	t->offset = r->offset;
	t->cookie = r->cookie;
	t->ref_ctr_off = r->ref_ctr_off;
	snprintf(t->name, sizeof(t->name), "%s", r->target);
}

static void tell_event(const struct sys_event_shown *e, void *arg)
{
	struct told *t = arg;

	t->kind = e->kind;
	t->prog = e->prog;
	t->config = e->config;
	t->offset = e->what->offset;
	t->cookie = e->what->cookie;
	t->ref_ctr_off = e->what->ref_ctr_off;
	snprintf(t->name, sizeof(t->name), "%s", e->what->name ? e->what->name : "");
}

/* Without the category, as the kernel has it. */
static const char *shown_name(const struct told *t)
{
	const char *colon = t->kind == SYS_ATTACH_TRACEPOINT ? strchr(t->name, ':') : NULL;

	return colon ? colon + 1 : t->name;
}

/* ---- of a link ------------------------------------------------------------------------------ */

/* enum bpf_perf_event_type, which older headers lack. */
enum { EVENT_UPROBE = 1, EVENT_URETPROBE, EVENT_KPROBE, EVENT_KRETPROBE, EVENT_TRACEPOINT, EVENT_EVENT };

static u32 event_type(enum sys_attach_kind kind)
{
	switch (kind) {
	case SYS_ATTACH_UPROBE: return EVENT_UPROBE;
	case SYS_ATTACH_URETPROBE: return EVENT_URETPROBE;
	case SYS_ATTACH_KPROBE: return EVENT_KPROBE;
	case SYS_ATTACH_KRETPROBE: return EVENT_KRETPROBE;
	case SYS_ATTACH_TRACEPOINT: return EVENT_TRACEPOINT;
	case SYS_ATTACH_CLOCK: return EVENT_EVENT;
	default: return 0;
	}
}

/* bpf_perf_link_fill_common(): the name's length with its NUL, and as much of it as there is room for. */
static int put_name(const char *name, u64 addr, u32 *len)
{
	u32 room = *len, need = strlen(name) + 1;

	if (!addr != !room)
		return -EINVAL;
	*len = need;
	if (!room)
		return 0;
	if (room >= need)
		return sys_out(addr, name, need);
	if (sys_out(addr, name, room - 1) || sys_out(addr + room - 1, "", 1))
		return -EFAULT;
	return -ENOSPC;
}

int sys_perf_link_info(struct sys_link *l, const struct sys_perf_info *in, struct sys_perf_info *out)
{
	struct told *t = base_alloc(sizeof(*t));
	struct look_row r;
	int err = 0;

	if (!t)
		return -ENOMEM;
	if (l->event)
		sys_event_show(l->event, tell_event, t);
	else if (sys_shared() && sys_shared()->row(0, l->o.ino, &r))
		tell_row(&r, t);
	out->event = event_type(t->kind);
	switch (out->event) {
	case EVENT_EVENT:
		out->clock.type = 1; /* PERF_TYPE_SOFTWARE */
		out->clock.config = t->config;
		out->clock.cookie = t->cookie;
		break;
	case EVENT_TRACEPOINT:
		out->tracepoint.name = in->tracepoint.name;
		out->tracepoint.name_len = in->tracepoint.name_len;
		err = put_name(shown_name(t), in->tracepoint.name, &out->tracepoint.name_len);
		out->tracepoint.cookie = t->cookie;
		break;
	default:
		out->probe.name = in->probe.name;
		out->probe.name_len = in->probe.name_len;
		err = put_name(shown_name(t), in->probe.name, &out->probe.name_len);
		out->probe.offset = (u32)t->offset;
		if (out->event == EVENT_UPROBE || out->event == EVENT_URETPROBE) {
			out->probe.uprobe.cookie = t->cookie;
			out->probe.uprobe.ref_ctr_off = t->ref_ctr_off;
		} else {
			out->probe.kprobe.cookie = t->cookie;
		}
	}
	base_free(t);
	return err;
}

/* ---- of a descriptor of some process -------------------------------------------------------- */

static u32 query_type(enum sys_attach_kind kind)
{
	switch (kind) {
	case SYS_ATTACH_TRACEPOINT: return BPF_FD_TYPE_TRACEPOINT;
	case SYS_ATTACH_KPROBE: return BPF_FD_TYPE_KPROBE;
	case SYS_ATTACH_KRETPROBE: return BPF_FD_TYPE_KRETPROBE;
	case SYS_ATTACH_UPROBE: return BPF_FD_TYPE_UPROBE;
	case SYS_ATTACH_RAW_TRACEPOINT: return BPF_FD_TYPE_RAW_TRACEPOINT;
	default: return BPF_FD_TYPE_URETPROBE;
	}
}

/* bpf_task_fd_query_copy() */
static long answer(struct sys_call *c, const struct told *t)
{
	const char *name = shown_name(t);
	u32 room = c->attr.task_fd_query.buf_len, len = strlen(name);
	u64 buf = c->attr.task_fd_query.buf;
	long err = 0;

	if (SYS_PUT(c, task_fd_query.buf_len, len))
		return -EFAULT;
	if (room && buf) {
		if (!len || room > len) {
			err = sys_out(buf, name, len + 1);
		} else {
			err = sys_out(buf, name, room - 1);
			if (!err)
				err = sys_out(buf + room - 1, "", 1);
			if (!err)
				err = -ENOSPC;
		}
	}
	if (err == -EFAULT || SYS_PUT(c, task_fd_query.prog_id, t->prog) ||
	    SYS_PUT(c, task_fd_query.fd_type, query_type(t->kind)) ||
	    SYS_PUT(c, task_fd_query.probe_offset, t->offset) ||
	    SYS_PUT(c, task_fd_query.probe_addr, 0))
		return -EFAULT;
	return err;
}

static long answer_told(struct sys_call *c, const struct told *t)
{
	if (!t->prog)
		return -ENOENT;
	if (t->kind == SYS_ATTACH_CLOCK)
		return -EOPNOTSUPP; /* bpf_get_perf_event_info(): no event of tracing */
	return answer(c, t);
}

static long query_own(struct sys_call *c, struct sys_obj *o, struct told *t)
{
	struct sys_link *l;

	if (o->kind == SYS_LINK) {
		l = container_of(o, struct sys_link, o);
		if (l->type != BPF_LINK_TYPE_RAW_TRACEPOINT)
			return -SYS_ENOTSUPP;
		t->kind = SYS_ATTACH_RAW_TRACEPOINT;
		t->prog = l->prog->o.id;
		snprintf(t->name, sizeof(t->name), "%s", l->name);
		return answer(c, t);
	}
	if (o->kind != SYS_EVENT)
		return -SYS_ENOTSUPP;
	sys_event_show(o, tell_event, t);
	return answer_told(c, t);
}

/*
 * Of another process: its descriptor is recognised by the inode, without being opened, and what is
 * behind it is what that process shows.
 */
static long query_other(struct sys_call *c, s32 pid, u32 fd, struct told *t)
{
	char path[64], name[32];
	struct look_row r;
	struct stat st;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/fd/%u", pid, fd);
	n = readlink(path, name, sizeof(name) - 1);
	if (n < 0)
		return errno == EACCES || errno == EPERM ? -EPERM : -EBADF;
	name[n] = '\0';
	if ((strncmp(name, "/memfd:ferry-event", 18) && strncmp(name, "/memfd:bpf-link", 15)) || !sys_shared() ||
	    stat(path, &st) || !sys_shared()->row(pid, st.st_ino, &r))
		return -SYS_ENOTSUPP;
	if ((s32)fd == r.fd || (s32)fd == r.event_fd)
		return -SYS_ENOTSUPP; /* Ferry's own, which nobody is to see */
	tell_row(&r, t);
	if (r.event_ino != st.st_ino && r.link_type != BPF_LINK_TYPE_RAW_TRACEPOINT)
		return -SYS_ENOTSUPP; /* the link on an event, not the event */
	return answer_told(c, t);
}

long sys_cmd_task_fd_query(struct sys_call *c)
{
	s32 pid = c->attr.task_fd_query.pid;
	u32 fd = c->attr.task_fd_query.fd;
	struct sys_obj *o;
	struct told *t;
	long err;

	if (c->attr.task_fd_query.flags)
		return -EINVAL;
	if (pid <= 0 || (kill(pid, 0) && errno == ESRCH))
		return -ENOENT;
	t = base_alloc(sizeof(*t));
	if (!t)
		return -ENOMEM;
	if (pid != getpid()) {
		err = query_other(c, pid, fd, t);
	} else if ((o = sys_fd_get((int)fd, 0))) {
		err = query_own(c, o, t);
		sys_put(o);
	} else {
		err = fcntl((int)fd, F_GETFD) < 0 ? -EBADF : -SYS_ENOTSUPP;
	}
	base_free(t);
	return err;
}
