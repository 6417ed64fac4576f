/* SPDX-License-Identifier: MIT */
/*
 * The broker: one loop over the session's socket. Whoever connects is of this user and may say
 * anything; what a member says changes only what is its own. Nothing here waits for a member.
 *
 * A shared broker has a guardian: a copy of itself (fork) that was made when pins changed last and
 * does nothing but wait for the broker's death; then it goes on from there. The socket is the same, so
 * that members merely connect again.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "broker/broker_int.h"

#define IDLE_MS  5000 /* until a broker that nobody needs ends */
#define GRACE_MS 500  /* after a broker's death: for members to say again what they have */
#define SLICE_US 20000 /* about what all members together take at a time */
#define MAX_PUT_OFF 100 /* turns of the loop */
#define BATCH    256   /* most events at a time: more than what is accepted at a time */

u64 broker_now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000ull + t.tv_nsec / 1000;
}

u64 broker_now(void)
{
	return broker_now_us() / 1000;
}

/* ---- connections ---------------------------------------------------------------------------- */

static struct conn *member_of(struct broker *b, u64 token)
{
	u32 i;

	for (i = 0; token && i < b->nconns; i++)
		if (b->conns[i]->member && !b->conns[i]->dead && b->conns[i]->token == token)
			return b->conns[i];
	return NULL;
}

static void drop_conn(struct broker *b, struct conn *c)
{
	char path[PATH_MAX + 32];
	size_t i;

	if (c->member) {
		b->nmembers--;
		c->member = false;
		events_owner_gone(b, c);
		if (b->epoll >= 0)
			deaths_expect(b, c);
		snprintf(path, sizeof(path), "%s/members/%d", b->dir, c->pid);
		if (b->epoll >= 0) /* in a guardian it lives on */
			unlink(path);
	}
	if (c->looks && !--b->nlookers)
		events_look(b);
	for (i = 0; i < c->npubs; i++)
		store_put(b, c->pubs[i]);
	conns_close(b, c);
}

/* The dead go, and with them what was theirs, which may be the end of others. */
static void bury(struct broker *b)
{
	struct conn *c;
	u32 i;

	for (i = 0; i < b->nconns;) {
		c = b->conns[i];
		if (!c->dead) {
			i++;
			continue;
		}
		b->conns[i] = b->conns[--b->nconns];
		drop_conn(b, c);
	}
	events_sweep(b);
}

/* ---- the guardian --------------------------------------------------------------------------- */

static void close_conns(struct broker *b)
{
	u32 i;

	for (i = 0; i < b->nconns; i++) /* all of them first: nobody is told that others went */
		b->conns[i]->dead = true;
	bury(b);
}

/* In the copy: 0 when it is the broker now; does not return when it is not needed any more. */
static void guardian(struct broker *b, int pipe)
{
	ssize_t n;
	char c;

	close(b->lock);
	deaths_close(b);
	close(b->epoll);
	if (b->guard >= 0)
		close(b->guard);
	if (b->spare >= 0)
		close(b->spare);
	b->lock = b->epoll = b->guard = b->spare = -1;
	close_conns(b);
	while ((n = read(pipe, &c, 1)) < 0 && errno == EINTR)
		;
	if (n == 1) /* there is a newer one, or the broker has ended in peace */
		_exit(0);
	close(pipe);
}

static void dismiss(struct broker *b, int guard)
{
	ssize_t n;

	if (guard < 0)
		return;
	if (b->epoll >= 0)
		epoll_ctl(b->epoll, EPOLL_CTL_DEL, guard, NULL);
	n = write(guard, "q", 1);
	(void)n; /* it may have gone already */
	close(guard);
}

static int serve_from_now(struct broker *b);

static void watch_guardian(struct broker *b)
{
	struct epoll_event ev = { .events = 0, .data.ptr = NULL };

	if (b->epoll >= 0)
		epoll_ctl(b->epoll, EPOLL_CTL_ADD, b->guard, &ev); /* EPOLLERR when it dies */
}

