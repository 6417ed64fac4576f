/* SPDX-License-Identifier: MIT */
/*
 * Maps: one file a type behind one table of operations. A map's memory is a memfd: shared between
 * processes, position independent, and never trusted: what another process can write is read once,
 * checked, and only the copy used.
 */
#ifndef FERRY_MAP_H
#define FERRY_MAP_H

#include <linux/bpf.h>

#include "base/base.h"

struct map;

/* What BPF_MAP_CREATE says (bpf(2)). */
struct map_attr {
	u32 type; /* enum bpf_map_type */
	u32 key_size, value_size, max_entries;
	u32 flags; /* BPF_F_* */
	u64 extra;
	char name[BPF_OBJ_NAME_LEN];
	u32 any_node; /* BPF_F_NUMA_NODE is set, and the node is NUMA_NO_NODE */
};

/*
 * What the owner of a map wants others to know who attach it; nothing here looks at it. As all that
 * another process wrote, it may be nonsense.
 */
struct map_tag {
	u32 id, btf_key_id, btf_value_id, unused;
	u64 btf_dev, btf_ino; /* of the BTF's memfd; inode 0: none */
};

/* How generated code may look an element up without a call; see jit. */
enum map_inline { MAP_INLINE_NONE, MAP_INLINE_ARRAY, MAP_INLINE_HASH, MAP_INLINE_PERCPU_ARRAY };

/*
 * The operations of a type. All are thread-safe, process-safe and lock-free for readers. Keys and
 * values passed in are private copies of the caller's. Errors are those of bpf(2).
 */
struct map_ops {
	const char *name; /* "hash": bpftool's name */
	/* Is the attr acceptable? 0, -EINVAL, -E2BIG, -EPERM. Also gives the bytes of shared memory. */
	int (*check)(const struct map_attr *attr, size_t *bytes);
	int (*init)(struct map *m);  /* fill fresh, zeroed memory; 0 or -errno */
	void (*fini)(struct map *m); /* free process-local state; may be NULL */

	/* As seen by a program: the address of the value (this CPU's for per-CPU types), or NULL. */
	void *(*lookup)(struct map *m, const void *key);
	/* The same for the value of `cpu`, which is below map_cpus(): per-CPU types only, else NULL. */
	void *(*lookup_cpu)(struct map *m, const void *key, u32 cpu);
	int (*update)(struct map *m, const void *key, const void *value, u64 flags);
	int (*remove)(struct map *m, const void *key);
	/* The same as `lookup` without vector registers, for programs that run where those are live; may be NULL. */
	void *(*lookup_plain)(struct map *m, const void *key);
	/* `key` NULL or absent: the first key. -ENOENT at the end. */
	int (*next_key)(struct map *m, const void *key, void *next);

	/*
	 * The elements one after the other, for programs: *pos, 0 at first, is where to go on. Gives the
	 * address of the value (this CPU's) and copies the key; NULL at the end, and no such operation
	 * where programs cannot walk. An element that comes or goes meanwhile may be met or not.
	 */
	void *(*next_elem)(struct map *m, u64 *pos, void *key);

	/*
	 * Queues, stacks and Bloom filters have no key (NULL): write, read and take push, peek and pop,
	 * for helpers too; a Bloom filter's read asks for the value that `value` holds.
	 *
	 * As seen by bpf(2): whole values, per-CPU ones with a slot of map_value_stride() bytes for each
	 * possible CPU. NULL where `lookup` and `update` already do.
	 */
	int (*read)(struct map *m, const void *key, void *value, u64 flags);
	int (*write)(struct map *m, const void *key, const void *value, u64 flags);
	int (*take)(struct map *m, const void *key, void *value, u64 flags); /* lookup and delete */

	/*
	 * Many at once, for bpf(2)'s batches: up to `n` keys, and whole values as `read` gives them
	 * unless `values` is NULL, one behind the other. *pos is a slot or an index, below 2^32, 0 at
	 * first, and moves on. How many; fewer than `n`: there are no more. NULL: key by key.
	 */
	u32 (*next_batch)(struct map *m, u64 *pos, u32 n, u8 *keys, u8 *values);

