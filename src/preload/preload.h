/* SPDX-License-Identifier: MIT */
/*
 * Interposition: libc's syscall, mmap, epoll_ctl, close, open... answer for bpf(2) and Ferry's
 * files and leave everything else alone. One table of hooks, put in place by patching the import
 * tables of loaded objects (linked, dlopen'ed) or by exporting the names (libferry-preload.so).
 */
#ifndef FERRY_PRELOAD_H
#define FERRY_PRELOAD_H

#include "base/base.h"

/*
 * Patches the import tables of every object loaded now, once each; again after dlopen. 0 or -errno.
 * Does nothing with FERRY=off.
 */
int preload_hook(void);
/*
 * Takes the hooks out of all import tables: slots hold again what they held. Threads that are inside a
 * hook leave it in their own time. preload_off() is true from then on, until preload_hook_again(). 0,
 * -EPERM: some slot cannot be written.
 */
int preload_unhook(void);
int preload_hook_again(void);
bool preload_off(void);
void preload_init(void); /* finds libc's functions, once; hooks need them */

/* For libferry-preload.so: the hook of that name, or with FERRY=off libc's function. Not public. */
__attribute__((visibility("default"))) void *ferry_preload_find(const char *name);
/* This process becomes a member of its session. Not public. */
__attribute__((visibility("default"))) void ferry_preload_start(void);

#endif
