/* SPDX-License-Identifier: MIT */
/* The tables of objects (object.c), and their descriptors: the program's (descriptor.c) and Ferry's own (own_fd.c). */
#ifndef FERRY_OBJECT_INT_H
#define FERRY_OBJECT_INT_H

#include <sys/syscall.h>
#include <sys/types.h>

#include "bpf/sys_int.h"
#include "code/code.h"

/* Held for look-ups only: never while an object is made or freed. The thread counts as inside meanwhile. */
void sys_tables_lock(void);
void sys_tables_unlock(void);
extern struct hash sys_by_ino; /* inode -> object */

/* The process whose objects these are: a child of vfork(2) shares its memory. */
extern pid_t sys_pid;
/* None of the program's system calls, as events have it. */
static inline pid_t sys_pid_now(void)
{
	return (pid_t)code_syscall(SYS_getpid, 0, 0, 0, 0, 0);
}

/* Of Ferry's own: the host cannot close it. Under the lock. */
int sys_fd_protect(int fd);
void sys_fd_unprotect(int fd);

#endif
