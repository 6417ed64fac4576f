/* SPDX-License-Identifier: MIT */
/*
 * Hooks of resource limits. Clients raise RLIMIT_MEMLOCK before they load, since maps once counted
 * as locked memory, and many give up when they may not. Ferry's maps lock nothing: what the kernel
 * refuses for that limit is granted, and nothing changes.
 */
#include <errno.h>

#include "bpf/sys.h"
#include "preload/preload_int.h"

#define real preload_real

static int granted(int ret, __rlimit_resource_t what, int saved)
{
	if (!ret || what != RLIMIT_MEMLOCK || errno != EPERM || preload_off())
		return ret;
	errno = saved;
	return 0;
}

int hook_setrlimit(__rlimit_resource_t what, const struct rlimit *rl)
{
	int saved = errno;

	return granted(real.setrlimit(what, rl), what, saved);
}

int hook_setrlimit64(__rlimit_resource_t what, const struct rlimit64 *rl)
{
	int saved = errno;

	return granted(real.setrlimit64(what, rl), what, saved);
}
