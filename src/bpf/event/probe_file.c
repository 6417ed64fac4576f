/* SPDX-License-Identifier: MIT */
/* Probes by text: the two files, and what is made of them (probe_file.h). */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bpf/event/probe_file.h"
#include "bpf/session/session.h"
#include "bpf/sys_int.h"

#define MOST_BYTES  (1u << 20) /* of a file */
#define MOST_PROBES 1024
#define IDS         40 /* where in the session's numbers theirs are (sys_session_id()) */

static const char *const file_names[] = { "kprobe_events", "uprobe_events" }; /* by `user` */

/* What was opened for writing in this process; sys_probe_writers is 0 before. */
_Atomic u32 sys_probe_writers;
static struct {
	_Atomic u64 dev, ino;
} written[2];

struct probes {
	struct probe_line *line, *gone; /* gone: deleted by a line, their files may still be there */
	size_t n, cap, ngone, gone_cap;
	off_t size[2]; /* of the files, as they were read */
	bool ends_open[2]; /* without a newline */
};

static void free_probes(struct probes *ps)
{
	size_t i;

	for (i = 0; i < ps->n; i++)
		probe_line_free(&ps->line[i]);
	for (i = 0; i < ps->ngone; i++)
		probe_line_free(&ps->gone[i]);
	base_free(ps->line);
	base_free(ps->gone);
}

static bool file_of(const char *session, bool user, char out[PATH_MAX])
{
	return snprintf(out, PATH_MAX, "%s/tracing/%s", session, file_names[user]) < PATH_MAX;
}

/* Who reads or changes: one at a time, but who holds it for long is not waited for. -errno or a descriptor. */
static int lock_files(const char *session)
{
	char path[PATH_MAX];
	u32 tries;
	int fd;

	if (!file_of(session, true, path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return -errno;
	for (tries = 0; flock(fd, LOCK_EX | LOCK_NB); tries++) {
		if (errno != EWOULDBLOCK || tries == 2000) {
			close(fd);
			return -EBUSY;
		}
		usleep(1000);
	}
	return fd;
}

/* ---- what the lines come to ------------------------------------------------------------------ */

static struct probe_line *find(struct probes *ps, const struct probe_line *p)
{
	size_t i;

	for (i = 0; i < ps->n; i++)
		if (probe_line_same(&ps->line[i], p))
			return &ps->line[i];
	return NULL;
}

static int add(struct probes *ps, struct probe_line *p)
{
	struct probe_line *grown;

	if (find(ps, p) || sys_event_numbered(p->group, p->event))
		return -EEXIST;
	if (ps->n == MOST_PROBES)
		return -ENOMEM;
	grown = base_grow(ps->line, &ps->cap, ps->n + 1, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	ps->line = grown;
	ps->line[ps->n++] = *p;
	memset(p, 0, sizeof(*p)); /* the list's now */
	return 0;
}

/* The i-th probe goes: to those whose files are to go, or, without memory for that, just so. */
static void take_out(struct probes *ps, size_t i)
{
	struct probe_line *grown = base_grow(ps->gone, &ps->gone_cap, ps->ngone + 1, sizeof(*grown));

	if (grown) {
		ps->gone = grown;
		ps->gone[ps->ngone++] = ps->line[i];
	} else {
		probe_line_free(&ps->line[i]);
	}
	memmove(&ps->line[i], &ps->line[i + 1], (--ps->n - i) * sizeof(*ps->line));
}

static void replay_line(struct probes *ps, const char *line, size_t len, bool user)
{
	struct probe_words words = { 0 };
	struct probe_line p;
	int order = probe_line_parse(line, len, user, &p, &words);
	size_t i;

	if (order == PROBE_ADD)
		add(ps, &p); /* what cannot be was refused, or would have been */
	for (i = ps->n; order == PROBE_REMOVE && i-- > 0;)
		if (ps->line[i].user == user && probe_line_matches(&ps->line[i], &p, &words))
			take_out(ps, i);
	probe_line_free(&p);
	base_free(words.buf);
}

/* All of a file, at most MOST_BYTES: -errno or its size; *out is the caller's to free. */
static ssize_t read_file(const char *path, char **out)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	ssize_t n = -1;

	*out = NULL;
	if (fd < 0)
		return -errno;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode)) {
		n = st.st_size > MOST_BYTES ? MOST_BYTES : st.st_size;
		*out = base_alloc((size_t)n + 1);
		n = *out ? pread(fd, *out, (size_t)n, 0) : -ENOMEM;
	}
	close(fd);
	return n < 0 ? -ENOMEM : n;
}

