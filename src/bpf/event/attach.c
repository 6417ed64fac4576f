/* SPDX-License-Identifier: MIT */
/* The table of what programs are put on, and BPF_PROG_ATTACH, BPF_PROG_DETACH, BPF_PROG_QUERY. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "bpf/event/link.h"
#include "bpf/session/look.h"
#include "bpf/session/remote.h"
#include "bpf/sys_int.h"

static const struct sys_attach_ops *_Atomic sources[SYS_ATTACH_KINDS];
static const char *const names[] = {
#define ATTACH(kind, link_type, name) [SYS_ATTACH_##kind] = name,
#include "bpf/event/attach.def"
#undef ATTACH
};

static sys_attach_tell_fn _Atomic tells[SYS_ATTACH_KINDS];

void sys_attach_tells(enum sys_attach_kind kind, sys_attach_tell_fn fn)
{
	tells[kind] = fn;
}

void sys_attach_state(enum sys_attach_kind kind, const struct sys_attached *at, struct sys_attach_state *out)
{
	sys_attach_tell_fn fn = at->ops && kind < SYS_ATTACH_KINDS ? tells[kind] : NULL;

	if (fn)
		fn(at->event, out);
}

const char *sys_attach_name(u32 kind)
{
	return kind < SYS_ATTACH_KINDS ? names[kind] : NULL;
}

void sys_attach_source(enum sys_attach_kind kind, const struct sys_attach_ops *ops)
{
	sources[kind] = ops;
}

/*
 * Which programs an event takes: each was verified for the context of its type and reads no other. Asked here, where
 * what another member says arrives as well; bpf(2) has checked it before with errors of its own.
 */
static bool fits(enum sys_attach_kind kind, const struct prog *p, const char *name)
{
	/* Its arguments were typed for the one that it names. */
	bool typed = p->type == BPF_PROG_TYPE_TRACING && p->attach_type == BPF_TRACE_RAW_TP && p->args.name && name &&
		     !strcmp(p->args.name, name);

	switch (kind) {
	case SYS_ATTACH_CLOCK: return p->type == BPF_PROG_TYPE_PERF_EVENT;
	case SYS_ATTACH_TRACEPOINT: return p->type == BPF_PROG_TYPE_TRACEPOINT;
	case SYS_ATTACH_RAW_TRACEPOINT:
		return p->type == BPF_PROG_TYPE_RAW_TRACEPOINT || p->type == BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE ||
		       typed;
	case SYS_ATTACH_TRACING:
		return p->type == BPF_PROG_TYPE_TRACING || p->type == BPF_PROG_TYPE_LSM || p->type == BPF_PROG_TYPE_EXT;
	default: return p->type == BPF_PROG_TYPE_KPROBE;
	}
}

static bool has_name(enum sys_attach_kind kind, const struct sys_attach *a)
{
	return a->name || kind == SYS_ATTACH_CLOCK || kind == SYS_ATTACH_TRACING;
}

int sys_attach_here(enum sys_attach_kind kind, const struct sys_attach *a, struct sys_attached *out,
		    struct text *why)
{
	const struct sys_attach_ops *ops = sources[kind];
	int err = -EOPNOTSUPP;

	if (ops && (!fits(kind, a->p, a->name) || !has_name(kind, a))) {
		text_printf(why, "a program of this type cannot be put on %s", names[kind]);
		return -EINVAL;
	}
	if (ops)
		err = ops->attach(a, &out->event, why);
	else
		text_puts(why, "nothing here makes such events");
	if (!err)
		out->ops = ops;
	return err;
}

/* This process, or, as perf_event_open(2) names tasks, a thread of it? */
static bool is_ours(s32 pid)
{
	char path[48];

	snprintf(path, sizeof(path), "/proc/self/task/%d", pid);
	return pid == getpid() || (pid > 0 && !access(path, F_OK));
}

/* Another process, or any, is the session's. */
static int attach_shared(enum sys_attach_kind kind, const struct sys_attach *a, struct sys_attached *out,
			 struct text *why)
{
	const struct sys_share_ops *share = sys_shared();
	int err = 0;

	if (!share || !a->pid || is_ours(a->pid))
		return sys_attach_here(kind, a, out, why);
	if (a->pid < 0 && !sys_remote) /* this process only serves whose call it is */
		err = sys_attach_here(kind, a, out, why);
	if (!err)
		err = share->attach(kind, a, &out->shared, why);
	if (err)
		sys_detach(out);
	return err;
}

