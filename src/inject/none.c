/* SPDX-License-Identifier: MIT */
/* Machines on which no running process can be entered yet. */
#include <errno.h>

#include "inject/inject.h"

int inject_begin(pid_t pid, u32 flags, u32 timeout_ms, struct inject **out, struct text *why)
{
	(void)pid, (void)flags, (void)timeout_ms, (void)out;
	text_puts(why, "running processes can be attached to on x86-64 only");
	return -ENOTSUP;
}

int inject_load(struct inject *in, const char *path, u64 *handle, struct text *why)
{
	(void)in, (void)path, (void)handle, (void)why;
	return -ENOTSUP;
}

int inject_call(struct inject *in, u64 handle, const char *name, const char *arg, u32 timeout_ms, s64 *result,
		struct text *why)
{
	(void)in, (void)handle, (void)name, (void)arg, (void)timeout_ms, (void)result, (void)why;
	return -ENOTSUP;
}

void inject_end(struct inject *in)
{
	(void)in;
}
