/* SPDX-License-Identifier: MIT */
/* lines WHO COUNT: a program that prints "line WHO N" by bpf_trace_printk(), for N from 1 to COUNT. */
#include <bpf/bpf.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <stdlib.h>

#define INSN(c, d, s, o, i) ((struct bpf_insn){ .code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) })

int main(int argc, char **argv)
{
	int map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "n", 4, 8, 1, NULL), who = argc > 2 ? atoi(argv[1]) : 0, prog;
	LIBBPF_OPTS(bpf_test_run_opts, run, .repeat = argc > 2 ? atoi(argv[2]) : 0);
	char packet[64] = { 0 };
	/* r4 = ++*value; trace_printk("line %d %d", 11, who, r4) */
	struct bpf_insn insns[] = {
		INSN(BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_VALUE, 0, map),
		INSN(0, 0, 0, 0, 0),
		INSN(BPF_LDX | BPF_MEM | BPF_DW, 4, 1, 0, 0),
		INSN(BPF_ALU64 | BPF_ADD | BPF_K, 4, 0, 0, 1),
		INSN(BPF_STX | BPF_MEM | BPF_DW, 1, 4, 0, 0),
		INSN(BPF_LD | BPF_DW | BPF_IMM, 5, 0, 0, 0x656e696c), /* "line" */
		INSN(0, 0, 0, 0, 0x20642520),			      /* " %d " */
		INSN(BPF_STX | BPF_MEM | BPF_DW, 10, 5, -16, 0),
		INSN(BPF_ST | BPF_MEM | BPF_DW, 10, 0, -8, 0x6425), /* "%d" */
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 1, 10, 0, 0),
		INSN(BPF_ALU64 | BPF_ADD | BPF_K, 1, 0, 0, -16),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, 11),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, who),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_trace_printk),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};

	prog = bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "lines", "GPL", insns, sizeof(insns) / sizeof(insns[0]), NULL);
	if (map < 0 || prog < 0 || argc != 3) {
		perror("lines");
		return 1;
	}
	run.data_in = packet;
	run.data_size_in = sizeof(packet);
	if (bpf_prog_test_run_opts(prog, &run)) {
		perror("run");
		return 1;
	}
	return 0;
}