int sys_attach(enum sys_attach_kind kind, const struct sys_attach *a, struct sys_attached *out)
{
	struct text why = { 0 };
	int err = attach_shared(kind, a, out, &why);

	if (err)
		log_msg(LOG_INFO, "'%s' cannot be put on %s%s%s: %s (%s)", a->p ? a->p->name : "",
			names[kind], a->name ? " " : "", a->name ? a->name : "",
			why.len ? text_str(&why) : "refused", strerror(-err));
	text_free(&why);
	return err;
}

void (*sys_attach_module_gone)(void);
void (*sys_attach_program_began)(bool called);
void (*sys_attach_died)(const struct prog *p, u64 cookie, const struct sys_death *d);

void sys_detach(struct sys_attached *at)
{
	if (at->ops)
		at->ops->detach(at->event);
	if (at->shared)
		sys_shared_ops()->detach(at->shared);
	at->ops = NULL;
	at->shared = NULL;
}

/* ---- BPF_PROG_ATTACH and the like ----------------------------------------------------------- */

/* The kind of target, and the program type, that an attach type means (attach_type_to_prog_type). */
static const struct {
	u8 prog_type;
	u8 kind;
} targets[] = {
#define TARGET(attach, type, what) [BPF_##attach] = { BPF_PROG_TYPE_##type, SYS_ATTACH_##what },
	TARGET(CGROUP_INET_INGRESS, CGROUP_SKB, CGROUP)
	TARGET(CGROUP_INET_EGRESS, CGROUP_SKB, CGROUP)
	TARGET(CGROUP_INET_SOCK_CREATE, CGROUP_SOCK, CGROUP)
	TARGET(CGROUP_INET_SOCK_RELEASE, CGROUP_SOCK, CGROUP)
	TARGET(CGROUP_INET4_POST_BIND, CGROUP_SOCK, CGROUP)
	TARGET(CGROUP_INET6_POST_BIND, CGROUP_SOCK, CGROUP)
	TARGET(CGROUP_INET4_BIND, CGROUP_SOCK_ADDR, CGROUP)
	TARGET(CGROUP_INET6_BIND, CGROUP_SOCK_ADDR, CGROUP)
	TARGET(CGROUP_INET4_CONNECT, CGROUP_SOCK_ADDR, CGROUP)
	TARGET(CGROUP_INET6_CONNECT, CGROUP_SOCK_ADDR, CGROUP)
	TARGET(CGROUP_INET4_GETPEERNAME, CGROUP_SOCK_ADDR, CGROUP)
	TARGET(CGROUP_INET6_GETPEERNAME, CGROUP_SOCK_ADDR, CGROUP)
	TARGET(CGROUP_INET4_GETSOCKNAME, CGROUP_SOCK_ADDR, CGROUP)
	TARGET(CGROUP_INET6_GETSOCKNAME, CGROUP_SOCK_ADDR, CGROUP)
	TARGET(CGROUP_UDP4_SENDMSG, CGROUP_SOCK_ADDR, CGROUP)
	TARGET(CGROUP_UDP6_SENDMSG, CGROUP_SOCK_ADDR, CGROUP)
	TARGET(CGROUP_UDP4_RECVMSG, CGROUP_SOCK_ADDR, CGROUP)
	TARGET(CGROUP_UDP6_RECVMSG, CGROUP_SOCK_ADDR, CGROUP)
	TARGET(CGROUP_SOCK_OPS, SOCK_OPS, CGROUP)
	TARGET(CGROUP_DEVICE, CGROUP_DEVICE, CGROUP)
	TARGET(CGROUP_SYSCTL, CGROUP_SYSCTL, CGROUP)
	TARGET(CGROUP_GETSOCKOPT, CGROUP_SOCKOPT, CGROUP)
	TARGET(CGROUP_SETSOCKOPT, CGROUP_SOCKOPT, CGROUP)
	TARGET(SK_MSG_VERDICT, SK_MSG, SOCKMAP)
	TARGET(SK_SKB_STREAM_PARSER, SK_SKB, SOCKMAP)
	TARGET(SK_SKB_STREAM_VERDICT, SK_SKB, SOCKMAP)
	TARGET(SK_SKB_VERDICT, SK_SKB, SOCKMAP)
	TARGET(LIRC_MODE2, LIRC_MODE2, LIRC)
	TARGET(FLOW_DISSECTOR, FLOW_DISSECTOR, NETNS)
	TARGET(SK_LOOKUP, SK_LOOKUP, NETNS)
	TARGET(XDP, XDP, XDP)
#undef TARGET
};

u32 sys_attach_prog_type(u32 attach_type, enum sys_attach_kind *kind)
{
	if (attach_type >= ARRAY_SIZE(targets) || !targets[attach_type].prog_type)
		return BPF_PROG_TYPE_UNSPEC;
	*kind = targets[attach_type].kind;
	return targets[attach_type].prog_type;
}

