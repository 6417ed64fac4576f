/* SPDX-License-Identifier: MIT */
/* Sessions: the directory that stands for kernel file systems, and the keeper of what is pinned. */
#ifndef FERRY_SESSION_H
#define FERRY_SESSION_H

#include <limits.h>

#include "base/base.h"

#define SESSION_DIR_MAX 1024

/* What a path of the host's lies in. */
enum session_fs {
	SESSION_NO,
	SESSION_BPFFS,
	SESSION_TRACEFS,
	SESSION_SYSFS,
	SESSION_PROC,
	SESSION_PLAIN, /* any file system: kernel headers */
};

/*
 * The directory of this process's session; NULL when there is none. `make`: a process that was not
 * started by `ferry exec` gets one of its own, removed at its end.
 */
const char *sys_session(bool make);
bool sys_session_joined(void); /* it is shared with other processes and has a keeper */
int sys_session_make(char dir[SESSION_DIR_MAX]); /* 0 or -errno */
void sys_session_enter(const char *dir); /* this process, and those it starts, belong to it */
/* The same for a process that runs already, and this one alone; NULL: none. 0, -EACCES: not private. */
int sys_session_join(const char *dir);
void sys_session_remove(const char *dir);
u32 sys_session_id(int kind); /* a number that no other process of the session gets; 0: no session */

/* Where `path` really is; SESSION_NO: where it says, and `out` is untouched. */
enum session_fs sys_path(const char *path, char out[PATH_MAX]);
/* The same for one below /lib/modules/: headers of another kernel for those missing (headers.c). */
bool sys_headers_path(const char *path, char out[PATH_MAX]);
/* Makes the files of tracefs that a look at `rest` (below its root) would show (tracefs.c). */
void sys_tracefs_fill(const char *session, const char *rest);

/* The event of tracefs with this number, "category:name"; false: there is none. */
bool sys_event_name(u32 id, char out[128]);

/* ---- pins (pin.c) --------------------------------------------------------------------------- */

void sys_pins_sweep(void); /* after names were removed: what they held goes */

/* ---- the keeper (keeper.c) ------------------------------------------------------------------ */

/*
 * Holds descriptors of pinned objects on behalf of processes that come and go. A message has
 * descriptors with it: of a pin, the name's file first, then the object, then what it refers to.
 */
#define KEEPER_MAX_FDS 200
enum keeper_op { KEEPER_PIN = 1, KEEPER_GET, KEEPER_LIST, KEEPER_FIND, KEEPER_SWEEP };
struct keeper_msg {
	u32 op;
	s32 err;      /* of an answer: 0 or -errno */
	u64 dev, ino; /* GET: the name's file; FIND: the object's memfd */
	u32 index;    /* LIST: which, from 0 */
	u32 kind, id; /* of the object */
	u32 nfds;
};
/*
 * Asks the keeper: fds[0..m->nfds) go along, and come back in `got` (KEEPER_MAX_FDS of them, to be
 * closed by the caller), m is the answer. 0 or -errno.
 */
int sys_keeper_ask(struct keeper_msg *m, const int *fds, int *got);

struct keeper;
int sys_keeper_new(const char *dir, struct keeper **out); /* listens in the session's directory */
/* Serves until `stop_fd` is readable. */
void sys_keeper_run(struct keeper *k, int stop_fd);
void sys_keeper_free(struct keeper *k);

#endif
