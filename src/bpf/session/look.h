/* SPDX-License-Identifier: MIT */
/*
 * What a process has, as others of its session are shown it (ferry ps, top, link list): rows that it
 * writes to a file of the session's when it is asked. Readers take every byte as hostile.
 */
#ifndef FERRY_LOOK_H
#define FERRY_LOOK_H

#include "bpf/event/attach.h"
#include "bpf/sys.h"

#define LOOK_MAGIC "FERRYLK1"
#define LOOK_MAX   65536 /* rows of one process */

struct look_head {
	char magic[8];
	u32 row_size, nrows;
	u64 number; /* of the request that it answers */
};

enum look_what { LOOK_MAP = 1, LOOK_PROG, LOOK_EVENT };

struct look_row {
	u32 what;
	u32 id;         /* of an event: its link's; 0: none, or the link is another process's */
	u32 type;       /* of map, program; of an event enum sys_attach_kind, or LOOK_NO_KIND */
	u32 link_type;  /* of an event's link */
	u32 prog;       /* of an event: its program's number */
	u32 places;     /* of an event: where it is in this process */
	u64 attachment; /* the same for all processes that an event is in; 0: only here */
	u64 memory;     /* bytes */
	u64 runs, run_ns, missed; /* of the program, in this process; runs are counted while statistics are */
	u64 offset, period, cookie, ref_ctr_off;
	u64 ino, event_ino; /* of the memfds of the link and of the event of perf; 0: none */
	s32 pid, cpu;   /* that an event is limited to; -1: any */
	u32 own;        /* its descriptor, or that of the event's link, is this process's */
	u32 config;     /* of a clock: PERF_COUNT_SW_... */
	s32 fd, event_fd; /* Ferry's own descriptors of the two memfds above; -1 */
	char how[16];   /* jump, trap...; "" when its source does not say */
	char why[112];  /* why not the fastest way */
	char name[32];
	char target[256]; /* of an event: the file, function... */
};
#define LOOK_NO_KIND 255

struct look_rows {
	struct look_row *row;
	size_t n, cap;
};
/* All maps, programs, links and events of this process; 0 or -ENOMEM. */
int sys_look(struct look_rows *rows);
/* One that another process put here. */
int sys_look_attached(struct look_rows *rows, enum sys_attach_kind kind, const struct sys_attach *a,
		      const struct sys_attached *at, u64 attachment);

/* What a source knows of an event; registered for the kinds that know something. */
struct sys_attach_state {
	const char *how, *why; /* NULL: nothing to say */
	u32 places;
	u64 missed; /* hits that the program was not run for */
};
typedef void (*sys_attach_tell_fn)(void *event, struct sys_attach_state *out);
void sys_attach_tells(enum sys_attach_kind kind, sys_attach_tell_fn fn);
void sys_attach_state(enum sys_attach_kind kind, const struct sys_attached *at, struct sys_attach_state *out);
const char *sys_attach_name(u32 kind); /* "a function of a process"; NULL: no such kind */

/* Runs are counted, besides for who asked by BPF_ENABLE_STATS, until it is taken back. */
void sys_stats_count(bool on);
/* Is it? Read at each hit. */
extern _Atomic u32 sys_stats_on;

#endif
