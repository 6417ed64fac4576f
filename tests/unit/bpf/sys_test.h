/* SPDX-License-Identifier: MIT */
/* What tests of bpf(2) share: the call, Ferry's or the kernel's, and small objects. */
#ifndef FERRY_SYS_TEST_H
#define FERRY_SYS_TEST_H

#include <linux/bpf.h>

#include "test.h"
#include "base/base.h"
#include "bpf/sys.h"

#define INSN(code_, dst, src, off_, imm_)                                                          \
	((struct bpf_insn){ .code = (code_),                                                       \
			    .dst_reg = (dst),                                                      \
			    .src_reg = (src),                                                      \
			    .off = (off_),                                                         \
			    .imm = (imm_) })
#define MOV(dst, imm) INSN(BPF_ALU64 | BPF_MOV | BPF_K, dst, 0, 0, imm)
#define EXIT()        INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define PTR(p)        ((u64)(uintptr_t)(p))
#define END_OF(field) (offsetof(union bpf_attr, field) + sizeof(((union bpf_attr *)0)->field))

/* Who answers: sys_bpf, or the machine's kernel. Both return -errno. */
typedef long (*bpf_fn)(int cmd, void *attr, unsigned int size);
long kernel_bpf(int cmd, void *attr, unsigned int size);
bool kernel_works(void);

int make_map(bpf_fn bpf, u32 type, u32 key, u32 value, u32 max, u32 flags);
/* Loads instructions as a program of `type`, licence GPL. */
int load_insns(bpf_fn bpf, u32 type, const struct bpf_insn *insns, u32 cnt);
int make_prog(bpf_fn bpf, u32 type); /* r0 = 2; exit */
int make_btf(bpf_fn bpf);            /* 1: int; 2: func_proto; 3: func main; 4: struct value */
u32 count_fds(void);

#endif
