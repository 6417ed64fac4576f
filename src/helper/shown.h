/* SPDX-License-Identifier: MIT */
/*
 * Files and areas of memory of processes as programs see them: the types of btf/vmlinux_files.def under names of our
 * own, filled with what /proc tells.
 */
#ifndef FERRY_HELPER_SHOWN_H
#define FERRY_HELPER_SHOWN_H

#include <sys/types.h>

#include "base/base.h"

typedef struct {
	u32 val;
} shown_id;
typedef struct {
	s64 counter;
} shown_count;
struct shown_time {
	s64 tv_sec;
	long tv_nsec;
};

#define TYPES(...)       __VA_ARGS__
#define dev_t            u32
#define umode_t          u16
#define fmode_t          u32
#define blkcnt_t         u64
#define loff_t           s64
#define kuid_t           shown_id
#define kgid_t           shown_id
#define atomic_long_t    shown_count
#define timespec64       shown_time
#define qstr             shown_qstr
#define vfsmount         shown_vfsmount
#define path             shown_path
#define fs_struct        shown_fs
#define mount            shown_mount
#define file_system_type shown_fs_type
#define super_block      shown_super
#define inode            shown_inode
#define file             shown_file
#define vm_area_struct   shown_area
#define kallsym_iter     shown_symbol
#include "btf/vmlinux_files.def"
#undef TYPES
#undef dev_t
#undef umode_t
#undef fmode_t
#undef blkcnt_t
#undef loff_t
#undef kuid_t
#undef kgid_t
#undef atomic_long_t
#undef timespec64
#undef qstr
#undef vfsmount
#undef path
#undef fs_struct
#undef mount
#undef file_system_type
#undef super_block
#undef inode
#undef file
#undef vm_area_struct
#undef kallsym_iter

/* A line of /proc/PID/maps (proc(5)). */
struct helper_area {
	u64 start, end, off; /* addresses, offset in the file */
	u64 inode;
	u32 dev;             /* as the kernel has it: major << 20 | minor */
	char perms[5];       /* "rwxp" */
	const char *name;    /* in the line: a path, [stack] and such, or nothing */
	size_t name_len;
};
/* False: that is no such line. Makes no system calls. */
bool helper_area_parse(struct helper_area *a, const char *line, const char *end);

/* That page is the kernel's, for all processes: listed as if it were an area of theirs. */
bool helper_area_is_gate(const struct helper_area *a);
/*
 * The areas of a process, in order, until `visit` says true: did it? Only system calls, so that handlers of signals may;
 * names are good as long as the visit.
 */
bool helper_areas(u32 tgid, bool (*visit)(void *arg, const struct helper_area *a), void *arg);

/* All that is shown of one file or area: one piece of memory, freed with base_free. */
struct helper_shown {
	struct shown_area area; /* where it is one */
	struct shown_file file;
	struct shown_inode inode;
	struct shown_super super;
	struct shown_vfsmount mnt;
	struct dentry dentries[]; /* from the file's name to the root; behind them the names */
};
/* Descriptor `fd` of a thread. NULL: there is none, it may not be looked at, no memory. */
struct helper_shown *helper_shown_fd(u32 tgid, u32 tid, u32 fd);
struct helper_shown *helper_shown_area(const struct helper_area *a); /* NULL: no memory */

#endif
