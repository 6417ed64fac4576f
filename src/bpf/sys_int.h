/* SPDX-License-Identifier: MIT */
/* Inside src/bpf: the objects of each kind, user memory, and the commands. */
#ifndef FERRY_SYS_INT_H
#define FERRY_SYS_INT_H

#include "bpf/session/share.h"
#include "bpf/sys.h"
#include "btf/fbtf.h"
#include "map/map.h"
#include "module/module.h"

#define SYS_ENOTSUPP 524 /* the kernel's ENOTSUPP: what test runs of other types say */
#define SYS_MAX_MAPS 64  /* maps of one program, as the kernel's MAX_USED_MAPS */

struct sys_map {
	struct sys_obj o;
	struct map *map;
	struct sys_btf *btf; /* referenced; NULL */
	struct ferry_ops_table *ops; /* of a map of a plug-in table (ops.c) */
	struct impl *ops_ready;      /* what its link puts in place; NULL */
	_Atomic bool modes;  /* some descriptor is read-only or write-only */
	_Atomic bool remembered; /* by number (fast.c) */
	_Atomic bool inner;  /* was an element: programs may have its address */
	/*
	 * A prog array holds, and is used by, programs of one kind only, fixed by the first: a tail
	 * call hands the context on unseen. 0: nobody yet, else 1 + type + 65536 * jited.
	 */
	_Atomic u32 owner;
};

struct sys_btf {
	struct sys_obj o;
	struct btf *btf;
	const void *raw;
	u32 raw_size;
	bool owned, kernel; /* owned: btf and raw are freed with the object */
	struct module *mod; /* referenced; NULL: not a module's */
};

#define SYS_TRACEPOINT_TYPE "btf_trace_" /* in front of a raw tracepoint's name: what BTF calls its type */

struct sys_prog {
	struct sys_obj o;
	struct prog *p;
	struct sys_btf *btf;   /* referenced; NULL */
	struct sys_map **maps; /* referenced: those of p->maps, then those bound later */
	u32 nmaps;
	u8 tag[BPF_TAG_SIZE];
	bool jited;
	void *func_info, *line_info; /* struct bpf_func_info, struct bpf_line_info; checked */
	u32 nfunc_info, nline_info;
	void *file; /* what its memfd is to hold, until it does (progfile.c) */
	size_t file_size;
	u32 want_id; /* that it has in another process; 0 */
	struct sys_btf *attach_btf; /* referenced: of attach_btf_id, what it is for (target.c); NULL */
	u32 attach_btf_id;
};

/*
 * A program's memfd: this, then instructions with their references as indices, struct bpf_func_info,
 * struct bpf_line_info, the maps, the natives (progfile.c). Another user of it trusts none of it.
 */
#define SYS_PROG_MAGIC "FERRYPRG"
#define SYS_BTF_MAGIC  "FERRYBTF" /* a BTF object's: this, then the BTF */
struct prog_file_ref {
	u64 dev, ino;
};
struct prog_file {
	char magic[8];
	u32 type, attach_type, flags, gpl;
	u32 insn_cnt, nfuncs, nlines, nmaps, nnatives, id;
	struct prog_file_ref btf; /* inode 0: none */
	char name[BPF_OBJ_NAME_LEN];
	u8 tag[BPF_TAG_SIZE];
	char target_module[64], target_func[128]; /* what it is put on by BTF; "": nothing */
};
struct prog_file_native {
	char module[64], func[128];
};

/* ---- user memory (attr.c): an address may be bad at any time -------------------------------- */

int sys_in(void *dst, u64 addr, size_t n);        /* 0 or -EFAULT */
int sys_out(u64 addr, const void *src, size_t n); /* 0 or -EFAULT */
/* A string: its length with the NUL, at most n (then there may be none), or -EFAULT. */
s64 sys_in_string(char *dst, u64 addr, size_t n);
/* A copy of n bytes: 0, -EFAULT, -ENOMEM; n == 0 gives NULL. Freed with base_free. */
int sys_dup(u64 addr, size_t n, void **out);
/*
 * A struct from a caller of another age: `known` bytes are ours, `size` the caller's. More than a
 * page or unknown bytes that are not zero: -E2BIG. Smaller ones are filled with zeros.
 */
int sys_in_struct(void *dst, size_t known, u64 addr, u32 size);
int sys_tail_zero(u64 addr, size_t known, size_t size); /* the check alone */

