/* SPDX-License-Identifier: MIT */
/*
 * Ends of processes that could not tell of them: sched_process_exit of those that a signal ends, or that
 * made no member's program of themselves (execve of a static one). Members say when they tell of their end
 * themselves; of the others somebody else runs the programs, in their name.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bpf/event/attach.h"
#include "broker/broker_int.h"

static bool is_exit(const struct attachment *a, s32 pid)
{
	if (a->over || !a->name || (a->what.pid > 0 && a->what.pid != pid))
		return false;
	return (a->kind == SYS_ATTACH_TRACEPOINT && !strcmp(a->name, "sched:sched_process_exit")) ||
	       (a->kind == SYS_ATTACH_RAW_TRACEPOINT && !strcmp(a->name, "sched_process_exit"));
}

/* ---- what is known of it ------------------------------------------------------------------------ */

/* The n-th field of /proc/PID/stat (proc(5)), from the third on; `after` is behind the name. */
static s64 field(const char *after, u32 n)
{
	u32 i;

	for (i = 3; after && i < n; i++) {
		after = strchr(after, ' ');
		after = after ? after + 1 : NULL;
	}
	return after ? strtoll(after, NULL, 10) : 0;
}

/* While there is something of it: its number is its own until its parent has waited for it. */
void deaths_look(struct death *d)
{
	char buf[1024], *from, *to;

	if (!proc_read(d->pid, "stat", buf, sizeof(buf)))
		return;
	from = strchr(buf, '(');
	to = strrchr(buf, ')');
	if (!from || !to || to < from || to[1] != ' ')
		return;
	snprintf(d->comm, sizeof(d->comm), "%.*s", (int)(to - from - 1), from + 1);
	to += 2;
	/* Of one that is being waited for some are 0 already. */
	if (field(to, 4) > 0)
		d->ppid = (u32)field(to, 4);
	d->prio = (s32)field(to, 18) + 100;
	d->start = (u64)field(to, 22) * (1000000000ull / (u64)sysconf(_SC_CLK_TCK));
	if (field(to, 52))
		d->code = (s32)field(to, 52);
}

/* struct pidfd_info of Linux 6.15, which knows the code of who was waited for, too. */
#define INFO_EXIT (1u << 3)
struct info {
	u64 mask, cgroup;
	u32 pid, tgid, ppid, ids[8];
	s32 exit_code;
};
_Static_assert(sizeof(struct info) == 64, "PIDFD_INFO_SIZE_VER0");

static void look_behind(struct death *d)
{
	struct info info = { .mask = INFO_EXIT };

	if (!ioctl(d->pidfd, _IOWR(0xff, 11, struct info), &info) && info.mask & INFO_EXIT)
		d->code = info.exit_code;
}

/* ---- telling ------------------------------------------------------------------------------------ */

/* Who is to run the program: who asked for it, or anybody who has it. */
static struct conn *teller(struct broker *b, const struct attachment *a)
{
	size_t i;
	u32 k;

	if (a->owner && !a->owner->dead && a->owner->welcomed)
		return a->owner;
	for (k = 0; k < b->nconns; k++) {
		struct conn *c = b->conns[k];

		for (i = 0; c->member && !c->dead && i < c->ninstalls; i++)
			if (c->installs[i].a == a && c->installs[i].state == INSTALL_DONE)
				return c;
	}
	return NULL;
}

static void tell(struct broker *b, struct death *d)
{
	struct wire_msg *m = &b->out;
	struct attachment *a;
	struct conn *c;

	deaths_look(d);
	look_behind(d);
	for (a = b->attachments; a; a = a->next) {
		c = is_exit(a, d->pid) ? teller(b, a) : NULL;
		if (!c)
			continue;
		memset(m, 0, offsetof(struct wire_msg, item));
		m->op = WIRE_DIED;
		m->attach = a->id;
		m->kind = (u32)d->code;
		m->what = (struct wire_what){ .pid = d->pid, .id = d->ppid, .cpu = d->prio, .period = d->start };
		wire_add_string(m, d->comm);
		wire_send(c->fd, m, NULL, MSG_DONTWAIT);
	}
}

/* ---- waiting for it ------------------------------------------------------------------------------ */

static bool is_over(const struct death *d)
{
	struct pollfd p = { .fd = d->pidfd, .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void forget(struct broker *b, struct death *d)
{
	epoll_ctl(b->epoll, EPOLL_CTL_DEL, d->pidfd, NULL);
	close(d->pidfd);
	*d = b->deaths[--b->ndeaths];
}

/* It may have been given up before its last word was heard: what answers it cannot be sent. */
static bool said_bye(struct broker *b, const struct conn *c)
{
	struct wire_fds fds;
	int n, err, reset = 0;

	for (n = 0; n < 1000; n++) {
		err = wire_recv(c->fd, &b->in, &fds, MSG_DONTWAIT);
		if (err == -ECONNRESET && !reset++)
			continue; /* it left something of ours unread: told once, before what it said itself */
		if (err == -EAGAIN || err == -EPIPE || err == -ECONNRESET)
			return false;
		if (!err)
			wire_close(&fds);
		if (!err && b->in.op == WIRE_BYE)
			return true;
	}
	return true; /* it had enough to say */
}

void deaths_expect(struct broker *b, const struct conn *c)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = b->deaths };
	struct attachment *a;
	struct death *d;

	for (a = b->attachments; a && !is_exit(a, c->pid); a = a->next)
		;
	if (!a || c->bye || c->pidfd < 0 || b->ndeaths == MAX_DEATHS || said_bye(b, c))
		return;
	d = &b->deaths[b->ndeaths];
	*d = c->life;
	d->pidfd = fcntl(c->pidfd, F_DUPFD_CLOEXEC, 0);
	if (d->pidfd < 0)
		return;
	deaths_look(d);
	/* Not told at once, over or not: it may have come back on another connection that nobody has read yet. */
	if (epoll_ctl(b->epoll, EPOLL_CTL_ADD, d->pidfd, &ev)) {
		close(d->pidfd);
	} else {
		b->ndeaths++;
	}
}

void deaths_not(struct broker *b, s32 pid)
{
	u32 i;

	for (i = 0; i < b->ndeaths; i++)
		if (b->deaths[i].pid == pid) {
			forget(b, &b->deaths[i]);
			break;
		}
	for (i = 0; i < b->nconns; i++)
		b->conns[i]->bye |= b->conns[i]->pid == pid;
}

void deaths_happened(struct broker *b)
{
	u32 i;

	for (i = 0; i < b->ndeaths;)
		if (is_over(&b->deaths[i])) {
			tell(b, &b->deaths[i]);
			forget(b, &b->deaths[i]);
		} else {
			i++;
		}
}

void deaths_close(struct broker *b)
{
	while (b->ndeaths)
		close(b->deaths[--b->ndeaths].pidfd);
}
