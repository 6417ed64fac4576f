/* SPDX-License-Identifier: MIT */
/* Plug-in tables (ops.c), as loading programs and maps uses them. */
#ifndef FERRY_BPF_OPS_H
#define FERRY_BPF_OPS_H

#include "bpf/sys_int.h"

/* A program that implements a member: its arguments' types into p->args. 0, -ENOTSUP, -EINVAL. */
int ops_prog(const union bpf_attr *attr, struct prog *p, struct text *why);
/* A map whose value is the struct `value_id`. 0, -ENOTSUP (not registered), -EINVAL. */
int ops_map(struct sys_map *sm, u32 value_id, u32 value_size);
/* Puts the map's table in place: -EBUSY when it is there, or from inside; -EINVAL, -E2BIG, -ENOMEM. */
int ops_update(struct sys_map *sm, const void *key, const void *value, u64 flags);
/*
 * Maps made with OPS_F_LINK are put in place by their link: ops_update() only makes them ready. 0, -EINVAL (not
 * such a map, or not ready, or of another table), -EBUSY (one is in place, or from inside), -ENOLINK.
 */
#define OPS_F_LINK 0x2000u              /* BPF_F_LINK */
#define OPS_ATTACH_TYPE 44u             /* BPF_STRUCT_OPS */
#define OPS_LINK_TYPE 9u                /* BPF_LINK_TYPE_STRUCT_OPS: these are of Linux 6.4 */
int ops_link(struct sys_map *sm);
int ops_link_update(struct sys_map *old, struct sys_map *sm);
void ops_unlink(struct sys_map *sm);
void ops_map_free(struct sys_map *sm);
int ops_delete(struct sys_map *sm); /* takes it away again; -ENOENT, -EBUSY */

#endif