/*
 * The log that a command's caller gave: never written past its end. Of one that does not fit the end
 * is kept, with BPF_LOG_FIXED the start: bpf(2)'s contract since Linux 6.4.
 */
#define SYS_LOG_FIXED 8u /* BPF_LOG_FIXED */
struct sys_log {
	u32 level, size;
	u64 buf; /* 0: only the size is wanted */
	struct text text;
};
int sys_log_begin(struct sys_log *log, u32 level, u64 buf, u32 size); /* 0 or -EINVAL */
/*
 * Gives the text to the caller, and the bytes that all of it takes to `true_size`, its address or 0:
 * `err`, or -ENOSPC, -EFAULT when the log could not be given whole.
 */
int sys_log_end(struct sys_log *log, int err, u64 true_size);
/* Where the caller's attr has the field log_true_size, which older headers lack; 0: it does not. */
static inline u64 sys_log_field(u64 uattr, u32 size, u32 offset)
{
	return size >= offset + sizeof(u32) ? uattr + offset : 0;
}
#define SYS_PROG_TRUE_SIZE 140 /* of BPF_PROG_LOAD's */
#define SYS_BTF_TRUE_SIZE 28   /* of BPF_BTF_LOAD's */

/* ---- objects (object.c), their descriptors (descriptor.c) --------------------------------------- */

/* A memfd with these bytes; close-on-exec. */
int sys_memfd(const char *name, const void *head, size_t head_size, const void *data, size_t size);
/* Its bytes are final. An object's are so once it is in the tables: before, nobody may adopt it. */
void sys_seal(int fd);
/*
 * Enters an object, filled but for inode, into the tables; refs is then 1, the caller's. An id that
 * is set already is kept when it is free. -EEXIST: the file is an object already.
 */
int sys_obj_add(struct sys_obj *o, int kind, int fd);
/* A number for an object whose file is to hold it; 0: sys_obj_add() gives it one. */
u32 sys_obj_number(int kind);
/* A new descriptor for it: BPF_F_RDONLY or BPF_F_WRONLY in flags; -errno. */
int sys_fd_new(struct sys_obj *o, u32 flags);
/* Each object, with a reference for the moment. */
void sys_obj_each_any(void (*fn)(struct sys_obj *o, void *arg), void *arg);
struct sys_obj *sys_id_get(int kind, u32 id); /* with a reference; NULL */
/*
 * The object of another process behind a descriptor, with a reference; NULL. The descriptor stays
 * the caller's. `kind` and `id` are wishes (adopt.c).
 */
struct sys_obj *sys_adopt(int fd, u32 kind, u32 id);
/* What others need to adopt it as well, borrowed: how many, at most `max`. */
u32 sys_obj_needs(const struct sys_obj *o, struct sys_obj **needs, u32 max);
u32 sys_id_next(int kind, u32 id);            /* the smallest above `id`, 0 when there is none */
/* The same two, of all processes of the session (ids.c). */
u32 sys_any_next(int kind, u32 id);
struct sys_obj *sys_any_get(int kind, u32 id);
/* Why there is no object of ours behind it: -EBADF when it is not open at all, else -EINVAL. */
int sys_fd_error(int fd);
/* May the descriptor be used so? BPF_F_RDONLY, BPF_F_WRONLY: what is wanted. 0 or -EPERM. */
int sys_fd_mode(const struct sys_map *m, int fd, bool write);
int sys_name_copy(char dst[BPF_OBJ_NAME_LEN], const char src[BPF_OBJ_NAME_LEN]);

void sys_map_free(struct sys_obj *o);
void sys_prog_free(struct sys_obj *o);
void sys_btf_free(struct sys_obj *o);
void sys_stats_free(struct sys_obj *o);

/* Events that run programs (event.c): a descriptor, -ENOSYS when it is the kernel's, or -errno. */
struct perf_event_attr;
long sys_event_open(const struct perf_event_attr *attr, s32 pid, s32 cpu, u64 flags);
bool sys_event_ioctl(int fd, unsigned long request, unsigned long arg, long *ret);
void sys_perf_free(struct sys_obj *o);
void sys_iter_free(struct sys_obj *o);
void sys_obj_free(struct sys_obj *o); /* by its kind; its last reference is gone */

