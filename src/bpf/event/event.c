/* SPDX-License-Identifier: MIT */
/*
 * Events of perf_event_open(2) that run programs: software clocks, tracepoints and probes. The
 * descriptor, its ioctls and what they refuse are the kernel's; what happens at the event is the
 * table's (attach.h). Buffers for bpf_perf_event_output() are in perf.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bpf/event/filter.h"
#include "bpf/event/link.h"
#include "bpf/event/probe_file.h"
#include "bpf/session/remote_int.h"
#include "bpf/session/session.h"
#include "bpf/sys_int.h"

/* Types of dynamic events, as session.def has them in event_source. */
#define TYPE_KPROBE 7
#define TYPE_UPROBE 8
#define MAX_RATE    100000 /* session.def has it too */

struct sys_event {
	struct sys_obj o;
	pthread_mutex_t lock; /* of what follows */
	enum sys_attach_kind kind;
	struct sys_attach what;
	char *name;
	bool enabled, linked, warned, filtered;
	bool sampling, inherit, by_rate; /* by_rate: the period is one of a frequency */
	u32 type;		/* of the attr */
	u32 config;		/* of the attr, of clocks */
	char *format;		/* of a probe by text: what its file has; NULL */
	int held; /* the descriptor that holds a probe by text; -1 */
	struct sys_prog *prog; /* referenced; NULL: none yet */
	struct sys_attached at;
};

static struct sys_event *event_of(struct sys_obj *o)
{
	return container_of(o, struct sys_event, o);
}

void sys_event_free(struct sys_obj *o)
{
	struct sys_event *e = event_of(o);

	sys_detach(&e->at);
	if (e->prog)
		sys_put(&e->prog->o);
	if (e->kind == SYS_ATTACH_CLOCK)
		sys_clock_close(&e->what);
	if (e->held >= 0)
		sys_probe_let_go(e->held);
	if (o->id)
		close(o->fd);
	base_free(e->name);
	base_free(e->format);
	base_free(e);
}

/* ---- open ----------------------------------------------------------------------------------- */

/* A string behind a field of the attr: 0, or what the kernel says of bad ones. */
static int name_in(struct sys_event *e, u64 addr, size_t most)
{
	char buf[PATH_MAX];
	s64 n = sys_in_string(buf, addr, most);

	if (n < 0)
		return -EFAULT;
	if (buf[n - 1] || n == 1)
		return -EINVAL;
	e->name = base_strdup(buf);
	e->what.name = e->name;
	return e->name ? 0 : -ENOMEM;
}

static int fill_probe(struct sys_event *e, const struct perf_event_attr *attr)
{
	bool ret = attr->config & 1, user = attr->type == TYPE_UPROBE;
	struct stat st;
	int err = 0;

	e->kind = user ? (ret ? SYS_ATTACH_URETPROBE : SYS_ATTACH_UPROBE)
		       : (ret ? SYS_ATTACH_KRETPROBE : SYS_ATTACH_KPROBE);
	e->what.offset = attr->config2;
	e->what.ref_ctr_off = user ? attr->config >> 32 : 0;
	if (user || attr->config1)
		err = name_in(e, attr->config1, user ? PATH_MAX : 128);
	if (!err && user && stat(e->name, &st))
		err = -errno;
	if (!err && user && !S_ISREG(st.st_mode))
		err = -EINVAL;
	return err;
}

/* A probe by text is what it would be with a type of its own. */
static int fill_text(struct sys_event *e, u32 id)
{
	struct probe_line p = { 0 };
	struct text format = { 0 };

	e->held = sys_probe_take(id, &p);
	if (e->held < 0)
		return e->held == -ENOENT ? -EINVAL : e->held; /* perf_trace_init() */
	e->kind = p.user ? (p.ret ? SYS_ATTACH_URETPROBE : SYS_ATTACH_UPROBE)
			 : (p.ret ? SYS_ATTACH_KRETPROBE : SYS_ATTACH_KPROBE);
	e->what.offset = p.offset;
	e->what.ref_ctr_off = p.ref_ctr_off;
	e->name = p.target;
	e->what.name = e->name;
	p.target = NULL;
	sys_tracefs_head(&format, id, p.event);
	probe_line_fields(&p, &format);
	e->format = format.oom ? NULL : base_strdup(text_str(&format));
	text_free(&format);
	probe_line_free(&p);
	return e->format ? 0 : -ENOMEM;
}

