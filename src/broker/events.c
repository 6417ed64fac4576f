/* SPDX-License-Identifier: MIT */
/*
 * Attachments: a loader asks for a program on an event of other processes; every member that it
 * concerns, now or later, is sent it, and what it reports is kept. Sending never waits: each member
 * has a list of what it is still to be told.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bpf/sys.h"
#include "broker/broker_int.h"
#include "code/code.h"

static struct attachment *find(struct broker *b, u64 id)
{
	return hash_get(&b->by_number, id ^ b->secret);
}

/* Among the first n. */
static struct install *among(struct conn *c, size_t n, u64 id)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (c->installs[i].id == id)
			return &c->installs[i];
	return NULL;
}

static struct install *installed(struct conn *c, u64 id)
{
	return among(c, c->ninstalls, id);
}

static struct install *add_install(struct conn *c, u64 id, struct attachment *a, u8 state)
{
	struct install *grown = base_grow(c->installs, &c->cap_installs, c->ninstalls + 1,
					  sizeof(*c->installs));

	if (!grown)
		return NULL;
	c->installs = grown;
	memset(&grown[c->ninstalls], 0, sizeof(*grown));
	grown[c->ninstalls].id = id;
	grown[c->ninstalls].a = a;
	grown[c->ninstalls].state = state;
	if (a) {
		a->have++;
		a->open += state != INSTALL_DONE;
	}
	return &grown[c->ninstalls++];
}

/* The attachment does not count it any more. */
static void let_go(struct install *in)
{
	if (!in->a)
		return;
	in->a->have--;
	in->a->open -= in->state == INSTALL_NEW || in->state == INSTALL_SENT;
	in->a = NULL;
}

/* The last one takes its place. */
static void remove_install(struct conn *c, struct install *in)
{
	let_go(in);
	*in = c->installs[--c->ninstalls];
}

static bool concerns(const struct attachment *a, const struct conn *c)
{
	if (!c->member || c->dead || a->owner == c)
		return false;
	return a->what.pid < 0 || a->what.pid == c->pid;
}

/* ---- telling members ------------------------------------------------------------------------ */

static int send_install(struct broker *b, struct conn *c, struct install *in)
{
	struct wire_msg *m = &b->out;
	struct wire_fds fds = { 0 };

	memset(m, 0, offsetof(struct wire_msg, item));
	m->attach = in->id;
	if (in->state == INSTALL_DROP) {
		m->op = WIRE_REMOVE;
	} else {
		m->op = WIRE_INSTALL;
		m->kind = in->a->kind;
		m->what = in->a->what;
		store_give(in->a->prog, true, m, &fds);
		if (in->a->name)
			wire_add_string(m, in->a->name);
	}
	return wire_send(c->fd, m, &fds, MSG_DONTWAIT);
}

static void send_look(struct broker *b, struct conn *c)
{
	int err;

	memset(&b->out, 0, offsetof(struct wire_msg, item));
	b->out.op = WIRE_LOOK;
	b->out.attach = b->look;
	b->out.kind = b->nlookers > 0;
	b->out.id = (u32)c->pid;
	err = wire_send(c->fd, &b->out, NULL, MSG_DONTWAIT);
	c->full |= err == -EAGAIN;
	c->dead |= err && err != -EAGAIN;
	if (!err) {
		c->told = b->look;
		c->counts = b->nlookers > 0;
	}
}

static void send_sync(struct broker *b, struct conn *c)
{
	int err;

	memset(&b->out, 0, offsetof(struct wire_msg, item));
	b->out.op = WIRE_SYNC;
	b->out.attach = c->asked;
	b->out.dev = c->sync_what.dev;
	b->out.ino = c->sync_what.ino;
	err = wire_send(c->fd, &b->out, NULL, MSG_DONTWAIT);
	c->full |= err == -EAGAIN;
	c->sync = err;
}

