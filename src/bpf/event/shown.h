/* SPDX-License-Identifier: MIT */
/* Objects as programs of iterators see them: the types of btf/vmlinux_bpf.def under names of our own. */
#ifndef FERRY_SHOWN_H
#define FERRY_SHOWN_H

#include <linux/bpf.h>
#include <sys/types.h>

#include "base/base.h"

typedef struct {
	s64 counter;
} shown_atomic64;
typedef struct {
	struct {
		s32 counter;
	} refs;
} shown_refcount;

#define TYPES(...)     __VA_ARGS__
#define atomic64_t     shown_atomic64
#define refcount_t     shown_refcount
#define bpf_iter_meta  shown_meta
#define seq_file       shown_seq
#define btf            shown_btf
#define bpf_map        shown_map
#define bpf_array      shown_array
#define bpf_prog_aux   shown_prog_aux
#define bpf_prog       shown_prog
#define bpf_link       shown_link
#include "btf/vmlinux_bpf.def"
#undef TYPES
#undef atomic64_t
#undef refcount_t
#undef bpf_iter_meta
#undef seq_file
#undef btf
#undef bpf_map
#undef bpf_array
#undef bpf_prog_aux
#undef bpf_prog
#undef bpf_link

#endif
