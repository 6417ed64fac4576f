/* SPDX-License-Identifier: MIT */
/*
 * Task-local storage: a thread is the task. A hash table by thread (id and start time, so that a
 * reused id is another task); a thread's values go when it ends, and those of processes that were
 * killed when room is needed. The table's size is the largest number of threads a machine has.
 */
#include <pthread.h>

#include "map/hash_int.h"

#define MAX_TASKS (1u << 16)
#define MAX_VALUE (UINT16_MAX - 64u) /* BPF_LOCAL_STORAGE_MAX_VALUE_SIZE, about */

struct storage {
	struct htab table; /* first: m->priv is a hash table to the hash's operations */
	const struct map_ops *hash;
	struct map *map;
	struct storage *next, **prev; /* of this process */
};

static struct storage *storages;
static pthread_mutex_t storages_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_key_t thread_end;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void forget_thread(void *arg)
{
	u64 self = map_self();
	struct storage *s;

	(void)arg;
	pthread_mutex_lock(&storages_lock);
	for (s = storages; s; s = s->next)
		s->hash->remove(s->map, &self);
	pthread_mutex_unlock(&storages_lock);
}

static void before_fork(void)
{
	base_forking++;
	pthread_mutex_lock(&storages_lock);
}

static void after_fork(void)
{
	pthread_mutex_unlock(&storages_lock);
	base_fork_over();
}

static void init_once(void)
{
	pthread_key_create(&thread_end, forget_thread);
	pthread_atfork(before_fork, after_fork, after_fork);
}

static struct map_attr within(const struct map_attr *a)
{
	struct map_attr in = *a;

	in.type = BPF_MAP_TYPE_HASH;
	in.key_size = 8;
	in.max_entries = MAX_TASKS;
	return in;
}

static int storage_check(const struct map_attr *a, size_t *bytes)
{
	struct map_attr in = within(a);

	if (a->flags & ~(BPF_F_NO_PREALLOC | BPF_F_CLONE) || !(a->flags & BPF_F_NO_PREALLOC))
		return map_refuse(-EINVAL, "map_flags must be BPF_F_NO_PREALLOC");
	if (a->max_entries || a->key_size != 4 || !a->value_size)
		return map_refuse(-EINVAL, "max_entries must be 0, key_size 4, value_size above 0");
	if (a->value_size > MAX_VALUE)
		return map_refuse(-E2BIG, "value_size must be below 64 KiB");
	*bytes = hash_size(&in);
	return 0;
}

static int storage_init(struct map *m)
{
	struct map_attr in = within(&m->attr);
	struct storage *s = base_alloc(sizeof(*s));

	if (!s)
		return -ENOMEM;
	pthread_once(&once, init_once);
	hash_setup(&s->table, &in, m->mem, map_head(m)->seed);
	if (!m->attached)
		hash_pool_init(&s->table);
	s->hash = hash_ops_for(&in);
	s->map = m;
	m->priv = s;
	pthread_mutex_lock(&storages_lock);
	s->next = storages;
	s->prev = &storages;
	if (storages)
		storages->prev = &s->next;
	storages = s;
	pthread_mutex_unlock(&storages_lock);
	return 0;
}

static void storage_fini(struct map *m)
{
	struct storage *s = m->priv;

	pthread_mutex_lock(&storages_lock);
	*s->prev = s->next;
	if (s->next)
		s->next->prev = s->prev;
	pthread_mutex_unlock(&storages_lock);
	base_free(s);
}

/* Values of threads that ended without telling go. */
static void bury(struct map *m)
{
	struct storage *s = m->priv;
	u64 who, next;
	int err = s->hash->next_key(m, NULL, &who);

	while (!err) {
		err = s->hash->next_key(m, &who, &next);
		if (map_is_dead(who))
			s->hash->remove(m, &who);
		who = next;
	}
}

void *map_task_lookup(struct map *m, u32 tid)
{
	struct storage *s = m->priv;
	u64 who = map_thread(tid);

	return who ? s->hash->lookup(m, &who) : NULL;
}

int map_task_update(struct map *m, u32 tid, const void *value, u64 flags)
{
	struct storage *s = m->priv;
	u64 who = map_thread(tid);
	int err;

	if (!who)
		return -ENOENT;
	if (who == map_self()) /* a child of fork(2) or another thread will not do it for us */
		pthread_setspecific(thread_end, s);
	err = s->hash->update(m, &who, value, flags);
	if (err == -E2BIG) {
		bury(m);
		err = s->hash->update(m, &who, value, flags);
	}
	return err == -E2BIG ? -ENOMEM : err;
}

int map_task_delete(struct map *m, u32 tid)
{
	struct storage *s = m->priv;
	u64 who = map_thread(tid);

	return who ? s->hash->remove(m, &who) : -ENOENT;
}

static int storage_next_key(struct map *m, const void *key, void *next)
{
	(void)m, (void)key, (void)next;
	return -ENOTSUPP;
}

/* Keys of bpf(2) are descriptors of processes: src/bpf turns them into threads. */
static int storage_read(struct map *m, const void *key, void *value, u64 flags)
{
	const void *v = map_task_lookup(m, map_index(key));

	(void)flags;
	if (!v)
		return -ENOENT;
	map_load(value, v, m->attr.value_size);
	return 0;
}

static int storage_write(struct map *m, const void *key, const void *value, u64 flags)
{
	return map_task_update(m, map_index(key), value, flags);
}

static int storage_remove(struct map *m, const void *key)
{
	return map_task_delete(m, map_index(key));
}

const struct map_ops map_task_storage_ops = {
	.name = "task_storage",
	.check = storage_check,
	.init = storage_init,
	.fini = storage_fini,
	.lookup = map_no_lookup,
	.update = map_no_update,
	.remove = storage_remove,
	.next_key = storage_next_key,
	.read = storage_read,
	.write = storage_write,
};
