/* SPDX-License-Identifier: MIT */
/*
 * What the broker holds for others: objects, told apart by the inodes of their memfds, and pins,
 * which are files. It knows nothing of bpf(2) and looks into none of them.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bpf/sys.h"
#include "broker/broker_int.h"

/* ---- objects -------------------------------------------------------------------------------- */

struct object *store_find(struct broker *b, u64 dev, u64 ino)
{
	struct object *o;

	for (o = b->objects; o && (o->ino != ino || o->dev != dev); o = o->next)
		;
	return o;
}

struct object *store_by_id(struct broker *b, u32 kind, u32 id)
{
	struct object *o;

	for (o = b->objects; o && (o->id != id || o->kind != kind); o = o->next)
		;
	return id ? o : NULL;
}

u32 store_next_id(struct broker *b, u32 kind, u32 id)
{
	struct object *o;
	u32 best = 0;

	for (o = b->objects; o; o = o->next)
		if (o->kind == kind && o->id > id && (!best || o->id < best))
			best = o->id;
	return best;
}

void store_put(struct broker *b, struct object *o)
{
	struct object **at;
	u32 i;

	if (!o || --o->refs)
		return;
	for (at = &b->objects; *at != o; at = &(*at)->next)
		;
	*at = o->next;
	b->nobjects--;
	if (o->kind == SYS_LINK)
		events_link_gone(b, o);
	for (i = 0; i < o->nneeds; i++)
		store_put(b, o->needs[i]);
	base_free(o->needs);
	close(o->fd);
	if (o->event >= 0)
		close(o->event);
	base_free(o);
}

/* One item: referenced, with its descriptors taken; NULL with *err. */
static struct object *take_one(struct broker *b, const struct wire_item *it, struct wire_fds *fds,
			       u32 at, int *err)
{
	struct object *o;
	struct stat st;

	/* A memfd has no name and takes seals: nothing else is kept. */
	*err = -EINVAL;
	if (fstat(fds->fd[at], &st) || !S_ISREG(st.st_mode) || st.st_nlink ||
	    fcntl(fds->fd[at], F_GET_SEALS) < 0 || it->kind < SYS_MAP || it->kind >= SYS_KINDS)
		return NULL;
	o = store_find(b, st.st_dev, st.st_ino);
	if (o && o->kind != it->kind)
		return NULL;
	*err = -ENOMEM;
	if (!o) {
		if (b->nobjects >= MAX_OBJECTS)
			return NULL;
		o = base_alloc(sizeof(*o));
		if (!o)
			return NULL;
		o->dev = st.st_dev;
		o->ino = st.st_ino;
		o->kind = it->kind;
		/* A number that is somebody else's already is not to be had. */
		o->id = store_by_id(b, it->kind, it->id) ? 0 : it->id & INT32_MAX;
		o->fd = fds->fd[at];
		o->event = -1;
		fds->fd[at] = -1;
		o->next = b->objects;
		b->objects = o;
		b->nobjects++;
	}
	if (it->event && o->event < 0) {
		o->event = fds->fd[at + 1];
		fds->fd[at + 1] = -1;
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
	struct stat st;
	u32 i;

	for (i = 0; i < b->npins; i++)
		if (!fstat(b->pins[i].file, &st) && st.st_dev == dev && st.st_ino == ino)
			return &b->pins[i];
	return NULL;
}

bool store_sweep(struct broker *b)
{
	struct stat st;
	u32 i, n = b->npins;

	for (i = 0; i < b->npins;) {
		if (!fstat(b->pins[i].file, &st) && st.st_nlink) {
			i++;
			continue;
		}
		close(b->pins[i].file);
		store_put(b, b->pins[i].o);
		b->pins[i] = b->pins[--b->npins];
	}
	return b->npins != n;
}

int store_pin(struct broker *b, const struct wire_msg *m, struct wire_fds *fds)
{
	struct object *o;
	struct stat st;
	int err;

	if (!fds->n || fstat(fds->fd[0], &st) || !S_ISREG(st.st_mode) || !st.st_nlink)
		return -EINVAL;
	if (store_pin_of(b, st.st_dev, st.st_ino))
		return -EEXIST;
	if (b->npins >= MAX_PINS)
		return -ENOSPC;
	o = store_take(b, m, fds, 1, &err);
	if (!o)
		return err;
	b->pins[b->npins++] = (struct pin){ fds->fd[0], o };
	fds->fd[0] = -1;
	return 0;
}