	/* Address of the byte `off` of the values for BPF_PSEUDO_MAP_VALUE: only arrays; else NULL op. */
	void *(*direct)(struct map *m, u32 off);
	/*
	 * Elements that are objects (programs, maps, perf events): `obj` comes with a reference, which
	 * the map owns after success and gives back through map_drop_obj; `id` is what a lookup shows.
	 */
	int (*set_obj)(struct map *m, const void *key, void *obj, u32 id, u64 flags);

	/* The key of the element whose value is at `value`: only where values may hold timers. */
	void (*key_of)(struct map *m, const void *value, void *key);

	u8 inline_kind; /* enum map_inline */
};

/*
 * Eight bytes of a value that hold a pointer to an object of the host's: a struct `type_id` of `btf`. With `drop`
 * the map owns what is there, and gives it back through map_kptr_drop; without, it only points.
 */
struct btf;
struct map_kptr {
	u32 off, type_id;
	const struct btf *btf;
	const void *drop;
	void *mod; /* what `btf` and `drop` are of */
};
#define MAP_KPTRS 8 /* of one value; the kernel's BPF_MAP_VALUE_OFF_MAX */

/* What of a value belongs to the system, found in its BTF: offset + 1, 0 is none. */
struct map_fields {
	u32 lock, timer;            /* struct bpf_spin_lock, struct bpf_timer */
	u32 nkptrs;
	struct map_kptr kptrs[MAP_KPTRS];
	u32 nholes;                 /* all of these, by offset: the rest is data */
	struct { u32 off, size; } holes[MAP_KPTRS + 2];
	const struct map_ops *base; /* the type's, behind `ops`: see fields.c */
	struct map_ops ops;
};

/* A process's handle on a map. Fields above the line are constant after creation. */
struct map {
	const struct map_ops *ops;
	struct map_attr attr;
	u32 id;          /* bpf(2)'s, given by the owner; 0 until then */
	int fd;          /* the memfd, close-on-exec, owned; mmap at offset 0 is the user's view */
	bool attached;   /* the memory was filled by another process: init only fills this handle */
	u8 *mem;         /* the shared mapping */
	size_t mem_size;
	u32 user_value_size; /* bytes of a value to bpf(2): of all CPUs' */
	size_t user_size; /* bytes from offset 0 that a user may mmap; 0 is none */
	u32 stride;      /* bytes from one element's value to the next, where values form an array */
	u8 *values;      /* arrays: element 0 (per-CPU arrays: of CPU 0, CPUs `cpu_stride` apart) */
	size_t cpu_stride;
	u32 btf_fd_id, btf_key_id, btf_value_id; /* as loaded; 0 without */
	void *priv;      /* the type's process-local state */
	void *_Atomic *objs; /* arrays of objects: those, read by tail calls; else NULL */
	struct map *inner;   /* maps of maps: the template of elements, referenced; else NULL */
	bool own_mem;        /* is this process's alone: see map_set_kptrs */
	bool is_template;    /* a type, flags and sizes without memory: see map_create_outer */
	void *owner;         /* the bpf(2) object it belongs to; NULL */
	struct map_fields *fields; /* NULL without */
	/* ---- changes */
	_Atomic bool no_users; /* no descriptor or pin is left: timers start no more */
	_Atomic u32 refs;
	_Atomic u32 frozen;      /* MAP_FROZEN: known to this process, and its memory is constant */
	_Atomic u32 *frozen_all; /* in shared memory: some process has frozen it; NULL: a template */
	_Atomic u32 writers;     /* inside updates of what would be constant */
};

enum { MAP_FROZEN = 1, MAP_FREEZING };

/* Do bpf(2)'s writes end with -EPERM? Only what has m->frozen == MAP_FROZEN is trusted not to change. */
static inline bool map_is_frozen(const struct map *m)
{
	return m->frozen || (m->frozen_all && *m->frozen_all);
}

