/* SPDX-License-Identifier: MIT */
/* bpf(2) of the kernel by a system call instruction. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../../kernel_bpf.h"
#include "kernel.h"

long kernel_bpf(int cmd, union bpf_attr *attr)
{
	long ret;

	do
		ret = raw_bpf(cmd, attr, sizeof(*attr));
	while (ret == -EAGAIN && cmd == BPF_PROG_LOAD);
	return ret;
}

void kernel_close(long fd)
{
	if (fd >= 0)
		close((int)fd);
}

static char log_buf[1 << 20];

int kernel_run(u32 type, const struct bpf_insn *insns, u32 cnt, const void *packet, u32 size,
	       u32 *ret)
{
	union bpf_attr attr;
	bool verbose = getenv("FERRY_VERBOSE");
	long fd, err;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = type;
	attr.insns = (u64)(uintptr_t)insns;
	attr.insn_cnt = cnt;
	attr.license = (u64)(uintptr_t) "GPL";
	if (verbose) {
		attr.log_level = 1;
		attr.log_buf = (u64)(uintptr_t)log_buf;
		attr.log_size = sizeof(log_buf);
	}
	fd = kernel_bpf(BPF_PROG_LOAD, &attr);
	if (fd < 0) {
		size_t len = verbose ? strlen(log_buf) : 0;

		if (verbose)
			fprintf(stderr, "refused: %ld\n%s\n", fd,
				log_buf + (len > 600 ? len - 600 : 0));
		return (int)fd;
	}
	memset(&attr, 0, sizeof(attr));
	attr.test.prog_fd = (u32)fd;
	attr.test.data_in = (u64)(uintptr_t)packet;
	attr.test.data_size_in = size;
	attr.test.repeat = 1;
	err = kernel_bpf(BPF_PROG_TEST_RUN, &attr);
	kernel_close(fd);
	*ret = attr.test.retval;
	return (int)err;
}
