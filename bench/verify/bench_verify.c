/* SPDX-License-Identifier: MIT */
/*
 * Time to verify an instruction, on programs made here, against the machine's kernel loading the same ones (its
 * time includes its compiler; '-' where it has no bpf(2)).
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "../../tests/kernel_bpf.h"
#include "isa/isa.h"
#include "verify/verify.h"

#define ROUNDS 7
#define ALU64(op, src, d, s, i) { .code = BPF_ALU64 | (op) | (src), .dst_reg = (d), .src_reg = (s), .imm = (i) }

struct code {
	struct bpf_insn *insns;
	u32 cnt;
	size_t cap;
};

static void add(struct code *c, struct bpf_insn insn)
{
	c->insns = base_grow(c->insns, &c->cap, c->cnt + 1, sizeof(insn));
	if (!c->insns)
		exit(1);
	c->insns[c->cnt++] = insn;
}

static void finish(struct code *c)
{
	add(c, (struct bpf_insn){ .code = BPF_ALU64 | BPF_MOV | BPF_K });
	add(c, (struct bpf_insn){ .code = BPF_JMP | BPF_EXIT });
}

/* Arithmetic on a number nothing is known of, and the stack. */
static void straight(struct code *c)
{
	u32 i;

	add(c, (struct bpf_insn){ .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 2, .src_reg = 1 });
	for (i = 0; i < 20000; i++) {
		s16 off = (s16)(-8 - 8 * (s32)(i % 32));

		switch (i % 5) {
		case 0: add(c, (struct bpf_insn)ALU64(BPF_ADD, BPF_K, 2, 0, (s32)i)); break;
		case 1: add(c, (struct bpf_insn){ .code = BPF_STX | BPF_MEM | BPF_DW, .dst_reg = 10, .src_reg = 2, .off = off }); break;
		case 2: add(c, (struct bpf_insn)ALU64(BPF_MOV, BPF_X, 3, 2, 0)); break;
		case 3: add(c, (struct bpf_insn)ALU64(BPF_AND, BPF_K, 3, 0, 0xffff)); break;
		default: add(c, (struct bpf_insn)ALU64(BPF_XOR, BPF_X, 2, 3, 0)); break;
		}
	}
	finish(c);
}

/* A counting loop: every round is walked. */
static void loop(struct code *c)
{
	add(c, (struct bpf_insn)ALU64(BPF_MOV, BPF_K, 2, 0, 0));
	add(c, (struct bpf_insn)ALU64(BPF_ADD, BPF_K, 2, 0, 1));
	add(c, (struct bpf_insn)ALU64(BPF_MOV, BPF_X, 3, 2, 0));
	add(c, (struct bpf_insn)ALU64(BPF_LSH, BPF_K, 3, 0, 3));
	add(c, (struct bpf_insn){ .code = BPF_JMP | BPF_JLT | BPF_K, .dst_reg = 2, .off = -4, .imm = 50000 });
	finish(c);
}

/* Branches whose sides meet again: what pruning is for. */
static void branches(struct code *c)
{
	u32 i;

	add(c, (struct bpf_insn){ .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 6, .src_reg = 1 });
	for (i = 0; i < 2000; i++) {
		add(c, (struct bpf_insn)ALU64(BPF_MOV, BPF_X, 2, 6, 0));
		add(c, (struct bpf_insn)ALU64(BPF_RSH, BPF_K, 2, 0, (s32)(i % 31)));
		add(c, (struct bpf_insn){ .code = BPF_JMP | BPF_JSET | BPF_K, .dst_reg = 2, .off = 1, .imm = 1 });
		add(c, (struct bpf_insn)ALU64(BPF_XOR, BPF_K, 6, 0, (s32)i));
		add(c, (struct bpf_insn)ALU64(BPF_ADD, BPF_K, 6, 0, 1));
	}
	finish(c);
}