static int fill_tracepoint(struct sys_event *e, u64 id)
{
	char name[128];

	if (id > UINT32_MAX)
		return -EINVAL; /* perf_trace_init(): no such event */
	if (!sys_event_name((u32)id, name))
		return fill_text(e, (u32)id);
	e->kind = SYS_ATTACH_TRACEPOINT;
	e->what.id = (u32)id;
	e->name = base_strdup(name);
	e->what.name = e->name;
	return e->name ? 0 : -ENOMEM;
}

/* What the attr asks for: 0, -ENOSYS when it is the kernel's, or another -errno. */
static int fill(struct sys_event *e, const struct perf_event_attr *attr)
{
	switch (attr->type) {
	case PERF_TYPE_SOFTWARE:
		e->config = (u32)attr->config;
		/* Counting is the kernel's; sampling is what a program can be put on. */
		if ((attr->config != PERF_COUNT_SW_CPU_CLOCK &&
		     attr->config != PERF_COUNT_SW_TASK_CLOCK) ||
		    !attr->sample_period)
			return -ENOSYS;
		/* perf_event_open(): more often than sysctl kernel.perf_event_max_sample_rate. */
		if (attr->freq ? attr->sample_freq > MAX_RATE : attr->sample_period >> 63)
			return -EINVAL;
		e->kind = SYS_ATTACH_CLOCK;
		e->what.period = attr->freq ? 1000000000ull / attr->sample_freq
					    : attr->sample_period;
		e->what.inherit = attr->inherit;
		return sys_clock_open(&e->what);
	case PERF_TYPE_TRACEPOINT: return fill_tracepoint(e, attr->config);
	case TYPE_KPROBE:
	case TYPE_UPROBE: return fill_probe(e, attr);
	default: return -ENOSYS;
	}
}

/* The event is what its descriptor keeps; without one it is freed. */
static long add(struct sys_event *e, u64 flags)
{
	u64 count = 0; /* what read(2) gives */
	int fd = sys_memfd("ferry-event", &count, sizeof(count), NULL, 0), err = fd;

	if (fd >= 0) {
		fd = sys_fd_move(fd);
		err = sys_obj_add(&e->o, SYS_EVENT, fd);
		if (err)
			close(fd);
	}
	if (err < 0) {
		sys_event_free(&e->o);
		return err;
	}
	sys_seal(fd);
	fd = sys_fd_new(&e->o, 0);
	if (fd >= 0 && !sys_remote && !(flags & PERF_FLAG_FD_CLOEXEC))
		fcntl(fd, F_SETFD, 0);
	sys_put(&e->o);
	return fd;
}

long sys_event_open(const struct perf_event_attr *attr, s32 pid, s32 cpu, u64 flags)
{
	struct sys_event *e;
	long ret;

	if (attr->type != PERF_TYPE_SOFTWARE && attr->type != PERF_TYPE_TRACEPOINT &&
	    attr->type != TYPE_KPROBE && attr->type != TYPE_UPROBE)
		return -ENOSYS;
	e = base_alloc(sizeof(*e));
	if (!e)
		return -ENOMEM;
	pthread_mutex_init(&e->lock, NULL);
	e->what.pid = sys_remote && !pid ? sys_remote_process() : pid;
	e->what.cpu = cpu;
	e->enabled = !attr->disabled;
	e->type = attr->type;
	e->sampling = attr->sample_period;
	e->by_rate = attr->freq;
	e->inherit = attr->inherit;
	e->kind = SYS_ATTACH_KINDS;
	e->held = -1;
	sys_inside++;
	ret = cpu < -1 || cpu >= (s32)map_cpus() || (cpu == -1 && pid == -1) || pid < -1 ? -EINVAL : 0;
	if (!ret)
		ret = fill(e, attr);
	if (ret)
		sys_event_free(&e->o);
	else
		ret = add(e, flags);
	sys_inside--;
	return ret;
}

/* ---- programs on them ----------------------------------------------------------------------- */

/* perf_event_set_bpf_prog(): which programs an event takes. */
static bool takes(const struct sys_event *e, const struct prog *p)
{
	switch (e->kind) {
	case SYS_ATTACH_CLOCK: return p->type == BPF_PROG_TYPE_PERF_EVENT;
	case SYS_ATTACH_TRACEPOINT: return p->type == BPF_PROG_TYPE_TRACEPOINT;
	default: return p->type == BPF_PROG_TYPE_KPROBE;
	}
}

static int start(struct sys_event *e)
{
	return sys_is_attached(&e->at) ? 0 : sys_attach(e->kind, &e->what, &e->at);
}

