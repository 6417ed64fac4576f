/* SPDX-License-Identifier: MIT */
/*
 * Objects, their ids and descriptors. An object owns a memfd; the descriptors given out are
 * duplicates of it, and any descriptor with its inode is one, however it was made.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "bpf/iter.h"
#include "bpf/link.h"
#include "bpf/remote.h"
#include "bpf/session.h"
#include "bpf/run_int.h"
#include "bpf/sys_int.h"
#include "code/code.h"
#include "helper/helper.h"

_Thread_local int sys_inside __attribute__((tls_model("initial-exec")));
_Thread_local int sys_inside_fork __attribute__((tls_model("initial-exec")));
_Atomic u32 sys_objects;
u64 sys_visitor;

/* Held for look-ups only: never while an object is made or freed. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t slow = PTHREAD_MUTEX_INITIALIZER;
static struct hash by_ino;           /* inode -> object */
static struct hash by_id[SYS_KINDS]; /* id -> object */
static struct hash own_fds;          /* descriptor -> anything */
static _Atomic int first_own = INT32_MAX; /* no descriptor below is in it */
static u32 last_id[SYS_KINDS];
static pid_t our_pid;

/* None of the program's system calls, as events have it. */
static pid_t this_pid(void)
{
	return (pid_t)code_syscall(SYS_getpid, 0, 0, 0, 0, 0);
}

/*
 * Whoever holds a lock counts as inside: a signal handler that interrupts it and closes a
 * descriptor goes straight to libc instead of waiting for itself.
 */
static void lock_tables(void)
{
	sys_inside++;
	pthread_mutex_lock(&lock);
}

static void unlock_tables(void)
{
	pthread_mutex_unlock(&lock);
	sys_inside--;
}

void sys_slow_lock(void)
{
	sys_inside++;
	pthread_mutex_lock(&slow);
}

void sys_slow_unlock(void)
{
	pthread_mutex_unlock(&slow);
	sys_inside--;
}

static void before_fork(void)
{
	base_forking++;
	sys_slow_lock();
	lock_tables();
	sys_inside_fork = sys_inside;
}

static void after_fork(void)
{
	sys_inside_fork = 0;
	unlock_tables();
	sys_slow_unlock();
	base_forking--;
}

static void in_child(void)
{
	our_pid = this_pid();
	sys_run_forked();
	sys_clock_forked();
	after_fork();
}

static void prog_ref(struct prog *p, bool hold)
{
	if (p->owner && hold)
		sys_hold(p->owner);
	else if (p->owner)
		sys_put(p->owner);
}

static void run_enter(void)
{
	sys_run_enter();
}

static void init(void)
{
	our_pid = this_pid();
	pthread_atfork(before_fork, after_fork, in_child);
	map_drop_obj = sys_map_drop;
	map_objs_placed = sys_elems_placed;
	helper_prog_ref = prog_ref;
	helper_prog_enter = run_enter;
	helper_prog_callback = sys_run_callback;
	sys_run_init();
	sys_trace_init();
	sys_clock_init();
}

static void init_once(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, init);
}

/* ---- descriptors ---------------------------------------------------------------------------- */

static int own_fd(int fd, void *value)
{
	int err = hash_put(&own_fds, fd, value);

	if (!err && fd < first_own)
		first_own = fd;
	return err;
}

void sys_fd_own(int fd, bool own)
{
	lock_tables();
	if (own)
		own_fd(fd, &own_fds); /* without memory it is merely unprotected */
	else
		hash_del(&own_fds, fd);
	unlock_tables();
}

bool sys_fd_any_internal(void)
{
	return first_own != INT32_MAX && !sys_inside;
}

bool sys_fd_internal(int fd)
{
	bool own;

	if (fd < first_own)
		return false;
	lock_tables();
	own = hash_get(&own_fds, fd);
	unlock_tables();
	return own;
}

int sys_fd_own_from(s32 pid)
{
	struct rlimit rl;

	if (prlimit(pid, RLIMIT_NOFILE, NULL, &rl) || rl.rlim_cur <= 64)
		return -1;
	return rl.rlim_cur > 2048 ? 1024 : (int)rl.rlim_cur / 2;
}

int sys_fd_move(int fd)
{
	int from = sys_fd_own_from(0), high = -1;

	/* Small numbers are the host's: select(2) wants them, and people count them. */
	if (from > 0)
		high = fcntl(fd, F_DUPFD_CLOEXEC, from);
	if (high < 0)
		return fd;
	close(fd);
	return high;
}

int sys_memfd(const char *name, const void *head, size_t head_size, const void *data, size_t size)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING), err;
	const char *parts[] = { head, data };
	size_t sizes[] = { head_size, size }, i;

	if (fd < 0)
		return -errno;
	for (i = 0; i < 2; i++) {
		while (sizes[i]) {
			ssize_t n = write(fd, parts[i], sizes[i]);

			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0) {
				err = n ? -errno : -EIO;
				close(fd);
				return err;
			}
			parts[i] += n;
			sizes[i] -= n;
		}
	}
	lseek(fd, 0, SEEK_SET);
	return fd;
}

