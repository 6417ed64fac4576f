/* SPDX-License-Identifier: MIT */
/*
 * Who a process believes to be: some clients run for user 0 only, and ask nobody but getuid(2). Under
 * `ferry exec --root` (FERRY_ROOT) they hear 0; to the kernel, and so for files and other processes, they
 * are who they were. In a user namespace of their own, where they would be user 0, they
 * could not look at processes outside (ptrace(2), access mode checking).
 */
#include <stdlib.h>

#include "preload/preload_int.h"

static bool is_root(void)
{
	static int root = -1;

	if (root < 0)
		root = secure_getenv("FERRY_ROOT") != NULL;
	return root && !preload_off();
}

uid_t hook_getuid(void)
{
	return is_root() ? 0 : preload_real.getuid();
}

uid_t hook_geteuid(void)
{
	return is_root() ? 0 : preload_real.geteuid();
}

int hook_getresuid(uid_t *real, uid_t *effective, uid_t *saved)
{
	int ret = preload_real.getresuid(real, effective, saved);

	if (!ret && is_root())
		*real = *effective = *saved = 0;
	return ret;
}
