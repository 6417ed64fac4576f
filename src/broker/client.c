/* SPDX-License-Identifier: MIT */
/* A member's questions to the broker: each on a connection of its own, so that any thread may ask. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "bpf/session/session.h"
#include "broker/client_int.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of the list, for moments only */
static struct client_event *events;
static struct client_event *inherited; /* from before fork(2): the parent's, and in place here as they were there */

/* ---- asking --------------------------------------------------------------------------------- */

static int ask_once(const char *dir, const struct wire_msg *m, const struct wire_fds *fds,
		    struct wire_msg *out, struct wire_fds *got)
{
	int sock = wire_connect(dir), err;

	if (sock < 0)
		return sock;
	err = wire_send(sock, m, fds, 0);
	if (!err)
		err = wire_recv(sock, out, got, 0);
	close(sock);
	return err;
}

static bool is_gone(int err)
{
	return err == -ECONNREFUSED || err == -ENOENT || err == -EPIPE || err == -ECONNRESET;
}

int client_ask(struct wire_msg *m, const struct wire_fds *fds, struct wire_fds *got)
{
	const char *dir = sys_session(false);
	struct wire_msg *out = base_alloc(sizeof(*out));
	int err = dir ? -ENOMEM : -ENOTCONN, tries;

	sys_inside++;
	for (tries = 0; dir && out && tries < 3; tries++) {
		err = ask_once(dir, m, fds, out, got);
		if (!is_gone(err) || broker_start(dir))
			break;
	}
	sys_inside--;
	if (!err) {
		err = out->err < 0 && out->err > -4096 ? out->err : out->err ? -EPROTO : 0;
		memcpy(m, out, offsetof(struct wire_msg, text) + out->ntext + 1);
		memcpy(m->text, out->text, out->ntext + 1);
		if (err)
			wire_close(got);
	}
	base_free(out);
	return err;
}

void client_pack(struct wire_msg *m, struct wire_fds *fds, const struct sys_bundle *b)
{
	u32 i;

	for (i = 0; i < b->n; i++) {
		bool event = b->item[i].event >= 0;

		if (m->nitems == WIRE_ITEMS || fds->n + 1 + event > WIRE_FDS)
			break; /* whoever needs the rest asks for it */
		m->item[m->nitems++] = (struct wire_item){ b->item[i].kind, b->item[i].id, event };
		fds->fd[fds->n++] = b->item[i].fd;
		if (event)
			fds->fd[fds->n++] = b->item[i].event;
	}
}

bool client_unpack(const struct wire_msg *m, struct wire_fds *fds, struct sys_bundle *b)
{
	u32 i, at = 0, need = 0;

	b->n = 0;
	for (i = 0; i < m->nitems; i++)
		need += 1 + !!m->item[i].event;
	if (need != fds->n || m->nitems > SYS_BUNDLE_MAX) {
		wire_close(fds);
		return false;
	}
	for (i = 0; i < m->nitems; i++) {
		struct sys_bundle_item *it = &b->item[b->n++];

		it->kind = m->item[i].kind;
		it->id = m->item[i].id;
		it->fd = fds->fd[at++];
		it->event = m->item[i].event ? fds->fd[at++] : -1;
	}
	fds->n = 0;
	return true;
}

/* ---- objects -------------------------------------------------------------------------------- */

static struct wire_msg *new_msg(u32 op)
{
	struct wire_msg *m = base_alloc(sizeof(*m));

	if (m)
		m->op = op;
	return m;
}

/* The object that the answer to `m` brings; frees the message. */
static struct sys_obj *fetch(struct wire_msg *m)
{
	struct sys_bundle b;
	struct sys_obj *o = NULL;
	struct wire_fds got;

	if (m && !client_ask(m, NULL, &got) && client_unpack(m, &got, &b))
		o = sys_bundle_adopt(&b);
	base_free(m);
	return o;
}

static struct sys_obj *by_inode(u32 op, u64 dev, u64 ino)
{
	struct wire_msg *m = new_msg(op);

	if (m) {
		m->dev = dev;
		m->ino = ino;
	}
	return fetch(m);
}

static struct sys_obj *pinned(u64 dev, u64 ino)
{
	return by_inode(WIRE_GET, dev, ino);
}

static struct sys_obj *find(u64 dev, u64 ino)
{
	return by_inode(WIRE_FIND, dev, ino);
}

static struct sys_obj *by_id(u32 kind, u32 id)
{
	struct wire_msg *m = new_msg(WIRE_BY_ID);

	if (m) {
		m->kind = kind;
		m->id = id;
	}
	return fetch(m);
}