/* A new copy that knows all pins there are; the one before it sees that and ends. */
static void renew_guardian(struct broker *b)
{
	int ends[2], old = b->guard, tries, err = 0;
	pid_t pid;

	if (!b->shared || pipe2(ends, O_CLOEXEC))
		return;
	pid = fork();
	if (!pid) {
		close(ends[1]);
		guardian(b, ends[0]);
		renew_guardian(b); /* first of all: it may be killed as the one before it was */
		b->heir = true;
		/* The dead may take a moment to let go of their lock. */
		for (tries = 0; tries < 100 && (err = serve_from_now(b)) == -EEXIST; tries++)
			usleep(10000);
		if (err) {
			dismiss(b, b->guard);
			_exit(1);
		}
		broker_run(b, -1);
		broker_free(b);
		_exit(0);
	}
	close(ends[0]);
	if (pid < 0) {
		close(ends[1]);
		return;
	}
	b->guard = ends[1];
	watch_guardian(b);
	dismiss(b, old);
}

/* ---- requests ------------------------------------------------------------------------------- */

static void answer(struct broker *b, struct conn *c, struct wire_fds *fds)
{
	if (wire_send(c->fd, &b->out, fds, MSG_DONTWAIT))
		c->dead = true; /* it asked and does not read: not our problem */
}

static int look_up(struct broker *b, const struct wire_msg *m, struct wire_fds *fds)
{
	struct object *o = NULL;
	struct pin *p;

	switch (m->op) {
	case WIRE_GET:
		p = store_pin_of(b, m->dev, m->ino);
		o = p ? p->o : NULL;
		break;
	case WIRE_FIND: o = store_find(b, m->dev, m->ino); break;
	case WIRE_BY_ID: o = store_by_id(b, m->kind, m->id); break;
	}
	if (!o)
		return -ENOENT;
	store_give(o, m->op != WIRE_FIND, &b->out, fds);
	return 0;
}

static void list_members(struct broker *b, u32 from)
{
	char pid[16];
	u32 i;

	for (i = from; i < b->nconns; i++) {
		struct conn *c = b->conns[i];
		size_t room = sizeof(pid) + sizeof(c->comm) + (c->exe ? strlen(c->exe) : 0) + 2;

		if (!c->member || c->dead)
			continue;
		if (b->out.ntext + room >= WIRE_TEXT)
			break;
		snprintf(pid, sizeof(pid), "%d", c->pid);
		wire_add_string(&b->out, pid);
		wire_add_string(&b->out, c->comm);
		wire_add_string(&b->out, c->exe ? c->exe : "");
	}
	b->out.id = i < b->nconns ? i : 0;
}

static void look(struct broker *b, struct conn *c, bool count)
{
	if (count != c->looks) {
		c->looks = count;
		b->nlookers += count ? 1 : -1u;
	}
	b->look++;
	events_look(b);
	memset(&b->out, 0, offsetof(struct wire_msg, item));
	b->out.op = WIRE_LOOK;
	b->out.attach = b->look;
}

static int do_attach(struct broker *b, struct conn *c, const struct wire_msg *m, struct wire_fds *fds)
{
	struct conn *owner = member_of(b, m->token);
	int err = owner ? events_attach(b, owner, m, fds) : -EPERM;

	if (!err && !m->id)
		waits_begin(c, WIRE_ATTACH, m->attach, b->heir);
	return err;
}

static int do_detach(struct broker *b, struct conn *c, const struct wire_msg *m)
{
	struct conn *owner = member_of(b, m->token);
	int err = owner ? events_detach(b, owner, m->attach) : -EPERM;

	if (err >= 0)
		waits_begin(c, WIRE_DETACH, m->attach, b->heir || err);
	return err;
}

static int do_changed(struct broker *b, struct conn *c, const struct wire_msg *m)
{
	u64 number = waits_changed(b, member_of(b, m->token), m->dev, m->ino);

	if (m->kind && (number || (b->heir && b->grace)))
		waits_begin(c, WIRE_CHANGED, number, b->heir);
	return 0;
}

static void request(struct broker *b, struct conn *c, struct wire_fds *fds)
{
	struct wire_fds out = { 0 };
	struct wire_msg *m = &b->in;
	bool swept = store_sweep(b, b->in.op == WIRE_SWEEP);
	int err;

	if (swept)
		events_sweep(b);
	memset(&b->out, 0, offsetof(struct wire_msg, item));
	b->out.op = m->op;
	switch (m->op) {
	case WIRE_PIN: err = store_pin(b, m, fds); break;
	case WIRE_GET:
	case WIRE_FIND:
	case WIRE_BY_ID: err = look_up(b, m, &out); break;
	case WIRE_NEXT_ID:
		b->out.id = store_next_id(b, m->kind, m->id);
		err = 0;
		break;
	case WIRE_SWEEP: err = 0; break;
	case WIRE_MEMBERS:
		list_members(b, m->id);
		err = 0;
		break;
	case WIRE_LOOK:
		err = 0;
		look(b, c, m->kind);
		break;
	case WIRE_ATTACH: err = do_attach(b, c, m, fds); break;
	case WIRE_DETACH: err = do_detach(b, c, m); break;
	case WIRE_CHANGED: err = do_changed(b, c, m); break;
	default: err = -EINVAL;
	}
	if (c->waits)
		return; /* answered when members have done their part */
	if (m->op == WIRE_ATTACH || m->op == WIRE_DETACH || m->op == WIRE_CHANGED) { /* they have been told */
		memset(&b->out, 0, offsetof(struct wire_msg, item));
		b->out.op = m->op;
	}
	/* Who hears that it is pinned may rely on it, whatever happens to this process. */
	wire_close(fds);
	if (swept || (m->op == WIRE_PIN && !err))
		renew_guardian(b);
	b->out.err = err;
	answer(b, c, &out);
}