/* By ioctl: an event that nothing makes here is one that never happens. */
static int start_or_wait(struct sys_event *e)
{
	int err = e->prog && e->enabled ? start(e) : 0;

	if (err != -EOPNOTSUPP)
		return err;
	if (!e->warned)
		log_msg(LOG_WARN, "'%s' is on an event that never happens here%s%s", e->prog->p->name,
			e->name ? ": " : "", e->name ? e->name : "");
	e->warned = true;
	return 0;
}

static int set_prog(struct sys_event *e, struct sys_prog *sp, u64 cookie)
{
	if (e->prog)
		return -EEXIST;
	if (!takes(e, sp->p) || (sp->p->flags & BPF_F_SLEEPABLE && e->kind != SYS_ATTACH_UPROBE &&
				 e->kind != SYS_ATTACH_URETPROBE))
		return -EINVAL;
	sys_hold(&sp->o);
	e->prog = sp;
	e->what.p = sp->p;
	e->what.cookie = cookie;
	return 0;
}

static void drop_prog(struct sys_event *e)
{
	struct sys_prog *sp = e->prog;

	sys_detach(&e->at);
	e->prog = NULL;
	e->what.p = NULL;
	if (sp)
		sys_put(&sp->o);
}

int sys_event_link(struct sys_obj *o, struct sys_link *l, u64 cookie)
{
	struct sys_event *e = event_of(o);
	int err;

	pthread_mutex_lock(&e->lock);
	err = set_prog(e, l->prog, cookie);
	if (!err) {
		err = start(e);
		if (err)
			drop_prog(e);
		else if (!e->enabled)
			sys_detach(&e->at);
	}
	if (!err) {
		l->event = o;
		e->linked = true;
	}
	pthread_mutex_unlock(&e->lock);
	return err;
}

bool sys_event_show(struct sys_obj *o, void (*fn)(const struct sys_event_shown *e, void *arg), void *arg)
{
	struct sys_event *e = event_of(o);
	struct sys_event_shown shown;

	/* Whoever attaches may wait for other processes, and they for who asks here. */
	if (pthread_mutex_trylock(&e->lock))
		return false;
	shown = (struct sys_event_shown){ .kind = e->kind,
					  .what = &e->what,
					  .at = &e->at,
					  .prog = e->prog ? e->prog->o.id : 0,
					  .config = e->config,
					  .linked = e->linked };
	if (sys_shared() && e->at.shared)
		shown.attachment = sys_shared()->attachment(e->at.shared);
	fn(&shown, arg);
	pthread_mutex_unlock(&e->lock);
	return true;
}

void *sys_event_shared(struct sys_obj *o)
{
	return event_of(o)->at.shared;
}

void sys_event_unlink(struct sys_obj *o, struct sys_link *l)
{
	struct sys_event *e = event_of(o);

	pthread_mutex_lock(&e->lock);
	drop_prog(e);
	e->linked = false;
	pthread_mutex_unlock(&e->lock);
	l->event = NULL;
	sys_put(o);
}

/* ---- ioctl ---------------------------------------------------------------------------------- */

static long ioctl_set_bpf(struct sys_event *e, int fd)
{
	struct sys_obj *o = sys_fd_get(fd, SYS_PROG);
	long err;

	if (!o)
		return sys_fd_error(fd);
	err = set_prog(e, container_of(o, struct sys_prog, o), 0);
	if (!err) {
		err = start_or_wait(e);
		if (err)
			drop_prog(e);
	}
	sys_put(o);
	return err;
}

/* perf_event_query_prog_array(): the programs of a tracepoint, here that of this event. */
static long ioctl_query(struct sys_event *e, u64 addr)
{
	struct perf_event_query_bpf q;
	u32 count = e->prog != NULL;

	if (e->kind != SYS_ATTACH_TRACEPOINT)
		return -EINVAL;
	if (sys_in(&q, addr, sizeof(q)))
		return -EFAULT;
	if (q.ids_len > 64)
		return -E2BIG;
	if (sys_out(addr + offsetof(struct perf_event_query_bpf, prog_cnt), &count, sizeof(count)))
		return -EFAULT;
	if (!q.ids_len || !count)
		return 0;
	return sys_out(addr + sizeof(q), &e->prog->o.id, sizeof(u32));
}

/* What SET_FILTER's fields are; of a probe that is not in tracefs those that all events have. */
static bool format_of(const struct sys_event *e, struct text *t)
{
	if (e->kind == SYS_ATTACH_TRACEPOINT)
		return sys_event_format(t, e->what.id) && !t->oom;
	if (e->format)
		text_puts(t, e->format);
	else
		sys_tracefs_head(t, 0, "");
	return !t->oom;
}

