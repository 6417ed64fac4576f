/* SPDX-License-Identifier: MIT */
/*
 * Clients that run on Ferry and, with the argument "kernel" and FERRY=off, on the machine's kernel: the
 * same tests must pass on both.
 */
#ifndef EITHER_H
#define EITHER_H

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ferry/ferry.h>
#include <string.h>
#include <unistd.h>

#include "kernel_bpf.h"

/* Is it the kernel's turn, and the kernel has no bpf(2) for us or not this source of events? */
static inline bool no_kernel(int argc, char **argv, const char *source)
{
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 4,
				.max_entries = 1 };
	long fd;

	ferry_hook();
	if (argc < 2 || strcmp(argv[1], "kernel"))
		return false;
	fd = raw_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
	if (fd >= 0)
		close((int)fd);
	return fd < 0 || access(source, R_OK);
}

#endif
