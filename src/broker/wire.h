/* SPDX-License-Identifier: MIT */
/*
 * Messages between a member of a session and its broker: one struct over SOCK_SEQPACKET, descriptors
 * beside it. Both sides take what comes as hostile: sizes and counts are checked here, once.
 */
#ifndef FERRY_BROKER_WIRE_H
#define FERRY_BROKER_WIRE_H

#include "base/base.h"

#define WIRE_FDS     200
#define WIRE_ITEMS   100
#define WIRE_TEXT    8192

enum wire_op {
#define WIRE(op) WIRE_##op,
#include "broker/wire.def"
#undef WIRE
	WIRE_OPS
};

/*
 * Members and brokers of another age have other messages: they refuse one another. Raised with anything else that
 * processes of a session share (maps' memory, the files of programs and links).
 */
#define WIRE_AGE 2
#define WIRE_VERSION ((u32)WIRE_OPS << 16 | (u32)offsetof(struct wire_msg, text))
/* Each message begins with it: the upper half of `op` on the wire. Never 0. */
#define WIRE_TAG (((WIRE_OPS * 251u + (u32)offsetof(struct wire_msg, text)) ^ WIRE_AGE << 12) << 16 | 1u << 16)

/* struct sys_attach without pointers: its string is text, its program the first item. */
struct wire_what {
	u64 cookie, offset, ref_ctr_off, period;
	u32 id;
	s32 pid, cpu;
	u32 inherit;
};

/* An object: its memfd is the next descriptor, and, with `event`, its eventfd the one after it. */
struct wire_item {
	u32 kind, id, event;
};

struct wire_msg {
	u32 op;
	s32 err;       /* of an answer: 0 or -errno */
	u32 kind, id;
	u64 token;     /* proves to be a member */
	u64 attach;    /* number of an attachment */
	u64 dev, ino;
	struct wire_what what;
	u32 nitems, ntext; /* used of what follows; only that is sent */
	struct wire_item item[WIRE_ITEMS];
	char text[WIRE_TEXT];
};

struct wire_fds {
	u32 n;
	int fd[WIRE_FDS];
};

/* flags: MSG_DONTWAIT. 0 or -errno (-EAGAIN: no room). Descriptors stay the caller's. */
int wire_send(int sock, const struct wire_msg *m, const struct wire_fds *fds, int flags);
/*
 * 0; -EPROTO for what is no message, -EPROTONOSUPPORT for one of another age, -EPIPE at the end, -EAGAIN and other
 * -errno; no descriptor is open then. -EMFILE: there was no room for its descriptors, all else has come. The descriptors are close-on-exec and the caller's. m->text ends with a NUL that is not counted.
 */
int wire_recv(int sock, struct wire_msg *m, struct wire_fds *fds, int flags);
void wire_close(struct wire_fds *fds);
/* The n-th string of the text (each ends with a NUL), NULL when there is none. */
const char *wire_string(const struct wire_msg *m, u32 n);
/* Adds one; false when it does not fit. */
bool wire_add_string(struct wire_msg *m, const char *s);
/* The socket of the session in `dir`: listening, or connected to a broker of this user. -errno. */
int wire_listen(const char *dir);
int wire_connect(const char *dir);

#endif