static int load(const char *session, struct probes *ps)
{
	char path[PATH_MAX], *text, *line, *end;
	ssize_t n;
	int user;

	memset(ps, 0, sizeof(*ps));
	for (user = 0; user < 2; user++) {
		if (!file_of(session, user, path))
			return -ENAMETOOLONG;
		n = read_file(path, &text);
		if (n < 0)
			return (int)n;
		ps->size[user] = n;
		ps->ends_open[user] = n && text[n - 1] != '\n';
		for (line = text; line < text + n; line = end + 1) {
			end = memchr(line, '\n', text + n - line);
			if (!end)
				end = text + n;
			replay_line(ps, line, end - line, user);
		}
		base_free(text);
	}
	return 0;
}

/* Has nothing ever been written? Two looks, for those who look at other events. */
static bool none(const char *session)
{
	char path[PATH_MAX];
	struct stat st;
	int user;

	for (user = 0; user < 2; user++)
		if (file_of(session, user, path) && !stat(path, &st) && st.st_size)
			return false;
	return true;
}

/* ---- their files ---------------------------------------------------------------------------- */

static bool event_dir(const char *session, const struct probe_line *p, const char *below, char out[PATH_MAX])
{
	return snprintf(out, PATH_MAX, "%s/tracing/events/%s/%s%s", session, p->group, p->event, below) < PATH_MAX;
}

static void remove_files(const char *session, const struct probe_line *p)
{
	char path[PATH_MAX];

	if (!event_dir(session, p, "", path) || access(path, F_OK))
		return;
	sys_session_remove(path);
	*strrchr(path, '/') = '\0';
	rmdir(path); /* when it was the last of its group */
}

/* Files of events that are no more. */
static void remove_gone(const char *session, struct probes *ps)
{
	size_t i;

	for (i = 0; i < ps->ngone; i++)
		if (!find(ps, &ps->gone[i]))
			remove_files(session, &ps->gone[i]);
}

/* The number that its files say, when they are what they should be; 0. */
static u32 number_of(const char *session, const struct probe_line *p)
{
	char path[PATH_MAX], *text = NULL, *end;
	struct text want = { 0 };
	unsigned long id = 0;
	ssize_t n;

	if (event_dir(session, p, "/id", path) && read_file(path, &text) > 0)
		id = strtoul(text, &end, 10);
	base_free(text);
	if (id < PROBE_FIRST || id > PROBE_LAST)
		return 0;
	sys_tracefs_head(&want, (u32)id, p->event);
	probe_line_fields(p, &want);
	event_dir(session, p, "/format", path);
	n = read_file(path, &text);
	if (n < 0 || want.oom || (size_t)n != want.len || memcmp(text, want.s, want.len))
		id = 0;
	base_free(text);
	text_free(&want);
	return (u32)id;
}

static bool has_number(const char *session, struct probes *ps, u32 id)
{
	size_t i;

	for (i = 0; i < ps->n; i++)
		if (number_of(session, &ps->line[i]) == id)
			return true;
	return false;
}

/* Its number; its files are made when they are not there. 0: they cannot be. */
static u32 make_files(const char *session, struct probes *ps, const struct probe_line *p)
{
	u32 id = number_of(session, p), tries;
	struct text format = { 0 };

	for (tries = 0; !id && tries <= MOST_PROBES; tries++) {
		id = PROBE_FIRST + sys_session_id(IDS) % (PROBE_LAST - PROBE_FIRST + 1);
		if (has_number(session, ps, id))
			id = 0;
		else
			break;
	}
	if (tries || !id || number_of(session, p))
		return id;
	remove_files(session, p);
	sys_tracefs_head(&format, id, p->event);
	probe_line_fields(p, &format);
	if (!format.oom)
		sys_tracefs_make(session, p->group, p->event, id, &format);
	text_free(&format);
	return id;
}

void sys_probe_files(const char *session, struct text *names)
{
	struct probes ps = { 0 };
	int fd;
	size_t i;

	if (none(session))
		return;
	fd = lock_files(session);
	if (fd < 0)
		return;
	if (!load(session, &ps)) {
		remove_gone(session, &ps);
		for (i = 0; i < ps.n; i++) {
			make_files(session, &ps, &ps.line[i]);
			if (names)
				text_printf(names, "%s:%s\n", ps.line[i].group, ps.line[i].event);
		}
	}
	free_probes(&ps);
	close(fd);
}

/* ---- held events ---------------------------------------------------------------------------- */

static int hold(const char *session, const struct probe_line *p)
{
	char path[PATH_MAX];
	int fd;

	if (!event_dir(session, p, "/id", path))
		return -ENAMETOOLONG;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB)) {
		if (fd >= 0)
			close(fd);
		return -ENOENT;
	}
	fd = sys_fd_move(fd);
	sys_fd_own(fd, true);
	return fd;
}

