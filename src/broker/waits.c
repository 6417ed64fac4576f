/* SPDX-License-Identifier: MIT */
/*
 * Requests that are answered when members have done their part: probes are in place (ATTACH), no program runs any
 * more (DETACH), elements that are objects were looked at (CHANGED). A member that runs is waited for, but not
 * for ever; one that is stopped, by a debugger or SIGSTOP, does its part before it can meet the difference.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "broker/broker_int.h"

#define PLACES     4096 /* of one member */
#define SOON_MS    30   /* until it is looked whether those who are waited for are stopped, */
#define AGAIN_MS   20   /* and looked again */
#define ATTACH_MS  2000 /* most that a loader waits for its targets, */
#define OTHERS_MS  1000 /* and whoever detaches or changes an element */
#define SLICE_US   5000 /* about what looking at all who wait takes at a time */

/* ---- elements that are objects -------------------------------------------------------------- */

static bool has(const struct conn *c, u64 dev, u64 ino)
{
	size_t i;

	for (i = 0; i < c->nhas; i++)
		if (c->has[i].ino == ino && c->has[i].dev == dev)
			return true;
	for (i = 0; i < c->npubs; i++)
		if (c->pubs[i]->ino == ino && c->pubs[i]->dev == dev)
			return true;
	return false;
}

void waits_have(struct conn *c, const struct wire_msg *m)
{
	struct place *grown;

	if (has(c, m->dev, m->ino) || c->nhas >= PLACES)
		return;
	grown = base_grow(c->has, &c->cap_has, c->nhas + 1, sizeof(*grown));
	if (!grown)
		return;
	c->has = grown;
	c->has[c->nhas++] = (struct place){ m->dev, m->ino };
}

void waits_drop(struct conn *c, const struct wire_msg *m)
{
	size_t i;

	for (i = 0; i < c->nhas; i++)
		if (c->has[i].ino == m->ino && c->has[i].dev == m->dev)
			c->has[i--] = c->has[--c->nhas];
}

u64 waits_changed(struct broker *b, const struct conn *by, u64 dev, u64 ino)
{
	u64 number = b->changes + 1;
	bool any = false;
	u32 i;

	for (i = 0; i < b->nconns; i++) {
		struct conn *c = b->conns[i];

		if (!c->member || c->dead || c == by || (ino && !has(c, dev, ino)))
			continue;
		/* Nothing is open: it has done all that came before. */
		if (c->asked == c->synced)
			c->synced = number - 1;
		/* Of several that it has not been told of it looks at all maps. */
		c->sync_what = c->sync ? (struct place){ 0 } : (struct place){ dev, ino };
		c->asked = number;
		c->sync = true;
		events_push(b, c);
		any = true;
	}
	b->changes += any;
	return any ? number : 0;
}

void waits_synced(struct conn *c, u64 number)
{
	if (number > c->synced && number <= c->asked)
		c->synced = number;
}

/* ---- waiting -------------------------------------------------------------------------------- */

/* A process that patches itself has a child that holds its threads, for a moment. */
static bool holds_itself(s32 pid)
{
	char text[2048], *at, state;
	s32 tracer, parent;

	if (!proc_read(pid, "status", text, sizeof(text)))
		return false;
	at = strstr(text, "\nTracerPid:");
	if (!at || sscanf(at + 11, "%d", &tracer) != 1)
		return false;
	return !tracer || (proc_state(tracer, &state, &parent) && parent == pid); /* 0: it goes on by now */
}

/* By a signal or by a debugger; or it is ending. */
static bool is_stopped(s32 pid)
{
	char state;
	s32 parent;

	if (!proc_state(pid, &state, &parent))
		return true;
	return strchr("TZXx", state) || (state == 't' && !holds_itself(pid));
}

/* Is there no sense in waiting for this member, as far as is looked now? */
static bool in_vain(struct conn *c, void *arg)
{
	u64 now = broker_now();

	if (!*(bool *)arg)
		return false;
	if (now - c->stopped_at >= AGAIN_MS) { /* the same for all who wait for it */
		c->stopped = is_stopped(c->pid);
		c->stopped_at = now;
	}
	return c->stopped;
}

static u64 limit(const struct conn *c)
{
	return c->waits == WIRE_ATTACH ? ATTACH_MS : OTHERS_MS;
}

void waits_begin(struct conn *c, u32 op, u64 number, bool returning)
{
	c->returning = returning;
	c->waits = op;
	c->waits_for = number;
	c->since = broker_now();
	c->look_at = c->since + SOON_MS;
}

static bool is_open(const struct conn *waiter, const struct conn *c)
{
	if (!c->member || c->dead)
		return false;
	if (waiter->waits == WIRE_DETACH)
		return events_going(c, waiter->waits_for);
	return c->synced < c->asked && c->synced < waiter->waits_for;
}

static bool settled(struct broker *b, const struct conn *waiter, bool look, s32 *err, const char **why)
{
	u32 i;

	*err = 0;
	*why = "";
	if (waiter->returning && b->grace)
		return false;
	if (waiter->waits == WIRE_ATTACH)
		return events_settled(b, waiter->waits_for, err, why, in_vain, &look);
	for (i = 0; i < b->nconns; i++)
		if (is_open(waiter, b->conns[i]) && !in_vain(b->conns[i], &look))
			return false;
	return true;
}

void waits_settle(struct broker *b)
{
	u64 now = broker_now(), end = broker_now_us() + SLICE_US;
	const char *why;
	struct conn *c;
	bool look;
	s32 err;
	u32 i, n = b->nconns;

	b->settle_again = false;
	for (i = 0; i < n; i++) {
		c = b->conns[(b->settle_at + i) % n];
		if (c->dead || !c->waits)
			continue;
		if (broker_now_us() >= end) { /* the others when those who ask have had their turn */
			b->settle_again = true;
			b->settle_at = (b->settle_at + i) % n;
			break;
		}
		look = now >= c->look_at;
		if (look)
			c->look_at = now + AGAIN_MS;
		if (!settled(b, c, look, &err, &why) && now < c->since + limit(c))
			continue;
		memset(&b->out, 0, offsetof(struct wire_msg, item));
		b->out.op = c->waits;
		b->out.err = err;
		wire_add_string(&b->out, why);
		c->waits = 0;
		/* It asked and does not read: not our problem. */
		if (wire_send(c->fd, &b->out, NULL, MSG_DONTWAIT))
			c->dead = true;
	}
}

u64 waits_next(const struct broker *b)
{
	u64 first = b->settle_again ? 0 : ~0ull;
	u32 i;

	for (i = 0; i < b->nconns; i++)
		if (b->conns[i]->waits && b->conns[i]->look_at < first)
			first = b->conns[i]->look_at;
	return first;
}
