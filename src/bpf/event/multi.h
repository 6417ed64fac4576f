/* SPDX-License-Identifier: MIT */
/* Inside src/bpf: links on many functions, and what headers older than Linux 6.6 lack of them. */
#ifndef FERRY_MULTI_H
#define FERRY_MULTI_H

#include "bpf/event/attach.h"
#include "bpf/sys_int.h"

#define SYS_TRACE_UPROBE_MULTI     48 /* BPF_TRACE_UPROBE_MULTI */
#define SYS_LINK_TYPE_UPROBE_MULTI 12 /* BPF_LINK_TYPE_UPROBE_MULTI */

/* link_create.uprobe_multi, where link_create.kprobe_multi is. */
#define UPROBE_MULTI_AT offsetof(union bpf_attr, link_create.kprobe_multi)
struct uprobe_multi_attr {
	u64 path, offsets, ref_ctrs, cookies;
	u32 cnt, flags;
	s32 pid;
} __attribute__((packed));
_Static_assert(sizeof(struct uprobe_multi_attr) == 44, "cmd.def ends with pid");

/* What follows type, id and prog_id in struct bpf_link_info. */
struct kprobe_multi_info {
	u64 addrs;
	u32 count, flags;
	u64 missed, cookies;
};
struct uprobe_multi_info {
	u64 path, offsets, ref_ctrs, cookies;
	u32 path_size, count, flags, pid;
};
union multi_info {
	struct kprobe_multi_info kprobe;
	struct uprobe_multi_info uprobe;
};
struct sys_multi_info {
	u32 type, id, prog_id, pad;
	union multi_info of;
};

struct sys_multi {
	u32 cnt, flags;
	s32 pid;    /* 0: any */
	char *path; /* NULL: functions of the kernel */
	u64 *addrs; /* or offsets in the file */
	u64 *cookies, *ref_ctrs; /* NULL: none */
	struct sys_attached *at; /* cnt of them; NULL: the link is another process's */
};

/* BPF_LINK_CREATE: 0 and attached, or -errno. */
int multi_kprobe(struct sys_call *c, struct sys_prog *sp, struct sys_multi **out);
int multi_uprobe(struct sys_call *c, struct sys_prog *sp, struct sys_multi **out);
void multi_free(struct sys_multi *m); /* detaches; NULL is fine */
int multi_info(const struct sys_multi *m, const union multi_info *in, union multi_info *out);
/* As bytes behind a link's file, and from there, where another process may have written anything. */
void multi_save(const struct sys_multi *m, struct text *t);
int multi_load(const void *data, size_t size, bool user, struct sys_multi **out);

#endif
