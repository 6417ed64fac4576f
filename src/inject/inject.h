/* SPDX-License-Identifier: MIT */
/*
 * Calling functions inside a running process: a library is brought into it and functions of that
 * library are called there, on a thread made for it. x86-64, glibc.
 *
 * One thread of the target is borrowed for some microseconds to make the new thread. Nothing that is
 * done to it needs us to finish: whenever this process is killed, the borrowed thread goes on where
 * it was, and the new thread ends by itself some seconds later.
 */
#ifndef FERRY_INJECT_H
#define FERRY_INJECT_H

#include <sys/types.h>

#include "base/base.h"

struct inject; /* a target with our thread in it */

enum inject_flag {
	INJECT_FORCE = 1 << 0, /* although it has seccomp filters that this process has not */
};

/*
 * Makes the thread in `pid`, within `timeout_ms` (time that the target takes to come to a point where
 * a thread can be borrowed). 0 with *out, to be given to inject_end; -ESRCH (no such process, or it
 * ended), -EPERM (it may not be traced), -EBUSY (another tracer has it, it is stopped, or it never
 * came to such a point), -ENOTSUP (32-bit, static, another C library...). `why` says more.
 */
int inject_begin(pid_t pid, u32 flags, u32 timeout_ms, struct inject **out, struct text *why);

/*
 * dlopen(3) there: *handle is for inject_call. `path` is a file here; where the target sees another
 * file system it gets the contents, and those of the libraries it needs. 0 or -errno with the reason.
 */
int inject_load(struct inject *in, const char *path, u64 *handle, struct text *why);

/*
 * Calls `long name(const char *arg, u64 area)` of the library there, `area` being where our code is, and waits for its result. 0, -ENOENT (no
 * such function), -ESRCH (the target ended), -ETIMEDOUT.
 */
int inject_call(struct inject *in, u64 handle, const char *name, const char *arg, u32 timeout_ms, s64 *result,
		struct text *why);

/* Ends the thread there, and frees what was mapped for it. */
void inject_end(struct inject *in);

#endif
