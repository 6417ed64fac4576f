/* SPDX-License-Identifier: MIT */
/*
 * bpf(2) for processes that enter the kernel without libc: static binaries, Go. A seccomp filter
 * hands their system calls to `ferry exec`, which answers them on their behalf.
 */
#ifndef FERRY_REMOTE_H
#define FERRY_REMOTE_H

#include <sys/types.h>

#include "base/base.h"

/* In the process to be served, before it runs the command: a listener's descriptor, or -errno. */
int sys_remote_filter(void);
/* Answers what comes over a listener until nobody is left who has the filter. */
void sys_remote_serve(int listener);

/* The process whose call this thread answers; NULL: its own. Memory and descriptors are there. */
struct sys_remote {
	int listener;
	u64 id; /* of the request */
	pid_t pid;
};
extern _Thread_local struct sys_remote *sys_remote __attribute__((tls_model("initial-exec")));

int sys_remote_copy(void *local, u64 addr, size_t n, bool write); /* 0 or -EFAULT */
s64 sys_remote_string(char *dst, u64 addr, size_t n);
/* A descriptor of that process, here: to be closed; -1. */
int sys_remote_fd(int fd);
/* A descriptor for it, made of ours: its number there, or -errno. */
int sys_remote_give(int fd, bool cloexec);

#endif