static bool is_held(const char *session, const struct probe_line *p)
{
	char path[PATH_MAX];
	bool held;
	int fd;

	if (!event_dir(session, p, "/id", path))
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	held = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK;
	if (fd >= 0)
		close(fd);
	return held;
}

int sys_probe_take(u32 id, struct probe_line *out)
{
	const char *session = sys_session(false);
	struct probes ps = { 0 };
	int lock, fd = -ENOENT;
	size_t i;

	if (id < PROBE_FIRST || id > PROBE_LAST || !session || none(session))
		return -ENOENT;
	lock = lock_files(session);
	if (lock < 0)
		return lock;
	if (!load(session, &ps))
		for (i = 0; i < ps.n && fd == -ENOENT; i++) {
			if (make_files(session, &ps, &ps.line[i]) != id)
				continue;
			fd = hold(session, &ps.line[i]);
			if (fd >= 0) {
				*out = ps.line[i];
				memset(&ps.line[i], 0, sizeof(*out));
			}
			break;
		}
	free_probes(&ps);
	close(lock);
	return fd;
}

void sys_probe_let_go(int held)
{
	sys_fd_own(held, false);
	close(held);
}

/* ---- open ----------------------------------------------------------------------------------- */

static void list(struct probes *ps, bool user, struct text *out)
{
	size_t i;

	for (i = 0; i < ps->n; i++)
		if (ps->line[i].user == user)
			probe_line_print(&ps->line[i], out);
}

static int open_list(const char *session, bool user)
{
	struct text t = { 0 };
	struct probes ps = { 0 };
	int lock = lock_files(session), fd = lock;

	if (lock >= 0) {
		fd = load(session, &ps);
		list(&ps, user, &t);
		if (!fd)
			fd = t.oom ? -ENOMEM : sys_memfd("ferry-file", NULL, 0, text_str(&t), t.len);
		free_probes(&ps);
		close(lock);
	}
	if (fd >= 0)
		sys_seal(fd);
	text_free(&t);
	return fd;
}

/* O_TRUNC deletes all that nobody holds, or says EBUSY and none. */
static int delete_all(const char *session, struct probes *ps, bool user)
{
	size_t i;

	for (i = 0; i < ps->n; i++)
		if (ps->line[i].user == user && is_held(session, &ps->line[i]))
			return -EBUSY;
	for (i = ps->n; i-- > 0;)
		if (ps->line[i].user == user)
			take_out(ps, i);
	return 0;
}

/* The file is what it comes to: who reads and writes by the same descriptor wants to see that. */
static int tidy(int fd, struct probes *ps, bool user)
{
	struct text t = { 0 };
	int err = 0;

	list(ps, user, &t);
	if (t.oom)
		err = -ENOMEM;
	else if ((size_t)ps->size[user] != t.len && pwrite(fd, text_str(&t), t.len, 0) != (ssize_t)t.len)
		err = -errno;
	else if ((size_t)ps->size[user] != t.len && ftruncate(fd, (off_t)t.len))
		err = -errno;
	text_free(&t);
	return err;
}

static int open_to_write(const char *session, const char *real, bool user, int flags)
{
	int lock = lock_files(session), fd, err;
	struct probes ps = { 0 };
	struct stat st;

	if (lock < 0)
		return lock;
	fd = open(real, (flags & (O_ACCMODE | O_CLOEXEC | O_NONBLOCK)) | O_NOFOLLOW);
	err = fd < 0 ? -errno : load(session, &ps);
	if (!err && flags & O_TRUNC)
		err = delete_all(session, &ps, user);
	if (!err)
		err = tidy(fd, &ps, user);
	if (!err)
		err = fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_APPEND) || fstat(fd, &st) ? -errno : 0;
	remove_gone(session, &ps);
	if (!err) {
		written[user].dev = st.st_dev;
		written[user].ino = st.st_ino;
		sys_probe_writers = 1;
	} else if (fd >= 0) {
		close(fd);
	}
	free_probes(&ps);
	close(lock);
	return err ? err : fd;
}

int sys_probe_open(const char *real, int flags)
{
	const char *name = strrchr(real, '/'), *session;
	char path[PATH_MAX];
	int user, fd;

	if (!name || (strcmp(name + 1, file_names[0]) && strcmp(name + 1, file_names[1])))
		return -ENOENT;
	user = !strcmp(name + 1, file_names[1]);
	session = sys_session(false);
	if (!session || !file_of(session, user, path) || strcmp(path, real) || flags & O_PATH)
		return -ENOENT;
	if (flags & O_ACCMODE)
		return open_to_write(session, real, user, flags);
	fd = open_list(session, user);
	if (fd >= 0 && !(flags & O_CLOEXEC))
		fcntl(fd, F_SETFD, 0);
	return fd;
}

