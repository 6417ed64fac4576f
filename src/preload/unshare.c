/* SPDX-License-Identifier: MIT */
/*
 * unshare(2) of what only a process with one thread may leave (a user namespace): the agent's thread makes
 * way, and comes back. What others attached here is out of place for that moment.
 */
#include <errno.h>
#include <sched.h>

#include "bpf/sys.h"
#include "broker/broker.h"
#include "preload/preload_int.h"

int hook_unshare(int flags)
{
	bool alone = flags & (CLONE_NEWUSER | CLONE_THREAD | CLONE_SIGHAND | CLONE_VM);
	int ret, saved;

	if (!alone || sys_inside || !broker_joined())
		return preload_real.unshare(flags);
	broker_leave();
	ret = preload_real.unshare(flags);
	saved = errno;
	broker_join();
	errno = saved;
	return ret;
}