/* ---- members -------------------------------------------------------------------------------- */

static void publish(struct broker *b, struct conn *c, const struct wire_msg *m, struct wire_fds *fds)
{
	struct object **grown, *o;
	size_t i;
	int err;

	/* One member takes at most half of what there is room for, whatever others took. */
	o = c->weight <= store_room(b) ? store_take(b, m, fds, 0, &err) : NULL;
	if (!o)
		return;
	if (m->attach)
		events_link(b, c, m->attach, o);
	for (i = 0; i < c->npubs; i++)
		if (c->pubs[i] == o) {
			store_put(b, o);
			return;
		}
	grown = base_grow(c->pubs, &c->cap_pubs, c->npubs + 1, sizeof(struct object *));
	if (!grown) {
		store_put(b, o);
		return;
	}
	c->pubs = grown;
	c->pubs[c->npubs++] = o;
	c->weight += store_weight(o);
}

static void drop(struct broker *b, struct conn *c, const struct wire_msg *m)
{
	size_t i;

	waits_drop(c, m);
	for (i = 0; i < c->npubs; i++) {
		if (c->pubs[i]->dev != m->dev || c->pubs[i]->ino != m->ino)
			continue;
		c->weight -= store_weight(c->pubs[i]);
		store_put(b, c->pubs[i]);
		c->pubs[i] = c->pubs[--c->npubs];
		return;
	}
}

static void hello(struct broker *b, struct conn *c, const struct wire_msg *m)
{
	const char *comm = wire_string(m, 0), *exe = wire_string(m, 1);
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };

	if (m->kind != WIRE_VERSION || getrandom(&c->token, sizeof(c->token), 0) != sizeof(c->token)) {
		c->dead = true;
		return;
	}
	c->token |= 1; /* never 0 */
	c->told = b->look;
	snprintf(c->comm, sizeof(c->comm), "%s", comm ? comm : "");
	text_clean(c->comm);
	c->exe = base_strdup(exe && strlen(exe) < PATH_MAX ? exe : "");
	c->member = true;
	deaths_not(b, c->pid);
	c->bye = false;
	b->news = true;
	c->life = (struct death){ .pid = c->pid, .ppid = m->id, .prio = 120, .pidfd = -1 };
	snprintf(c->life.comm, sizeof(c->life.comm), "%.15s", c->comm);
	deaths_look(&c->life);
	b->nmembers++;
	/* A child that has copies of its descriptors does not keep it alive. */
	c->pidfd = conns_pidfd(c);
	if (c->pidfd >= 0)
		epoll_ctl(b->epoll, EPOLL_CTL_ADD, c->pidfd, &ev);
	memset(&b->out, 0, offsetof(struct wire_msg, item));
	b->out.op = WIRE_WELCOME;
	b->out.token = c->token;
	b->out.kind = b->lost_at > 0;
	answer(b, c, NULL);
	events_hello(b, c, m);
}

static void from_member(struct broker *b, struct conn *c, struct wire_fds *fds)
{
	switch (b->in.op) {
	case WIRE_PUBLISH: publish(b, c, &b->in, fds); break;
	case WIRE_DROP: drop(b, c, &b->in); break;
	case WIRE_BYE: c->bye = true; break;
	case WIRE_HAVE: waits_have(c, &b->in); break;
	case WIRE_CHANGED: waits_changed(b, c, b->in.dev, b->in.ino); break;
	case WIRE_SYNCED: waits_synced(c, b->in.attach); break;
	case WIRE_REMOVED: events_removed(b, c, b->in.attach); break;
	case WIRE_REPORT: events_report(b, c, &b->in); break;
	default: c->dead = true;
	}
}

