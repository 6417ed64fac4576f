/* SPDX-License-Identifier: MIT */
/* What the parts of this client share: bpf(2) as libc's syscall() makes it, small objects, one line a fact. */
#ifndef DESCRIPTORS_H
#define DESCRIPTORS_H

#include <errno.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PTR(p) ((uint64_t)(uintptr_t)(p))
#define INSN(code_, dst, src, off_, imm_)                                                                              \
	((struct bpf_insn){ .code = (code_), .dst_reg = (dst), .src_reg = (src), .off = (off_), .imm = (imm_) })
#define MAP_FD(reg, fd) INSN(BPF_LD | BPF_IMM | BPF_DW, reg, BPF_PSEUDO_MAP_FD, 0, fd), INSN(0, 0, 0, 0, 0)
#define MOV(reg, imm)	INSN(BPF_ALU64 | BPF_MOV | BPF_K, reg, 0, 0, imm)
#define CALL(helper)	INSN(BPF_JMP | BPF_CALL, 0, 0, 0, helper)
#define EXIT()		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)

enum kind { MAP, PROG, BTF, LINK };

long bpf(int cmd, union bpf_attr *attr); /* -errno */
int make_map(uint32_t type, uint32_t key, uint32_t value, uint32_t entries, uint32_t flags);
int load(uint32_t type, const struct bpf_insn *insns, uint32_t cnt);
int make_prog(void);		    /* XDP, returns 2 */
int make_sender(int ring, int flags); /* XDP: one record of eight bytes */
int make_btf(void);
int make_link(int *prog); /* on a clock that does not run */
uint32_t id_of(int fd);
bool exists(enum kind kind, uint32_t id);
long update(int map, uint32_t key, uint64_t value);
long lookup(int map, uint32_t key, uint64_t *value);
long run(int prog); /* what it returns */
void say(const char *what, long result);

void lifetimes(void);
void memory(void);
void waiting(void);
void texts(void);
int passing(int argc, char **argv);

#endif
