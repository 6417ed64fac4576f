/* SPDX-License-Identifier: MIT */
/*
 * Iterators: a link says what a program goes through, BPF_ITER_CREATE gives a descriptor, and reading
 * that runs the program on one element after the other. Text and errors of a read are those of the
 * kernel's bpf_seq_read(): what an element wrote comes whole, or at the next read.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bpf/event/iter.h"
#include "bpf/session/remote.h"
#include "bpf/session/session.h"
#include "helper/helper.h"

#define BUFFER      (8u * 4096) /* of one read */
#define MAX_OBJECTS 1000000u    /* of one read: MAX_ITER_OBJECTS */
#define MAX_TEXT    (256u << 20) /* of one that is read as a whole */

struct sys_iter {
	struct sys_obj o;
	struct sys_link *link;  /* referenced */
	struct sys_prog *prog;  /* referenced: the link's when this was made */
	struct iter_walk walk;
	pthread_mutex_t lock;
	struct helper_seq seq;
	struct shown_meta meta;
	bool ended, whole;      /* whole: all is in the file already */
};

_Atomic u32 sys_iters;

/* As programs see it, so that bpf_seq_printf() and a load of seq->count mean the same. */
_Static_assert(sizeof(struct helper_seq) == sizeof(struct shown_seq) &&
		       offsetof(struct helper_seq, count) == offsetof(struct shown_seq, count),
	       "struct seq_file");

/* ---- links ---------------------------------------------------------------------------------- */

void iter_what_free(struct iter_what *what)
{
	if (!what)
		return;
	if (what->map)
		sys_put(&what->map->o);
	base_free(what);
}

/* What the caller says beside the program: 0 with zeros when it says nothing. */
static int read_info(const struct sys_call *c, union bpf_iter_link_info *info)
{
	u64 at = c->attr.link_create.iter_info;
	u32 len = c->attr.link_create.iter_info_len;

	memset(info, 0, sizeof(*info));
	if (!at != !len)
		return -EINVAL;
	return at ? sys_in_struct(info, sizeof(*info), at, len) : 0;
}

int iter_what_new(const struct sys_prog *sp, const union bpf_iter_link_info *info, struct iter_what **out)
{
	struct iter_what *what = base_alloc(sizeof(*what));
	int err;

	if (!what)
		return -ENOMEM;
	what->target = iter_target_named(sp->p->args.name + strlen("bpf_iter_"));
	err = what->target ? iter_attach(what, sp->p, info) : -ENOENT;
	if (err)
		iter_what_free(what);
	else
		*out = what;
	return err;
}

int iter_what_asked(const struct sys_call *c, const struct sys_prog *sp, struct iter_what **out)
{
	union bpf_iter_link_info info;
	int err;

	if (c->attr.link_create.target_fd || c->attr.link_create.flags)
		return -EINVAL;
	err = read_info(c, &info);
	return err ? err : iter_what_new(sp, &info, out);
}

int iter_link_update(struct sys_link *l, struct sys_prog *sp, const struct sys_prog *old)
{
	struct sys_prog *was;

	if (old && l->prog != old)
		return -EPERM;
	if (l->prog->p->type != sp->p->type || l->prog->p->attach_type != sp->p->attach_type ||
	    l->prog->attach_btf_id != sp->attach_btf_id || l->prog->attach_btf != sp->attach_btf)
		return -EINVAL;
	was = l->prog;
	sys_hold(&sp->o);
	l->prog = sp;
	sys_put(&was->o);
	return 0;
}

/* bpf_iter_link_fill_link_info() */
int iter_link_info(const struct sys_link *l, const struct bpf_link_info *in, struct bpf_link_info *out)
{
	const struct iter_what *what = l->iter;
	u32 len = strlen(what->target->name) + 1, room = in->iter.target_name_len;

	if (!in->iter.target_name != !room)
		return -EINVAL;
	out->iter.target_name = in->iter.target_name;
	out->iter.target_name_len = len;
	if (room && sys_out(in->iter.target_name, what->target->name, room < len ? room - 1 : len))
		return -EFAULT;
	if (room && room < len)
		return sys_out(in->iter.target_name + room - 1, "", 1) ? -EFAULT : -ENOSPC;
	if (what->map)
		out->iter.map.map_id = what->map->o.id;
	out->iter.task.tid = what->tid;
	out->iter.task.pid = what->tgid;
	return 0;
}

