/* SPDX-License-Identifier: MIT */
/*
 * Sharing between the processes of a session: the broker, which holds what they publish and hands it
 * out, and the member's side. src/bpf reaches it through its table of operations (bpf/share.h).
 */
#ifndef FERRY_BROKER_H
#define FERRY_BROKER_H

#include "base/base.h"

/* ---- the broker's process ------------------------------------------------------------------- */

struct broker;

/*
 * A broker for the session in `dir`. `shared`: one for all of the user's processes; -EEXIST when there is
 * one. Else one for a single command, which is served by this process.
 */
int broker_new(const char *dir, bool shared, struct broker **out);
/* Serves until stop_fd (or -1) is readable; a shared one also ends when nobody needs it any more. */
void broker_run(struct broker *b, int stop_fd);
void broker_free(struct broker *b);

/* ---- its members ---------------------------------------------------------------------------- */

/*
 * Sees to it that the session in `dir` has a broker, by starting `ferry broker` if need be. 0, or -errno
 * when there is none after some seconds.
 */
int broker_start(const char *dir);

/*
 * The user's session: its directory (of SESSION_DIR_MAX bytes), with a broker. This process is the ferry
 * command, and the one that will be started when the broker is gone. 0 or -errno.
 */
int broker_session(char *dir);

/*
 * This process becomes a member of its session, if it has one: what is attached to it is in place when
 * this returns (but not after a bounded time), later things are a thread's. Again: does nothing.
 */
void broker_join(void);
bool broker_joined(void);
/* It leaves: what others attached here is gone when this returns, and so is the thread. */
void broker_leave(void);

#endif
