/* SPDX-License-Identifier: MIT */
/* What iterators go through: objects of bpf(2), elements of a map, symbols; processes are in iter_task.c. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/event/iter.h"
#include "helper/shown.h"

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

/* ---- symbols: lines of what stands for /proc/kallsyms -------------------------------------------- */

/* "ADDRESS TYPE NAME" and for a module's "\t[MODULE]"; w->room holds all of them behind one as it is shown. */
static int get_symbol(struct iter_walk *w)
{
	struct shown_symbol *sym;
	char *text, *line;
	u32 size = 0;
	int used = 0;

	if (!w->room) {
		text = sys_kallsyms(&size);
		w->room = text ? base_alloc(sizeof(*sym) + size + 2) : NULL;
		if (w->room)
			memcpy(w->room + sizeof(*sym), text, size);
		base_free(text);
		if (!w->room)
			return -ENOMEM;
	}
	sym = (struct shown_symbol *)w->room;
	line = (char *)(sym + 1) + w->cursor;
	memset(sym, 0, sizeof(*sym));
	if (sscanf(line, "%lx %c %511s%n\t[%55[^]]", &sym->value, &sym->type, sym->name, &used, sym->module_name) < 3)
		return 0;
	if (line[used] != '\t')
		sym->module_name[0] = '\0'; /* that is of the next line */
	sym->show_value = 1;
	sym->pos = (s64)w->cursor;
	w->behind = (u64)(strchrnul(line, '\n') + 1 - (char *)(sym + 1));
	w->args[0] = ADDR(sym);
	return 1;
}

/* ---- the table ------------------------------------------------------------------------------ */

#define OPS_bpf_map      .get = get_map, .put = put_obj
#define OPS_bpf_prog     .get = get_prog, .put = put_obj
#define OPS_bpf_link     .get = get_link, .put = put_obj
#define OPS_bpf_map_elem .get = get_elem, .put = put_nothing
#define OPS_task         .get = iter_task_get, .put = iter_task_put, .end = iter_tasks_end, .sleepable = true, .of_tasks = true
#define OPS_task_file    .get = iter_file_get, .put = iter_task_put, .end = iter_tasks_end, .sleepable = true, .of_tasks = true
#define OPS_task_vma     .get = iter_vma_get, .put = iter_task_put, .end = iter_tasks_end, .sleepable = true, .of_tasks = true
#define OPS_ksym         .get = get_symbol, .put = put_nothing, .sleepable = true

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
	return what->target->of_tasks ? attach_task(what, info) : 0;
}
