/* SPDX-License-Identifier: MIT */
/*
 * perf_event_open(2) for the events that are part of bpf(2): PERF_COUNT_SW_BPF_OUTPUT, the buffers
 * that bpf_perf_event_output() fills. Those that run programs are in event.c, all others the kernel's.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bpf/session/remote.h"
#include "bpf/sys_int.h"

struct sys_perf {
	struct sys_obj o;
	struct map_perf *perf;
	_Atomic bool unmapped; /* is an element, and had no size yet when it became one: others could not adopt it */
};

void sys_perf_free(struct sys_obj *o)
{
	struct sys_perf *sp = container_of(o, struct sys_perf, o);

	if (sys_run_defer(o)) /* a program may be writing to it */
		return;
	sys_run_wait();
	sys_poll_gone(o);
	if (o->fd != *map_perf_fd(sp->perf))
		close(o->fd);
	map_perf_free(sp->perf);
	base_free(sp);
}

struct map_perf *sys_perf_of(struct sys_obj *o)
{
	return container_of(o, struct sys_perf, o)->perf;
}

/* One reference, the caller's. */
static int add(const struct map_perf_attr *a, struct sys_perf **out)
{
	struct sys_perf *sp = base_alloc(sizeof(*sp));
	int fd, err;

	if (!sp)
		return -ENOMEM;
	err = map_perf_create(a, &sp->perf);
	if (err) {
		base_free(sp);
		return err;
	}
	/* Events of the kernel have no inode of their own: an empty file stands for them. */
	fd = *map_perf_fd(sp->perf) = sys_fd_move(*map_perf_fd(sp->perf));
	if (a->kernel_fd >= 0)
		fd = memfd_create("ferry-event", MFD_CLOEXEC);
	err = fd < 0 ? -errno : sys_obj_add(&sp->o, SYS_PERF, fd);
	if (err) {
		if (fd >= 0 && a->kernel_fd >= 0)
			close(fd);
		map_perf_free(sp->perf);
		base_free(sp);
		return err;
	}
	*map_perf_owner(sp->perf) = &sp->o;
	*out = sp;
	return 0;
}

int sys_perf_from(int fd, u32 id, struct sys_obj **out)
{
	const struct sys_share_ops *share = sys_shared();
	struct sys_perf *sp = base_alloc(sizeof(*sp));
	int err = sp ? map_perf_attach(fd, &sp->perf) : -ENOMEM, event;

	if (err) {
		base_free(sp);
		return err;
	}
	sp->o.id = id;
	err = sys_obj_add(&sp->o, SYS_PERF, fd);
	if (err) {
		*map_perf_fd(sp->perf) = -1; /* stays the caller's */
		map_perf_free(sp->perf);
		base_free(sp);
		return err;
	}
	*map_perf_owner(sp->perf) = &sp->o;
	event = share ? share->event(sp->o.dev, sp->o.ino) : -1;
	if (event >= 0) {
		event = sys_fd_move(event);
		sys_fd_own(event, true);
		if (!map_perf_event_give(sp->perf, event)) {
			sys_fd_own(event, false);
			close(event);
		}
	}
	*out = &sp->o;
	return 0;
}

long sys_perf_open(const void *uattr, s32 pid, s32 cpu, s32 group, u64 flags)
{
	struct perf_event_attr attr = { 0 };
	struct map_perf_attr a = { .kernel_fd = -1, .cpu = cpu };
	struct sys_perf *sp;
	u32 size;
	int err;

	if (sys_in(&size, (u64)(uintptr_t)uattr + offsetof(struct perf_event_attr, size), 4))
		return -EFAULT;
	if (!size)
		size = PERF_ATTR_SIZE_VER0;
	if (size < PERF_ATTR_SIZE_VER0 ||
	    sys_in_struct(&attr, sizeof(attr), (u64)(uintptr_t)uattr, size))
		return -ENOSYS; /* what is wrong with it is for the kernel to say */
	if (attr.type != PERF_TYPE_SOFTWARE || attr.config != PERF_COUNT_SW_BPF_OUTPUT)
		return sys_event_open(&attr, pid, cpu, flags);
	if (cpu < -1 || cpu >= (s32)map_cpus() || (cpu == -1 && pid == -1) ||
	    flags & ~(u64)(PERF_FLAG_FD_CLOEXEC | PERF_FLAG_FD_NO_GROUP | PERF_FLAG_FD_OUTPUT))
		return -EINVAL;
	if (group != -1)
		return -EINVAL;
	a.sample_type = attr.sample_type;
	a.watermark = attr.watermark;
	a.wakeup = attr.watermark ? attr.wakeup_watermark : attr.wakeup_events;
	sys_inside++;
	err = add(&a, &sp);
	if (!err) {
		map_perf_switch(sp->perf, !attr.disabled);
		err = sys_fd_new(&sp->o, 0);
		if (err >= 0 && !sys_remote && !(flags & PERF_FLAG_FD_CLOEXEC))
			fcntl(err, F_SETFD, 0);
		sys_put(&sp->o);
	}
	sys_inside--;
	return err;
}

bool sys_perf_ioctl(int fd, unsigned long request, unsigned long arg, long *ret)
{
	struct sys_obj *o;
	struct map_perf *p;
	u64 id;

	if (_IOC_TYPE(request) != '$') /* nobody's but perf's */
		return false;
	o = sys_fd_get(fd, SYS_PERF);
	if (!o)
		return sys_event_ioctl(fd, request, arg, ret);
	p = sys_perf_of(o);
	*ret = 0;
	switch (request) {
	case PERF_EVENT_IOC_ENABLE: map_perf_switch(p, true); break;
	case PERF_EVENT_IOC_DISABLE: map_perf_switch(p, false); break;
	case PERF_EVENT_IOC_RESET: break;
	case PERF_EVENT_IOC_PAUSE_OUTPUT: map_perf_pause(p, arg); break;
	case PERF_EVENT_IOC_ID:
		id = map_perf_id(p);
		*ret = sys_out(arg, &id, sizeof(id));
		break;
	default: *ret = -EINVAL; break;
	}
	sys_put(o);
	return true;
}

void sys_perf_mapped(struct sys_obj *o)
{
	struct sys_perf *sp = container_of(o, struct sys_perf, o);

	if (sp->unmapped && map_perf_is_mapped(sp->perf) && atomic_exchange(&sp->unmapped, false))
		sys_elems_mapped();
}

/* Is the descriptor one of perf_event_open(2), asked of the kernel? */
static bool is_kernel_event(int fd)
{
	char path[40], name[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, name, sizeof(name) - 1);
	if (n < 0)
		return false;
	name[n] = '\0';
	return !strcmp(name, "anon_inode:[perf_event]");
}

int sys_perf_set(struct sys_map *sm, const void *key, int fd, u64 flags)
{
	struct map_perf_attr a = { .kernel_fd = fd, .cpu = -1 };
	struct sys_perf *sp;
	struct sys_obj *o;
	int err;

	if (flags != BPF_ANY)
		return -EINVAL;
	if (*(const u32 *)key >= sm->map->attr.max_entries)
		return -E2BIG;
	o = sys_fd_get(fd, SYS_PERF);
	if (!o) {
		if (!is_kernel_event(fd))
			return -EBADF;
		err = add(&a, &sp);
		if (err)
			return err;
		o = &sp->o;
	}
	sp = container_of(o, struct sys_perf, o);
	sp->unmapped = !map_perf_is_mapped(sp->perf);
	err = sm->map->ops->set_obj(sm->map, key, sp->perf, o->id, flags);
	if (err)
		sys_put(o); /* otherwise the map has the reference */
	return err;
}
