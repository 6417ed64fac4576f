/* SPDX-License-Identifier: MIT */
/* Inside the broker's process: what it knows of members, objects, pins and attachments. */
#ifndef FERRY_BROKER_INT_H
#define FERRY_BROKER_INT_H

#include <limits.h>

#include "broker/broker.h"
#include "broker/wire.h"

#define MAX_CONNS   4096
#define MAX_OBJECTS 65536
#define MAX_PINS    4096
#define MAX_ATTACHMENTS 16384
#define MAX_UNHEARD 32 /* installations that a member was sent and has not reported on */

/* An object of some member: descriptors of it. Known by the inode of its memfd. */
struct object {
	u64 dev, ino;
	u32 kind, id;   /* id 0: it is in no list */
	int fd, event;  /* event -1: none */
	u32 refs;       /* of publications, pins, attachments and other objects */
	u32 nneeds;
	struct object **needs; /* referenced: what others need to adopt it */
	u32 at;                /* among all */
};

struct pin {
	int file; /* the name's */
	u64 dev, ino;
	struct object *o;
};

/* A program on an event of other processes. */
struct attachment {
	u64 id;
	u32 kind; /* enum sys_attach_kind */
	struct wire_what what;
	char *name;              /* NULL */
	struct object *prog;     /* referenced */
	struct conn *owner;      /* NULL: it has gone, and its link has not: a pin, another process's */
	struct object *link;     /* borrowed; NULL */
	u32 have, open;          /* members that were, or are to be, told; that have not reported yet */
	s32 err;                 /* what one member said, when it is of one process */
	char why[96];            /* of an error */
	bool over;               /* about to be removed */
	struct attachment *next, **prev;
};

/* An attachment as one member has it. */
/* DROP: it is to be told that it has gone; GOING: it was, and has not said yet that nothing runs any more. */
enum install_state { INSTALL_NEW, INSTALL_SENT, INSTALL_DONE, INSTALL_DROP, INSTALL_GOING };
struct install {
	u64 id;
	struct attachment *a; /* NULL: it is to go */
	u8 state;
};

struct place {
	u64 dev, ino;
};

/*
 * What is told of the end of a process, as it was when last seen. Of those that have left without a word, and maybe
 * are about to end, maybe have another program (execve(2)), the broker has a list.
 */
#define MAX_DEATHS 1024
struct death {
	s32 pid, prio, code;
	int pidfd;
	u32 ppid;
	u64 start; /* ns */
	char comm[16];
};

struct conn {
	int fd;
	s32 pid;
	bool bye; /* a member tells of its end itself */
	struct death life; /* of a member; pidfd is none of its own */
	bool dead, member, full; /* full: waits for room to write */
	/* Of members. */
	int pidfd;
	u64 token;
	char comm[32], *exe;
	bool welcomed, counts; /* counts: was told to count runs */
	/* Elements that are objects (waits.c). */
	struct place *has; /* maps that it adopted */
	size_t nhas, cap_has;
	u64 asked, synced;      /* numbers: of the last change it is to look at, of the last it has looked at */
	bool sync;              /* it is still to be told of `asked`, */
	struct place sync_what; /* which was in this map; ino 0: in any */
	u64 told;              /* the last request to look that it was told of */
	struct object **pubs;
	size_t npubs, cap_pubs;
	u32 weight; /* of what it publishes, in objects */
	struct install *installs;
	size_t ninstalls, cap_installs;
	u32 unheard; /* installations that it was sent less reports that came */
	/* Of one that asked and waits for members (waits.c). */
	u32 waits;          /* what it asked, enum wire_op; 0: nothing */
	u64 waits_for;      /* an attachment's number, or a change's */
	bool returning;     /* until all have come back who may have it */
	u64 since, look_at; /* ms: when it asked, when to look next whether it waits in vain */
	/* Of a member that is waited for. */
	u64 stopped_at; /* ms: when it was looked whether */
	bool stopped;   /* it is */
	bool looks; /* runs are counted for it */
	u64 heard;  /* ms: when it said something last, or came */
};

struct broker {
	char dir[PATH_MAX];
	u64 dev; /* of the directory */
	bool shared; /* the user's, with a guardian: else of one command */
	bool heir;   /* was a guardian: until `grace` there are members that have not come back yet */
	int listener, epoll, trace, lock;
	int guard; /* the guardian's pipe; -1 */
	int spare; /* a descriptor to let go of when there is none left; -1 */
	u64 secret; /* what hashes begin with, so that nobody chooses ids that collide */
	struct object **objects;
	size_t cap_objects;
	u32 nobjects;
	struct hash by_ino, by_id; /* objects */
	u32 nkept, max_kept;       /* descriptors of objects and pins */
	struct pin pins[MAX_PINS];
	u32 npins;
	u64 swept; /* ms: when pins were looked at last */
	struct conn *conns[MAX_CONNS];
	u32 nconns, max_conns, nmembers;
	struct attachment *attachments, **last; /* in the order they came */
	struct hash by_number; /* attachments */
	u32 nattachments;
	u64 idle_since; /* ms; 0: not idle */
	u64 grace;      /* ms: members may still say again what they own */
	u64 lost_at;    /* ms: names that nobody has handed back by then go (lost.c); 0: there are none */
	u64 full;       /* ms: until then nobody is let in; 0 */
	u64 look;       /* requests to look so far */
	u32 nlookers;   /* connections that runs are counted for */
	u64 changes;    /* of elements that are objects, so far */
	u32 settle_at;  /* where to go on looking at those who wait */
	bool settle_again;
	struct death deaths[MAX_DEATHS];
	u32 ndeaths, put_off; /* put_off: how often telling of them was, for those who came meanwhile */
	bool news; /* since the last look at the epoll set somebody has come, or become a member */
	struct wire_msg in, out;
};