/* ---- write ---------------------------------------------------------------------------------- */

struct writing {
	const char *session;
	bool user;
	int fd;
	struct probes ps;
};

static int append(struct writing *w, struct text *t)
{
	struct text all = { 0 };
	int err = 0;

	if (w->ps.ends_open[w->user])
		text_puts(&all, "\n");
	text_puts(&all, text_str(t));
	if (t->oom || all.oom)
		err = -ENOMEM;
	else if (w->ps.size[w->user] + all.len > MOST_BYTES)
		err = -ENOSPC;
	else if (pwrite(w->fd, all.s, all.len, 0) != (ssize_t)all.len) /* at the end: it is O_APPEND */
		err = -errno;
	w->ps.size[w->user] += err ? 0 : all.len;
	w->ps.ends_open[w->user] &= err != 0;
	text_free(&all);
	return err;
}

/* validate_ref_ctr_offset(): all probes at one place have the same counter. */
static bool other_counter(const struct probes *ps, const struct probe_line *p)
{
	struct stat a, b;
	size_t i;

	for (i = 0; p->user && i < ps->n; i++) {
		const struct probe_line *at = &ps->line[i];

		if (at->user && at->offset == p->offset && at->ref_ctr_off != p->ref_ctr_off && !stat(at->target, &a) &&
		    !stat(p->target, &b) && a.st_ino == b.st_ino && a.st_dev == b.st_dev)
			return true;
	}
	return false;
}

static int order_add(struct writing *w, struct probe_line *p)
{
	struct text t = { 0 };
	int err = other_counter(&w->ps, p) ? -EINVAL :
		  find(&w->ps, p) || sys_event_numbered(p->group, p->event) ? -EEXIST : 0;

	probe_line_print(p, &t);
	if (!err)
		err = append(w, &t);
	if (!err)
		err = add(&w->ps, p);
	text_free(&t);
	return err;
}

static int order_remove(struct writing *w, const struct probe_line *p, const struct probe_words *words)
{
	struct text t = { 0 };
	int err = -ENOENT;
	size_t i;

	for (i = 0; i < w->ps.n && (!err || err == -ENOENT);) {
		struct probe_line *at = &w->ps.line[i];

		if (at->user != w->user || !probe_line_matches(at, p, words)) {
			i++;
			continue;
		}
		err = is_held(w->session, at) ? -EBUSY : 0;
		text_reset(&t);
		text_printf(&t, "-:%s/%s\n", at->group, at->event);
		if (!err)
			err = append(w, &t);
		if (!err)
			take_out(&w->ps, i);
	}
	text_free(&t);
	return err;
}

static int carry_out(struct writing *w, const char *line, size_t len)
{
	struct probe_words words = { 0 };
	struct probe_line p;
	int order = probe_line_parse(line, len, w->user, &p, &words);

	if (order == PROBE_ADD)
		order = order_add(w, &p);
	else if (order == PROBE_REMOVE)
		order = order_remove(w, &p, &words);
	probe_line_free(&p);
	base_free(words.buf);
	return order;
}

/* trace_parse_run_command(): line by line, up to the first that is refused. */
static s64 carry_out_all(struct writing *w, const char *text, size_t n)
{
	const char *at = text, *end;
	int err = 0;

	for (; !err && at < text + n; at = end + 1) {
		end = memchr(at, '\n', text + n - at);
		if (!end)
			end = text + n;
		err = end - at > PROBE_LINE - 2 || memchr(at, '\0', end - at) ? -EINVAL : carry_out(w, at, end - at);
	}
	return err ? err : (s64)n;
}

static bool is_written(int fd, bool *user)
{
	struct stat st;
	int i;

	if (fstat(fd, &st))
		return false;
	for (i = 0; i < 2; i++)
		if (st.st_ino == written[i].ino && st.st_dev == written[i].dev) {
			*user = i;
			return true;
		}
	return false;
}

bool sys_probe_is(int fd)
{
	bool user;

	return is_written(fd, &user);
}

bool sys_probe_write(int fd, const void *buf, size_t n, s64 *ret)
{
	struct writing w = { .session = sys_session(false), .fd = fd };
	void *text = NULL;
	int lock, err;

	if (!w.session || !is_written(fd, &w.user))
		return false;
	sys_inside++;
	err = n > MOST_BYTES ? -EINVAL : sys_dup((u64)(uintptr_t)buf, n, &text);
	lock = err ? err : lock_files(w.session);
	if (lock >= 0) {
		err = load(w.session, &w.ps);
		*ret = err ? err : carry_out_all(&w, text, n);
		remove_gone(w.session, &w.ps);
		free_probes(&w.ps);
		close(lock);
	} else {
		*ret = lock;
	}
	base_free(text);
	sys_inside--;
	return true;
}