void sys_seal(int fd)
{
	fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
}

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
	lock_tables();
	o = hash_get(&by_ino, st.st_ino);
	if (o && o->dev == st.st_dev)
		o->refs++;
	else
		o = NULL;
	unlock_tables();
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
	lock_tables();
	if (!o->has_fd) {
		o->has_fd = true;
		o->refs++;
	}
	if (o->kind == SYS_MAP && (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR)
		container_of(o, struct sys_map, o)->modes = true;
	unlock_tables();
	publish(o);
	return o;
}

struct sys_obj *sys_ino_get(u64 dev, u64 ino)
{
	struct sys_obj *o;

	lock_tables();
	o = hash_get(&by_ino, ino);
	if (o && o->dev == dev)
		o->refs++;
	else
		o = NULL;
	unlock_tables();
	return o;
}

u32 sys_obj_needs(const struct sys_obj *o, struct sys_obj **needs, u32 max)
{
	const struct sys_prog *sp;
	const struct sys_link *l;
	u32 n = 0, i;

	if (o->kind == SYS_LINK && max > 1) {
		l = container_of(o, struct sys_link, o);
		if (!l->prog)
			return 0; /* its functions are this process's */
		needs[n++] = &l->prog->o;
		if (l->iter && l->iter->map)
			needs[n++] = &l->iter->map->o;
		return n + sys_obj_needs(&l->prog->o, needs + n, max - n);
	}
	if (o->kind == SYS_MAP && container_of(o, struct sys_map, o)->btf && max)
		needs[n++] = &container_of(o, struct sys_map, o)->btf->o;
	if (o->kind != SYS_PROG)
		return n;
	sp = container_of(o, struct sys_prog, o);
	if (sp->btf && n < max)
		needs[n++] = &sp->btf->o;
	for (i = 0; i < sp->nmaps && n < max; i++)
		needs[n++] = &sp->maps[i]->o;
	return n;
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

int sys_fd_new(struct sys_obj *o, u32 flags)
{
	bool watched;
	char path[40];
	int fd;

	/* As the kernel's (btf_new_fd, bpf_link_prime). */
	if (o->kind == SYS_BTF || o->kind == SYS_LINK)
		flags |= BPF_F_RDONLY;
	/* Together under the lock: a sweep between the two would not know of the descriptor. */
	lock_tables();
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
	unlock_tables();
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

bool sys_memory_is_lent(void)
{
	return our_pid && this_pid() != our_pid;
}

bool sys_fd_watched(void)
{
	return sys_objects && !sys_inside && this_pid() == our_pid;
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
		if (!isdigit((unsigned char)p->d_name[0]) || atoi(p->d_name) == our_pid)
			continue;
		snprintf(path, sizeof(path), "/proc/%s/fd", p->d_name);
		dir = opendir(path);
		while (dir && (e = readdir(dir))) {
			if (fstatat(dirfd(dir), e->d_name, &st, 0) || !S_ISREG(st.st_mode))
				continue;
			o = hash_get(&by_ino, st.st_ino);
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
	while (hash_next(&by_ino, &pos, NULL, &value)) {
		((struct sys_obj *)value)->seen = false;
		remote |= ((struct sys_obj *)value)->remote;
	}
	while ((e = readdir(dir))) {
		int fd = isdigit((unsigned char)e->d_name[0]) ? atoi(e->d_name) : -1;

		if (fd < 0 || fd == dirfd(dir) || fstat(fd, &st) || !S_ISREG(st.st_mode))
			continue;
		o = hash_get(&by_ino, st.st_ino);
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

	if (!sys_objects || this_pid() != our_pid)
		return;
	sys_inside++;
	/* Under the lock no descriptor is given out between the look and the decision. */
	lock_tables();
	if (mark_seen()) {
		while (hash_next(&by_ino, &pos, NULL, &value)) {
			o = value;
			if (!o->has_fd || is_held(o))
				continue;
			o->has_fd = false;
			o->next_gone = gone;
			gone = o;
		}
	}
	unlock_tables();
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

unsigned int sys_fd_next_internal(unsigned int fd)
{
	unsigned int best = ~0u;
	size_t pos = 0;
	u64 key;

	lock_tables();
	while (hash_next(&own_fds, &pos, &key, NULL))
		if (key >= fd && key < best)
			best = key;
	unlock_tables();
	return best;
}

/* ---- objects and ids ------------------------------------------------------------------------ */

/* Only where others see them: in a process of its own numbers are given without gaps. */
u32 sys_obj_number(int kind)
{
	return sys_session_joined() ? sys_session_id(kind) : 0;
}

int sys_obj_add(struct sys_obj *o, int kind, int fd)
{
	struct timespec ts;
	struct stat st;
	int err;

	bool in_session = sys_session_joined();
	int tries;

	init_once();
	if (fstat(fd, &st))
		return -errno;
	clock_gettime(CLOCK_BOOTTIME, &ts);
	o->kind = kind;
	o->fd = fd;
	o->dev = st.st_dev;
	o->ino = st.st_ino;
	o->load_time = ts.tv_sec * 1000000000ull + ts.tv_nsec;
	o->uid = code_uid();
	o->refs = 1;
	lock_tables();
	if (hash_get(&by_ino, o->ino)) {
		unlock_tables();
		return -EEXIST;
	}
	if (hash_get(&by_id[kind], o->id))
		o->id = 0;
	/* The session's numbers may be unreadable, or others write there what is taken: not for ever then. */
	for (tries = in_session ? 8 : 0; !o->id || hash_get(&by_id[kind], o->id); tries -= tries > 0) {
		if (tries)
			o->id = sys_session_id(kind);
		else
			o->id = last_id[kind] = last_id[kind] < INT32_MAX ? last_id[kind] + 1 : 1;
	}
	err = hash_put(&by_ino, o->ino, o);
	if (!err)
		err = hash_put(&by_id[kind], o->id, o);
	if (!err)
		err = own_fd(fd, o);
	if (err) {
		if (hash_get(&by_ino, o->ino) == o)
			hash_del(&by_ino, o->ino);
		hash_del(&by_id[kind], o->id);
		o->id = 0;
	} else {
		sys_objects++;
	}
	unlock_tables();
	return err;
}

void sys_hold(struct sys_obj *o)
{
	o->refs++;
}

static void forget(struct sys_obj *o)
{
	hash_del(&by_ino, o->ino);
	hash_del(&by_id[o->kind], o->id);
	hash_del(&own_fds, o->fd);
	sys_objects--;
}

void sys_obj_free(struct sys_obj *o)
{
	static void (*const free_obj[SYS_KINDS])(struct sys_obj * o) = {
		[SYS_MAP] = sys_map_free,
		[SYS_PROG] = sys_prog_free,
		[SYS_BTF] = sys_btf_free,
		[SYS_STATS] = sys_stats_free,
		[SYS_PERF] = sys_perf_free,
		[SYS_LINK] = sys_link_free,
		[SYS_EVENT] = sys_event_free,
		[SYS_ITER] = sys_iter_free,
	};

	sys_inside++;
	free_obj[o->kind](o);
	sys_inside--;
}

void sys_put(struct sys_obj *o)
{
	u32 refs;
	bool gone;

	if (!o)
		return;
	for (refs = o->refs; refs > 1;)
		if (atomic_compare_exchange_weak(&o->refs, &refs, refs - 1))
			return;
	/* The last one under the lock: nobody can find it and take a reference meanwhile. */
	lock_tables();
	gone = --o->refs == 0;
	if (gone)
		forget(o);
	unlock_tables();
	if (gone && (o->published || o->announced) && sys_shared())
		sys_shared()->drop(o->dev, o->ino);
	if (gone)
		sys_obj_free(o);
}

struct sys_obj *sys_id_get(int kind, u32 id)
{
	struct sys_obj *o;

	lock_tables();
	o = hash_get(&by_id[kind], id);
	if (o)
		o->refs++;
	unlock_tables();
	return o;
}

static void each(bool any, void (*fn)(struct sys_obj *o, void *arg), void *arg)
{
	struct sys_obj **all = NULL, **grown;
	size_t n = 0, cap = 0, pos = 0, i;
	void *value;

	lock_tables();
	while (hash_next(&by_ino, &pos, NULL, &value)) {
		struct sys_obj *o = value;

		grown = any || o->has_fd || o->published ? base_grow(all, &cap, n + 1, sizeof(o)) : NULL;
		if (!grown)
			continue;
		all = grown;
		all[n++] = o;
		o->refs++;
	}
	unlock_tables();
	for (i = 0; i < n; i++) {
		fn(all[i], arg);
		sys_put(all[i]);
	}
	base_free(all);
}

void sys_obj_each(void (*fn)(struct sys_obj *o, void *arg), void *arg)
{
	each(false, fn, arg);
}

void sys_obj_each_any(void (*fn)(struct sys_obj *o, void *arg), void *arg)
{
	each(true, fn, arg);
}

u32 sys_id_next(int kind, u32 id)
{
	u32 best = 0;
	size_t pos = 0;
	u64 key;

	lock_tables();
	while (hash_next(&by_id[kind], &pos, &key, NULL))
		if (key > id && (!best || key < best))
			best = key;
	unlock_tables();
	return best;
}

/* Names of objects are letters, digits, '_' and '.', NUL-terminated (bpf_obj_name_cpy). */
int sys_name_copy(char dst[BPF_OBJ_NAME_LEN], const char src[BPF_OBJ_NAME_LEN])
{
	u32 n;

	memset(dst, 0, BPF_OBJ_NAME_LEN);
	for (n = 0; n < BPF_OBJ_NAME_LEN && src[n]; n++) {
		if (!isalnum((unsigned char)src[n]) && src[n] != '_' && src[n] != '.')
			return -EINVAL;
		dst[n] = src[n];
	}
	return n < BPF_OBJ_NAME_LEN ? (int)n : -EINVAL;
}
