/* SPDX-License-Identifier: MIT */
/* Inside src/bpf: iterators: their links, what they go through, and those that are being read. */
#ifndef FERRY_BPF_ITER_H
#define FERRY_BPF_ITER_H

#include "bpf/event/link.h"
#include "bpf/event/shown.h"
#include "bpf/sys_int.h"

struct iter_walk;

/* What is gone through: a row of btf/iter.def. */
struct iter_target {
	const char *name;
	const u8 *kinds;  /* of the arguments: enum prog_arg_ctx */
	u32 nargs;        /* behind meta */
	bool sleepable;   /* its programs may be */
	/*
	 * The element at the cursor, or the first behind it: w->args are its addresses, good until `put`.
	 * 1, 0 at the end, -ENOMEM. `step` moves the cursor behind it.
	 */
	int (*get)(struct iter_walk *w);
	void (*put)(struct iter_walk *w);
	void (*step)(struct iter_walk *w);
	void (*end)(struct iter_walk *w); /* frees what the walk has beside w->room; NULL: nothing */
	bool of_tasks;      /* the link may say which */
};

/* What the link was made for. */
struct iter_what {
	const struct iter_target *target;
	struct sys_map *map; /* bpf_map_elem: referenced */
	u32 tid, tgid;       /* of_tasks: of this thread or process only; 0: all */
};

#define ITER_ARGS 4
struct iter_walk {
	const struct iter_what *what;
	u64 cursor, behind; /* opaque to all but the target; `behind`: past the element got last */
	u64 args[ITER_ARGS];
	struct sys_obj *o;  /* held for the element */
	u8 *room;           /* the target's, freed with base_free */
	struct iter_tasks *tasks; /* of iter_task.c */
	union {
		struct shown_map map;
		struct {
			struct shown_link link;
			struct shown_prog prog;
			struct shown_prog_aux aux;
		};
	};
};

/* iter_target.c */
const struct iter_target *iter_target_named(const char *name); /* "bpf_map"; NULL */
/* iter_target.c: may the program go through this, by what its caller's bpf_iter_link_info says? */
int iter_attach(struct iter_what *what, const struct prog *p, const union bpf_iter_link_info *info);

/* iter_task.c: the operations of its targets */
int iter_task_get(struct iter_walk *w);
int iter_file_get(struct iter_walk *w);
int iter_vma_get(struct iter_walk *w);
void iter_task_put(struct iter_walk *w);
void iter_tasks_end(struct iter_walk *w);

/* iter.c */
int iter_what_new(const struct sys_prog *sp, const union bpf_iter_link_info *info, struct iter_what **out);
/* The same as BPF_LINK_CREATE asks for it. */
int iter_what_asked(const struct sys_call *c, const struct sys_prog *sp, struct iter_what **out);
void iter_what_free(struct iter_what *what);
/* BPF_LINK_UPDATE, under the slow lock: `old` NULL is any. Iterators that are open keep their program. */
int iter_link_update(struct sys_link *l, struct sys_prog *sp, const struct sys_prog *old);
int iter_link_info(const struct sys_link *l, const struct bpf_link_info *in, struct bpf_link_info *out);

#endif