/* ---- descriptors ---------------------------------------------------------------------------- */

void sys_iter_free(struct sys_obj *o)
{
	struct sys_iter *it = container_of(o, struct sys_iter, o);

	if (o->id) {
		sys_iters--;
		close(o->fd);
	}
	if (it->walk.o)
		it->walk.what->target->put(&it->walk);
	if (it->walk.what->target->end)
		it->walk.what->target->end(&it->walk);
	base_free(it->walk.room);
	base_free(it->seq.buf);
	sys_put(&it->prog->o);
	sys_put(&it->link->o);
	pthread_mutex_destroy(&it->lock);
	base_free(it);
}

static struct sys_iter *new_iter(struct sys_link *l)
{
	static _Atomic u64 session;
	struct sys_iter *it = base_alloc(sizeof(*it));

	if (!it)
		return NULL;
	it->o.kind = SYS_ITER;
	pthread_mutex_init(&it->lock, NULL);
	sys_hold(&l->o);
	it->link = l;
	sys_slow_lock(); /* the link's program may be exchanged */
	it->prog = l->prog;
	sys_hold(&it->prog->o);
	sys_slow_unlock();
	it->walk.what = l->iter;
	it->meta.session_id = ++session;
	it->meta.seq = (void *)&it->seq;
	return it;
}

/* ---- reading -------------------------------------------------------------------------------- */

/* Runs the program: on an element, or when there is none any more with NULL for each argument. */
static int show(struct sys_iter *it, bool element)
{
	u64 ctx[1 + ITER_ARGS] = { (u64)(uintptr_t)&it->meta };
	struct helper_seq *outer = helper_seq;
	u64 ret;

	if (element)
		memcpy(ctx + 1, it->walk.args, sizeof(it->walk.args));
	else if (it->walk.what->map) /* of bpf_map_elem: there to the end */
		ctx[1] = it->walk.args[0];
	helper_seq = &it->seq;
	ret = sys_prog_run(it->prog->p, ctx, 0);
	helper_seq = outer;
	return ret ? -EAGAIN : 0;
}

static bool is_full(const struct helper_seq *s)
{
	return s->count == s->size;
}

/*
 * Elements from the cursor on until `want` bytes are there: 0, or why the first could not be shown.
 * What the last one wrote counts only whole, and then only is the cursor behind it.
 */
static int fill(struct sys_iter *it, u64 want)
{
	const struct iter_target *t = it->walk.what->target;
	struct helper_seq *s = &it->seq;
	u64 before, n;
	int err, got = 1;

	for (n = 0; n < MAX_OBJECTS && (got = t->get(&it->walk)) > 0; n++) {
		/* The first of a read was counted by the read before, which did not get to it. */
		it->meta.seq_num += n != 0;
		if (n && s->count >= want) {
			t->put(&it->walk);
			return 0;
		}
		before = s->count;
		err = show(it, true);
		if (!err && is_full(s))
			err = -E2BIG;
		t->put(&it->walk);
		if (err) {
			s->count = before;
			return before ? 0 : err;
		}
		t->step(&it->walk);
	}
	if (got)
		return s->count ? 0 : got < 0 ? got : -EAGAIN;
	if (it->ended)
		return 0;
	before = s->count;
	show(it, false);
	if (!is_full(s)) {
		it->ended = true;
		return 0;
	}
	s->count = before;
	return before ? 0 : -E2BIG;
}

static s64 give(struct sys_iter *it, u64 to, size_t n)
{
	struct helper_seq *s = &it->seq;

	n = n < s->count ? n : s->count;
	if (n && sys_out(to, s->buf + s->from, n))
		return -EFAULT;
	s->count -= n;
	s->from += n;
	return (s64)n;
}

static s64 read_iter(struct sys_iter *it, u64 to, size_t n)
{
	struct helper_seq *s = &it->seq;
	int err = 0;

	if (!s->buf)
		s->buf = base_alloc(BUFFER);
	if (!s->buf)
		return -ENOMEM;
	s->size = BUFFER;
	if (!s->count) {
		s->from = 0;
		err = fill(it, n);
		if (err)
			s->count = 0;
	}
	return err ? err : give(it, to, n);
}

