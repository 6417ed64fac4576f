/* SPDX-License-Identifier: MIT */
/*
 * Objects of other processes: a descriptor that came over a socket, by exec or from the broker of
 * the session becomes an object here. Its bytes are input like any other: a map's header is checked,
 * a program is verified again, BTF is parsed again.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "bpf/event/link.h"
#include "bpf/session/remote.h"
#include "bpf/session/session.h"
#include "bpf/sys_int.h"

#define MAX_FILE (64u << 20)

/* One at a time: the same file must not become two objects. */
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static _Thread_local int depth; /* a program's maps are adopted on the way; not without end */
static _Thread_local bool unseen; /* of some that this thread adopted, elements are still to be looked at */

/* The object with this inode: here already, or with the broker. Referenced; NULL. */
static struct sys_obj *by_file(u64 dev, u64 ino)
{
	const struct sys_share_ops *share = sys_shared();
	struct sys_obj *o = sys_ino_get(dev, ino);

	return o || !share ? o : share->find(dev, ino);
}

/* ---- maps ----------------------------------------------------------------------------------- */

/* What its keys and values are, if that is known here and true. */
static void use_btf(struct sys_map *sm, const struct map_tag *tag)
{
	struct sys_obj *o = tag->btf_ino ? by_file(tag->btf_dev, tag->btf_ino) : NULL;

	if (!o || o->kind != SYS_BTF ||
	    sys_map_check_btf(&sm->map->attr, container_of(o, struct sys_btf, o)->btf,
			      tag->btf_key_id, tag->btf_value_id)) {
		sys_put(o);
		return;
	}
	sm->btf = container_of(o, struct sys_btf, o);
	sm->map->btf_fd_id = o->id;
	sm->map->btf_key_id = tag->btf_key_id;
	sm->map->btf_value_id = tag->btf_value_id;
	sys_map_set_fields(sm->map, sm->btf->btf);
}

/* Who waits for a ring buffer does so on an eventfd, the same in all processes. */
static void use_event(struct map *m, const struct stat *st)
{
	const struct sys_share_ops *share = sys_shared();
	int fd = -1;

	if (share && (m->attr.type == BPF_MAP_TYPE_RINGBUF || m->attr.type == BPF_MAP_TYPE_USER_RINGBUF))
		fd = share->event(st->st_dev, st->st_ino);
	if (fd < 0)
		return;
	fd = sys_fd_move(fd);
	if (map_event_give(m, fd))
		sys_fd_own(fd, true);
	else
		close(fd);
}

static int adopt_map(int fd, const struct stat *st, u32 id, struct sys_obj **out)
{
	struct sys_map *sm = base_alloc(sizeof(*sm));
	struct map_tag tag;
	int err;

	if (!sm)
		return -ENOMEM;
	err = map_attach(fd, &sm->map);
	if (err)
		goto out;
	map_tag_read(sm->map, &tag);
	/* Its number is written when it is in its maker's tables. */
	if (!tag.id || (*out = sys_ino_get(st->st_dev, st->st_ino))) {
		sm->map->fd = -1;
		map_put(sm->map);
		err = *out ? 1 : -EINVAL;
		goto out;
	}
	memcpy(sm->o.name, sm->map->attr.name, sizeof(sm->map->attr.name));
	sm->o.id = id ? id : tag.id & INT32_MAX;
	use_btf(sm, &tag);
	use_event(sm->map, st);
	sm->map->owner = &sm->o;
	err = sys_obj_add(&sm->o, SYS_MAP, fd);
	if (err) {
		sm->map->fd = -1;
		map_put(sm->map);
		if (sm->btf)
			sys_put(&sm->btf->o);
		goto out;
	}
	sm->map->id = sm->o.id;
	unseen |= sys_elems_say(sm);
	*out = &sm->o;
	return 0;
out:
	base_free(sm);
	return err;
}

/* ---- programs ------------------------------------------------------------------------------- */

/* Pieces of a file that is read as a whole first, so that it cannot change under the checks. */
struct reader {
	const u8 *at;
	size_t left;
};

