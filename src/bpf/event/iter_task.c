/* SPDX-License-Identifier: MIT */
/*
 * What iterators go through of processes: threads, their descriptors, their areas of memory, as /proc shows them to this
 * user. Which threads there are is looked up once for an iterator; one that has ended meanwhile is left out.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bpf/event/iter.h"
#include "helper/helper.h"
#include "helper/shown.h"

#define ADDR(x) ((u64)(uintptr_t)(x))

struct thread {
	u32 tgid, tid;
};

/* A cursor is which thread and, in its lower half, where in what is gone through of that. */
struct iter_tasks {
	struct thread *threads;
	size_t n, cap;
	size_t shown;    /* 1 + the thread that is in w->room and, in `parts`, gone through; 0: none */
	u32 *fds;        /* its descriptors, in order */
	size_t nfds, cap_fds;
	struct text maps; /* its areas, as text */
	struct helper_shown *part; /* the element itself */
};

/* ---- numbers in /proc ----------------------------------------------------------------------- */

static bool next_number(DIR *dir, u32 *number)
{
	struct dirent *e;

	while (dir && (e = readdir(dir)))
		if (isdigit((unsigned char)e->d_name[0])) {
			*number = (u32)strtoul(e->d_name, NULL, 10);
			return true;
		}
	return false;
}

static int add_thread(struct iter_tasks *t, u32 tgid, u32 tid)
{
	struct thread *grown = base_grow(t->threads, &t->cap, t->n + 1, sizeof(*grown));

	if (!grown)
		return -ENOMEM;
	t->threads = grown;
	grown[t->n++] = (struct thread){ tgid, tid };
	return 0;
}

/* Of a process; `tid` 0: all of them. */
static int add_threads(struct iter_tasks *t, u32 tgid, u32 only)
{
	char path[32];
	DIR *dir;
	u32 tid;
	int err = 0;

	snprintf(path, sizeof(path), "/proc/%u/task", tgid);
	dir = opendir(path);
	while (!err && next_number(dir, &tid))
		if (!only || tid == only)
			err = add_thread(t, tgid, tid);
	if (dir)
		closedir(dir);
	return err;
}

/* proc(5): a thread's directory is there by its number, too. 0: it is not there. */
static u32 process_of(u32 tid)
{
	char path[32], buf[1024], *line;
	int fd;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%u/status", tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);
	if (fd >= 0)
		close(fd);
	buf[n < 0 ? 0 : n] = '\0';
	line = strstr(buf, "\nTgid:");
	return line ? (u32)strtoul(line + 6, NULL, 10) : 0;
}

static int by_number(const void *a, const void *b)
{
	const struct thread *x = a, *y = b;

	return x->tid < y->tid ? -1 : x->tid > y->tid;
}

static int list_threads(struct iter_tasks *t, const struct iter_what *what)
{
	DIR *dir;
	u32 pid;
	int err = 0;

	if (what->tid) {
		pid = process_of(what->tid);
		return pid ? add_threads(t, pid, what->tid) : 0;
	}
	if (what->tgid)
		return add_threads(t, what->tgid, 0);
	dir = opendir("/proc");
	while (!err && next_number(dir, &pid))
		err = add_threads(t, pid, 0);
	if (dir)
		closedir(dir);
	if (t->n)
		qsort(t->threads, t->n, sizeof(t->threads[0]), by_number);
	return err;
}

static int begin(struct iter_walk *w)
{
	if (w->tasks)
		return 0;
	w->tasks = base_alloc(sizeof(*w->tasks));
	if (w->tasks && !w->room)
		w->room = base_alloc(helper_task_room());
	return w->tasks && w->room ? list_threads(w->tasks, w->what) : -ENOMEM;
}

void iter_tasks_end(struct iter_walk *w)
{
	struct iter_tasks *t = w->tasks;

	if (!t)
		return;
	base_free(t->threads);
	base_free(t->fds);
	base_free(t->part);
	text_free(&t->maps);
	base_free(t);
}

/* ---- threads -------------------------------------------------------------------------------- */

int iter_task_get(struct iter_walk *w)
{
	struct iter_tasks *t;
	u64 i;
	int err = begin(w);

	if (err)
		return err;
	t = w->tasks;
	for (i = w->cursor; i < t->n; i++) {
		w->args[0] = ADDR(helper_task_show(w->room, t->threads[i].tgid, t->threads[i].tid));
		if (!w->args[0])
			continue;
		w->behind = i + 1;
		return 1;
	}
	return 0;
}

void iter_task_put(struct iter_walk *w)
{
	base_free(w->tasks->part);
	w->tasks->part = NULL;
}

/* ---- their parts ---------------------------------------------------------------------------- */