u64 broker_now(void);    /* ms, monotonic */
u64 broker_now_us(void);

/* ---- conns.c: connections come and go -------------------------------------------------------- */

void conns_limit(struct broker *b); /* by RLIMIT_NOFILE, which is raised */
void conns_accept(struct broker *b);
void conns_reopen(struct broker *b); /* after `full` */
/* Its descriptors are closed, and no event of them comes any more, whoever has copies. */
void conns_close(struct broker *b, struct conn *c);
int conns_pidfd(const struct conn *c); /* of the process that connected; -1 */

/* ---- deaths.c: ends that others tell of ------------------------------------------------------- */

void deaths_look(struct death *d); /* at what there is of the process now */
void deaths_expect(struct broker *b, const struct conn *c); /* it is gone, with or without a word */
/* It is here again: the connection that says so is what counts, whatever others of its are still to end. */
void deaths_not(struct broker *b, s32 pid);
/* After an event of b->deaths in the broker's epoll set, when all that the dead have said was heard. */
void deaths_happened(struct broker *b);
void deaths_close(struct broker *b);

/* ---- store.c: objects and pins -------------------------------------------------------------- */

/*
 * The objects of a message's items, the first with the others as what it needs: referenced, or NULL
 * with *err. Takes the descriptors from fds[*at].
 */
struct object *store_take(struct broker *b, const struct wire_msg *m, struct wire_fds *fds, u32 at,
			  int *err);
void store_put(struct broker *b, struct object *o);
struct object *store_find(struct broker *b, u64 dev, u64 ino);
struct object *store_by_id(struct broker *b, u32 kind, u32 id);
u32 store_next_id(struct broker *b, u32 kind, u32 id);
/* The answer's items and descriptors (borrowed): the object and its needs, or only itself and its eventfd. */
void store_give(const struct object *o, bool needs, struct wire_msg *m, struct wire_fds *fds);
int store_pin(struct broker *b, const struct wire_msg *m, struct wire_fds *fds);
struct pin *store_pin_of(struct broker *b, u64 dev, u64 ino);
bool store_is_pinned(const struct broker *b, const struct object *o);
/* Pins whose file has no name go: true when some did. `now`: even if that was looked at just before. */
bool store_sweep(struct broker *b, bool now);
u32 store_weight(const struct object *o); /* of a publication, in objects */
u32 store_room(const struct broker *b);    /* for more objects */

/* ---- lost.c: names of pins from before this broker and its guardian ---------------------------- */

void lost_expect(struct broker *b); /* when it begins to serve */
void lost_remove(struct broker *b); /* at b->lost_at */

/* ---- events.c: attachments ------------------------------------------------------------------ */

int events_attach(struct broker *b, struct conn *owner, const struct wire_msg *m, struct wire_fds *fds);
/* 0; 1: there is none, but members may have it of a broker before this one, and are told; -ENOENT: it is another's. */
int events_detach(struct broker *b, struct conn *owner, u64 id);
void events_link(struct broker *b, struct conn *owner, u64 id, struct object *link);
void events_report(struct broker *b, struct conn *c, const struct wire_msg *m);
void events_hello(struct broker *b, struct conn *c, const struct wire_msg *m);
void events_owner_gone(struct broker *b, struct conn *c); /* and what was told to it is not any more */
void events_link_gone(struct broker *b, const struct object *link);
void events_sweep(struct broker *b); /* what has neither owner nor link goes */
/* All members are told of the latest request to look. */
void events_look(struct broker *b);
/* Sends what the member's socket has room for. */
void events_push(struct broker *b, struct conn *c);
/*
 * Is everything installed that can be? *err: what a member said of an attachment to one process. `in_vain`: is this
 * member not to be waited for?
 */
bool events_settled(struct broker *b, u64 id, s32 *err, const char **why,
		    bool (*in_vain)(struct conn *c, void *arg), void *arg);
void events_removed(struct broker *b, struct conn *c, u64 id);
/* Has this member still to take it away? */
bool events_going(const struct conn *c, u64 id);
void events_end_of_grace(struct broker *b);

/* ---- proc.c: what /proc says of a process: false, there is no such one ------------------------ */

bool proc_read(s32 pid, const char *name, char *text, size_t size); /* a file of it, with a NUL */
bool proc_state(s32 pid, char *state, s32 *parent);

/* ---- waits.c: what is answered when members have done their part ----------------------------- */

void waits_have(struct conn *c, const struct wire_msg *m);
void waits_drop(struct conn *c, const struct wire_msg *m);
/* Members other than `by` (NULL: nobody) look again: the change's number, or 0 when nobody has the map. */
u64 waits_changed(struct broker *b, const struct conn *by, u64 dev, u64 ino);
void waits_synced(struct conn *c, u64 number);
/* The connection's answer comes later. `returning`: not before members of a dead broker had time to come back. */
void waits_begin(struct conn *c, u32 op, u64 number, bool returning);
void waits_settle(struct broker *b);  /* answers those that wait no more */
u64 waits_next(const struct broker *b); /* ms: when that is worth while at the latest; ~0 */

#endif