static const void *piece(struct reader *r, size_t n, size_t item)
{
	const void *p = r->at;
	size_t size;

	if (!base_mul(n, item, &size) || size > r->left)
		return NULL;
	r->at += size;
	r->left -= size;
	return p;
}

struct wanted {
	const struct prog_file *head;
	struct bpf_insn *insns; /* a copy, to be given descriptors */
	const struct bpf_func_info *funcs;
	const struct bpf_line_info *lines;
	const struct prog_file_ref *maps;
	const struct prog_file_native *natives;
	struct sys_obj **refs; /* maps, then modules' BTF, then the program's */
	s32 *fd_array;
	u32 nrefs;
	struct sys_obj *target; /* BTF that target_id is of */
	u32 target_id;
};

static int read_wanted(struct wanted *w, const void *data, size_t size)
{
	struct reader r = { data, size };
	const void *insns;

	w->head = piece(&r, 1, sizeof(*w->head));
	if (!w->head || w->head->insn_cnt > ISA_MAX_INSNS || w->head->nmaps > SYS_MAX_MAPS ||
	    w->head->nnatives > 256)
		return -EINVAL;
	insns = piece(&r, w->head->insn_cnt, sizeof(struct bpf_insn));
	w->funcs = piece(&r, w->head->nfuncs, sizeof(*w->funcs));
	w->lines = piece(&r, w->head->nlines, sizeof(*w->lines));
	w->maps = piece(&r, w->head->nmaps, sizeof(*w->maps));
	w->natives = piece(&r, w->head->nnatives, sizeof(*w->natives));
	if (!insns || !w->funcs || !w->lines || !w->maps || !w->natives || !w->head->insn_cnt)
		return -EINVAL;
	w->insns = base_memdup(insns, w->head->insn_cnt * sizeof(struct bpf_insn));
	w->refs = base_array(w->head->nmaps + w->head->nnatives + 1, sizeof(*w->refs));
	w->fd_array = base_array(w->head->nnatives + 1, sizeof(*w->fd_array));
	return w->insns && w->refs && w->fd_array ? 0 : -ENOMEM;
}

/* Objects that it refers to: all are here, or it cannot be. */
static int find_refs(struct wanted *w, u32 ids[256])
{
	const struct prog_file *h = w->head;
	u32 i;

	for (i = 0; i < h->nmaps; i++) {
		w->refs[w->nrefs] = by_file(w->maps[i].dev, w->maps[i].ino);
		if (!w->refs[w->nrefs])
			return -ENOENT;
		if (w->refs[w->nrefs++]->kind != SYS_MAP)
			return -EINVAL;
	}
	for (i = 0; i < h->nnatives; i++) {
		if (w->natives[i].module[63] || w->natives[i].func[127])
			return -EINVAL;
		w->refs[w->nrefs] = sys_native_find(w->natives[i].module, w->natives[i].func, &ids[i]);
		if (!w->refs[w->nrefs]) {
			log_msg(LOG_INFO, "a program from another process calls %s of module %s, "
					  "which is not registered here",
				w->natives[i].func, w->natives[i].module);
			return -ENOENT;
		}
		w->fd_array[i + 1] = w->refs[w->nrefs++]->fd;
	}
	if (!h->btf.ino)
		return 0;
	w->refs[w->nrefs] = by_file(h->btf.dev, h->btf.ino);
	return w->refs[w->nrefs] && w->refs[w->nrefs++]->kind == SYS_BTF ? 0 : -ENOENT;
}

/* References back to what a loader writes: descriptors, here Ferry's own. */
static int put_refs(struct wanted *w, const u32 ids[256])
{
	const struct prog_file *h = w->head;
	u32 at;

	for (at = 0; at < h->insn_cnt; at++) {
		struct bpf_insn *in = &w->insns[at];

		if (isa_is_ldimm64(in)) {
			if (in->src_reg == BPF_PSEUDO_MAP_FD || in->src_reg == BPF_PSEUDO_MAP_VALUE) {
				if ((u32)in->imm >= h->nmaps)
					return -EINVAL;
				in->imm = w->refs[in->imm]->fd;
			}
			at++;
		} else if (isa_is_call(in, BPF_PSEUDO_KFUNC_CALL)) {
			if ((u32)in->imm >= h->nnatives)
				return -EINVAL;
			in->off = in->imm + 1;
			in->imm = ids[(u32)in->off - 1];
		}
	}
	return 0;
}

