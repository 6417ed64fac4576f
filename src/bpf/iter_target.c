/* SPDX-License-Identifier: MIT */
/* What iterators go through: objects of bpf(2), elements of a map, threads. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpf/iter.h"
#include "helper/helper.h"

#define ADDR(x) ((u64)(uintptr_t)(x))

/* ---- objects: by number, from the cursor on ------------------------------------------------- */

static struct sys_obj *next_obj(struct iter_walk *w, int kind)
{
	u32 id;

	for (;;) {
		id = w->cursor < INT32_MAX ? sys_any_next(kind, (u32)w->cursor) : 0;
		if (!id)
			return NULL;
		w->o = sys_any_get(kind, id);
		if (w->o)
			break;
		w->cursor = id; /* gone meanwhile */
	}
	w->behind = id;
	return w->o;
}

static void put_obj(struct iter_walk *w)
{
	sys_put(w->o);
	w->o = NULL;
}

static void step(struct iter_walk *w)
{
	w->cursor = w->behind;
}

static void show_map(struct shown_map *out, const struct sys_map *sm)
{
	const struct map *m = sm->map;

	*out = (struct shown_map){ .map_type = m->attr.type, .key_size = m->attr.key_size,
				   .value_size = m->attr.value_size, .max_entries = m->attr.max_entries,
				   .map_extra = m->attr.extra, .map_flags = m->attr.flags, .id = sm->o.id,
				   .btf_key_type_id = m->btf_key_id, .btf_value_type_id = m->btf_value_id,
				   .frozen = m->frozen, .refcnt = { sm->o.refs },
				   .usercnt = { sm->o.has_fd } };
	memcpy(out->name, m->attr.name, sizeof(out->name));
}

static void show_prog(struct shown_prog *out, struct shown_prog_aux *aux, const struct sys_prog *sp)
{
	const struct prog *p = sp->p;

	*out = (struct shown_prog){ .pages = 1, .jited = sp->jited, .gpl_compatible = p->gpl,
				    .sleepable = p->flags & BPF_F_SLEEPABLE ? 1 : 0, .type = p->type,
				    .expected_attach_type = p->attach_type, .len = p->insn_cnt, .aux = aux };
	memcpy(out->tag, sp->tag, sizeof(out->tag));
	*aux = (struct shown_prog_aux){ .refcnt = { sp->o.refs }, .used_map_cnt = sp->nmaps,
					.max_ctx_offset = p->max_ctx_off, .id = sp->o.id,
					.func_cnt = p->nfuncs, .attach_btf_id = sp->attach_btf_id,
					.verified_insns = p->verified_insns,
					.attach_func_name = p->args.name, .load_time = sp->o.load_time };
	memcpy(aux->name, p->name, sizeof(aux->name));
}

static int get_map(struct iter_walk *w)
{
	if (!next_obj(w, SYS_MAP))
		return 0;
	show_map(&w->map, container_of(w->o, struct sys_map, o));
	w->args[0] = ADDR(&w->map);
	return 1;
}

static int get_prog(struct iter_walk *w)
{
	if (!next_obj(w, SYS_PROG))
		return 0;
	show_prog(&w->prog, &w->aux, container_of(w->o, struct sys_prog, o));
	w->args[0] = ADDR(&w->prog);
	return 1;
}

static int get_link(struct iter_walk *w)
{
	const struct sys_link *l;

	if (!next_obj(w, SYS_LINK))
		return 0;
	l = container_of(w->o, struct sys_link, o);
	if (l->prog)
		show_prog(&w->prog, &w->aux, l->prog);
	w->link = (struct shown_link){ .refcnt = { l->o.refs }, .id = l->o.id, .type = l->type,
				       .prog = l->prog ? &w->prog : NULL };
	w->args[0] = ADDR(&w->link);
	return 1;
}

/* ---- elements of a map ---------------------------------------------------------------------- */

/*
 * The value itself, which the program may change, unless all processors' are shown, or what no
 * program may write freely: then it is a copy.
 */
static bool shows_copy(const struct map *m)
{
	return map_is_percpu(m->attr.type) || m->fields || m->attr.flags & BPF_F_RDONLY_PROG;
}