/* _perf_ioctl(), ftrace_profile_set_filter(): one filter an event; clocks have none. */
static long ioctl_filter(struct sys_event *e, u64 addr)
{
	char *expression = base_alloc(FILTER_MOST);
	struct text format = { 0 };
	s64 n = expression ? sys_in_string(expression, addr, FILTER_MOST) : -ENOMEM;
	long err = n < 0 ? n : 0;

	if (!err && (expression[n - 1] || e->kind == SYS_ATTACH_CLOCK))
		err = -EINVAL; /* strndup_user(): it does not end */
	if (!err && e->filtered)
		err = -EEXIST;
	if (!err)
		err = format_of(e, &format) ? filter_check(expression, text_str(&format)) : -ENOMEM;
	e->filtered |= !err;
	text_free(&format);
	base_free(expression);
	return err;
}

static long ioctl_period(struct sys_event *e, u64 addr)
{
	u64 n;

	if (sys_in(&n, addr, sizeof(n)))
		return -EFAULT;
	if (!e->sampling || !n || (e->by_rate ? n > MAX_RATE : n >> 63)) /* _perf_event_period() */
		return -EINVAL;
	if (e->kind != SYS_ATTACH_CLOCK)
		return 0; /* programs run at each */
	e->what.period = e->by_rate ? 1000000000ull / n : n;
	sys_detach(&e->at);
	return start_or_wait(e);
}

/* perf_event_modify_attr(): breakpoints only; a clock's type is another in the kernel than in its attr. */
static long ioctl_modify(const struct sys_event *e, u64 addr)
{
	struct perf_event_attr attr = { 0 };
	u32 size;
	int err;

	if (sys_in(&size, addr + offsetof(struct perf_event_attr, size), sizeof(size)))
		return -EFAULT;
	if (!size)
		size = PERF_ATTR_SIZE_VER0;
	err = size < PERF_ATTR_SIZE_VER0 ? -E2BIG : sys_in_struct(&attr, sizeof(attr), addr, size);
	if (err)
		return err;
	return attr.type == e->type && e->kind != SYS_ATTACH_CLOCK ? -EOPNOTSUPP : -EINVAL;
}

/* perf_event_set_output(): nobody writes into the buffer of such an event, so it goes to nobody's. */
static long ioctl_output(int fd)
{
	struct sys_obj *o = fd == -1 ? NULL : sys_fd_get(fd, 0);
	bool event = o && (o->kind == SYS_EVENT || o->kind == SYS_PERF);

	if (o)
		sys_put(o);
	return fd == -1 ? 0 : event ? -EINVAL : -EBADF;
}

static long do_ioctl(struct sys_event *e, unsigned long request, unsigned long arg)
{
	u64 id = e->o.id;

	switch (request) {
	case PERF_EVENT_IOC_REFRESH: /* how often is not counted: programs run before the kernel does */
		if (!e->sampling || e->inherit)
			return -EINVAL;
		/* fallthrough */
	case PERF_EVENT_IOC_ENABLE: e->enabled = true; return start_or_wait(e);
	case PERF_EVENT_IOC_DISABLE:
		e->enabled = false;
		sys_detach(&e->at);
		return 0;
	case PERF_EVENT_IOC_RESET: return 0;
	case PERF_EVENT_IOC_ID: return sys_out(arg, &id, sizeof(id));
	case PERF_EVENT_IOC_SET_BPF: return ioctl_set_bpf(e, (int)arg);
	case PERF_EVENT_IOC_QUERY_BPF: return ioctl_query(e, arg);
	case PERF_EVENT_IOC_PERIOD: return ioctl_period(e, arg);
	case PERF_EVENT_IOC_SET_FILTER: return ioctl_filter(e, arg);
	case PERF_EVENT_IOC_MODIFY_ATTRIBUTES: return ioctl_modify(e, arg);
	case PERF_EVENT_IOC_SET_OUTPUT: return ioctl_output((int)arg);
	case PERF_EVENT_IOC_PAUSE_OUTPUT: return -EINVAL; /* it has no buffer */
	default: return -ENOTTY;
	}
}

bool sys_event_ioctl(int fd, unsigned long request, unsigned long arg, long *ret)
{
	struct sys_obj *o;

	o = sys_fd_get(fd, SYS_EVENT);
	if (!o)
		return false;
	sys_inside++;
	pthread_mutex_lock(&event_of(o)->lock);
	*ret = do_ioctl(event_of(o), request, arg);
	pthread_mutex_unlock(&event_of(o)->lock);
	sys_inside--;
	sys_put(o);
	return true;
}