/*
 * A new map with one reference. `why` (may be NULL) gets one line on failure: which field, what
 * would be right. 0, -EINVAL, -E2BIG, -ENOMEM, -EPERM, -EOPNOTSUPP (type known, not here).
 */
int map_create(const struct map_attr *attr, struct map **out, struct text *why);
/*
 * The same for maps of maps: `like` shows what the elements will be; a template is made of it, which
 * is all that the verifier knows of an element. -ENOTSUPP: the type cannot be an element.
 */
int map_create_outer(const struct map_attr *attr, const struct map *like, struct map **out,
		     struct text *why);
bool map_is_outer(u32 type);
/* May `m` be an element where `tmpl` is the template? (the kernel's map_meta_equal) */
bool map_fits(const struct map *tmpl, const struct map *m);
/*
 * A handle on the map whose memfd is `fd`, made by another process that may be hostile: what its
 * header says is checked as map_create() checks it. On success the descriptor is the handle's.
 * -EINVAL when it is no map of Ferry's, or one that was laid out for another number of CPUs.
 */
int map_attach(int fd, struct map **out);
int map_fd_readonly(const struct map *m); /* a descriptor of the file that cannot write; -1 */
void map_tag_write(struct map *m, const struct map_tag *tag);
void map_tag_read(const struct map *m, struct map_tag *tag);
/*
 * Before first use: values hold these (offset + 1 each, 0 is none). 0, -EOPNOTSUPP (not in this type),
 * -EACCES (not with BPF_F_RDONLY_PROG, BPF_F_WRONLY_PROG), -EINVAL, -ENOMEM.
 */
int map_set_fields(struct map *m, u32 lock, u32 timer);
/*
 * The same for one with pointers to objects too. Its memory is made this process's own first: what lies there is
 * followed, so that no other process may write it. Its descriptor is then of no use to others, who get -EINVAL
 * from map_attach(); a child after fork() has copies of the map and of the objects. Hashes and arrays only.
 */
int map_set_kptrs(struct map *m, u32 lock, u32 timer, const struct map_kptr *kptrs, u32 n);
/*
 * Freezes it for all processes. An array with BPF_F_RDONLY_PROG has constant bytes then. -EBUSY: it is
 * frozen, or somebody is writing; -ENOMEM.
 */
int map_freeze(struct map *m);
void map_notice_frozen(struct map *m); /* another process may have frozen it: makes it constant here too */
/* The user's mmap of the values of a frozen array, which may be sealed: only for reading. */
void *map_mmap_frozen(struct map *m, void *addr, size_t len, int prot, int flags, s64 off);
struct map *map_get(struct map *m);
void map_put(struct map *m); /* frees this process's handle with the last; the memfd is closed */

const struct map_ops *map_ops_of(u32 type); /* NULL when there is none */
const char *map_type_name(u32 type);        /* for people; "type N" when unknown */

/*
 * What bpf(2)'s element commands do: checks flags and frozen state, then the operation. `value` is
 * map_user_value_size() bytes. For types of objects, `write` is refused: use ops->set_obj.
 */
int map_lookup_user(struct map *m, const void *key, void *value, u64 flags);
int map_update_user(struct map *m, const void *key, const void *value, u64 flags);
int map_delete_user(struct map *m, const void *key);
int map_next_key_user(struct map *m, const void *key, void *next);
int map_take_user(struct map *m, const void *key, void *value, u64 flags);

static inline u32 map_user_value_size(const struct map *m)
{
	return m->user_value_size;
}

u32 map_cpus(void);    /* possible CPUs, the number that libbpf_num_possible_cpus() gives */
u32 map_this_cpu(void); /* below map_cpus(); a hint: the thread may move at once */
bool map_is_percpu(u32 type);

/* Called with the object when an element of objects goes from `m`. Set once by src/bpf. */
extern void (*map_drop_obj)(const struct map *m, void *obj);
/*
 * Called when an element of a hash of maps has its place in shared memory and is not in the table yet: other
 * processes come to have it there. Set once by src/bpf.
 */
extern void (*map_objs_placed)(struct map *m);

