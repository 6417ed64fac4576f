/* SPDX-License-Identifier: MIT */
/*
 * Scenarios: bpf(2) called the same way on Ferry and on the kernel, what came back as text, and the
 * text that is right. The `unit` suite holds Ferry to it, the `kernel` suite the kernel: so that
 * the text is a fact and not an opinion.
 */
#ifndef FERRY_SCENARIO_H
#define FERRY_SCENARIO_H

#include "sys_test.h"

struct scenario {
	bpf_fn bpf;
	struct text out; /* what came back */
};

/* One line of what came back. */
#define SAY(s, ...) text_printf(&(s)->out, __VA_ARGS__)

int scenario_elem(struct scenario *s, int cmd, int fd, const void *key, void *value, u64 flags);
int scenario_map(struct scenario *s, u32 type, u32 key, u32 value, u32 max, u32 flags, int inner);
/* A program of text; map[0] and so on stand for the descriptors. Its log goes to stderr on failure.
 */
int scenario_prog(struct scenario *s, u32 type, const char *source, const int *maps, u32 nmaps);
/* BPF_PROG_TEST_RUN with 64 bytes of packet: what the program returns, or -errno. */
long scenario_run(struct scenario *s, int prog);

struct scenario_case {
	const char *name;
	void (*run)(struct scenario *s);
	const char *right;
};
/* main() of such a test: "kernel" as argument asks the kernel. */
int scenario_main(int argc, char **argv, const struct scenario_case *cases, u32 n);

#endif
