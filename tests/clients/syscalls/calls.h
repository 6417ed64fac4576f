/* SPDX-License-Identifier: MIT */
/* What calls.bpf.c writes down. */
#ifndef CALLS_H
#define CALLS_H

enum { RAW_ENTER, RAW_EXIT, TP_ENTER, TP_EXIT, ONE_ENTER, ONE_EXIT, FUNC_ENTER, FUNC_EXIT, KINDS };

struct call {
	int kind;
	unsigned int tid;
	long nr, orig, ret;
	unsigned long args[6];
	unsigned int nargs;
	int sane; /* the registers agree with one another */
};

#endif
