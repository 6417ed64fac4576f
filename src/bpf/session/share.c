/* SPDX-License-Identifier: MIT */
/* What src/broker registered, and objects packed for, and from, other processes. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bpf/event/link.h"
#include "bpf/session/session.h"
#include "bpf/sys_int.h"

static const struct sys_share_ops *_Atomic registered;

void sys_share(const struct sys_share_ops *ops)
{
	registered = ops;
}

const struct sys_share_ops *sys_shared_ops(void)
{
	return registered;
}

const struct sys_share_ops *sys_shared(void)
{
	return registered && sys_session_joined() ? registered : NULL;
}

static void add_item(struct sys_bundle *b, struct sys_obj *o)
{
	int event = -1;

	if (o->kind == SYS_MAP || o->kind == SYS_PERF) {
		event = sys_event_of(o);
		if (event >= 0)
			sys_fd_own(event, true);
	}
	b->item[b->n++] = (struct sys_bundle_item){ o->kind, o->id, o->fd, event < 0 ? -1 : event };
}

void sys_bundle_of(struct sys_obj *o, struct sys_bundle *b)
{
	struct sys_obj *needs[SYS_BUNDLE_MAX - 1];
	u32 n = sys_obj_needs(o, needs, ARRAY_SIZE(needs)), i;

	b->n = 0;
	add_item(b, o);
	for (i = 0; i < n; i++)
		add_item(b, needs[i]);
}

/* What others refer to comes before them. */
struct sys_obj *sys_bundle_adopt(struct sys_bundle *b)
{
	static const u8 order[] = { SYS_BTF, SYS_MAP, SYS_PROG };
	struct sys_obj *needs[SYS_BUNDLE_MAX], *o = NULL;
	u32 n = 0, i, k;

	for (k = 0; k < ARRAY_SIZE(order); k++)
		for (i = 1; i < b->n; i++)
			if (b->item[i].kind == order[k])
				needs[n++] = sys_adopt(b->item[i].fd, b->item[i].kind, b->item[i].id);
	if (b->n)
		o = sys_adopt(b->item[0].fd, b->item[0].kind, b->item[0].id);
	while (n)
		sys_put(needs[--n]);
	for (i = 0; i < b->n; i++) {
		close(b->item[i].fd);
		if (b->item[i].event >= 0)
			close(b->item[i].event);
	}
	return o;
}

const struct prog *sys_obj_prog(struct sys_obj *o)
{
	return container_of(o, struct sys_prog, o)->p;
}

bool sys_link_works(const struct sys_obj *o)
{
	const struct sys_link *l = container_of(o, struct sys_link, o);

	return o->kind == SYS_LINK && (!l->foreign || l->iter);
}

u64 sys_link_attachment(const struct sys_obj *o)
{
	const struct sys_link *l = container_of(o, struct sys_link, o);
	void *shared;

	if (o->kind != SYS_LINK || !registered)
		return 0;
	shared = l->event ? sys_event_shared(l->event) : l->at.shared;
	return shared ? registered->attachment(shared) : 0;
}
