/* SPDX-License-Identifier: MIT */
/* The machine's kernel as an oracle, by our own system calls: libc's may be answered by Ferry. */
#ifndef FERRY_FUZZ_KERNEL_H
#define FERRY_FUZZ_KERNEL_H

#include "isa/isa.h"

/* bpf(2): a descriptor, 0 or -errno. */
long kernel_bpf(int cmd, union bpf_attr *attr);
void kernel_close(long fd);

/* Loads as a program of a packet type and runs it once on a packet: 0 or -errno. */
int kernel_run(u32 type, const struct bpf_insn *insns, u32 cnt, const void *packet, u32 size,
	       u32 *ret);

#endif