static int get_elem(struct iter_walk *w)
{
	struct map *m = w->what->map->map;
	u32 key_room = ALIGN_UP(m->attr.key_size, 8u);
	void *value;

	show_map(&w->map, w->what->map); /* which is there at the end too */
	w->args[0] = ADDR(&w->map);
	if (!w->room)
		w->room = base_alloc(key_room + (size_t)map_user_value_size(m));
	if (!w->room)
		return -ENOMEM;
	w->behind = w->cursor;
	do {
		value = m->ops->next_elem(m, &w->behind, w->room);
		if (!value)
			return 0;
		if (!shows_copy(m))
			break;
		value = w->room + key_room;
	} while (map_lookup_user(m, w->room, value, 0)); /* gone meanwhile */
	w->args[1] = ADDR(w->room);
	w->args[2] = ADDR(value);
	return 1;
}

static void put_nothing(struct iter_walk *w)
{
	(void)w;
}

/* ---- threads of this process ---------------------------------------------------------------- */

/* The smallest thread id above `after`; 0: none. */
static u32 next_thread(u32 after)
{
	DIR *dir = opendir("/proc/self/task");
	u32 best = 0, tid;
	struct dirent *e;

	while (dir && (e = readdir(dir))) {
		tid = isdigit((unsigned char)e->d_name[0]) ? (u32)strtoul(e->d_name, NULL, 10) : 0;
		if (tid > after && (!best || tid < best))
			best = tid;
	}
	if (dir)
		closedir(dir);
	return best;
}

static int get_task(struct iter_walk *w)
{
	const struct iter_what *what = w->what;
	u32 tid;

	if (what->tgid && what->tgid != (u32)getpid())
		return 0;
	for (tid = next_thread((u32)w->cursor); tid && what->tid && tid != what->tid; tid = next_thread(tid))
		;
	if (!tid)
		return 0;
	w->behind = tid;
	if (!w->room)
		w->room = base_alloc(helper_task_room());
	if (!w->room)
		return -ENOMEM;
	w->args[0] = ADDR(helper_task_show(w->room, tid));
	return 1;
}

/* ---- the table ------------------------------------------------------------------------------ */

#define OPS_bpf_map      .get = get_map, .put = put_obj
#define OPS_bpf_prog     .get = get_prog, .put = put_obj
#define OPS_bpf_link     .get = get_link, .put = put_obj
#define OPS_bpf_map_elem .get = get_elem, .put = put_nothing
#define OPS_task         .get = get_task, .put = put_nothing, .sleepable = true

#define KINDS(...) __VA_ARGS__
#define ITER(target, params, kinds, ...)                                                           \
	static const u8 kinds_of_##target[] = { kinds };
#include "btf/iter.def"

static const struct iter_target targets[] = {
#define ITER(target, params, kinds_, ...)                                                          \
	{ .name = #target, .kinds = kinds_of_##target,                                             \
	  .nargs = sizeof(kinds_of_##target) - 1, .step = step, OPS_##target },
#include "btf/iter.def"
};

const struct iter_target *iter_target_named(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(targets); i++)
		if (!strcmp(targets[i].name, name))
			return &targets[i];
	return NULL;
}

/* ---- what a link says ----------------------------------------------------------------------- */

/* bpf_iter_attach_map() */
static int attach_map(struct iter_what *what, const struct prog *p, const union bpf_iter_link_info *info)
{
	const struct map *m;
	int err = 0;

	if (!info->map.map_fd)
		return -EBADF;
	what->map = sys_map_of((int)info->map.map_fd, &err);
	if (!what->map)
		return err;
	m = what->map->map;
	if (!m->ops->next_elem)
		return -EINVAL;
	if (p->max_rdonly > m->attr.key_size || p->max_buffer > map_user_value_size(m))
		return -EACCES; /* the program reads more than there is */
	return 0;
}

/* bpf_iter_attach_task() */
static int attach_task(struct iter_what *what, const union bpf_iter_link_info *info)
{
	int given = !!info->task.tid + !!info->task.pid + !!info->task.pid_fd, err;

	if (given > 1)
		return -EINVAL;
	what->tid = info->task.tid;
	what->tgid = info->task.pid;
	if (!info->task.pid_fd)
		return 0;
	err = sys_pidfd((int)info->task.pid_fd, &what->tgid);
	return err;
}

int iter_attach(struct iter_what *what, const struct prog *p, const union bpf_iter_link_info *info)
{
	if (p->flags & BPF_F_SLEEPABLE && !what->target->sleepable)
		return -EINVAL;
	if (!strcmp(what->target->name, "bpf_map_elem"))
		return attach_map(what, p, info);
	return strcmp(what->target->name, "task") ? 0 : attach_task(what, info);
}