void events_push(struct broker *b, struct conn *c)
{
	size_t i;
	int err;

	c->full = false;
	for (i = 0; i < c->ninstalls;) {
		struct install *in = &c->installs[i];

		/* Descriptors on the way are this user's: no member has many of them in its queue. */
		if (in->state != INSTALL_DROP && (in->state != INSTALL_NEW || c->unheard >= MAX_UNHEARD)) {
			i++;
			continue;
		}
		err = send_install(b, c, in);
		if (err) {
			c->full = err == -EAGAIN;
			c->dead |= err != -EAGAIN;
			return;
		}
		c->unheard += in->state == INSTALL_NEW;
		in->state = in->state == INSTALL_NEW ? INSTALL_SENT : INSTALL_GOING;
	}
	if (!c->welcomed) {
		memset(&b->out, 0, offsetof(struct wire_msg, item));
		b->out.op = WIRE_READY;
		err = wire_send(c->fd, &b->out, NULL, MSG_DONTWAIT);
		c->full = err == -EAGAIN;
		c->welcomed = !err;
	}
	if (c->welcomed && c->sync)
		send_sync(b, c);
	if (c->welcomed && (c->told != b->look || c->counts != (b->nlookers > 0)))
		send_look(b, c);
}

void events_look(struct broker *b)
{
	u32 i;

	for (i = 0; i < b->nconns; i++)
		if (b->conns[i]->member && !b->conns[i]->dead)
			events_push(b, b->conns[i]);
}

/* ---- coming and going ----------------------------------------------------------------------- */

/* May a process that is no member yet become one? 0, or why an attachment to it is refused. */
static int check_pid(s32 pid)
{
	char path[32];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d", pid);
	if (stat(path, &st))
		return -ESRCH;
	/* Of those that only root may look at, too, /proc says root (proc(5)). */
	return st.st_uid == code_euid() ? 0 : -EACCES;
}

/*
 * A child that `c` made by clone(2) itself, which no handler of fork(3) told of, and that has executed nothing since:
 * it becomes a member when it does. (bpftrace -c CMD waits for its probes first.)
 */
static bool is_bare_child(const struct conn *c, s32 pid)
{
	char path[40], state;
	struct stat mine, its;
	s32 parent;

	snprintf(path, sizeof(path), "/proc/%d/exe", c->pid);
	if (stat(path, &mine))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	if (stat(path, &its) || mine.st_dev != its.st_dev || mine.st_ino != its.st_ino)
		return false;
	return proc_state(pid, &state, &parent) && parent == c->pid;
}

/* To another broker than before nobody is the owner of what a pinned link stands for, until it says so again. */
static int take_back(struct broker *b, struct attachment *a, struct conn *owner, const struct wire_msg *m,
		     struct wire_fds *fds)
{
	struct object *prog;
	struct install *in;
	int err;

	if (a->owner == owner)
		return 0; /* said again */
	prog = a->owner ? NULL : store_take(b, m, fds, 0, &err);
	store_put(b, prog);
	if (!prog || prog != a->prog || a->kind != m->kind || memcmp(&a->what, &m->what, sizeof(a->what)))
		return -EINVAL;
	a->owner = owner;
	in = installed(owner, a->id); /* as if it were another's */
	if (in) {
		let_go(in);
		in->state = INSTALL_DROP;
		events_push(b, owner);
	}
	return 0;
}

