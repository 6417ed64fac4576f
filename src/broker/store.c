/* SPDX-License-Identifier: MIT */
/*
 * What the broker holds for others: objects, told apart by the inodes of their memfds, and pins,
 * which are files. It knows nothing of bpf(2) and looks into none of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "bpf/sys.h"
#include "broker/broker_int.h"

#define SWEEP_MS 3 /* between looks at all pins */

/* ---- objects -------------------------------------------------------------------------------- */

static u64 ino_key(const struct broker *b, u64 dev, u64 ino)
{
	return hash_bytes((const u64[]){ dev, ino }, 2 * sizeof(u64), b->secret);
}

static u64 id_key(const struct broker *b, u32 kind, u32 id)
{
	return ((u64)kind << 32 | id) ^ b->secret;
}

struct object *store_find(struct broker *b, u64 dev, u64 ino)
{
	struct object *o = hash_get(&b->by_ino, ino_key(b, dev, ino));

	return o && o->ino == ino && o->dev == dev ? o : NULL;
}

struct object *store_by_id(struct broker *b, u32 kind, u32 id)
{
	return id && kind < SYS_KINDS ? hash_get(&b->by_id, id_key(b, kind, id)) : NULL;
}

u32 store_next_id(struct broker *b, u32 kind, u32 id)
{
	u32 best = 0, i;

	for (i = 0; i < b->nobjects; i++) {
		const struct object *o = b->objects[i];

		if (o->kind == kind && o->id > id && (!best || o->id < best))
			best = o->id;
	}
	return best;
}

u32 store_weight(const struct object *o)
{
	return 1 + o->nneeds;
}

u32 store_room(const struct broker *b)
{
	u32 fds = (b->max_kept - b->nkept) / 2, objects = MAX_OBJECTS - b->nobjects;

	return fds < objects ? fds : objects;
}

/* Found from now on; false without memory. */
static bool enlist(struct broker *b, struct object *o)
{
	struct object **grown = base_grow(b->objects, &b->cap_objects, b->nobjects + 1, sizeof(*grown));
	u64 key = ino_key(b, o->dev, o->ino);

	if (!grown)
		return false;
	b->objects = grown;
	/* Hashes of inodes of 64 bits that are the same: as good as no memory. */
	if (hash_get(&b->by_ino, key) || hash_put(&b->by_ino, key, o))
		return false;
	if (o->id && hash_put(&b->by_id, id_key(b, o->kind, o->id), o)) {
		hash_del(&b->by_ino, key);
		return false;
	}
	o->at = b->nobjects;
	b->objects[b->nobjects++] = o;
	return true;
}

void store_put(struct broker *b, struct object *o)
{
	u32 i;

	if (!o || --o->refs)
		return;
	b->objects[o->at] = b->objects[--b->nobjects];
	b->objects[o->at]->at = o->at;
	hash_del(&b->by_ino, ino_key(b, o->dev, o->ino));
	if (o->id)
		hash_del(&b->by_id, id_key(b, o->kind, o->id));
	if (o->kind == SYS_LINK)
		events_link_gone(b, o);
	for (i = 0; i < o->nneeds; i++)
		store_put(b, o->needs[i]);
	base_free(o->needs);
	close(o->fd);
	if (o->event >= 0)
		close(o->event);
	b->nkept -= 1 + (o->event >= 0);
	base_free(o);
}

/* One item: referenced, with its descriptors taken; NULL with *err. */
static struct object *take_one(struct broker *b, const struct wire_item *it, struct wire_fds *fds,
			       u32 at, int *err)
{
	struct object *o;
	struct stat st;

	/* A memfd takes seals and has no name: nothing else is kept, or asked anything that may take long. */
	if (fcntl(fds->fd[at], F_GET_SEALS) < 0 || fstat(fds->fd[at], &st) || !S_ISREG(st.st_mode) ||
	    st.st_nlink || it->kind < SYS_MAP || it->kind >= SYS_KINDS)
		return NULL;
	o = store_find(b, st.st_dev, st.st_ino);
	if (o && o->kind != it->kind)
		return NULL;
	*err = -ENOMEM;
	if (!o) {
		if (!store_room(b))
			return NULL;
		o = base_alloc(sizeof(*o));
		if (!o)
			return NULL;
		o->dev = st.st_dev;
		o->ino = st.st_ino;
		o->kind = it->kind;
		/* A number that is somebody else's already is not to be had. */
		o->id = it->id & INT32_MAX;
		if (store_by_id(b, it->kind, o->id))
			o->id = 0;
		if (!enlist(b, o)) {
			base_free(o);
			return NULL;
		}
		o->fd = fds->fd[at];
		o->event = -1;
		fds->fd[at] = -1;
		b->nkept++;
	}
	if (it->event && o->event < 0) {
		o->event = fds->fd[at + 1];
		fds->fd[at + 1] = -1;
		b->nkept++;
	}
	o->refs++;
	*err = 0;
	return o;
}

