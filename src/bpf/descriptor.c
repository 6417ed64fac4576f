/* SPDX-License-Identifier: MIT */
/*
 * Descriptors of objects. Those given out are duplicates of the object's memfd, and any descriptor with its
 * inode is one, however it was made; an object that has none left, and no other reference, is freed.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bpf/event/link.h"
#include "bpf/object_int.h"
#include "bpf/session/remote.h"
#include "bpf/session/share.h"

/* ---- from a descriptor to its object ------------------------------------------------------------ */

static struct sys_obj *lookup_fd(int fd)
{
	struct sys_obj *o;
	struct stat st;
	bool is_file;

	if (fd < 0 || !sys_objects)
		return NULL;
	sys_inside++; /* none of the program's system calls */
	is_file = !fstat(fd, &st) && S_ISREG(st.st_mode);
	sys_inside--;
	if (!is_file)
		return NULL;
	sys_tables_lock();
	o = hash_get(&sys_by_ino, st.st_ino);
	if (o && o->dev == st.st_dev)
		o->refs++;
	else
		o = NULL;
	sys_tables_unlock();
	return o;
}

/* Others of the session may find what has a descriptor: it is complete then. Not under the lock. */
static void publish(struct sys_obj *o)
{
	const struct sys_share_ops *share = o->published ? NULL : sys_shared();

	if (!share || !sys_is_shared(o->kind))
		return;
	o->published = true;
	share->publish(o);
}

/* One that came from elsewhere: over a socket, by exec. */
static struct sys_obj *arrived(int fd)
{
	struct sys_obj *o = sys_adopt(fd, 0, 0);

	if (!o)
		return NULL;
	sys_tables_lock();
	if (!o->has_fd) {
		o->has_fd = true;
		o->refs++;
	}
	if (o->kind == SYS_MAP && (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR)
		container_of(o, struct sys_map, o)->modes = true;
	sys_tables_unlock();
	publish(o);
	return o;
}

/* The same for a descriptor of the process that is served: through one of ours for the moment. */
static struct sys_obj *remote_get(int fd)
{
	struct sys_remote *r = sys_remote;
	struct sys_obj *o = NULL;
	int here = sys_remote_fd(fd);

	if (here < 0)
		return NULL;
	sys_remote = NULL;
	o = lookup_fd(here);
	if (!o)
		o = sys_adopt(here, 0, 0);
	close(here);
	sys_remote = r;
	return o;
}

/* Open, but as a mere path (O_PATH), which to most system calls is not open at all (open(2)). */
static bool is_path(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	return flags >= 0 && flags & O_PATH;
}

int sys_fd_error(int fd)
{
	int here;
	bool path;

	if (!sys_remote)
		return fcntl(fd, F_GETFD) < 0 || is_path(fd) ? -EBADF : -EINVAL;
	here = sys_remote_fd(fd);
	if (here < 0)
		return -EBADF;
	path = is_path(here);
	close(here);
	return path ? -EBADF : -EINVAL;
}

struct sys_obj *sys_fd_get(int fd, u32 kind)
{
	struct sys_obj *o = sys_remote ? remote_get(fd) : lookup_fd(fd);

	if (!o && !sys_remote)
		o = arrived(fd);
	if (o && ((kind && o->kind != kind) || (!sys_remote && is_path(fd)))) {
		sys_put(o);
		return NULL;
	}
	return o;
}

bool sys_fd_is_ours(int fd)
{
	struct sys_obj *o = lookup_fd(fd);

	if (o)
		sys_put(o);
	return o;
}

struct map *sys_fd_map(int fd)
{
	struct sys_obj *o = sys_fd_get(fd, SYS_MAP);
	struct map *m;

	if (!o)
		return NULL;
	m = map_get(container_of(o, struct sys_map, o)->map);
	sys_put(o);
	return m;
}

struct prog *sys_fd_prog(int fd)
{
	struct sys_obj *o = sys_fd_get(fd, SYS_PROG);