/* Threads of a process have its descriptors, unless they said otherwise (unshare(2)), and its memory. */
static bool is_same_as_leader(const struct iter_walk *w, const struct thread *th)
{
	if (w->what->tid || th->tid == th->tgid)
		return false;
	return syscall(SYS_kcmp, th->tgid, th->tid, KCMP_FILES, 0, 0) <= 0;
}

static int by_value(const void *a, const void *b)
{
	u32 x = *(const u32 *)a, y = *(const u32 *)b;

	return x < y ? -1 : x > y;
}

static int list_fds(struct iter_tasks *t, const struct thread *th)
{
	char path[48];
	u32 *grown, fd;
	DIR *dir;
	int err = 0;

	t->nfds = 0;
	snprintf(path, sizeof(path), "/proc/%u/task/%u/fd", th->tgid, th->tid);
	dir = opendir(path);
	while (!err && next_number(dir, &fd)) {
		grown = base_grow(t->fds, &t->cap_fds, t->nfds + 1, sizeof(*grown));
		if (!grown) {
			err = -ENOMEM;
			break;
		}
		t->fds = grown;
		grown[t->nfds++] = fd;
	}
	if (dir)
		closedir(dir);
	if (t->nfds)
		qsort(t->fds, t->nfds, sizeof(t->fds[0]), by_value);
	return err;
}

static int read_maps(struct iter_tasks *t, const struct thread *th)
{
	char path[48], buf[4096];
	ssize_t n;
	int fd;

	text_free(&t->maps);
	snprintf(path, sizeof(path), "/proc/%u/task/%u/maps", th->tgid, th->tid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && (n = read(fd, buf, sizeof(buf))) > 0)
		text_add(&t->maps, buf, (size_t)n);
	if (fd >= 0)
		close(fd);
	return t->maps.oom || t->maps.len > UINT32_MAX ? -ENOMEM : 0;
}

/* The thread itself and a list of its parts, made once. 1; 0: it is left out. */
static int show_thread(struct iter_walk *w, size_t i, int (*list)(struct iter_tasks *t, const struct thread *th))
{
	struct iter_tasks *t = w->tasks;
	const struct thread *th = &t->threads[i];
	int err;

	if (t->shown == i + 1)
		return 1;
	t->shown = 0;
	if (is_same_as_leader(w, th) || !helper_task_show(w->room, th->tgid, th->tid))
		return 0;
	err = list(t, th);
	t->shown = err ? 0 : i + 1;
	return err ? err : 1;
}

/* The descriptor at `part`, or the first behind it: 1, 0. */
static int get_fd(struct iter_walk *w, size_t i, u32 *part)
{
	struct iter_tasks *t = w->tasks;
	size_t k;

	for (k = 0; k < t->nfds; k++) {
		if (t->fds[k] < *part)
			continue;
		t->part = helper_shown_fd(t->threads[i].tgid, t->threads[i].tid, t->fds[k]);
		if (!t->part)
			continue; /* closed meanwhile */
		w->args[1] = t->fds[k];
		w->args[2] = ADDR(&t->part->file);
		*part = t->fds[k] + 1;
		return 1;
	}
	return 0;
}

/* The area that begins so far into the text, or the next: 1, 0, -ENOMEM. */
static int get_area(struct iter_walk *w, size_t i, u32 *part)
{
	struct iter_tasks *t = w->tasks;
	const char *s = text_str(&t->maps), *line, *nl;
	struct helper_area a;

	(void)i;
	while (*part < t->maps.len) {
		line = s + *part;
		nl = memchr(line, '\n', t->maps.len - *part);
		if (!nl)
			break;
		*part = (u32)(nl + 1 - s);
		if (!helper_area_parse(&a, line, nl) || helper_area_is_gate(&a))
			continue;
		t->part = helper_shown_area(&a);
		if (!t->part)
			return -ENOMEM;
		w->args[1] = ADDR(&t->part->area);
		return 1;
	}
	return 0;
}

static int get_part(struct iter_walk *w, int (*list)(struct iter_tasks *, const struct thread *),
		    int (*get)(struct iter_walk *, size_t, u32 *))
{
	size_t i = w->cursor >> 32;
	u32 part = (u32)w->cursor;
	int got = begin(w);

	if (got)
		return got;
	for (; i < w->tasks->n; i++, part = 0) {
		got = show_thread(w, i, list);
		if (got > 0)
			got = get(w, i, &part);
		if (got < 0)
			return got;
		if (!got)
			continue;
		w->args[0] = ADDR(w->room);
		w->behind = (u64)i << 32 | part;
		return 1;
	}
	return 0;
}

int iter_file_get(struct iter_walk *w)
{
	return get_part(w, list_fds, get_fd);
}

int iter_vma_get(struct iter_walk *w)
{
	return get_part(w, read_maps, get_area);
}