int events_attach(struct broker *b, struct conn *owner, const struct wire_msg *m, struct wire_fds *fds)
{
	const char *name = wire_string(m, 0);
	struct attachment *a = find(b, m->attach);
	int err = m->what.pid > 0 ? check_pid(m->what.pid) : 0;
	struct install *in;
	u32 i;

	if (err)
		return err;
	if (a)
		return take_back(b, a, owner, m, fds);
	if (!m->attach || !m->what.pid || m->what.pid < -1)
		return -EINVAL;
	if (b->nattachments >= MAX_ATTACHMENTS)
		return -ENOSPC;
	a = base_alloc(sizeof(*a));
	if (!a)
		return -ENOMEM;
	a->prog = store_take(b, m, fds, 0, &err);
	a->name = name ? base_strdup(name) : NULL;
	if (!a->prog || (name && !a->name) || hash_put(&b->by_number, m->attach ^ b->secret, a)) {
		store_put(b, a->prog);
		base_free(a->name);
		base_free(a);
		return err ? err : -ENOMEM;
	}
	a->id = m->attach;
	a->kind = m->kind;
	a->what = m->what;
	a->owner = owner;
	/* At the end: who comes later is told in this order, in which programs then run. */
	if (!b->last)
		b->last = &b->attachments;
	a->prev = b->last;
	*b->last = a;
	b->last = &a->next;
	b->nattachments++;
	for (i = 0; i < b->nconns; i++) {
		struct conn *c = b->conns[i];

		if (!concerns(a, c))
			continue;
		in = installed(c, a->id); /* from the time before this broker */
		if (in && in->state == INSTALL_DONE && !in->a) {
			in->a = a;
			a->have++;
		} else if (in || !add_install(c, a->id, a, INSTALL_NEW)) {
			c->dead = true;
		} else {
			events_push(b, c);
		}
	}
	return 0;
}

/* All that are over, at once: one look at each member. */
static void remove_over(struct broker *b)
{
	struct attachment *a, *next;
	struct install *in;
	size_t k;
	u32 i;

	for (i = 0; i < b->nconns; i++) {
		struct conn *c = b->conns[i];
		bool some = false;

		for (k = 0; k < c->ninstalls;) {
			in = &c->installs[k++];
			if (!in->a || !in->a->over)
				continue;
			some = true;
			if (in->state == INSTALL_NEW) {
				remove_install(c, in);
				k--;
			} else {
				let_go(in);
				if (in->state != INSTALL_GOING)
					in->state = INSTALL_DROP;
			}
		}
		if (some && !c->dead)
			events_push(b, c);
	}
	for (a = b->attachments; a; a = next) {
		next = a->next;
		if (!a->over)
			continue;
		*a->prev = next;
		if (next)
			next->prev = a->prev;
		else
			b->last = a->prev;
		b->nattachments--;
		hash_del(&b->by_number, a->id ^ b->secret);
		store_put(b, a->prog);
		base_free(a->name);
		base_free(a);
	}
}

int events_detach(struct broker *b, struct conn *owner, u64 id)
{
	struct attachment *a = find(b, id);
	struct install *in;
	u32 i;

	if (a && a->owner && a->owner != owner)
		return -ENOENT;
	if (a && a->link && store_is_pinned(b, a->link)) {
		a->owner = NULL; /* to which it is one of all members now */
		if (concerns(a, owner) && !installed(owner, id) && add_install(owner, id, a, INSTALL_NEW))
			events_push(b, owner);
		return 0;
	}
	if (a) {
		a->over = true;
		remove_over(b);
		return 0;
	}
	for (i = 0; i < b->nconns; i++) {
		in = installed(b->conns[i], id);
		if (!in || in->a || in->state == INSTALL_GOING)
			continue;
		in->state = INSTALL_DROP;
		if (!b->conns[i]->dead)
			events_push(b, b->conns[i]);
	}
	return 1;
}

void events_link(struct broker *b, struct conn *owner, u64 id, struct object *link)
{
	struct attachment *a = find(b, id);

	if (a && a->owner == owner && link->kind == SYS_LINK)
		a->link = link;
}

void events_owner_gone(struct broker *b, struct conn *c)
{
	struct attachment *a;

	for (a = b->attachments; a; a = a->next)
		if (a->owner == c)
			a->owner = NULL;
	while (c->ninstalls)
		remove_install(c, &c->installs[c->ninstalls - 1]);
}

void events_link_gone(struct broker *b, const struct object *link)
{
	struct attachment *a;

	for (a = b->attachments; a; a = a->next)
		if (a->link == link)
			a->link = NULL;
}

void events_sweep(struct broker *b)
{
	bool some = false;
	struct attachment *a;

	if (b->heir && b->grace)
		return; /* their owners may come back */
	for (a = b->attachments; a; a = a->next)
		some |= a->over = !a->owner && !a->link;
	if (some)
		remove_over(b);
}

