/* SPDX-License-Identifier: MIT */
/* Objects and their ids. An object owns a memfd, which descriptors are duplicates of (descriptor.c). */
#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "bpf/event/iter.h"
#include "bpf/event/link.h"
#include "bpf/object_int.h"
#include "bpf/run/run_int.h"
#include "bpf/session/session.h"
#include "code/code.h"
#include "helper/helper.h"

_Thread_local int sys_inside __attribute__((tls_model("initial-exec")));
_Thread_local int sys_inside_fork __attribute__((tls_model("initial-exec")));
_Atomic u32 sys_objects;
u64 sys_visitor;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t slow = PTHREAD_MUTEX_INITIALIZER;
struct hash sys_by_ino;
static struct hash by_id[SYS_KINDS]; /* id -> object */
static u32 last_id[SYS_KINDS];
pid_t sys_pid;

/*
 * Whoever holds a lock counts as inside: a signal handler that interrupts it and closes a
 * descriptor goes straight to libc instead of waiting for itself.
 */
void sys_tables_lock(void)
{
	sys_inside++;
	pthread_mutex_lock(&lock);
}

void sys_tables_unlock(void)
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
	sys_tables_lock();
	sys_inside_fork = sys_inside;
}

static void after_fork(void)
{
	sys_inside_fork = 0;
	sys_tables_unlock();
	sys_slow_unlock();
	base_forking--;
}

static void in_child(void)
{
	sys_pid = (pid_t)code_memory_pid(); /* before any child of vfork(2) asks */
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
	sys_pid = sys_pid_now();
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
	sys_tables_lock();
	if (hash_get(&sys_by_ino, o->ino)) {
		sys_tables_unlock();
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
	err = hash_put(&sys_by_ino, o->ino, o);
	if (!err)
		err = hash_put(&by_id[kind], o->id, o);
	if (!err)
		err = sys_fd_protect(fd);
	if (err) {
		if (hash_get(&sys_by_ino, o->ino) == o)
			hash_del(&sys_by_ino, o->ino);
		hash_del(&by_id[kind], o->id);
		o->id = 0;
	} else {
		sys_objects++;
	}
	sys_tables_unlock();
	return err;
}

void sys_hold(struct sys_obj *o)
{
	o->refs++;
}

static void forget(struct sys_obj *o)
{
	hash_del(&sys_by_ino, o->ino);
	hash_del(&by_id[o->kind], o->id);
	sys_fd_unprotect(o->fd);
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
	sys_tables_lock();
	gone = --o->refs == 0;
	if (gone)
		forget(o);
	sys_tables_unlock();
	if (gone && (o->published || o->announced) && sys_shared())
		sys_shared()->drop(o->dev, o->ino);
	if (gone)
		sys_obj_free(o);
}

struct sys_obj *sys_ino_get(u64 dev, u64 ino)
{
	struct sys_obj *o;

	sys_tables_lock();
	o = hash_get(&sys_by_ino, ino);
	if (o && o->dev == dev)
		o->refs++;
	else
		o = NULL;
	sys_tables_unlock();
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

struct sys_obj *sys_id_get(int kind, u32 id)
{
	struct sys_obj *o;

	sys_tables_lock();
	o = hash_get(&by_id[kind], id);
	if (o)
		o->refs++;
	sys_tables_unlock();
	return o;
}

static void each(bool any, void (*fn)(struct sys_obj *o, void *arg), void *arg)
{
	struct sys_obj **all = NULL, **grown;
	size_t n = 0, cap = 0, pos = 0, i;
	void *value;

	sys_tables_lock();
	while (hash_next(&sys_by_ino, &pos, NULL, &value)) {
		struct sys_obj *o = value;

		grown = any || o->has_fd || o->published ? base_grow(all, &cap, n + 1, sizeof(o)) : NULL;
		if (!grown)
			continue;
		all = grown;
		all[n++] = o;
		o->refs++;
	}
	sys_tables_unlock();
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

	sys_tables_lock();
	while (hash_next(&by_id[kind], &pos, &key, NULL))
		if (key > id && (!best || key < best))
			best = key;
	sys_tables_unlock();
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