/* What refers to what: never round in a circle. */
static u32 rank(u32 kind)
{
	switch (kind) {
	case SYS_LINK: return 4;
	case SYS_PROG: return 3;
	case SYS_MAP: return 2;
	case SYS_BTF: return 0;
	default: return 1;
	}
}

struct object *store_take(struct broker *b, const struct wire_msg *m, struct wire_fds *fds, u32 at,
			  int *err)
{
	struct object *got[WIRE_ITEMS] = { 0 }, *o = NULL;
	u32 n = 0, i, need = at;

	*err = -EINVAL;
	for (i = 0; i < m->nitems; i++)
		need += 1 + !!m->item[i].event;
	if (!m->nitems || need != fds->n)
		return NULL;
	for (; n < m->nitems; n++) {
		if (n && rank(m->item[n].kind) >= rank(m->item[0].kind))
			break;
		got[n] = take_one(b, &m->item[n], fds, at, err);
		if (!got[n])
			break;
		at += 1 + !!m->item[n].event;
	}
	if (n == m->nitems) {
		*err = 0;
		o = got[0];
	}
	if (o && n > 1 && !o->needs) {
		o->needs = base_memdup(got + 1, (n - 1) * sizeof(struct object *));
		if (o->needs) {
			o->nneeds = n - 1;
			return o;
		}
		*err = -ENOMEM;
		o = NULL;
	}
	for (i = o ? 1 : 0; i < n; i++)
		store_put(b, got[i]);
	return o;
}

static void give_one(const struct object *o, bool event, struct wire_msg *m, struct wire_fds *fds)
{
	event = event && o->event >= 0;
	if (m->nitems == WIRE_ITEMS || fds->n + 2 > WIRE_FDS)
		return;
	m->item[m->nitems++] = (struct wire_item){ o->kind, o->id, event };
	fds->fd[fds->n++] = o->fd;
	if (event)
		fds->fd[fds->n++] = o->event;
}

void store_give(const struct object *o, bool needs, struct wire_msg *m, struct wire_fds *fds)
{
	u32 i;

	give_one(o, !needs, m, fds);
	for (i = 0; needs && i < o->nneeds; i++)
		give_one(o->needs[i], false, m, fds);
}

/* ---- pins ----------------------------------------------------------------------------------- */

struct pin *store_pin_of(struct broker *b, u64 dev, u64 ino)
{
	u32 i;

	for (i = 0; i < b->npins; i++)
		if (b->pins[i].dev == dev && b->pins[i].ino == ino)
			return &b->pins[i];
	return NULL;
}

bool store_is_pinned(const struct broker *b, const struct object *o)
{
	struct stat st;
	u32 i;

	for (i = 0; i < b->npins; i++)
		if (b->pins[i].o == o && !fstat(b->pins[i].file, &st) && st.st_nlink)
			return true;
	return false;
}

bool store_sweep(struct broker *b, bool now)
{
	u64 began = broker_now();
	u32 i, n = b->npins;
	struct stat st;

	if (!now && began - b->swept < SWEEP_MS)
		return false;
	b->swept = began;
	for (i = 0; i < b->npins;) {
		if (!fstat(b->pins[i].file, &st) && st.st_nlink) {
			i++;
			continue;
		}
		close(b->pins[i].file);
		b->nkept--;
		store_put(b, b->pins[i].o);
		b->pins[i] = b->pins[--b->npins];
	}
	return b->npins != n;
}

/* A name in the session: other file systems may be somebody's who never answers, so they are not asked. */
static bool is_name(const struct broker *b, int fd, u64 *ino)
{
	struct statx st;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, &st))
		return false;
	*ino = st.stx_ino;
	return makedev(st.stx_dev_major, st.stx_dev_minor) == b->dev && S_ISREG(st.stx_mode) && st.stx_nlink;
}

int store_pin(struct broker *b, const struct wire_msg *m, struct wire_fds *fds)
{
	struct pin *there;
	struct object *o;
	struct stat st;
	u64 ino;
	int err;

	if (!fds->n || !is_name(b, fds->fd[0], &ino))
		return -EINVAL;
	there = store_pin_of(b, b->dev, ino);
	if (there && fds->n > 1 && !fstat(fds->fd[1], &st) && there->o->ino == st.st_ino && there->o->dev == st.st_dev)
		return 0; /* asked again: the broker that did it died before it said so */
	if (there)
		return -EEXIST;
	if (b->npins >= MAX_PINS || !store_room(b))
		return -ENOSPC;
	o = store_take(b, m, fds, 1, &err);
	if (!o)
		return err;
	b->pins[b->npins++] = (struct pin){ fds->fd[0], b->dev, ino, o };
	b->nkept++;
	fds->fd[0] = -1;
	return 0;
}
