/* SPDX-License-Identifier: MIT */
/*
 * Hooks of signal actions: the handler that rescues code that may fault stays in front of the host's; and
 * of signal masks: the signals that it is for are never blocked, as they would end the process then.
 */
#include <errno.h>

#include "bpf/sys.h"
#include "code/code.h"
#include "preload/preload_int.h"

#define real preload_real

int hook_sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	struct sigaction safe;
	int err;

	if (sys_inside)
		return real.sigaction(sig, act, old);
	if (act) {
		safe = *act;
		code_signals_let_through(&safe.sa_mask);
		act = &safe;
	}
	if (!code_fault_owns(sig))
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

typedef int mask_fn(int how, const sigset_t *set, sigset_t *old);

static int set_mask(mask_fn *change, int how, const sigset_t *set, sigset_t *old)
{
	sigset_t safe;

	if (sys_inside || !set || how == SIG_UNBLOCK)
		return change(how, set, old);
	safe = *set;
	code_signals_let_through(&safe);
	return change(how, &safe, old);
}

int hook_sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
	return set_mask(real.sigprocmask, how, set, old);
}

int hook_pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	return set_mask(real.pthread_sigmask, how, set, old);
}

/* Handlers that run meanwhile have this mask. */
int hook_sigsuspend(const sigset_t *mask)
{
	sigset_t safe;

	if (sys_inside || !mask)
		return real.sigsuspend(mask);
	safe = *mask;
	code_signals_let_through(&safe);
	return real.sigsuspend(&safe);
}
