/* SPDX-License-Identifier: MIT */
/*
 * The agent of a member: its connection to the broker and the thread that listens to it. What others
 * attach to this process arrives here, is adopted (and so verified again), and attached as if this
 * process had asked for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "bpf/session/look.h"
#include "bpf/session/session.h"
#include "broker/client_int.h"
#include "code/code.h"

#define STACK    (1u << 20) /* the verifier's needs; pages come when they are touched */
#define LACKING_MS 200 /* until a process without descriptors tries again */
/* Most that the start of the process waits for the next of what it is sent, and for all: adopting it takes what it takes. */
#define START_MS 1000
#define START_ALL_MS 20000

/* What others attached here. */
struct installed {
	u64 id;
	struct sys_attach what;
	char *name;
	struct sys_obj *prog; /* referenced */
	struct sys_attached at;
	enum sys_attach_kind kind;
	struct installed *next;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of what follows; nothing is called under it */
static int sock = -1;
static u64 sock_ino; /* a host that closes what it does not know gives the number to others */
static u64 token;
static pid_t member; /* the process that is one: not its children that share its memory */
static bool counting; /* runs, for whoever looks */
static struct installed *all;

static _Atomic bool started, leaving;
static pthread_t thread;
static pthread_mutex_t joining = PTHREAD_MUTEX_INITIALIZER;
static _Thread_local bool is_agent;

/* ---- the connection ------------------------------------------------------------------------- */

static u64 inode_of(int fd)
{
	struct stat st;

	return fd >= 0 && !fstat(fd, &st) ? st.st_ino : 0;
}

bool agent_is_self(void)
{
	return is_agent;
}

u64 agent_token(void)
{
	u64 t;

	pthread_mutex_lock(&lock);
	t = token;
	pthread_mutex_unlock(&lock);
	return t;
}

bool agent_wait_token(u64 old)
{
	int i;

	for (i = 0; i < 500 && started && !is_agent; i++) {
		if (agent_token() != old && agent_token())
			return true;
		usleep(2000);
	}
	return false;
}

/* A broker that is stopped holds nobody up: what it has no room for it hears, with all else, on another connection. */
void agent_say(const struct wire_msg *m, const struct wire_fds *fds)
{
	sys_inside++;
	pthread_mutex_lock(&lock);
	if (sock >= 0 && inode_of(sock) == sock_ino && wire_send(sock, m, fds, MSG_DONTWAIT) == -EAGAIN)
		shutdown(sock, SHUT_RDWR);
	pthread_mutex_unlock(&lock);
	sys_inside--;
}

/* No memory is asked for: the thread may be about to end. Children with this memory are no members. */
void agent_bye(void)
{
	static const struct wire_msg bye = { .op = WIRE_BYE };

	if (member == getpid())
		agent_say(&bye, NULL);
}

void agent_publish(struct sys_obj *o)
{
	struct wire_msg *m = base_alloc(sizeof(*m));
	struct wire_fds fds = { 0 };
	struct sys_bundle b;

	if (!m)
		return;
	m->op = WIRE_PUBLISH;
	m->attach = sys_link_attachment(o);
	sys_bundle_of(o, &b);
	client_pack(m, &fds, &b);
	agent_say(m, &fds);
	base_free(m);
}

static void publish_one(struct sys_obj *o, void *arg)
{
	(void)arg;
	if (sys_is_shared(o->kind))
		agent_publish(o);
}

/* Who we are, and what is in place here since before. */
static void fill_hello(struct wire_msg *m)
{
	char comm[17] = "", exe[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	struct installed *in;

	memset(m, 0, offsetof(struct wire_msg, item));
	m->op = WIRE_HELLO;
	m->kind = WIRE_VERSION;
	m->id = (u32)getppid();
	exe[n < 0 ? 0 : n] = '\0';
	prctl(PR_GET_NAME, comm);
	wire_add_string(m, comm);
	wire_add_string(m, exe);
	for (in = all; in && m->ntext + sizeof(in->id) < WIRE_TEXT; in = in->next) {
		memcpy(m->text + m->ntext, &in->id, sizeof(in->id));
		m->ntext += sizeof(in->id);
	}
}

/*
 * A new connection that has said hello; -errno. No locks of others: also in a child of fork(2). Its number is final:
 * other threads may say something (BYE) on it at any time from now on.
 */
static int say_hello(struct wire_msg *m)
{
	const char *dir = sys_session(false);
	int fd = dir ? wire_connect(dir) : -ENOTCONN, err;

	if (fd < 0)
		return fd;
	fd = sys_fd_move(fd);
	fill_hello(m);
	err = wire_send(fd, m, NULL, 0);
	if (err)
		close(fd);
	return err ? err : fd;
}

/* The answer: this process is a member then, and says what it has. */
static int take_welcome(int fd, struct wire_msg *m)
{
	struct wire_fds fds;
	int err = wire_recv(fd, m, &fds, 0);
	bool lost;

	if (!err) {
		wire_close(&fds);
		err = m->op == WIRE_WELCOME ? 0 : -EPROTO;
	}
	if (err) {
		close(fd);
		return err;
	}
	sys_fd_own(fd, true);
	pthread_mutex_lock(&lock);
	sock = fd;
	sock_ino = inode_of(fd);
	token = m->token;
	member = getpid();
	pthread_mutex_unlock(&lock);
	lost = m->kind;
	client_announce_all();
	client_count_again();
	sys_obj_each(publish_one, NULL); /* links say what they stand for, which is known by now */
	sys_elems_say_all();
	sys_elems_sync(0, 0); /* what was changed while nobody told us */
	if (lost)
		client_restore_pins();
	return 0;
}

static int become_member(struct wire_msg *m)
{
	int fd = say_hello(m);

	return fd < 0 ? fd : take_welcome(fd, m);
}

static void say_alone(const char *dir, int err)
{
	static bool said;
	struct text why = { 0 };

	broker_explain(dir, err, &why);
	log_msg(said ? LOG_DEBUG : LOG_WARN, "this process is alone, the session in %s cannot be used: %s", dir,
		text_str(&why));
	text_free(&why);
	said = true; /* each object asks again */
}

static void count_runs(bool on);

static void disconnect(void)
{
	int fd;

	pthread_mutex_lock(&lock);
	fd = sock;
	sock = -1;
	token = 0;
	pthread_mutex_unlock(&lock);
	count_runs(false);
	if (fd < 0)
		return;
	sys_fd_own(fd, false);
	if (inode_of(fd) == sock_ino)
		close(fd);
}

/* ---- what is attached here ------------------------------------------------------------------ */

static void report(u64 id, int err, const struct text *why)
{
	struct wire_msg *m = base_alloc(sizeof(*m));

	if (!m)
		return;
	m->op = WIRE_REPORT;
	m->attach = id;
	m->err = err;
	wire_add_string(m, text_str(why));
	agent_say(m, NULL);
	base_free(m);
}

/* `what` has been done: the broker may tell who waits for it. */
static void say_done(u32 op, u64 what)
{
	struct wire_msg *m = base_alloc(sizeof(*m));

	if (!m)
		return;
	m->op = op;
	m->attach = what;
	agent_say(m, NULL);
	base_free(m);
}

static void forget(struct installed *in)
{
	sys_detach(&in->at);
	sys_put(in->prog);
	base_free(in->name);
	base_free(in);
}

static struct installed *find(u64 id)
{
	struct installed *in;

	for (in = all; in && in->id != id; in = in->next)
		;
	return in;
}

static int fill(struct installed *in, const struct wire_msg *m, struct wire_fds *fds, struct text *why)
{
	const char *name = wire_string(m, 0);
	struct sys_bundle b;

	in->id = m->attach;
	if (name && !(in->name = base_strdup(name)))
		return -ENOMEM;
	if (!client_unpack(m, fds, &b))
		return -EPROTO;
	in->prog = sys_bundle_adopt(&b);
	if (!in->prog || in->prog->kind != SYS_PROG) {
		text_puts(why, "the program cannot be had here: FERRY_LOG=info of this process says why");
		return -EINVAL;
	}
	in->what = (struct sys_attach){ .p = sys_obj_prog(in->prog),
					.cookie = m->what.cookie,
					.name = in->name,
					.offset = m->what.offset,
					.ref_ctr_off = m->what.ref_ctr_off,
					.period = m->what.period,
					.id = m->what.id,
					.pid = m->what.pid < 0 ? -1 : getpid(),
					.cpu = m->what.cpu,
					.inherit = m->what.inherit };
	return 0;
}

static void install(const struct wire_msg *m, struct wire_fds *fds)
{
	struct installed *in = base_alloc(sizeof(*in));
	struct text why = { 0 };
	int err = in ? 0 : -ENOMEM;

	if (!in || find(m->attach)) {
		wire_close(fds);
		base_free(in);
		report(m->attach, err, &why);
		return;
	}
	/* Who made itself unreadable for its own user (prctl(2)) is not to be traced by it either. */
	if (code_euid() && prctl(PR_GET_DUMPABLE) != 1) {
		wire_close(fds);
		text_puts(&why, "the process may not be traced (PR_SET_DUMPABLE)");
		err = -EACCES;
	} else if (m->kind >= SYS_ATTACH_KINDS) {
		wire_close(fds);
		err = -EINVAL;
	} else if (client_inherited(m->attach)) {
		wire_close(fds);
		in->id = m->attach;
	} else {
		err = fill(in, m, fds, &why);
		if (!err)
			err = sys_attach_here(in->kind = m->kind, &in->what, &in->at, &why);
	}
	if (err) {
		log_msg(LOG_INFO, "an attachment of another process: %s (%s)", text_str(&why),
			strerror(-err));
		forget(in);
	} else {
		pthread_mutex_lock(&lock);
		in->next = all;
		all = in;
		pthread_mutex_unlock(&lock);
	}
	report(m->attach, err, &why);
	text_free(&why);
}

static void remove_one(u64 id)
{
	struct installed *in, **at;

	pthread_mutex_lock(&lock);
	for (at = &all; *at && (*at)->id != id; at = &(*at)->next)
		;
	in = *at;
	if (in)
		*at = in->next;
	pthread_mutex_unlock(&lock);
	if (in)
		forget(in);
	sys_elems_drop();
}

/* The end of another process, which could not tell of it. */
static void tell_death(const struct wire_msg *m)
{
	struct sys_death d = { .pid = m->what.pid, .ppid = m->what.id, .prio = m->what.cpu, .code = (s32)m->kind,
			       .start = m->what.period };
	const char *comm = wire_string(m, 0);
	struct installed *in = find(m->attach);
	struct sys_obj *prog = NULL;
	u64 cookie = 0;

	snprintf(d.comm, sizeof(d.comm), "%s", comm ? comm : "");
	if (!sys_attach_died)
		return;
	if (in && in->prog)
		sys_attach_died(in->what.p, in->what.cookie, &d);
	else if ((prog = client_prog_of(m->attach, &cookie)))
		sys_attach_died(sys_obj_prog(prog), cookie, &d);
	if (prog)
		sys_put(prog);
}

/* ---- being looked at ------------------------------------------------------------------------ */

static void count_runs(bool on)
{
	if (on != counting)
		sys_stats_count(on);
	counting = on;
}

static int fill_rows(struct look_rows *rows)
{
	struct installed *in;
	int err = sys_look(rows);

	for (in = all; in && !err; in = in->next)
		err = !in->prog ? 0 : sys_look_attached(rows, in->kind, &in->what, &in->at, in->id);
	return err;
}

/* A file that appears as a whole. */
static void be_looked_at(const struct wire_msg *m)
{
	struct look_head head = { .magic = LOOK_MAGIC, .row_size = sizeof(struct look_row), .number = m->attach };
	char path[PATH_MAX], fresh[PATH_MAX];
	const char *dir = sys_session(false);
	struct look_rows rows = { 0 };
	ssize_t size;
	int fd;

	count_runs(m->kind);
	if (!dir || snprintf(path, sizeof(path), "%s/members/%u", dir, m->id) >= (int)sizeof(path) ||
	    snprintf(fresh, sizeof(fresh), "%s/members/%u.new", dir, m->id) >= (int)sizeof(fresh) || fill_rows(&rows))
		goto out;
	fd = open(fresh, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		goto out;
	head.nrows = (u32)rows.n;
	size = (ssize_t)(rows.n * sizeof(*rows.row));
	if (write(fd, &head, sizeof(head)) == sizeof(head) && write(fd, rows.row, (size_t)size) == size)
		rename(fresh, path);
	else
		unlink(fresh);
	close(fd);
out:
	base_free(rows.row);
}

/* ---- listening ------------------------------------------------------------------------------ */

static u64 now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000ull + t.tv_nsec / 1000000;
}

/* A message whose descriptors this process has no room for. */
static int refuse(const struct wire_msg *m)
{
	struct text why = { 0 };

	if (m->op != WIRE_INSTALL)
		return 0;
	text_puts(&why, "the process has no descriptors left (RLIMIT_NOFILE)");
	report(m->attach, -EMFILE, &why);
	text_free(&why);
	return 0;
}

/* One message: 0, 1 when it was READY, -errno at the end of the connection. */
static int listen_once(struct wire_msg *m)
{
	struct wire_fds fds;
	int err = inode_of(sock) == sock_ino ? wire_recv(sock, m, &fds, 0) : -EBADF;

	if (err == -EMFILE)
		return refuse(m);
	if (err)
		return err == -EAGAIN ? 0 : err; /* the patience that wire_connect() set */
	switch (m->op) {
	case WIRE_INSTALL: install(m, &fds); break;
	case WIRE_REMOVE:
		remove_one(m->attach);
		say_done(WIRE_REMOVED, m->attach);
		break;
	case WIRE_LOOK: be_looked_at(m); break;
	case WIRE_DIED: tell_death(m); break;
	case WIRE_SYNC:
		sys_elems_sync(m->dev, m->ino);
		say_done(WIRE_SYNCED, m->attach);
		break;
	case WIRE_READY: err = 1; break;
	}
	wire_close(&fds);
	return err;
}

/* Everything that there is for us at the start, on the thread that starts. */
static void listen_until_ready(struct wire_msg *m)
{
	u64 end = now_ms() + START_ALL_MS;
	struct pollfd p = { .fd = sock, .events = POLLIN };

	int n;

	while (now_ms() < end && (n = poll(&p, 1, START_MS)) && (n > 0 || errno == EINTR))
		if (n > 0 && listen_once(m))
			break;
}

/* A new broker, or the same that was restarted; false when the session has ended. */
static bool come_back(struct wire_msg *m)
{
	const char *dir = sys_session(false);
	int tries, err = -ENOENT;

	for (tries = 0; dir && tries < 50 && !leaving; tries++) {
		err = become_member(m);
		if (!err)
			return true;
		if (err == -EMFILE || err == -ENFILE || err == -ENOMEM) {
			usleep(LACKING_MS * 1000); /* that may pass; nothing is taken away for it */
			tries = 0;
			continue;
		}
		if (err == -EPROTONOSUPPORT || access(dir, F_OK) || broker_start(dir) == -ENOENT)
			break;
		usleep(20000 * (tries < 10 ? tries : 10));
	}
	if (dir && !leaving && !access(dir, F_OK))
		say_alone(dir, err);
	return false;
}

static void *run(void *arg)
{
	struct wire_msg *m = arg;
	int fd = sock;

	sys_inside++;
	base_thread_own(true);
	is_agent = true;
	if (fd < 0 || (!token && take_welcome(fd, m)))
		goto again;
	while (!leaving) {
		while (listen_once(m) >= 0)
			;
		disconnect();
again:
		if (leaving || !come_back(m))
			break;
	}
	while (all)
		remove_one(all->id);
	base_free(m);
	base_thread_own(false);
	return NULL;
}

static bool start_thread(struct wire_msg *m)
{
	pthread_attr_t attr;
	sigset_t none, old;
	clockid_t clock;
	int err;

	sigfillset(&none); /* signals are the host's threads', but for what programs themselves do */
	sigdelset(&none, SIGSEGV);
	sigdelset(&none, SIGBUS);
	sigdelset(&none, SIGTRAP);
	sigdelset(&none, SIGILL);
	sigdelset(&none, SIGFPE);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK);
	pthread_sigmask(SIG_SETMASK, &none, &old);
	err = pthread_create(&thread, &attr, run, m);
	/* A short process ends before the thread comes to say so itself. The clock's number has the thread's in it. */
	if (!err && !pthread_getcpuclockid(thread, &clock))
		base_thread_own_as(~(u32)(clock >> 3), true);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attr);
	if (err) {
		log_msg(LOG_WARN, "no thread for the session: others see nothing of this process");
		base_free(m);
	}
	return !err;
}

