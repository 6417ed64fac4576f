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

enum sys_kind { SYS_MAP = 1, SYS_PROG, SYS_BTF, SYS_LINK };

/* An object behind a descriptor. */
struct sys_obj {
	u8 kind;          /* enum sys_kind */
	u32 id;           /* unique in its kind */
	_Atomic u32 refs; /* descriptors known here count as one; others are programs, maps, links */
	int fd;           /* the descriptor first given out is a duplicate of this memfd; close-on-exec */
	u64 ino;          /* of the memfd: how a descriptor is recognised */
	char name[64];
	u64 load_time;    /* ns since boot */
	u32 uid;
};

/*
 * The object behind a descriptor of this process, with a reference: NULL when it is none of ours or
 * not of `kind` (0: any). Right after close, dup and reuse: the descriptor is looked at each time.
 */
struct sys_obj *sys_fd_get(int fd, u32 kind);
void sys_put(struct sys_obj *o);
struct map *sys_fd_map(int fd);   /* with a reference on the map; NULL */
struct prog *sys_fd_prog(int fd); /* with a reference on its object: sys_prog_put */
void sys_prog_put(struct prog *p);
bool sys_fd_is_ours(int fd);

/* A descriptor is about to be closed by the host: objects without descriptors go. */
void sys_fd_closing(int fd);

/* Runs a program with accounting (BPF_ENABLE_STATS), as every event does. */
u64 sys_prog_run(const struct prog *p, void *ctx, u64 cookie);

/* Files that libbpf and tools read: contents for `path`, or NULL. Caller frees with base_free. */
void *sys_file(const char *path, size_t *size);

#endif
