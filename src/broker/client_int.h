/* SPDX-License-Identifier: MIT */
/* Inside a member: asking the broker, and the agent that listens to it. */
#ifndef FERRY_CLIENT_INT_H
#define FERRY_CLIENT_INT_H

#include "bpf/session/share.h"
#include "broker/broker.h"
#include "broker/wire.h"

/*
 * Asks the broker of the session: m is the answer after 0, with its descriptors in `got`. Starts one if
 * there is none. Any thread may ask.
 */
int client_ask(struct wire_msg *m, const struct wire_fds *fds, struct wire_fds *got);
void client_pack(struct wire_msg *m, struct wire_fds *fds, const struct sys_bundle *b);
/* Takes the descriptors; false when they are not as many as the items say. */
bool client_unpack(const struct wire_msg *m, struct wire_fds *fds, struct sys_bundle *b);

/* This process put a program on an event of others: said again to each new broker. */
struct client_event {
	u64 id;
	enum sys_attach_kind kind;
	struct wire_what what;
	char *name;
	struct sys_obj *prog; /* referenced */
	s32 pid;              /* whose it is: a child of fork(2) has only a copy */
	struct client_event *next;
};
int client_announce(struct client_event *e, bool wait, struct text *why);
void client_announce_all(void); /* without waiting */
void client_restore_pins(void); /* to a broker that knows of none: those whose objects this process has */
void client_forked(void);

/* ---- view.c: what other members show -------------------------------------------------------- */

bool client_row(s32 pid, u64 ino, struct look_row *out);
void client_sum(u32 prog, struct look_row *out);
void client_count(bool on);
void client_count_again(void); /* to a new broker */

/* ---- agent.c -------------------------------------------------------------------------------- */

/* A message without answer; lost when there is no broker: the next one hears everything again. */
void agent_say(const struct wire_msg *m, const struct wire_fds *fds);
bool client_inherited(u64 id); /* is the attachment here already, as the parent's by whom this process was made? */
void agent_bye(void);
/* The program and cookie of an attachment of this process's own; referenced, NULL: it is none. */
struct sys_obj *client_prog_of(u64 id, u64 *cookie);
bool agent_is_self(void); /* is it this thread? It waits for no other process's agent, which may wait for it */
u64 agent_token(void); /* of this process as a member; 0: it is none */
/* Until the token is another one than `old`: false when about a second has passed, or nobody would get one. */
bool agent_wait_token(u64 old);
void agent_publish(struct sys_obj *o);

#endif
