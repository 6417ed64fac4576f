/* SPDX-License-Identifier: MIT */
/* Sessions: the directory that stands for kernel file systems, and pins. */
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
bool sys_session_joined(void); /* it is shared with other processes and has a broker */
int sys_session_make(char dir[SESSION_DIR_MAX]); /* of one command: 0 or -errno */
/* The one that all processes of this user share: made when there is none yet. 0 or -errno. */
int sys_session_user(char dir[SESSION_DIR_MAX]);
void sys_session_enter(const char *dir); /* this process, and those it starts, belong to it */
/* The same for a process that runs already, and this one alone; NULL: none. 0, -EACCES: not private. */
int sys_session_join(const char *dir);
void sys_session_remove(const char *dir);
u32 sys_session_id(int kind); /* a number that no other process of the session gets; 0: no session */

/* Where `path` really is; SESSION_NO: where it says, and `out` is untouched. */
enum session_fs sys_path(const char *path, char out[PATH_MAX]);
bool sys_path_near(const char *folder); /* is it a folder that such a place lies below? */
/* The same for one below /lib/modules/: headers of another kernel for those missing (headers.c). */
bool sys_headers_path(const char *path, char out[PATH_MAX]);
/* Makes the files of tracefs that a look at `rest` (below its root) would show (tracefs.c). */
void sys_tracefs_fill(const char *session, const char *rest);

/* The event of tracefs with this number, "category:name"; false: there is none. */
bool sys_event_name(u32 id, char out[128]);
u32 sys_event_numbered(const char *category, const char *name); /* 0: there is none, but maybe a probe by text */
bool sys_event_format(struct text *t, u32 id); /* what its file "format" has; false: there is none of that number */
/* The head of such a file, and its files, where there are none (tracefs.c). */
void sys_tracefs_head(struct text *t, u32 id, const char *name);
void sys_tracefs_make(const char *session, const char *category, const char *name, u32 id, const struct text *format);

/* ---- probes by text (probe_file.h) ----------------------------------------------------------- */

/* `real`, a path in the session's directory, is uprobe_events or kprobe_events: a descriptor, -errno; else -ENOENT. */
int sys_probe_open(const char *real, int flags);
/* write(2) to what that gave: true, and *ret is the answer. sys_probe_writers is 0 until there is one. */
extern _Atomic u32 sys_probe_writers;
bool sys_probe_is(int fd);
bool sys_probe_write(int fd, const void *buf, size_t n, s64 *ret);

/* ---- pins (pin.c, pin_file.c) --------------------------------------------------------------- */

void sys_pins_sweep(void); /* after names were removed: what they held goes */

/* What a pin's file says, for a broker that was not told: an object's kind, number and memfd. */
struct pin_is {
	u32 kind, id;
	u64 dev, ino;
};
struct sys_obj;
int sys_pin_say(int fd, const struct sys_obj *o); /* and locks the file, until fd is closed; 0 or -errno */
bool sys_pin_says(int fd, struct pin_is *is); /* false: it is no pin's */
/* Each file of the session's bpffs that says so: its folder and name, and the file, to read. */
typedef void sys_pin_fn(int folder, const char *name, int fd, const struct pin_is *is, void *arg);
void sys_pins_each(const char *session, sys_pin_fn *fn, void *arg);

#endif
