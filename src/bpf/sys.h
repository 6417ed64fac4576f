/* SPDX-License-Identifier: MIT */
/*
 * bpf(2) inside the process: objects, descriptors, ids, one file a command family. Behind the
 * system call's own interface and nothing else, so that clients need not know of Ferry.
 */
#ifndef FERRY_SYS_H
#define FERRY_SYS_H

#include <linux/bpf.h>

#include "base/base.h"
#include "prog/prog.h"

/*
 * bpf(2). `attr` is an address of the caller, maybe bad: it is copied once, safely. Returns a
 * descriptor, 0 or -errno.
 */
long sys_bpf(int cmd, void *attr, unsigned int size);

enum sys_kind { SYS_MAP = 1, SYS_PROG, SYS_BTF, SYS_LINK, SYS_STATS, SYS_PERF, SYS_EVENT, SYS_ITER, SYS_KINDS };

/* Something to be freed when the program that let go of it is left (run.c). */
struct sys_deferred {
	struct sys_deferred *next;
	void (*free)(struct sys_deferred *d);
};

/* An object behind a descriptor. */
struct sys_obj {
	u8 kind;          /* enum sys_kind */
	bool has_fd;      /* some descriptor was given out and is not known to be gone */
	bool seen;        /* during a sweep */
	bool published;   /* others of the session can find it (share.h) */
	bool announced;   /* the broker knows that this process has it, for its elements (elems.c) */
	bool remote;      /* descriptors were given to processes that are served (remote.h) */
	u32 id;           /* unique in its kind */
	_Atomic u32 refs; /* all descriptors count as one; others are programs, maps, links */
	int fd;       /* the object's own memfd; what is given out are duplicates; close-on-exec */
	u64 dev, ino; /* of the memfd: how a descriptor is recognised */
	char name[64];
	u64 load_time; /* ns since boot */
	u32 uid;
	struct sys_deferred deferred;
	struct sys_obj *next_gone; /* during a sweep */
};

/*
 * The object behind a descriptor of this process, with a reference: NULL when it is none of ours or
 * not of `kind` (0: any). Right after close, dup and reuse: the descriptor is looked at each time.
 */
struct sys_obj *sys_fd_get(int fd, u32 kind);
void sys_put(struct sys_obj *o);
bool sys_strict(bool on); /* programs that this thread loads (verify.h); what was set before */
struct map *sys_fd_map(int fd);   /* with a reference on the map: map_put; NULL */
struct prog *sys_fd_prog(int fd); /* with a reference on its object: sys_prog_put */
void sys_prog_put(struct prog *p);
bool sys_fd_is_ours(int fd);

/*
 * Closing is in two steps, so that of two threads that close the last two descriptors one sees that
 * none is left: the object whose descriptor `fd` is (NULL: not ours), then, after close(2), whether
 * others exist; without any the object loses its reference. sys_fd_internal() says that `fd` is
 * Ferry's own and not the host's to close.
 */
bool sys_fd_watched(void); /* is there anything to watch for, in this process and thread? */
struct sys_obj *sys_fd_closing(int fd);
void sys_fd_closed(struct sys_obj *o);
/* A descriptor is about to be, or was just, closed or replaced: both times. */
void sys_fast_forget(int fd);
void sys_fast_forget_range(u32 first, u32 last);
bool sys_fd_internal(int fd);
bool sys_fd_any_internal(void); /* is there one, and this thread not inside? */
unsigned int sys_fd_next_internal(unsigned int fd); /* the first not below `fd`; ~0u: none */
void sys_fd_sweep(void); /* after many were closed: objects without descriptors go */
/* Code that `ferry attach` and `ferry detach` mapped for the moment: its calls are nobody's. 0: none. */
extern u64 sys_visitor;
/* How many objects there are: with none, no descriptor can be ours. */
extern _Atomic u32 sys_objects;

