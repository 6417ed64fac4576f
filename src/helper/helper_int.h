/* SPDX-License-Identifier: MIT */
/* The helpers' functions, named in helper.def, and what their files share. */
#ifndef FERRY_HELPER_INT_H
#define FERRY_HELPER_INT_H

#include "helper/helper.h"

#define HELPER(name, fn, ...) u64 fn(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5);
#include "helper/helper.def"
#define KFUNC(name, fn, ...) u64 fn(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5);
#include "helper/kfunc.def"
#undef KFUNC

/* A helper's function has five parameters, whatever it looks at. */
#pragma GCC diagnostic ignored "-Wunused-parameter"

/* An argument that is an address. */
static inline void *ptr(u64 a)
{
	return (void *)(uintptr_t)a;
}

#define HELPER_MAX_ARGS 12 /* of a format: MAX_BPRINTF_VARARGS of the kernel */
#define HELPER_LINE     1024

/* helper_format, but returns the length of the whole text, as snprintf does. */
s64 helper_format_full(char *out, size_t size, const char *fmt, size_t fmt_size, const u64 *args,
		       u32 n);
/* The arguments of a format, in program memory: checked sizes, copied. Their number or -EINVAL. */
int helper_args(u64 args[HELPER_MAX_ARGS], u64 at, u64 size);
/* What %p shows of an address: which are equal, and NULL. */
u64 helper_hide(u64 address);
/* The thread id of a task_struct, which may be anywhere: 0 when it cannot be read. */
u32 helper_task_pid(u64 task);
u32 helper_task_tgid(u64 task); /* its process's */
/* Room for so many bytes in front of the packet, which may move; false: there is none. */
bool helper_headroom(struct prog_pkt *p, u64 more);
void helper_trace_line(const char *msg); /* with the line's head, to wherever lines go */

#endif