static u32 next_id(u32 kind, u32 id)
{
	struct wire_msg *m = new_msg(WIRE_NEXT_ID);
	struct wire_fds got;
	u32 next = 0;

	if (!m)
		return 0;
	m->kind = kind;
	m->id = id;
	if (!client_ask(m, NULL, &got)) {
		next = m->id > id && m->id <= INT32_MAX ? m->id : 0;
		wire_close(&got);
	}
	base_free(m);
	return next;
}

/* An eventfd and nothing else is written to while a program runs, and never one that blocks. */
static bool is_eventfd(int fd)
{
	char path[40], name[32] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return readlink(path, name, sizeof(name) - 1) > 0 && !strcmp(name, "anon_inode:[eventfd]") &&
	       fcntl(fd, F_GETFL) & O_NONBLOCK;
}

static int event(u64 dev, u64 ino)
{
	struct wire_msg *m = new_msg(WIRE_FIND);
	struct wire_fds got;
	int fd = -ENOENT;

	if (!m)
		return -ENOMEM;
	m->dev = dev;
	m->ino = ino;
	if (!client_ask(m, NULL, &got)) {
		if (got.n == 2 && m->nitems == 1 && m->item[0].event && is_eventfd(got.fd[1]))
			fd = got.fd[--got.n];
		wire_close(&got);
	}
	base_free(m);
	return fd;
}

static int pin(int file, struct sys_obj *o)
{
	struct wire_msg *m = new_msg(WIRE_PIN);
	struct wire_fds fds = { 1, { file } }, got;
	struct sys_bundle b;
	int err = -ENOMEM;

	if (!m)
		return err;
	sys_bundle_of(o, &b);
	client_pack(m, &fds, &b);
	err = client_ask(m, &fds, &got);
	if (!err)
		wire_close(&got);
	base_free(m);
	return err;
}

static void restore(int folder, const char *name, int fd, const struct pin_is *is, void *arg)
{
	struct sys_obj *o = sys_ino_get(is->dev, is->ino);

	(void)folder, (void)name, (void)arg;
	if (!o)
		return;
	/* A link that only its maker carried out is nothing without it. */
	if (o->kind == is->kind && o->id == is->id && (o->kind != SYS_LINK || sys_link_works(o)))
		pin(fd, o);
	sys_put(o);
}

void client_restore_pins(void)
{
	const char *dir = sys_session(false);

	if (dir && sys_objects)
		sys_pins_each(dir, restore, NULL);
}

static void sweep(void)
{
	struct wire_msg *m = new_msg(WIRE_SWEEP);
	struct wire_fds got;

	if (m && !client_ask(m, NULL, &got))
		wire_close(&got);
	base_free(m);
}

static void drop(u64 dev, u64 ino)
{
	struct wire_msg *m = new_msg(WIRE_DROP);

	if (!m)
		return;
	m->dev = dev;
	m->ino = ino;
	agent_say(m, NULL);
	base_free(m);
}

static void have(u64 dev, u64 ino)
{
	struct wire_msg *m = new_msg(WIRE_HAVE);

	broker_join();
	if (!m)
		return;
	m->dev = dev;
	m->ino = ino;
	agent_say(m, NULL);
	base_free(m);
}

static void changed(u64 dev, u64 ino, bool wait)
{
	struct wire_msg *m = new_msg(WIRE_CHANGED);
	struct wire_fds got;

	if (!m)
		return;
	m->dev = dev;
	m->ino = ino;
	m->kind = wait && !agent_is_self();
	m->token = agent_token();
	if (!m->kind)
		agent_say(m, NULL);
	else if (!client_ask(m, NULL, &got))
		wire_close(&got);
	base_free(m);
}

static void publish(struct sys_obj *o)
{
	broker_join(); /* at the latest now */
	agent_publish(o);
}

/* ---- events of other processes -------------------------------------------------------------- */

int client_announce(struct client_event *e, bool wait, struct text *why)
{
	struct wire_msg *m = new_msg(WIRE_ATTACH);
	struct wire_fds fds, got;
	struct sys_bundle b;
	int err = -ENOMEM, tries;
	u64 token;

	for (tries = 0; m && tries < 3; tries++) {
		memset(m, 0, offsetof(struct wire_msg, item));
		fds.n = 0;
		m->op = WIRE_ATTACH;
		m->token = token = agent_token();
		m->attach = e->id;
		m->kind = e->kind;
		m->what = e->what;
		m->id = !wait;
		if (e->name && !wire_add_string(m, e->name)) {
			err = -ENAMETOOLONG;
			break;
		}
		sys_bundle_of(e->prog, &b);
		client_pack(m, &fds, &b);
		err = client_ask(m, &fds, &got);
		if (!err)
			wire_close(&got);
		else if (why && m->ntext)
			text_puts(why, m->text);
		/* The broker is another one than that which we are a member of. */
		if (err != -EPERM || !agent_wait_token(token))
			break;
	}
	base_free(m);
	return err;
}

