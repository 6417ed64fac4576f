/* SPDX-License-Identifier: MIT */
/* Inside src/bpf: links, and events of perf_event_open(2) that run programs. */
#ifndef FERRY_LINK_H
#define FERRY_LINK_H

#include "bpf/event/attach.h"
#include "bpf/event/multi.h"
#include "bpf/sys_int.h"

struct sys_link {
	struct sys_obj o;
	u32 type;               /* enum bpf_link_type */
	u32 attach_type;        /* enum bpf_attach_type */
	struct sys_prog *prog;  /* referenced; NULL: a plug-in table's */
	struct sys_map *ops;    /* referenced: the plug-in table's map; NULL */
	struct sys_attached at; /* of those that are not on an event of perf */
	struct sys_obj *event;  /* referenced: the event of perf it is on; NULL */
	char *name;             /* raw tracepoint's; NULL */
	struct iter_what *iter; /* an iterator's (iter.c); NULL */
	struct sys_multi *multi; /* of one on many functions (multi.c); NULL */
	bool foreign;           /* another process's, to be told of */
	bool awaited;           /* a thread waits until no other process has a descriptor (held.c) */
};

/*
 * A link's memfd, with which it can be adopted (adopt.c), as its program and map can. That of an iterator
 * is as good as its maker's; others only keep alive what the maker attached in other processes.
 */
#define SYS_LINK_MAGIC "FERRYLNK"
struct link_file {
	char magic[8];
	u32 type, attach_type, id, tid, tgid, unused;
	struct prog_file_ref prog, map;
	char name[128]; /* raw tracepoint's */
};

void sys_link_free(struct sys_obj *o);
void sys_link_given(int fd);            /* a new description of the link's file goes to the host */
bool sys_file_held(int fd);             /* has anybody a description of this file with the lock? */
bool sys_link_await(int link);          /* its file: when nobody else has a descriptor any more, a sweep. False: no thread for it */
bool sys_link_held(struct sys_link *l); /* has another process a descriptor of it? Looked for again when it is closed */
/* The link whose file, of `size` bytes, says `f`, with its number or another: 0 and referenced, or -errno. */
int sys_link_from(int fd, const struct link_file *f, size_t size, struct sys_obj *prog, struct sys_obj *map,
		  struct sys_obj **out);
/* struct bpf_link_info of a link on an event of perf, of which older headers know nothing. */
struct sys_perf_info {
	u32 type, id, prog_id, pad;
	u32 event, pad_event; /* enum bpf_perf_event_type */
	union {
		struct {
			u64 name;
			u32 name_len, offset;
			union {
				struct {
					u64 cookie, ref_ctr_off;
				} uprobe;
				struct {
					u64 addr, missed, cookie;
				} kprobe;
			};
		} probe;
		struct {
			u64 name;
			u32 name_len, pad;
			u64 cookie;
		} tracepoint;
		struct {
			u64 config;
			u32 type, pad;
			u64 cookie;
		} clock;
	};
};
union sys_link_info {
	struct bpf_link_info any;
	struct sys_perf_info perf;
	struct sys_multi_info multi;
};
int sys_link_info(struct sys_link *l, union sys_link_info *in, union sys_link_info *out);
int sys_perf_link_info(struct sys_link *l, const struct sys_perf_info *in, struct sys_perf_info *out);
const char *sys_link_type_name(u32 type); /* as fdinfo names it */

/* The program type of an attach type and what it goes on; BPF_PROG_TYPE_UNSPEC. */
u32 sys_attach_prog_type(u32 attach_type, enum sys_attach_kind *kind);
bool sys_attach_type_fits(const struct prog *p, u32 attach_type);

/* ---- events (event.c) ----------------------------------------------------------------------- */

void sys_event_free(struct sys_obj *o);
/*
 * Puts the link's program on the event, which becomes the link's: 0, -EEXIST (it has one), -EINVAL
 * (of another type), or why it cannot be attached. sys_event_unlink() takes it off again.
 */
int sys_event_link(struct sys_obj *event, struct sys_link *l, u64 cookie);
/* What is known of one, while it stays so; false when it is being changed. */
struct sys_event_shown {
	enum sys_attach_kind kind;
	const struct sys_attach *what;
	const struct sys_attached *at;
	u32 prog;       /* its number; 0 */
	u32 config;     /* of a clock, PERF_COUNT_SW_... */
	u64 attachment; /* in other processes; 0 */
	bool linked;    /* the program is a link's */
};
bool sys_event_show(struct sys_obj *event, void (*fn)(const struct sys_event_shown *e, void *arg), void *arg);
void *sys_event_shared(struct sys_obj *event); /* its attachment in other processes; NULL */
void sys_event_unlink(struct sys_obj *event, struct sys_link *l);

void sys_clock_init(void); /* software clocks register as a source (clock.c) */
void sys_clock_forked(void);
/*
 * A clock that is to be attached: fills `id` and `offset`, by which other processes of the session find
 * what they share with this one; until it is closed. 0, -EMFILE, -ENOMEM.
 */
int sys_clock_open(struct sys_attach *a);
void sys_clock_close(struct sys_attach *a);

#endif
