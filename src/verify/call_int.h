/* SPDX-License-Identifier: MIT */
/* A call of a helper being checked (call.c), its arguments (call_arg.c). */
#ifndef FERRY_CALL_INT_H
#define FERRY_CALL_INT_H

#include "verify/verify_int.h"

struct call {
	const struct helper_proto *h;
	const struct map *map; /* of the ARG_MAP argument */
	u32 map_index;
	u64 alloc_size;        /* ARG_CONST_SIZE */
	u64 max_size;          /* the largest ARG_SIZE */
	u32 release;           /* reference of ARG_ALLOC_MEM, ARG_SOCK_RELEASE */
	u32 sock;              /* of ARG_SOCK; 0 */
	struct reg var;        /* ARG_CPU_VAR */
	u32 slice;             /* id of ARG_DYNPTR */
	struct dynptr_of of;   /* the same, of a kfunc */
	bool kfunc;
	bool key_known;
	bool timer;            /* of ARG_TIMER, which map_index is the map of */
	u64 key;
	const struct map_kptr *kptr; /* ARG_KPTR */
};

/* Argument r as the prototype has it, which may fill *c. */
int vcall_arg(struct verifier *v, struct call *c, u32 r);
int vcall_kfunc_arg(struct verifier *v, struct call *c, u32 r);

#endif
