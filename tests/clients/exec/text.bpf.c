/* SPDX-License-Identifier: MIT */
/* A program as one is written without any library: its text section is all that is taken of it. */
#include <linux/bpf.h>

static int (*trace_printk)(const char *fmt, int fmt_size, ...) = (void *)BPF_FUNC_trace_printk;

unsigned long prog(void);
unsigned long prog(void)
{
	char fmt[] = "Get";

	trace_printk(fmt, sizeof(fmt));
	return 0;
}
