/* SPDX-License-Identifier: MIT */
/* What test_limit.c and test_policy.c share: the module, objects, the log. */
#ifndef FERRY_LIMIT_TEST_H
#define FERRY_LIMIT_TEST_H

#include "test.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <ferry/ferry.h>

struct args {
	unsigned long n, done, ret;
};

extern char limit_log[4096]; /* messages since it was emptied */
void limit_setup(void);      /* the log, and the module */
void limit_module(void);
/* Opens limit.bpf.o with only the named programs to be loaded (NULL: all). */
struct bpf_object *limit_open(const char *const *programs);
struct bpf_object *limit_load(const char *program); /* and loads it: NULL when refused */
int limit_fd(struct bpf_object *o, const char *program);
unsigned long limit_run(int fd, struct args *a);

#endif