/* One message of a connection; false when there is none. */
static bool serve_one(struct broker *b, struct conn *c)
{
	struct wire_fds fds;
	int err = wire_recv(c->fd, &b->in, &fds, MSG_DONTWAIT);

	if (err == -EPROTONOSUPPORT) { /* whatever it understands of this, it sees that it is of another age */
		memset(&b->out, 0, offsetof(struct wire_msg, item));
		b->out.op = WIRE_HELLO;
		b->out.err = err;
		answer(b, c, NULL);
	}
	if (err) {
		c->dead |= err != -EAGAIN;
		return false;
	}
	c->heard = broker_now();
	if (c->member)
		from_member(b, c, &fds);
	else if (b->in.op == WIRE_HELLO)
		hello(b, c, &b->in);
	else if (c->waits)
		c->dead = true; /* one thing at a time */
	else
		request(b, c, &fds);
	wire_close(&fds);
	return !c->dead;
}

static bool has_ended(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	return pidfd >= 0 && poll(&p, 1, 0) == 1;
}

/* ---- the loop ------------------------------------------------------------------------------- */

static void member_event(struct broker *b, struct conn *c, u32 events, u32 slice)
{
	u64 end = broker_now_us() + slice;

	bool ended = has_ended(c->pidfd), more = true;

	if (events & EPOLLOUT && !c->dead) {
		struct epoll_event ev = { .events = EPOLLIN, .data.ptr = c };

		epoll_ctl(b->epoll, EPOLL_CTL_MOD, c->fd, &ev);
		events_push(b, c);
	}
	/* Whatever it said is taken before any request that comes after it is answered, but for floods. */
	while (!c->dead && (more = serve_one(b, c)) && broker_now_us() < end)
		;
	c->dead |= ended && !more; /* when its last word was heard */
}

static void batch(struct broker *b, struct epoll_event *ev, int n)
{
	struct conn *c;
	u32 members = 0;
	bool died = false;
	int i;

	b->news = n == BATCH; /* there may be more */
	for (i = 0; i < n; i++) {
		c = ev[i].data.ptr;
		if ((void *)c == (void *)b->deaths) {
			died = true;
			ev[i].data.ptr = c = NULL;
		}
		members += c && (void *)c != (void *)b && c->member;
	}
	for (i = 0; i < n; i++) {
		c = ev[i].data.ptr;
		if (c && (void *)c != (void *)b && c->member && !c->dead)
			member_event(b, c, ev[i].events, members < 10 ? SLICE_US / 10 : SLICE_US / members);
	}
	for (i = 0; i < n; i++) {
		c = ev[i].data.ptr;
		if ((void *)c == (void *)b)
			conns_accept(b);
		else if (c && !c->member && !c->dead)
			serve_one(b, c);
	}
	/* A program may have begun, told of its end and ended since its process left: it is heard first. */
	if (died && (!b->news || b->put_off++ == MAX_PUT_OFF)) {
		deaths_happened(b);
		b->put_off = 0;
	}
}

/* Members whose sockets were full are written to when there is room. */
static void watch_full(struct broker *b)
{
	u32 i;

	for (i = 0; i < b->nconns; i++) {
		struct conn *c = b->conns[i];
		struct epoll_event ev = { .events = EPOLLIN | EPOLLOUT, .data.ptr = c };

		if (c->full && !c->dead)
			epoll_ctl(b->epoll, EPOLL_CTL_MOD, c->fd, &ev);
	}
}

static int timeout_of(struct broker *b)
{
	u64 now = broker_now(), first = waits_next(b);

	if (b->grace && b->grace < first)
		first = b->grace;
	if (b->lost_at && b->lost_at < first)
		first = b->lost_at;
	if (b->full && b->full < first)
		first = b->full;
	if (b->idle_since && b->idle_since + IDLE_MS < first)
		first = b->idle_since + IDLE_MS;
	return first == ~0ull ? -1 : first <= now ? 0 : (int)(first - now);
}

/* True when nobody needs it any more. */
static bool is_over(struct broker *b)
{
	if (!b->shared)
		return false;
	if (b->nconns) {
		b->idle_since = 0;
		return false;
	}
	if (!b->idle_since)
		b->idle_since = broker_now();
	if (broker_now() < b->idle_since + IDLE_MS)
		return false;
	/* Who is of no session removes names without telling. */
	if (b->npins && store_sweep(b, true)) {
		events_sweep(b);
		renew_guardian(b);
	}
	b->idle_since = 0;
	return !b->npins;
}

