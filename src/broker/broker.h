/* SPDX-License-Identifier: MIT */
/*
 * Sharing between the processes of a session: the broker, which holds what they publish and hands it
 * out, and the member's side. src/bpf reaches it through its table of operations (bpf/session/share.h).
 */
#ifndef FERRY_BROKER_H
#define FERRY_BROKER_H

#include "base/base.h"
#include "bpf/session/look.h"

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
/* Why one of the functions here gave `err` for the session in `dir`, and what to do. */
void broker_explain(const char *dir, int err, struct text *why);

/*
 * This process becomes a member of its session, if it has one: what is attached to it is in place when
 * this returns (but not after a bounded time), later things are a thread's. Again: does nothing.
 */
void broker_join(void);
bool broker_joined(void); /* is it one, at this moment? */
/*
 * It is none any more: what others attached to it has been taken away, and the thread has ended, when
 * this returns. Its own objects stay, unknown to others.
 */
void broker_leave(void);

/* ---- looking at all of them (look.c) -------------------------------------------------------- */

struct broker_member {
	s32 pid;
	bool answered; /* its rows are of now, and not of an earlier time or missing */
	char comm[32], *exe;
	struct look_rows rows; /* strings end, numbers are whatever it said */
};
struct broker_view {
	struct broker_member *member;
	u32 n;
	size_t cap;
};
/* A connection to the broker of the session in `dir`: close(2). No broker is started: -ECONNREFUSED, -ENOENT. */
int broker_look_begin(const char *dir);
/*
 * What the members have, waiting up to timeout_ms for those that do not say it. `count`: and they count
 * runs for as long as the connection lives. 0 or -errno.
 */
int broker_look(int sock, const char *dir, bool count, u32 timeout_ms, struct broker_view *out);
void broker_view_free(struct broker_view *v);

#endif