/* ---- what others call ----------------------------------------------------------------------- */

static s64 locked_read(struct sys_iter *it, u64 to, size_t n)
{
	s64 ret;

	/* A native function that the program calls may read the same: it would wait for itself. */
	if (sys_run_inside()) {
		if (pthread_mutex_trylock(&it->lock))
			return -EBUSY;
	} else {
		pthread_mutex_lock(&it->lock);
	}
	ret = read_iter(it, to, n);
	pthread_mutex_unlock(&it->lock);
	return ret;
}

bool sys_iter_read(int fd, void *buf, size_t n, s64 *ret)
{
	struct sys_obj *o;
	struct sys_iter *it;

	sys_inside++;
	o = sys_fd_get(fd, SYS_ITER);
	it = o ? container_of(o, struct sys_iter, o) : NULL;
	if (it && !it->whole)
		*ret = locked_read(it, (u64)(uintptr_t)buf, n);
	else
		it = NULL;
	sys_put(o);
	sys_inside--;
	return it;
}

/* All of it into the file, from where the reader is. */
static int read_whole(struct sys_iter *it, int fd)
{
	char *buf = base_alloc(BUFFER);
	u64 total = 0;
	s64 n = 0;

	if (!buf)
		return -ENOMEM;
	while (total < MAX_TEXT && (n = locked_read(it, (u64)(uintptr_t)buf, BUFFER)) > 0) {
		if (write(fd, buf, (size_t)n) != n)
			break;
		total += (u64)n;
	}
	if (n)
		log_msg(LOG_WARN, "iterator '%s': only the first %llu bytes can be read (%s)",
			it->prog->p->name, (unsigned long long)total, strerror(n < 0 ? (int)-n : EFBIG));
	it->whole = true;
	base_free(buf);
	return lseek(fd, 0, SEEK_SET) < 0 ? -errno : 0;
}

void sys_iter_fill(int fd)
{
	struct sys_obj *o;
	struct sys_iter *it;

	sys_inside++;
	o = sys_fd_get(fd, SYS_ITER);
	it = o ? container_of(o, struct sys_iter, o) : NULL;
	if (it && !it->whole)
		read_whole(it, fd);
	sys_put(o);
	sys_inside--;
}

static long create(struct sys_link *l, bool whole)
{
	struct sys_iter *it = new_iter(l);
	int fd, err = 0;

	if (!it)
		return -ENOMEM;
	fd = sys_memfd("bpf_iter", NULL, 0, NULL, 0);
	if (fd >= 0) {
		fd = sys_fd_move(fd);
		err = whole ? read_whole(it, fd) : 0;
		if (!err)
			err = sys_obj_add(&it->o, SYS_ITER, fd);
		if (err)
			close(fd);
	} else {
		err = fd;
	}
	if (err) {
		sys_iter_free(&it->o);
		return err;
	}
	sys_iters++;
	fd = sys_fd_new(&it->o, 0);
	sys_put(&it->o);
	return fd;
}

long sys_cmd_iter_create(struct sys_call *c)
{
	struct sys_obj *o;
	long ret = -EINVAL; /* it is none of an iterator */

	if (c->attr.iter_create.flags)
		return -EINVAL;
	o = sys_fd_get((int)c->attr.iter_create.link_fd, SYS_LINK);
	if (!o)
		return sys_fd_error((int)c->attr.iter_create.link_fd);
	/* Whoever has no hooks of ours reads what is in the file. */
	if (container_of(o, struct sys_link, o)->iter)
		ret = create(container_of(o, struct sys_link, o), sys_remote != NULL);
	sys_put(o);
	return ret;
}

int sys_iter_open(const char *real, int flags)
{
	struct sys_obj *o = flags & O_ACCMODE ? NULL : sys_pin_get(real);
	int fd = -ENOENT;

	if (o && o->kind == SYS_LINK && container_of(o, struct sys_link, o)->iter) {
		fd = (int)create(container_of(o, struct sys_link, o), true);
		if (fd >= 0 && !(flags & O_CLOEXEC))
			fcntl(fd, F_SETFD, 0);
	}
	sys_put(o);
	return fd;
}