	return o ? container_of(o, struct sys_prog, o)->p : NULL;
}

void sys_prog_put(struct prog *p)
{
	if (p)
		sys_put(p->owner);
}

/* ---- from an object to a descriptor ------------------------------------------------------------- */

int sys_fd_new(struct sys_obj *o, u32 flags)
{
	bool watched;
	char path[40];
	int fd;

	/* As the kernel's (btf_new_fd, bpf_link_prime). */
	if (o->kind == SYS_BTF || o->kind == SYS_LINK)
		flags |= BPF_F_RDONLY;
	/* Together under the lock: a sweep between the two would not know of the descriptor. */
	sys_tables_lock();
	watched = o->kind == SYS_LINK || (o->kind == SYS_EVENT && sys_remote);
	if (flags & (BPF_F_RDONLY | BPF_F_WRONLY) || watched) {
		/* A description of its own, so that the kernel too holds mmap(2) to the mode. */
		snprintf(path, sizeof(path), "/proc/self/fd/%d", o->fd);
		fd = open(path, (flags & BPF_F_RDONLY ? O_RDONLY : flags & BPF_F_WRONLY ? O_WRONLY : O_RDWR) | O_CLOEXEC);
		if (o->kind == SYS_MAP)
			container_of(o, struct sys_map, o)->modes = true;
	} else {
		fd = fcntl(o->fd, F_DUPFD_CLOEXEC, 0);
	}
	if (fd >= 0 && watched)
		sys_link_given(fd);
	if (fd < 0) {
		fd = -errno;
	} else if (sys_remote) {
		int here = fd;

		if (o->kind == SYS_MAP)
			map_user_ringbuf_make_linear(container_of(o, struct sys_map, o)->map);
		fd = sys_remote_give(here, true);
		close(here);
		o->remote = true;
		if (fd >= 0 && watched)
			sys_link_await(o->fd); /* nobody tells when they close it */
	} else {
		sys_fast_forget(fd); /* whatever that number was */
	}
	if (fd >= 0 && o->kind == SYS_MAP)
		container_of(o, struct sys_map, o)->map->no_users = false;
	if (fd >= 0 && !o->has_fd) {
		o->has_fd = true;
		o->refs++;
	}
	sys_tables_unlock();
	if (fd >= 0)
		publish(o);
	return fd;
}

int sys_fd_mode(const struct sys_map *m, int fd, bool write)
{
	int mode;

	if (!m->modes)
		return 0;
	if (sys_remote)
		fd = sys_remote_fd(fd);
	mode = fcntl(fd, F_GETFL) & O_ACCMODE;
	if (sys_remote && fd >= 0)
		close(fd);
	return mode == O_RDWR || mode == (write ? O_WRONLY : O_RDONLY) ? 0 : -EPERM;
}

/* ---- descriptors that are closed ---------------------------------------------------------------- */

bool sys_memory_is_lent(void)
{
	return sys_pid && sys_pid_now() != sys_pid;
}

bool sys_fd_watched(void)
{
	return sys_objects && !sys_inside && sys_pid_now() == sys_pid;
}

struct sys_obj *sys_fd_closing(int fd)
{
	struct sys_obj *o;

	/*
	 * The child of vfork(2) shares this memory but not the descriptors: what it closes is still
	 * open in the parent.
	 */
	if (!sys_fd_watched())
		return NULL;
	o = lookup_fd(fd);
	if (o && !o->has_fd) {
		sys_put(o);
		o = NULL;
	}
	return o;
}

/* Of processes that are served: any that may be looked at can have one. */
static void mark_remote(void)
{
	DIR *proc = opendir("/proc"), *dir;
	struct dirent *p, *e;
	char path[64 + 256];
	struct sys_obj *o;
	struct stat st;

	while (proc && (p = readdir(proc))) {
		if (!isdigit((unsigned char)p->d_name[0]) || atoi(p->d_name) == sys_pid)
			continue;
		snprintf(path, sizeof(path), "/proc/%s/fd", p->d_name);
		dir = opendir(path);
		while (dir && (e = readdir(dir))) {
			if (fstatat(dirfd(dir), e->d_name, &st, 0) || !S_ISREG(st.st_mode))
				continue;
			o = hash_get(&sys_by_ino, st.st_ino);
			if (o && o->dev == st.st_dev)
				o->seen = true;
		}
		if (dir)
			closedir(dir);
	}
	if (proc)
		closedir(proc);
}

/* Marks the objects of which there is a descriptor besides their own: false when that is not known.
 */
static bool mark_seen(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct sys_obj *o;
	struct dirent *e;
	struct stat st;
	size_t pos = 0;
	bool remote = false;
	void *value;

	if (!dir)
		return false;
	while (hash_next(&sys_by_ino, &pos, NULL, &value)) {
		((struct sys_obj *)value)->seen = false;
		remote |= ((struct sys_obj *)value)->remote;
	}
	while ((e = readdir(dir))) {
		int fd = isdigit((unsigned char)e->d_name[0]) ? atoi(e->d_name) : -1;

		if (fd < 0 || fd == dirfd(dir) || fstat(fd, &st) || !S_ISREG(st.st_mode))
			continue;
		o = hash_get(&sys_by_ino, st.st_ino);
		if (o && o->dev == st.st_dev && o->fd != fd)
			o->seen = true;
	}
	closedir(dir);
	if (remote)
		mark_remote();
	return true;
}

/* Of links, and events of who is served, locks tell; their files alone the broker has as well (held.c). */
static bool is_held(struct sys_obj *o)
{
	if (o->remote && (o->kind == SYS_LINK || o->kind == SYS_EVENT))
		return sys_file_held(o->fd);
	return o->seen || (o->kind == SYS_LINK && sys_link_held(container_of(o, struct sys_link, o)));
}

/*
 * All objects are looked at, not only that whose descriptor was closed: libc closes some without
 * anybody noticing.
 */
void sys_fd_sweep(void)
{
	struct sys_obj *gone = NULL, *o;
	size_t pos = 0;
	void *value;

	if (!sys_objects || sys_pid_now() != sys_pid)
		return;
	sys_inside++;
	/* Under the lock no descriptor is given out between the look and the decision. */
	sys_tables_lock();
	if (mark_seen()) {
		while (hash_next(&sys_by_ino, &pos, NULL, &value)) {
			o = value;
			if (!o->has_fd || is_held(o))
				continue;
			o->has_fd = false;
			o->next_gone = gone;
			gone = o;
		}
	}
	sys_tables_unlock();
	while ((o = gone)) {
		gone = o->next_gone;
		if (o->kind == SYS_MAP)
			sys_map_unreachable(container_of(o, struct sys_map, o));
		sys_put(o);
	}
	sys_inside--;
}

void sys_fd_closed(struct sys_obj *o)
{
	if (!o)
		return;
	sys_inside++;
	sys_fd_sweep();
	sys_put(o);
	sys_inside--;
}
