/* SPDX-License-Identifier: MIT */
/* The rows of this process's maps, programs and events, as others of its session are shown them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "bpf/event/link.h"
#include "bpf/session/look.h"
#include "bpf/sys_int.h"
#include "jit/jit.h"

static struct look_row *add(struct look_rows *rows, u32 what, u32 id)
{
	struct look_row *r;

	if (rows->n >= LOOK_MAX)
		return NULL;
	r = base_grow(rows->row, &rows->cap, rows->n + 1, sizeof(*r));
	if (!r)
		return NULL;
	rows->row = r;
	r += rows->n++;
	memset(r, 0, sizeof(*r));
	r->what = what;
	r->id = id;
	r->fd = r->event_fd = -1;
	return r;
}

static void fill_map(struct look_rows *rows, const struct sys_map *sm)
{
	struct look_row *r = add(rows, LOOK_MAP, sm->o.id);

	if (!r)
		return;
	r->type = sm->map->attr.type;
	r->memory = sm->map->mem_size;
	r->own = sm->o.has_fd;
	snprintf(r->name, sizeof(r->name), "%.16s", sm->map->attr.name);
}

static void fill_prog(struct look_rows *rows, const struct sys_prog *sp)
{
	struct look_row *r = add(rows, LOOK_PROG, sp->o.id);
	const struct prog *p = sp->p;
	struct jit_image img;

	if (!r)
		return;
	r->type = p->type;
	r->memory = p->insn_cnt * sizeof(struct bpf_insn);
	if (sp->jited && !jit_image(p, &img))
		r->memory += img.size;
	r->runs = p->run_cnt;
	r->run_ns = p->run_ns;
	r->missed = p->recursion_misses;
	r->own = sp->o.has_fd;
	snprintf(r->name, sizeof(r->name), "%.16s", p->name);
}

static void fill_event(struct look_row *r, enum sys_attach_kind kind, const struct sys_attach *a,
		       const struct sys_attached *at)
{
	struct sys_attach_state state = { 0 };

	r->type = kind;
	r->offset = a->offset;
	r->period = a->period;
	r->cookie = a->cookie;
	r->ref_ctr_off = a->ref_ctr_off;
	r->pid = a->pid;
	r->cpu = a->cpu;
	if (a->name)
		snprintf(r->target, sizeof(r->target), "%s", a->name);
	sys_attach_state(kind, at, &state);
	snprintf(r->how, sizeof(r->how), "%s", !at->ops ? "elsewhere" : state.how ? state.how : "");
	snprintf(r->why, sizeof(r->why), "%s", state.why ? state.why : "");
	r->places = state.places;
	r->missed = state.missed;
}

int sys_look_attached(struct look_rows *rows, enum sys_attach_kind kind, const struct sys_attach *a,
		      const struct sys_attached *at, u64 attachment)
{
	struct look_row *r = add(rows, LOOK_EVENT, 0);

	if (!r)
		return -ENOMEM;
	fill_event(r, kind, a, at);
	r->prog = a->p && a->p->owner ? ((const struct sys_obj *)a->p->owner)->id : 0;
	r->runs = a->p ? a->p->run_cnt : 0;
	r->attachment = attachment;
	return 0;
}

static void fill_shown(const struct sys_event_shown *e, void *arg)
{
	struct look_row *r = arg;

	fill_event(r, e->kind, e->what, e->at);
	r->config = e->config;
}

/* Links that are not on events of perf are of kinds that have a type of link of their own. */
static u32 kind_of(u32 link_type)
{
	static const u8 types[] = {
#define ATTACH(kind, type, name) [SYS_ATTACH_##kind] = type,
#include "bpf/event/attach.def"
#undef ATTACH
	};
	u32 i;

	for (i = 0; i < ARRAY_SIZE(types); i++)
		if (types[i] == link_type && link_type != BPF_LINK_TYPE_PERF_EVENT)
			return i;
	return LOOK_NO_KIND;
}

static void fill_link(struct look_rows *rows, struct sys_link *l)
{
	const struct sys_attach a = { .name = l->name, .pid = -1, .cpu = -1 };
	struct look_row *r = l->foreign ? NULL : add(rows, LOOK_EVENT, l->o.id);

	if (!r)
		return;
	if (!l->event || !sys_event_show(l->event, fill_shown, r))
		fill_event(r, kind_of(l->type), &a, &l->at);
	r->link_type = l->type;
	r->prog = l->prog ? l->prog->o.id : 0;
	r->runs = l->prog ? l->prog->p->run_cnt : 0;
	r->ino = l->o.ino;
	r->fd = l->o.fd;
	r->event_ino = l->event ? l->event->ino : 0;
	r->event_fd = l->event ? l->event->fd : -1;
	r->own = l->o.has_fd;
	r->attachment = sys_link_attachment(&l->o);
}

struct bare {
	struct look_rows *rows;
	struct sys_obj *o;
};

/* A program that was put on an event of perf by ioctl(2). */
static void fill_bare(const struct sys_event_shown *e, void *arg)
{
	struct bare *b = arg;
	struct look_row *r = e->what->p && !e->linked ? add(b->rows, LOOK_EVENT, 0) : NULL;

	if (!r)
		return;
	fill_event(r, e->kind, e->what, e->at);
	r->prog = e->prog;
	r->config = e->config;
	r->event_ino = b->o->ino;
	r->event_fd = b->o->fd;
	r->runs = e->what->p->run_cnt;
	r->own = b->o->has_fd;
	r->attachment = e->attachment;
}

static void fill_one(struct sys_obj *o, void *arg)
{
	switch (o->kind) {
	case SYS_MAP: fill_map(arg, container_of(o, struct sys_map, o)); break;
	case SYS_PROG: fill_prog(arg, container_of(o, struct sys_prog, o)); break;
	case SYS_LINK: fill_link(arg, container_of(o, struct sys_link, o)); break;
	case SYS_EVENT: sys_event_show(o, fill_bare, &(struct bare){ arg, o }); break;
	}
}

int sys_look(struct look_rows *rows)
{
	sys_obj_each_any(fill_one, rows);
	return 0;
}