void broker_run(struct broker *b, int stop_fd)
{
	struct epoll_event ev[BATCH], stop = { .events = EPOLLIN, .data.ptr = NULL };
	bool stopped = false;
	int n, i;

	conns_limit(b);
	if (stop_fd >= 0)
		epoll_ctl(b->epoll, EPOLL_CTL_ADD, stop_fd, &stop);
	while (!stopped && !is_over(b)) {
		n = epoll_wait(b->epoll, ev, ARRAY_SIZE(ev), timeout_of(b));
		for (i = 0; i < n; i++)
			if (!ev[i].data.ptr && stop_fd >= 0)
				stopped = true;
			else if (!ev[i].data.ptr)
				renew_guardian(b); /* the last one has died */
		batch(b, ev, n < 0 ? 0 : n);
		if (b->grace && broker_now() >= b->grace)
			events_end_of_grace(b);
		if (b->lost_at && broker_now() >= b->lost_at)
			lost_remove(b);
		bury(b);
		waits_settle(b);
		bury(b);
		if (b->full && broker_now() >= b->full)
			conns_reopen(b);
		watch_full(b);
	}
	if (stop_fd >= 0)
		epoll_ctl(b->epoll, EPOLL_CTL_DEL, stop_fd, NULL);
}

/* ---- beginning and end ---------------------------------------------------------------------- */

/* The one who serves has the lock: 0, -EEXIST when that is another process. */
static int take_lock(struct broker *b)
{
	char path[PATH_MAX + 8];

	snprintf(path, sizeof(path), "%s/serving", b->dir);
	b->lock = open(path, O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (b->lock < 0)
		return -errno;
	if (!flock(b->lock, LOCK_EX | LOCK_NB))
		return 0;
	close(b->lock);
	b->lock = -1;
	return -EEXIST;
}

static int serve_from_now(struct broker *b)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = b };
	int err = b->shared ? take_lock(b) : 0;

	if (err)
		return err;
	b->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (b->listener < 0)
		b->listener = wire_listen(b->dir);
	if (b->epoll < 0 || b->listener < 0 ||
	    epoll_ctl(b->epoll, EPOLL_CTL_ADD, b->listener, &ev))
		return b->listener < 0 ? b->listener : -errno;
	b->grace = broker_now() + GRACE_MS;
	lost_expect(b);
	if (b->guard < 0)
		renew_guardian(b);
	else
		watch_guardian(b);
	return 0;
}

int broker_new(const char *dir, bool shared, struct broker **out)
{
	struct broker *b = base_alloc(sizeof(*b));
	char path[PATH_MAX + 32];
	struct stat st;
	int err;

	if (!b)
		return -ENOMEM;
	snprintf(b->dir, sizeof(b->dir), "%s", dir);
	b->shared = shared;
	b->listener = b->epoll = b->guard = b->lock = b->spare = -1;
	if (getrandom(&b->secret, sizeof(b->secret), 0) != sizeof(b->secret)) {
		base_free(b);
		return -EIO;
	}
	if (!stat(dir, &st))
		b->dev = st.st_dev;
	snprintf(path, sizeof(path), "%s/members", dir);
	mkdir(path, 0700);
	/* Lines that programs print wait here for whoever reads. */
	snprintf(path, sizeof(path), "%s/tracing/trace_pipe", dir);
	b->trace = open(path, O_RDWR | O_CLOEXEC);
	err = b->trace < 0 ? -errno : 0;
	if (shared) {
		signal(SIGCHLD, SIG_IGN); /* guardians come and go */
		signal(SIGPIPE, SIG_IGN);
	}
	if (!err)
		err = serve_from_now(b);
	if (err)
		broker_free(b);
	else
		*out = b;
	return err;
}

void broker_free(struct broker *b)
{
	close_conns(b);
	while (b->npins) {
		close(b->pins[--b->npins].file);
		store_put(b, b->pins[b->npins].o);
	}
	events_sweep(b);
	hash_free(&b->by_ino);
	hash_free(&b->by_id);
	hash_free(&b->by_number);
	base_free(b->objects);
	if (b->listener >= 0)
		close(b->listener);
	if (b->epoll >= 0)
		close(b->epoll);
	if (b->spare >= 0)
		close(b->spare);
	if (b->trace >= 0)
		close(b->trace);
	dismiss(b, b->guard);
	if (b->lock >= 0)
		close(b->lock);
	base_free(b);
}