/* Gives back an object that was in a value; lets go of `mod` when the map ends. Set by src/module. */
extern void (*map_kptr_drop)(const struct map_kptr *k, void *obj);
extern void (*map_kptr_done)(const struct map_kptr *k);

/*
 * Timers, which src/helper runs: called when an element that holds the timer `id` goes, and when all
 * of a map's have to end. NULL until there are any.
 */
extern void (*map_timer_gone)(u64 id);
extern void (*map_timers_drop)(struct map *m);

/*
 * The words of bpf_spin_lock, in shared memory. They survive the death of a holder; a thread that
 * holds one already, or waits in vain for a second, goes on without.
 */
void map_spin_lock(_Atomic u32 *w);
void map_spin_unlock(_Atomic u32 *w);
/* Locks are held by threads: this one's storage may be a child's (vfork) until it asks again who it is. */
void map_self_forget(void);

/* ---- ring buffer, as helpers use it ------------------------------------------------------------ */

/* Layout of bpf(2)'s: consumer page, producer page, data; `size` is a power of two of pages. */
void *map_ringbuf_reserve(struct map *m, u64 size, u64 flags); /* NULL when full or too large */
void map_ringbuf_commit(void *record, u64 flags, bool discard); /* BPF_RB_NO_WAKEUP, _FORCE_WAKEUP */
int map_ringbuf_output(struct map *m, const void *data, u64 size, u64 flags);
/*
 * Before a wait: a record that the consumer stands before is thrown away if its producer is dead, and wakeups
 * are made that a producer could not make.
 */
void map_ringbuf_mend(struct map *m);
u64 map_ringbuf_query(struct map *m, u64 what);
/*
 * An eventfd that becomes readable when records were committed: epoll on the map's descriptor. Nobody
 * here reads it: whoever waits takes it edge-triggered or drains it, and looks at
 * map_ringbuf_query(m, BPF_RB_AVAIL_DATA) before it sleeps, as the kernel's poll does.
 */
int map_ringbuf_eventfd(struct map *m);
/* The eventfd that another process waits on, for a ring buffer that has none yet: true when it was taken. */
bool map_event_give(struct map *m, int fd);
int map_event_fd(struct map *m); /* that of a ring buffer of either direction; -1 */
/*
 * The user's mmap of a ring buffer: like mmap(2) on the kernel's, data twice in a row. Returns the
 * address or MAP_FAILED with errno.
 */
void *map_ringbuf_mmap(struct map *m, void *addr, size_t len, int prot, int flags, s64 off);
/*
 * May it be mapped so: 0, -EINVAL, -EPERM? A plain mmap(2) of the file, at the same offsets, then gives
 * records in one piece too; of a user ring buffer once it was made linear.
 */
int map_ringbuf_may_mmap(const struct map *m, size_t len, int prot, int flags, s64 off);

/*
 * Objects as elements in several processes: what is in shared memory is the id, at each of map_objs_count() places (0: a map
 * of anything else). Is that at i another one than `have`, the id of the object that is at i here (if there is one)? Then *id is it. map_objs_take() puts an object of this
 * process there (NULL: none), with a reference, and leaves shared memory as it is: false, and nothing is done, when
 * that says another id than `id` by now. map_objs_drop() takes away whatever is there.
 */
u32 map_objs_count(const struct map *m);
bool map_objs_stale(struct map *m, u32 i, u32 have, u32 *id);
bool map_objs_take(struct map *m, u32 i, void *obj, u32 id);
void map_objs_drop(struct map *m, u32 i);
/*
 * Has another process had it (it may have ended)? map_objs_share(): this process is one, before it looks at
 * elements, so that of who changes one and who looks at least one knows of the other.
 */
bool map_objs_shared(const struct map *m);
void map_objs_share(struct map *m);

/* ---- perf events: the elements of a perf event array ------------------------------------------- */

struct map_perf;