/* For what is rare and slow: lists of BTF, positions of batches. Taken before any other lock. */
void sys_slow_lock(void);
void sys_slow_unlock(void);

/*
 * Waits until every thread has left the program that it is in now (run.c). Inside a program itself
 * a thread must not wait: then sys_run_defer() takes the thing over and frees it when that is
 * left.
 */
void sys_run_init(void);
void sys_run_wait(void);
bool sys_run_inside(void); /* is this thread inside a program? */
bool sys_run_defer(struct sys_obj *o);
bool sys_run_later(struct sys_deferred *d, void (*free)(struct sys_deferred *d)); /* anything else */
/*
 * Calls the program at *at, read once the thread is inside, so that whoever puts NULL there and waits
 * may free it. False when there is none, when programs and native functions have called one another
 * SYS_MAX_DEPTH deep in this thread, or when a limit ended it: *ret is untouched then.
 */
#define SYS_MAX_DEPTH 64
bool sys_prog_call(struct prog *const _Atomic *at, const u64 *args, u64 *ret);
/* Calls a function of the program under its limits. The thread has entered (run_int.h); this leaves. */
void sys_run_callback(const struct prog *p, prog_callback cb, const u64 args[5]);
/*
 * limit.c: what the limits in force say of a verified program, before it is installed: 0, -ENOMEM,
 * -EINVAL (a call that could not be ended safely: the log says which).
 */
int sys_limit_apply(struct sys_prog *sp, struct text *log);
void sys_limit_report(const struct prog *p, u32 ended);
/* Does it use a module that was unregistered? */
bool sys_limit_gone(const struct prog *p);
/*
 * A module was unregistered: no program calls it any more when this returns. Those that used it end
 * where they would call it, or, where they could not end there, before they begin. Not from inside.
 */
void sys_limit_module_gone(void);
extern _Atomic u32 sys_stats_on; /* descriptors of BPF_ENABLE_STATS, and whoever looks (look.h) */
void sys_run_forked(void);

struct sys_call;

/* ---- commands on one element, short (fast.c) ------------------------------------------------ */

/* True: answered, *ret is the result. False: the long way is right. */
bool sys_bpf_fast(int cmd, const void *attr, u32 size, long *ret);
/* `begin` is sys_fast_begin() of before the descriptor was looked at. */
u32 sys_fast_begin(void);
void sys_fast_remember(int fd, struct sys_map *sm, u32 begin);
void sys_fast_gone(const struct sys_map *sm);
/* The map of a descriptor whose number is remembered, with a reference; NULL: sys_map_of() finds out. */
struct sys_map *sys_fast_map(int fd);

/* ---- programs and their references ---------------------------------------------------------- */

/* The map behind a descriptor with a reference on its object, or -EBADF, -EINVAL in *err. */
/* May these types describe key and value? The kernel's map_check_btf. */
int sys_map_check_btf(const struct map_attr *a, const struct btf *btf, u32 key_id, u32 value_id);
struct sys_map *sys_map_of(int fd, int *err);
/* Gives back the reference that an element of `m` was. */
void sys_map_drop(const struct map *m, void *obj);
/*
 * An element that is an object was changed (elems.c). `wait`: until other processes have it too. sys_elems_mapped(): a
 * buffer that is an element already can be adopted only now. sys_elems_say(): this process came to have the map;
 * true when its elements are still to be looked at.
 */
void sys_elems_changed(const struct sys_map *sm, bool wait);
void sys_elems_mapped(void);
void sys_elems_placed(struct map *m); /* map_objs_placed */
bool sys_elems_say(struct sys_map *sm);
bool sys_pinned(const struct sys_obj *o); /* has a name that this process gave it (pin.c) */
/* What BPF_MAP_UPDATE_ELEM does, with private copies of key and value; sys_elems_changed() is for the caller. */
int sys_map_set(struct sys_map *sm, const void *key, const void *value, u64 flags);
/* May `p` be in, or use, this prog array? The first one decides. */
bool sys_map_owner(struct sys_map *sm, const struct prog *p, bool jited);
/*
 * The last descriptor went: a prog array that only programs know any more lets go of its programs,
 * which may be the very ones that use it (the kernel's map_release_uref).
 */