/* Branches in the last of eight functions, each of which fills its stack: states are as large as can be. */
static void deep(struct code *c)
{
	u32 f, i;

	for (f = 0; f < 8; f++) {
		u32 slots = f == 7 ? 8 : 7; /* 512 bytes of stack over all */

		for (i = 1; i <= slots; i++)
			add(c, (struct bpf_insn){ .code = BPF_STX | BPF_MEM | BPF_DW, .dst_reg = 10, .src_reg = 1, .off = (s16)(-8 * (s32)i) });
		add(c, (struct bpf_insn)ALU64(BPF_MOV, BPF_X, 6, 1, 0));
		if (f == 0)
			add(c, (struct bpf_insn){ .code = BPF_LDX | BPF_MEM | BPF_W, .dst_reg = 1, .src_reg = 1 });
		if (f < 7) {
			add(c, (struct bpf_insn){ .code = BPF_JMP | BPF_CALL, .src_reg = BPF_PSEUDO_CALL, .imm = 2 });
			finish(c);
		}
	}
	for (i = 0; i < 2000; i++) {
		add(c, (struct bpf_insn)ALU64(BPF_MOV, BPF_X, 2, 6, 0));
		add(c, (struct bpf_insn)ALU64(BPF_RSH, BPF_K, 2, 0, (s32)(i % 31)));
		add(c, (struct bpf_insn){ .code = BPF_JMP | BPF_JSET | BPF_K, .dst_reg = 2, .off = 1, .imm = 1 });
		add(c, (struct bpf_insn)ALU64(BPF_XOR, BPF_K, 6, 0, (s32)i));
		add(c, (struct bpf_insn)ALU64(BPF_ADD, BPF_K, 6, 0, 1));
	}
	finish(c);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static double kernel_time(const struct code *c)
{
	union bpf_attr a;
	double start = now();
	long fd;

	memset(&a, 0, sizeof(a));
	a.prog_type = BPF_PROG_TYPE_SOCKET_FILTER;
	a.insns = (u64)(uintptr_t)c->insns;
	a.insn_cnt = c->cnt;
	a.license = (u64)(uintptr_t)"GPL";
	fd = raw_bpf(BPF_PROG_LOAD, &a, sizeof(a));
	if (fd < 0)
		return 0;
	start = now() - start;
	syscall(SYS_close, fd);
	return start;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static int measure(const char *what, void (*make)(struct code *c))
{
	double ours[ROUNDS], theirs[ROUNDS], n;
	struct verify_opts opts = { 0 };
	struct verify_stats stats;
	struct code c = { 0 };
	int round;

	make(&c);
	for (round = 0; round < ROUNDS; round++) {
		struct prog *p = prog_new(c.insns, c.cnt);
		double start = now();

		p->type = BPF_PROG_TYPE_SOCKET_FILTER;
		if (verify_prog(p, &opts, &stats)) {
			fprintf(stderr, "bench_verify: %s was refused\n", what);
			return 1;
		}
		ours[round] = now() - start;
		prog_free(p);
		theirs[round] = kernel_time(&c);
	}
	qsort(ours, ROUNDS, sizeof(*ours), by_value);
	qsort(theirs, ROUNDS, sizeof(*theirs), by_value);
	n = stats.processed;
	printf("%-28s %8u %9.0f %9.1f", what, stats.processed, ours[ROUNDS / 2] / n,
	       (double)stats.peak_memory / 1e6);
	theirs[ROUNDS / 2] > 0 ? printf(" %9.0f %7.2fx\n", theirs[ROUNDS / 2] / n, ours[ROUNDS / 2] / theirs[ROUNDS / 2]) :
				 printf(" %9s %8s\n", "-", "-");
	base_free(c.insns);
	return 0;
}

int main(void)
{
	printf("%-28s %8s %9s %9s %9s %8s\n", "ns an instruction processed", "insns", "ferry", "peak MB", "kernel",
	       "ratio");
	return measure("straight code", straight) || measure("loop of 50,000 rounds", loop) ||
	       measure("2,000 branches", branches) ||
	       measure("2,000 branches, 8 frames", deep);
}