/* What it is put on, by the names that its maker gave: BTF ids may differ here. */
static int find_target(struct wanted *w)
{
	const struct prog_file *h = w->head;
	bool tracepoint = h->attach_type == BPF_TRACE_RAW_TP;
	char name[160];
	s32 id;

	if (!h->target_func[0])
		return 0;
	if (h->target_module[63] || h->target_func[127])
		return -EINVAL;
	w->target = sys_btf_named(h->target_module);
	if (!w->target)
		return -ENOENT;
	snprintf(name, sizeof(name), "%s%s", tracepoint ? SYS_TRACEPOINT_TYPE : "", h->target_func);
	id = btf__find_by_name_kind(container_of(w->target, struct sys_btf, o)->btf, name,
				    tracepoint ? BTF_KIND_TYPEDEF : BTF_KIND_FUNC);
	w->target_id = id > 0 ? (u32)id : 0;
	return id > 0 ? 0 : -ENOENT;
}

static int load_wanted(struct wanted *w, int fd, u32 id, struct sys_obj **out)
{
	const struct prog_file *h = w->head;
	struct sys_call c = { .cmd = BPF_PROG_LOAD, .size = sizeof(c.attr) };

	id = id ? id : h->id & INT32_MAX;
	c.uattr = (uintptr_t)&c.attr;
	c.attr.prog_type = h->type;
	c.attr.expected_attach_type = h->attach_type;
	c.attr.prog_flags = h->flags;
	c.attr.insns = (uintptr_t)w->insns;
	c.attr.insn_cnt = h->insn_cnt;
	c.attr.license = (uintptr_t)(h->gpl ? "GPL" : "");
	c.attr.fd_array = (uintptr_t)w->fd_array;
	memcpy(c.attr.prog_name, h->name, sizeof(h->name));
	if (w->target) {
		c.attr.attach_btf_obj_fd = w->target->fd;
		c.attr.attach_btf_id = w->target_id;
	}
	if (h->btf.ino) {
		c.attr.prog_btf_fd = w->refs[w->nrefs - 1]->fd;
		c.attr.func_info = (uintptr_t)w->funcs;
		c.attr.func_info_cnt = h->nfuncs;
		c.attr.func_info_rec_size = sizeof(*w->funcs);
		c.attr.line_info = (uintptr_t)w->lines;
		c.attr.line_info_cnt = h->nlines;
		c.attr.line_info_rec_size = sizeof(*w->lines);
	}
	return sys_prog_load_from(&c, fd, id, out);
}

static int adopt_prog(int fd, const void *data, size_t size, u32 id, struct sys_obj **out)
{
	u32 ids[256];
	struct wanted w = { 0 };
	int err = read_wanted(&w, data, size);

	if (!err)
		err = find_refs(&w, ids);
	if (!err)
		err = put_refs(&w, ids);
	if (!err)
		err = find_target(&w);
	if (!err)
		err = load_wanted(&w, fd, id, out);
	while (w.nrefs)
		sys_put(w.refs[--w.nrefs]);
	sys_put(w.target);
	base_free(w.insns);
	base_free(w.refs);
	base_free(w.fd_array);
	return err;
}

/* ---- links ---------------------------------------------------------------------------------- */

static int adopt_link(int fd, const void *data, size_t size, struct sys_obj **out)
{
	struct sys_obj *prog, *map = NULL;
	struct link_file f;
	int err = -ENOENT;

	if (size < sizeof(f))
		return -EINVAL;
	memcpy(&f, data, sizeof(f));
	prog = by_file(f.prog.dev, f.prog.ino);
	if (f.map.ino)
		map = by_file(f.map.dev, f.map.ino);
	if (prog && (map || !f.map.ino))
		err = sys_link_from(fd, data, size, prog, map, out);
	sys_put(map);
	sys_put(prog);
	return err;
}