/* ---- what members say ----------------------------------------------------------------------- */

void events_hello(struct broker *b, struct conn *c, const struct wire_msg *m)
{
	const char *exe = wire_string(m, 1);
	size_t at = 0, n;
	struct attachment *a;
	struct install *in;
	u64 id;

	if (exe)
		at = exe + strlen(exe) + 1 - m->text;
	/* What is in place since before: kept until it is clear that nobody owns it. */
	for (n = 0; exe && at + (n + 1) * sizeof(id) <= m->ntext; n++) {
		memcpy(&id, m->text + at + n * sizeof(id), sizeof(id));
		if (installed(c, id))
			continue;
		in = add_install(c, id, find(b, id), INSTALL_DONE);
		if (!in)
			break;
		if (in->a ? !concerns(in->a, c) : broker_now() >= b->grace) {
			let_go(in);
			in->state = INSTALL_DROP;
		}
	}
	for (a = b->attachments, n = c->ninstalls; a; a = a->next)
		if (concerns(a, c) && !among(c, n, a->id))
			add_install(c, a->id, a, INSTALL_NEW);
	events_push(b, c);
}

void events_end_of_grace(struct broker *b)
{
	size_t i;
	u32 k;

	b->grace = 0;
	for (k = 0; k < b->nconns; k++) {
		for (i = 0; i < b->conns[k]->ninstalls; i++)
			if (!b->conns[k]->installs[i].a && b->conns[k]->installs[i].state != INSTALL_GOING)
				b->conns[k]->installs[i].state = INSTALL_DROP;
		if (b->conns[k]->member && !b->conns[k]->dead)
			events_push(b, b->conns[k]);
	}
}

void events_report(struct broker *b, struct conn *c, const struct wire_msg *m)
{
	struct install *in = installed(c, m->attach);
	const char *why = wire_string(m, 0);
	s32 err = m->err > 0 || m->err < -4095 ? -EPROTO : m->err;

	if (in && in->state == INSTALL_SENT) {
		in->state = INSTALL_DONE;
		in->a->open--;
		if (err && in->a->what.pid > 0) {
			in->a->err = err;
			snprintf(in->a->why, sizeof(in->a->why), "%s", why ? why : "");
			text_clean(in->a->why);
		}
	}
	/* Each message is answered once, also when that is over meanwhile: there is room for another one. */
	if (c->unheard && c->unheard-- == MAX_UNHEARD)
		events_push(b, c);
}

void events_removed(struct broker *b, struct conn *c, u64 id)
{
	struct install *in = installed(c, id);

	(void)b;
	if (in && in->state == INSTALL_GOING)
		remove_install(c, in);
}

bool events_going(const struct conn *c, u64 id)
{
	size_t i;

	for (i = 0; i < c->ninstalls; i++)
		if (c->installs[i].id == id)
			return c->installs[i].state == INSTALL_DROP || c->installs[i].state == INSTALL_GOING;
	return false;
}

bool events_settled(struct broker *b, u64 id, s32 *err, const char **why,
		    bool (*in_vain)(struct conn *c, void *arg), void *arg)
{
	struct attachment *a = find(b, id);
	struct install *in;
	u32 i;

	*err = a ? a->err : -ECANCELED;
	*why = a ? a->why : "";
	if (*err)
		return true;
	if (!a->have && a->what.pid > 0) {
		*err = check_pid(a->what.pid);
		if (*err || (a->owner && is_bare_child(a->owner, a->what.pid)))
			return true;
		*err = -ESRCH; /* unless it becomes a member until the time is up */
		*why = "it is not in the session (ferry exec, ferry attach)";
		return false;
	}
	for (i = 0; a->open && i < b->nconns; i++) {
		in = b->conns[i]->dead ? NULL : installed(b->conns[i], id);
		if (in && in->state != INSTALL_DONE && !in_vain(b->conns[i], arg))
			return false;
	}
	return true;
}