void client_announce_all(void)
{
	struct client_event *e;

	pthread_mutex_lock(&lock);
	for (e = events; e; e = e->next)
		client_announce(e, false, NULL);
	pthread_mutex_unlock(&lock);
}

struct sys_obj *client_prog_of(u64 id, u64 *cookie)
{
	struct client_event *e;
	struct sys_obj *prog = NULL;

	pthread_mutex_lock(&lock);
	for (e = events; e && e->id != id; e = e->next)
		;
	for (e = e ? e : inherited; e && e->id != id; e = e->next)
		;
	if (e) {
		prog = e->prog;
		*cookie = e->what.cookie;
		sys_hold(prog);
	}
	pthread_mutex_unlock(&lock);
	return prog;
}

static void forget(struct client_event *e)
{
	sys_put(e->prog);
	base_free(e->name);
	base_free(e);
}

static void unlink_event(struct client_event *e)
{
	struct client_event **at;

	pthread_mutex_lock(&lock);
	for (at = e->pid == getpid() ? &events : &inherited; *at && *at != e; at = &(*at)->next)
		;
	if (*at)
		*at = e->next;
	pthread_mutex_unlock(&lock);
}

static int attach(enum sys_attach_kind kind, const struct sys_attach *a, void **event,
		  struct text *why)
{
	struct client_event *e = base_alloc(sizeof(*e));
	char path[PATH_MAX];
	int err;

	if (!e)
		return -ENOMEM;
	broker_join();
	/* Another process has another current directory. */
	if (a->name)
		e->name = base_strdup((kind == SYS_ATTACH_UPROBE || kind == SYS_ATTACH_URETPROBE) &&
						      realpath(a->name, path)
					      ? path
					      : a->name);
	if ((a->name && !e->name) || getrandom(&e->id, sizeof(e->id), 0) != sizeof(e->id)) {
		base_free(e);
		return -ENOMEM;
	}
	e->kind = kind;
	e->what = (struct wire_what){ .cookie = a->cookie,
				      .offset = a->offset,
				      .ref_ctr_off = a->ref_ctr_off,
				      .period = a->period,
				      .id = a->id,
				      .pid = a->pid,
				      .cpu = a->cpu,
				      .inherit = a->inherit };
	e->prog = a->p->owner;
	e->pid = getpid();
	sys_hold(e->prog);
	pthread_mutex_lock(&lock);
	e->next = events;
	events = e;
	pthread_mutex_unlock(&lock);
	err = client_announce(e, true, why);
	if (err) {
		if (err == -ESRCH)
			text_printf(why, " (process %d)", a->pid);
		unlink_event(e);
		forget(e);
		return err;
	}
	*event = e;
	return 0;
}

static void detach(void *event)
{
	struct client_event *e = event;
	struct wire_msg *m = new_msg(WIRE_DETACH);
	int tries, err = -EPERM;
	struct wire_fds got;
	u64 token;

	unlink_event(e);
	for (tries = 0; m && e->pid == getpid() && tries < 3; tries++) {
		memset(m, 0, offsetof(struct wire_msg, item));
		m->op = WIRE_DETACH;
		m->token = token = agent_token();
		m->attach = e->id;
		err = client_ask(m, NULL, &got);
		if (!err)
			wire_close(&got);
		if (err != -EPERM || !agent_wait_token(token)) /* of the next broker */
			break;
	}
	base_free(m);
	forget(e);
}

static u64 attachment(void *event)
{
	return ((struct client_event *)event)->id;
}

/* In the child of fork(2): what is there is the parent's. */
void client_forked(void)
{
	struct client_event **at;

	pthread_mutex_init(&lock, NULL);
	for (at = &inherited; *at; at = &(*at)->next)
		;
	*at = events;
	events = NULL;
}

bool client_inherited(u64 id)
{
	struct client_event *e;

	pthread_mutex_lock(&lock);
	for (e = inherited; e && e->id != id; e = e->next)
		;
	pthread_mutex_unlock(&lock);
	return e;
}

static __attribute__((constructor)) void init(void)
{
	static const struct sys_share_ops ops = {
		.publish = publish,
		.drop = drop,
		.pin = pin,
		.pinned = pinned,
		.find = find,
		.by_id = by_id,
		.event = event,
		.next_id = next_id,
		.sweep = sweep,
		.bye = agent_bye,
		.have = have,
		.changed = changed,
		.attach = attach,
		.detach = detach,
		.attachment = attachment,
		.row = client_row,
		.sum = client_sum,
		.count = client_count,
	};

	sys_share(&ops);
}
