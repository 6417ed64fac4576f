/* SPDX-License-Identifier: MIT */
/* Hooks of signal actions: the handler that rescues code that may fault stays in front of the
 * host's. */
#include <errno.h>

#include "bpf/sys.h"
#include "code/code.h"
#include "preload/preload_int.h"

#define real preload_real

int hook_sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	int err;

	if (sys_inside || !code_fault_owns(sig))
		return real.sigaction(sig, act, old);
	err = code_fault_host_action(sig, act, old);
	if (!err)
		return 0;
	errno = -err;
	return -1;
}

sighandler_t hook_signal(int sig, sighandler_t handler)
{
	struct sigaction act = { .sa_handler = handler, .sa_flags = SA_RESTART }, old;

	if (sys_inside || !code_fault_owns(sig))
		return real.signal(sig, handler);
	sigemptyset(&act.sa_mask);
	return hook_sigaction(sig, &act, &old) ? SIG_ERR : old.sa_handler;
}