/* ---- fork(2) -------------------------------------------------------------------------------- */

static void before_fork(void)
{
	pthread_mutex_lock(&lock);
}

static void after_fork(void)
{
	pthread_mutex_unlock(&lock);
}

/*
 * The child has no agent, and a copy of its parent's connection. It becomes a member at once, while it
 * still has the user and the descriptors that its parent had.
 */
static void in_child(void)
{
	struct wire_msg *m;

	sys_inside++; /* none of the program's system calls */
	if (sock >= 0)
		close(sock);
	sock = -1;
	token = 0;
	pthread_mutex_unlock(&lock);
	started = started && !leaving;
	leaving = false;
	if (started) {
		client_forked();
		pthread_mutex_init(&joining, NULL);
		count_runs(false);
	}
	m = started ? base_alloc(sizeof(*m)) : NULL;
	if (m) {
		sock = say_hello(m);
		sock_ino = inode_of(sock);
		member = getpid();
		started = start_thread(m);
	}
	sys_inside--;
}

static void watch_fork(void)
{
	pthread_atfork(before_fork, after_fork, in_child);
}

void broker_leave(void)
{
	if (is_agent)
		return;
	sys_inside++;
	pthread_mutex_lock(&joining);
	if (started) {
		agent_bye();
		leaving = true;
		pthread_mutex_lock(&lock);
		if (sock >= 0 && inode_of(sock) == sock_ino)
			shutdown(sock, SHUT_RDWR);
		pthread_mutex_unlock(&lock);
		pthread_join(thread, NULL);
		started = leaving = false;
	}
	pthread_mutex_unlock(&joining);
	sys_inside--;
}

bool broker_joined(void)
{
	return agent_token();
}

void broker_join(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	const char *dir = sys_session(false);
	struct wire_msg *m;
	int err;

	if (started || is_agent || !sys_session_joined())
		return;
	sys_inside++;
	pthread_mutex_lock(&joining);
	m = started ? NULL : base_alloc(sizeof(*m));
	if (m) {
		started = true;
		err = become_member(m);
		if (err && err != -EPROTONOSUPPORT) {
			err = broker_start(dir);
			err = err ? err : become_member(m);
		}
		if (!err) {
			listen_until_ready(m);
			pthread_once(&once, watch_fork);
			started = start_thread(m);
		} else {
			base_free(m);
			started = false;
			say_alone(dir, err);
		}
	}
	pthread_mutex_unlock(&joining);
	sys_inside--;
}
