/* SPDX-License-Identifier: MIT */
/* Private to src/btf. */
#ifndef FERRY_FBTF_INT_H
#define FERRY_FBTF_INT_H

#include "btf/fbtf.h"

/* A libbpf BTF from bytes that were checked or made here: 0, -ENOMEM, -EINVAL. */
int fbtf_open(const void *data, u32 size, struct btf *base, struct btf **out);

#endif