struct map_perf_attr {
	int kernel_fd;   /* an event of the kernel, which is only read; -1: a buffer of ours */
	s32 cpu;         /* -1: any */
	u64 sample_type; /* PERF_SAMPLE_* */
	bool watermark;  /* `wakeup` is in bytes, else in records; 0 is half the buffer */
	u32 wakeup;
};

/* -EOPNOTSUPP: a sample_type with what is not here. The kernel's descriptor is duplicated. */
int map_perf_create(const struct map_perf_attr *attr, struct map_perf **out);
void map_perf_free(struct map_perf *p);
/*
 * The buffer of another process behind a descriptor, which is the handle's on success: -EINVAL when it is none, or
 * is not mapped yet there, which decides its size.
 */
int map_perf_attach(int fd, struct map_perf **out);
bool map_perf_event_give(struct map_perf *p, int fd); /* as map_event_give */
int *map_perf_fd(struct map_perf *p);      /* the memfd or event, owned */
void **map_perf_owner(struct map_perf *p); /* the bpf(2) object it belongs to */
u64 map_perf_id(const struct map_perf *p); /* PERF_EVENT_IOC_ID */
bool map_perf_is_mapped(struct map_perf *p); /* has its size: others may attach it */
void map_perf_switch(struct map_perf *p, bool on);
void map_perf_pause(struct map_perf *p, bool pause);
/* The user's mmap, whose first call decides the size; MAP_FAILED with errno. */
int map_perf_may_mmap(struct map_perf *p, size_t len, int prot, int flags, s64 off); /* then mmap(2) of the file */
void *map_perf_mmap(struct map_perf *p, void *addr, size_t len, int prot, int flags, s64 off);
int map_perf_eventfd(struct map_perf *p); /* as map_ringbuf_eventfd */
void map_perf_mend(struct map_perf *p);   /* as map_ringbuf_mend: wakeups that are owed */
bool map_perf_pending(struct map_perf *p);
/* bpf_perf_event_output, bpf_perf_event_read_value; the caller is inside a program. */
struct map_perf_data {
	const void *at;
	u64 size;
	const void *more; /* behind it */
	u64 more_size;
};
int map_perf_output(struct map *m, u64 flags, const struct map_perf_data *data);
int map_perf_read(struct map *m, u64 flags, struct bpf_perf_event_value *value);

/* ---- user ring buffer --------------------------------------------------------------------------- */

/* Non-zero ends the drain after this record. The bytes are the user's, who may change them. */
typedef u64 (*map_sample_fn)(void *arg, void *sample, u32 size);
/*
 * Gives each record to `fn`: how many, or -EBUSY (somebody drains), -EINVAL (flags, or a record that
 * makes no sense), -E2BIG. mmap: map_ringbuf_mmap.
 */
s64 map_user_ringbuf_drain(struct map *m, map_sample_fn fn, void *arg, u64 flags);
/* An eventfd that is writable unless, before the last settle, the ring was full: before a wait. */
int map_user_ringbuf_eventfd(struct map *m);
/*
 * Its users map the file itself: records go on behind the end of the data instead of at its start.
 * Before anybody has mapped it; for good and in all processes.
 */
void map_user_ringbuf_make_linear(struct map *m);
bool map_user_ringbuf_is_linear(const struct map *m); /* false too for any other map */
void map_user_ringbuf_settle(struct map *m);

/* ---- stack traces ------------------------------------------------------------------------------- */

struct map_trace {
	const void *data; /* addresses, or struct bpf_stack_build_id */
	u32 size, nr;     /* bytes and entries */
	u32 hash;
};
/* The trace's number, or -EEXIST when another one has it (BPF_F_REUSE_STACKID: replaced). */
s64 map_stack_put(struct map *m, const struct map_trace *t, u64 flags);
u32 map_stack_depth(const struct map *m); /* entries of a trace */

/* ---- task-local storage ------------------------------------------------------------------------- */

/* By thread id. A value is there until its thread ends; -ENOENT: no such thread, or no value. */
void *map_task_lookup(struct map *m, u32 tid);
int map_task_update(struct map *m, u32 tid, const void *value, u64 flags);
int map_task_delete(struct map *m, u32 tid);

#endif