void sys_map_unreachable(struct sys_map *sm);
/* What of the values belongs to the system, once m->btf_value_id is known: 0 or -errno. */
int sys_map_set_fields(struct map *m, const struct btf *btf);
int sys_event_of(struct sys_obj *o); /* its eventfd, made if need be; negative: nothing to wait for */
void sys_poll_gone(struct sys_obj *o); /* nobody waits for it any more */
struct map_perf *sys_perf_of(struct sys_obj *o);
void sys_perf_mapped(struct sys_obj *o); /* its first mmap(2), maybe */
int sys_pidfd(int fd, u32 *tid); /* 0, -EBADF (no pidfd), -ENOENT (it has ended) */
/* The buffer of another process, whose descriptor becomes the object's: 0 and referenced, or -errno. */
int sys_perf_from(int fd, u32 id, struct sys_obj **out);
int sys_perf_set(struct sys_map *sm, const void *key, int fd, u64 flags);
int sys_resolve(struct prog *p, struct sys_prog *sp, u64 fd_array, struct text *log);
int sys_func_info(struct sys_prog *sp, const union bpf_attr *attr, u64 uattr, struct text *log);
int sys_line_info(struct sys_prog *sp, const union bpf_attr *attr, u64 uattr, struct text *log);
/* BPF_PROG_LOAD for a program whose memfd is there already: 0 and referenced, or -errno. */
int sys_prog_load_from(struct sys_call *c, int fd, u32 id, struct sys_obj **out);
int sys_prog_record(struct sys_prog *sp);
/* What a tracing program is put on, by its BTF, into sp and p->args (target.c): 0, -EINVAL, -ENOMEM. */
int sys_target(struct sys_prog *sp, const union bpf_attr *attr, struct text *why);
struct sys_obj *sys_pin_get(const char *real); /* what is pinned at a path of the session: referenced; NULL */
int sys_btf_from(int fd, const void *file, size_t size, u32 id, struct sys_obj **out);
/* A registered module's BTF, and a function of it: referenced; NULL. */
struct sys_obj *sys_native_find(const char *module, const char *func, u32 *id);
void sys_prog_tag(const struct bpf_insn *insns, u32 cnt, u8 tag[BPF_TAG_SIZE]);

/* Why a program that declares `name` as a __ksym does not load, and the nearest names. */
void sys_explain_ksym(const char *name, struct text *out);

/*
 * What can be probed of the kernel, and functions and variables of modules, as /proc/kallsyms lists
 * symbols: there libbpf looks for `extern const void x __ksym`, bcc for system calls' names. Freed with base_free; NULL without memory.
 */
void *sys_kallsyms(u32 *size);

/* Brings ids of vmlinux (1) and of registered modules up to date: 0 or -errno. */
int sys_btf_sync(void);
/* The bytes of "vmlinux" or of a module's BTF; freed with base_free. NULL: there is none. */
void *sys_btf_copy(const char *name, u32 *size);
struct sys_obj *sys_btf_named(const char *name); /* the same as an object, referenced; NULL */
int sys_btf_unregister(const char *name); /* a module, and its BTF with it; -ENOENT */

/*
 * mmap(2) by who is served, of a descriptor of its own: 0 when the kernel may do it as it is (and for any other
 * file), or -errno.
 */
long sys_remote_mmap(int fd, size_t len, int prot, int flags, s64 off);

void *sys_mounts(u32 *size); /* the text of /proc/mounts; NULL: the machine's (mounts.c) */

/* The text of /proc/PID/fdinfo/FD when that is an object of this process (fdinfo.c); NULL. */
void *sys_fdinfo(const char *path, u32 *size);

/* Is this a child of vfork(2), which has its parent's memory and descriptors of its own? */
bool sys_memory_is_lent(void);
/* trace_printk's lines go to whoever reads trace_pipe (files.c). */
void sys_trace_init(void);

/* ---- commands ------------------------------------------------------------------------------- */

struct sys_call {
	int cmd;
	union bpf_attr attr; /* the copy */
	u64 uattr;           /* the caller's, for results */
	u32 size;            /* as the caller said */
};

/* Writes back a field of the caller's attr. */
#define SYS_PUT(call, field, value)                                                                \
	({                                                                                         \
		__typeof__((call)->attr.field) put_ = (value);                                     \
		sys_out((call)->uattr + offsetof(union bpf_attr, field), &put_, sizeof(put_));     \
	})

#define CMD(number, handler, last) long sys_cmd_##handler(struct sys_call *c);
#include "bpf/cmd.def"
#undef CMD

#endif
