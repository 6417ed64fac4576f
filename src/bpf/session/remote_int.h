/* SPDX-License-Identifier: MIT */
/* Between the listener (remote.c) and the calls it answers (remote_call.c, remote_wait.c). */
#ifndef FERRY_REMOTE_INT_H
#define FERRY_REMOTE_INT_H

#include <linux/seccomp.h>
#include <poll.h>

#include "bpf/session/remote.h"

#define REMOTE_NOT_OURS (-4096L) /* the kernel's to carry out */
#define REMOTE_LATER	(-4097L) /* sys_remote_reply() will be called */

/* What comes of a call of sys_remote's: a result, -errno, or one of the two above. */
long sys_remote_answer(const struct seccomp_data *d);
void sys_remote_reply(int listener, u64 id, long ret);
pid_t sys_remote_process(void); /* whose thread sys_remote->pid is */

/* poll(2) of `n` at `addr`, `timeout` in milliseconds, negative: for ever (remote_wait.c). */
long sys_remote_poll(u64 addr, u64 n, s64 timeout);

#endif
