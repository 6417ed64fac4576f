/* SPDX-License-Identifier: MIT */
/*
 * Objects and events of the other processes of a session, as src/bpf asks for them; src/broker
 * answers. Without it every process is alone.
 */
#ifndef FERRY_SHARE_H
#define FERRY_SHARE_H

#include "bpf/event/attach.h"
#include "bpf/sys.h"

/* An object for another process, and what it needs to adopt it: maps, BTF, a link's program. */
#define SYS_BUNDLE_MAX 90
struct sys_bundle {
	u32 n; /* the first is the object itself */
	struct sys_bundle_item {
		u32 kind, id;
		int fd, event; /* memfd; eventfd of what is waited for, or -1 */
	} item[SYS_BUNDLE_MAX];
};
/* Of an object of this process: descriptors are the objects' own. */
void sys_bundle_of(struct sys_obj *o, struct sys_bundle *b);
/* The object that came as a bundle: referenced, or NULL. Closes the descriptors. */
struct sys_obj *sys_bundle_adopt(struct sys_bundle *b);

/* Of which kinds are objects that others may have? */
static inline bool sys_is_shared(u32 kind)
{
	return kind == SYS_MAP || kind == SYS_PROG || kind == SYS_BTF || kind == SYS_LINK || kind == SYS_PERF;
}

struct look_row;
struct sys_share_ops {
	/* An object of this process may be found by others from now on, until drop. */
	void (*publish)(struct sys_obj *o);
	void (*drop)(u64 dev, u64 ino);
	/* Others' objects: referenced; NULL. `file` is the name's of a pin. */
	int (*pin)(int file, struct sys_obj *o); /* 0 or -errno */
	struct sys_obj *(*pinned)(u64 dev, u64 ino);
	struct sys_obj *(*find)(u64 dev, u64 ino);
	struct sys_obj *(*by_id)(u32 kind, u32 id);
	int (*event)(u64 dev, u64 ino); /* of a ring buffer: the caller's descriptor, or -errno */
	u32 (*next_id)(u32 kind, u32 id); /* the smallest above; 0: none */
	void (*sweep)(void); /* names were removed */
	/*
	 * Elements that are objects (elems.c): this process has the map, until drop; elements of it (ino 0: of any) have
	 * changed, and others look (sys_elems_sync). `wait`: those that run have done so when it returns.
	 */
	void (*have)(u64 dev, u64 ino);
	/* This process tells of its end itself (sched_process_exit): nobody else is to. */
	void (*bye)(void);
	void (*changed)(u64 dev, u64 ino, bool wait);
	/* Puts a program on an event of other processes; as struct sys_attach_ops. */
	int (*attach)(enum sys_attach_kind kind, const struct sys_attach *a, void **event,
		      struct text *why);
	void (*detach)(void *event);
	u64 (*attachment)(void *event); /* its number */
	/*
	 * What a member (pid 0: any) shows of the event, or of the link, whose memfd has this inode; false:
	 * nothing. And runs of a program in all other members, into runs, run_ns, missed (look.h).
	 */
	bool (*row)(s32 pid, u64 ino, struct look_row *out);
	void (*sum)(u32 prog, struct look_row *out);
	void (*count)(bool on); /* all members count runs, until off as often as on */
};
void sys_share(const struct sys_share_ops *ops);
/* NULL: this process is alone. */
const struct sys_share_ops *sys_shared(void);

const struct sys_share_ops *sys_shared_ops(void); /* what is registered */

/* Only in this process; where another member's attachment arrives. */
int sys_attach_here(enum sys_attach_kind kind, const struct sys_attach *a, struct sys_attached *out,
		    struct text *why);

/* ---- for who answers ------------------------------------------------------------------------ */

void sys_hold(struct sys_obj *o);
struct sys_obj *sys_ino_get(u64 dev, u64 ino); /* of this process, by the memfd's inode: with a reference; NULL */
const struct prog *sys_obj_prog(struct sys_obj *o); /* of one of kind SYS_PROG */
int sys_fd_own_from(s32 pid); /* the first of those that a process (0: this) has itself; -1: any number */
int sys_fd_move(int fd);          /* out of the way of small numbers; the old one is closed */
void sys_fd_own(int fd, bool own); /* the host cannot close it */
/*
 * Elements that are objects (programs, perf events, maps) are here what the ids in shared memory say: after another
 * process changed some, of one map or (ino 0) of any. sys_elems_say_all(): all maps that have such are said to the
 * broker, which is a new one. sys_elems_drop(): those of adopted prog
 * arrays go that nothing else holds, of the agent's thread (unheld.c).
 */
void sys_elems_sync(u64 dev, u64 ino);
void sys_elems_say_all(void);
void sys_elems_drop(void);
/* Each object that has descriptors, with a reference for the moment. */
void sys_obj_each(void (*fn)(struct sys_obj *o, void *arg), void *arg);
u64 sys_link_attachment(const struct sys_obj *link); /* that it stands for elsewhere; 0 */
bool sys_link_works(const struct sys_obj *link);     /* does this process carry it out, or is it only another's? */

#endif