/* bpf_prog_attach_check_attach_type(): some programs may only go where they were loaded for. */
bool sys_attach_type_fits(const struct prog *p, u32 attach_type)
{
	switch (p->type) {
	case BPF_PROG_TYPE_CGROUP_SOCK:
	case BPF_PROG_TYPE_CGROUP_SOCK_ADDR:
	case BPF_PROG_TYPE_CGROUP_SOCKOPT:
	case BPF_PROG_TYPE_SK_LOOKUP: return attach_type == p->attach_type;
	default: return true;
	}
}

static bool is_cgroup(int fd)
{
	struct statfs st;

	return !fstatfs(fd, &st) && st.f_type == CGROUP2_SUPER_MAGIC;
}

/* sock_map_prog_lookup(): there are no maps of sockets here, so the map is one of another type. */
static long not_a_sockmap(int fd)
{
	struct sys_obj *o = sys_fd_get(fd, SYS_MAP);

	if (!o)
		return sys_fd_error(fd);
	sys_put(o);
	return -EOPNOTSUPP;
}

/* What is to be attached, and where, is looked at as the kernel does; then the table decides. */
static long attach(struct sys_call *c, u32 prog_fd, bool detach)
{
	enum sys_attach_kind kind = 0;
	u32 type = sys_attach_prog_type(c->attr.attach_type, &kind);
	struct sys_attach a = { .pid = -1, .cpu = -1 };
	struct sys_attached at = { 0 };
	struct prog *p;
	long err;

	if (type == BPF_PROG_TYPE_UNSPEC || kind == SYS_ATTACH_XDP)
		return -EINVAL;
	/* The namespace is that of this process (netns_bpf_prog_detach, netns_bpf_prog_attach). */
	if (detach && kind == SYS_ATTACH_NETNS && c->attr.target_fd)
		return -EINVAL;
	p = sys_fd_prog(prog_fd);
	if (!p && (!detach || kind == SYS_ATTACH_NETNS || kind == SYS_ATTACH_SOCKMAP))
		return sys_fd_error(prog_fd);
	if ((!detach || kind == SYS_ATTACH_SOCKMAP) && (p->type != type || !sys_attach_type_fits(p, c->attr.attach_type)))
		err = -EINVAL;
	else if (!detach && kind == SYS_ATTACH_NETNS &&
		 (c->attr.target_fd || c->attr.attach_flags || c->attr.replace_bpf_fd))
		err = -EINVAL;
	else if (kind == SYS_ATTACH_CGROUP && !is_cgroup(c->attr.target_fd))
		err = -EBADF;
	else if (detach && kind == SYS_ATTACH_SOCKMAP)
		err = not_a_sockmap(c->attr.target_fd);
	else if (detach)
		err = -ENOENT; /* nothing is attached */
	else
		err = (a.p = p, sys_attach(kind, &a, &at));
	sys_prog_put(p);
	return err;
}

long sys_cmd_prog_attach(struct sys_call *c)
{
	if (c->attr.attach_flags & ~(u32)(BPF_F_ALLOW_OVERRIDE | BPF_F_ALLOW_MULTI | BPF_F_REPLACE))
		return -EINVAL;
	return attach(c, c->attr.attach_bpf_fd, false);
}

long sys_cmd_prog_detach(struct sys_call *c)
{
	return attach(c, c->attr.attach_bpf_fd, true);
}

long sys_cmd_prog_query(struct sys_call *c)
{
	enum sys_attach_kind kind = 0;
	u32 type = sys_attach_prog_type(c->attr.query.attach_type, &kind);

	if (c->attr.query.query_flags & ~(u32)BPF_F_QUERY_EFFECTIVE)
		return -EINVAL;
	if (type == BPF_PROG_TYPE_UNSPEC || kind == SYS_ATTACH_XDP)
		return -EINVAL;
	if (kind == SYS_ATTACH_SOCKMAP)
		return c->attr.query.query_flags ? -EINVAL : not_a_sockmap(c->attr.query.target_fd);
	if (kind == SYS_ATTACH_CGROUP && !is_cgroup(c->attr.query.target_fd))
		return -EBADF;
	if (kind != SYS_ATTACH_CGROUP)
		return -EINVAL;
	/* A group that Ferry attaches nothing to has nothing attached. */
	if (SYS_PUT(c, query.attach_flags, 0) || SYS_PUT(c, query.prog_cnt, 0))
		return -EFAULT;
	return 0;
}