/* ---- any ------------------------------------------------------------------------------------ */

static int read_file(int fd, size_t size, void **out)
{
	size_t have = 0;
	ssize_t n;
	u8 *data;

	if (size > MAX_FILE)
		return -E2BIG;
	data = base_alloc(size + 1);
	if (!data)
		return -ENOMEM;
	while (have < size && (n = pread(fd, data + have, size - have, have)) > 0)
		have += n;
	if (have < size) {
		base_free(data);
		return -EIO;
	}
	*out = data;
	return 0;
}

/* 0, 1 when there is an object already: `fd` is the caller's then, as after an error. */
static int adopt(int fd, const struct stat *st, bool final, u32 kind, u32 id, struct sys_obj **out)
{
	char magic[8] = "";
	void *data = NULL;
	int err;

	if (pread(fd, magic, sizeof(magic), 0) == sizeof(magic) &&
	    (!memcmp(magic, SYS_PROG_MAGIC, 8) || !memcmp(magic, SYS_BTF_MAGIC, 8) ||
	     !memcmp(magic, SYS_LINK_MAGIC, 8))) {
		err = final ? read_file(fd, st->st_size, &data) : -EINVAL;
		if (!err && !memcmp(magic, SYS_PROG_MAGIC, 8))
			err = adopt_prog(fd, data, st->st_size, id, out);
		else if (!err && !memcmp(magic, SYS_LINK_MAGIC, 8))
			err = adopt_link(fd, data, st->st_size, out);
		else if (!err)
			err = sys_btf_from(fd, data, st->st_size, id, out);
		base_free(data);
		return err;
	}
	return kind == SYS_PERF ? sys_perf_from(fd, id, out) : adopt_map(fd, st, id, out);
}

/*
 * A number that another thread has just closed may by now be the file of an object in the making:
 * its maker's tables get it before it is final, so who looks in that order never takes it away.
 */
static struct sys_obj *take(int own, u32 kind, u32 id)
{
	int seals = fcntl(own, F_GET_SEALS), err;
	struct sys_obj *o;
	struct statfs fs;
	struct stat st;

	/*
	 * A memfd has no name and takes seals: nothing else is looked into. Nor one of huge pages, which may be taken
	 * out of it and used up: then what is mapped cannot be touched any more.
	 */
	if (seals < 0 || fstat(own, &st) || !S_ISREG(st.st_mode) || st.st_nlink || fstatfs(own, &fs) ||
	    fs.f_type == HUGETLBFS_MAGIC) {
		close(own);
		return NULL;
	}
	o = sys_ino_get(st.st_dev, st.st_ino);
	if (o) {
		close(own);
		return o;
	}
	own = sys_fd_move(own);
	depth++;
	err = adopt(own, &st, seals & F_SEAL_WRITE, kind, id, &o);
	depth--;
	if (err)
		close(own);
	return err < 0 ? NULL : o;
}

/* For Ferry itself: a BPF_F_RDONLY descriptor of a map says what its user may, not what locks need. */
static int dup_writable(int fd)
{
	char path[40];
	int own = -1;

	if ((fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		own = open(path, O_RDWR | O_CLOEXEC);
	}
	return own >= 0 ? own : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

struct sys_obj *sys_adopt(int fd, u32 kind, u32 id)
{
	struct sys_remote *served = sys_remote;
	struct sys_obj *o = NULL;
	int own;

	if (depth > 2 || fcntl(fd, F_GET_SEALS) < 0)
		return NULL;
	sys_inside++;
	sys_remote = NULL; /* what is read now is ours */
	pthread_mutex_lock(&lock);
	own = dup_writable(fd);
	if (own >= 0)
		o = take(own, kind, id);
	pthread_mutex_unlock(&lock);
	if (unseen && !depth) { /* elements are adopted in turn: not under the lock */
		unseen = false;
		sys_elems_sync(0, 0);
	}
	sys_remote = served;
	sys_inside--;
	if (o && kind && o->kind != kind) {
		sys_put(o);
		o = NULL;
	}
	return o;
}
