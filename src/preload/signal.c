/* SPDX-License-Identifier: MIT */
/*
 * Hooks of signal actions: the handler that rescues code that may fault stays in front of the host's; of
 * signal masks: the signals that it is for are never blocked, as they would end the process then, but who asks
 * is told so; and of waiting for signals: Ferry's own are not for others.
 */
#include <errno.h>
#include <string.h>

#include "bpf/sys.h"
#include "code/code.h"
#include "preload/preload_int.h"

#define real preload_real

static u64 bits_of(const sigset_t *set)
{
	u64 bits;

	memcpy(&bits, set, sizeof(bits));
	return bits;
}

static void add_bits(sigset_t *set, u64 bits)
{
	bits |= bits_of(set);
	memcpy(set, &bits, sizeof(bits));
}

static int set_action(int sig, const struct sigaction *act, struct sigaction *old)
{
	int err;

	if (!code_fault_owns(sig))
		return real.sigaction(sig, act, old);
	err = code_fault_host_action(sig, act, old);
	if (!err)
		return 0;
	errno = -err;
	return -1;
}

int hook_sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	u64 before = code_action_believed(sig), mask = act ? bits_of(&act->sa_mask) : 0;
	bool changes = act;
	struct sigaction safe;

	if (sys_inside)
		return real.sigaction(sig, act, old);
	if (act) {
		safe = *act;
		code_signals_let_through(&safe.sa_mask);
		act = &safe;
	}
	if (set_action(sig, act, old))
		return -1;
	if (old)
		add_bits(&old->sa_mask, before);
	if (changes)
		code_action_change(sig, mask);
	return 0;
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
	u64 before = code_mask_believed(), asked = set ? bits_of(set) : 0;
	bool changes = set;
	sigset_t safe;
	int err;

	if (sys_inside)
		return change(how, set, old);
	if (set && how != SIG_UNBLOCK) {
		safe = *set;
		code_signals_let_through(&safe);
		set = &safe;
	}
	err = change(how, set, old);
	if (err)
		return err;
	if (old)
		add_bits(old, before);
	if (changes)
		code_mask_change(how, asked);
	return 0;
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
const sigset_t *preload_safe_mask(const sigset_t *mask, sigset_t *room)
{
	if (sys_inside || !mask)
		return mask;
	*room = *mask;
	code_signals_let_through(room);
	return room;
}

int hook_sigsuspend(const sigset_t *mask)
{
	sigset_t room;

	return real.sigsuspend(preload_safe_mask(mask, &room));
}

/* ---- waiting for signals --------------------------------------------------------------------------- */

static const sigset_t *for_others(const sigset_t *set, sigset_t *room)
{
	u64 bits = set ? bits_of(set) & ~code_signals_kept() : 0;

	if (sys_inside || !set || bits == bits_of(set))
		return set;
	*room = *set;
	memcpy(room, &bits, sizeof(bits));
	return room;
}

int hook_sigwait(const sigset_t *set, int *sig)
{
	sigset_t room;

	return real.sigwait(for_others(set, &room), sig);
}

int hook_sigwaitinfo(const sigset_t *set, siginfo_t *info)
{
	sigset_t room;

	return real.sigwaitinfo(for_others(set, &room), info);
}

int hook_sigtimedwait(const sigset_t *set, siginfo_t *info, const struct timespec *timeout)
{
	sigset_t room;

	return real.sigtimedwait(for_others(set, &room), info, timeout);
}

int hook_signalfd(int fd, const sigset_t *set, int flags)
{
	sigset_t room;

	return real.signalfd(fd, for_others(set, &room), flags);
}
