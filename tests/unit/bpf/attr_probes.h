/* SPDX-License-Identifier: MIT */
/*
 * Valid attrs of every command and what they work on, for tests that spoil them field by field:
 * against the kernel, or by themselves.
 */
#ifndef FERRY_ATTR_PROBES_H
#define FERRY_ATTR_PROBES_H

#include "sys_test.h"

/* What commands work on; one set made by each side. */
struct world {
	bpf_fn bpf;
	int array, hash, prog, btf, xdp, perf, raw;
	u32 map_id, prog_id, btf_id;
	u8 key[64], value[4096], data[256], ctx[256], out[4096], log[65536], info[256];
	u32 token;
	struct bpf_insn insns[2];
};

void world_make(struct world *w, bpf_fn bpf);
void world_end(struct world *w);
/* What calls before have written and read differs by the order of the hash: gone. */
void world_again(struct world *w);

struct probe {
	const char *name;
	int cmd;
	void (*fill)(struct world *w, union bpf_attr *a);
	/*
	 * Words (of four bytes) left alone: ids that may exist on one side, sizes that would make
	 * the kernel take gigabytes, names (it lets Latin-1 letters through), devices, and where
	 * kernels newer than the 6.1 that Ferry follows differ.
	 */
	int skip[16];
};
extern const struct probe probes[];
extern const u32 nprobes;

bool probe_skips(const struct probe *p, int word);
bool probe_makes_fd(const struct probe *p);
/* The call; what it gave is closed. Success of any kind is 0: descriptors and ids differ. */
long probe_outcome(struct world *w, const struct probe *p, union bpf_attr *a, u32 size);

#endif