/*
 * Above 0 while this thread is inside Ferry: its own use of close(2), mmap(2)... is not the host's,
 * and the hooks of src/preload let it through. Entry points that may use them raise it.
 */
extern _Thread_local int sys_inside __attribute__((tls_model("initial-exec")));
/* As much of it is a fork(2) of the program's, for whose time locks are held. */
extern _Thread_local int sys_inside_fork __attribute__((tls_model("initial-exec")));

/*
 * Runs a program with accounting (BPF_ENABLE_STATS), as every event does. While it runs no program
 * that it may reach by tail call is freed.
 */
u64 sys_prog_run(const struct prog *p, void *ctx, u64 cookie);
/* The same with all that helpers may know of the event. */
struct helper_run;
u64 sys_prog_run_as(const struct helper_run *how);
/* The same at an address of code, which bpf_get_func_ip() tells. */
u64 sys_prog_run_at(const struct prog *p, void *ctx, u64 cookie, u64 func_ip);

/* Files that libbpf and tools read: contents for `path`, or NULL. Caller frees with base_free. */
void *sys_file(const char *path, size_t *size);
/*
 * Is `path` a file that Ferry answers for, and then a descriptor to read it (flags: O_CLOEXEC and
 * O_NONBLOCK count)? -ENOENT otherwise. trace_pipe's reads block until a program prints.
 */
int sys_file_open(const char *path, int flags);
bool sys_file_known(const char *path);
const char *sys_fd_link(const char *path);
const char *sys_fd_link_of(const char *path, const char *text, size_t n);

/*
 * The descriptor to wait on when `fd` is a ring or perf buffer: an eventfd, as its memfd is always
 * ready. -1 when it is none. Eventfds stay readable after the records were read, unlike the kernel's
 * poll: called before a wait, sys_ringbuf_settle() empties those of buffers that hold nothing.
 * *never: events of poll(2) that an eventfd has and the buffer has not. `level`: as poll(2) asks, what is
 * there counts, whether or not it woke anybody; a set of epoll(7) is told of wake-ups only.
 */
int sys_ringbuf_poll(int fd, u32 *never, bool level);
void sys_ringbuf_settle(void);

/*
 * perf_event_open(2): -ENOSYS when the event is not one that Ferry answers for (attr of
 * PERF_COUNT_SW_BPF_OUTPUT), and ioctl(2) of such an event: true when *ret (0 or -errno) is the answer.
 */
long sys_perf_open(const void *attr, s32 pid, s32 cpu, s32 group, u64 flags);
bool sys_perf_ioctl(int fd, unsigned long request, unsigned long arg, long *ret);

/*
 * mmap(2) of a map: true when `fd` is one and *ret, errno are the answer; false: mmap(2) itself is
 * right.
 */
bool sys_mmap(void *addr, size_t len, int prot, int flags, int fd, s64 off, void **ret);

/*
 * Iterators (BPF_ITER_CREATE): read(2) runs the program. sys_iters: how many there are. False: `fd` is none,
 * else *ret is the answer. sys_iter_fill() puts all of it into the file, for readers that cannot be
 * hooked. sys_iter_open(): a descriptor for the iterator that is pinned at `real`, a path in the
 * session's directory, already filled; -ENOENT: there is no iterator.
 */
extern _Atomic u32 sys_iters;
bool sys_iter_read(int fd, void *buf, size_t n, s64 *ret);
void sys_iter_fill(int fd);
int sys_iter_open(const char *real, int flags);

/*
 * Externs that kept a libbpf object from loading: sys_ksym_failed() notes one of the last load
 * (NULL: a load begins), sys_missing_ksyms() says for the object of the last load what would
 * be near, a line each, and how many.
 */
struct bpf_object;
void sys_ksym_failed(const struct bpf_object *obj, const char *name, size_t len);
int sys_missing_ksyms(const struct bpf_object *obj, struct text *out);

#endif
