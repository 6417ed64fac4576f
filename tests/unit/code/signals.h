/* SPDX-License-Identifier: MIT */
/*
 * cmocka sets handlers for faults around each test; in a host the hooks of src/preload see to it
 * that ours stay. Here this definition of signal() does, which libcmocka is linked against too.
 */
#ifndef FERRY_TEST_SIGNALS_H
#define FERRY_TEST_SIGNALS_H

#include <signal.h>

#include "code/code.h"

__attribute__((visibility("default"))) void (*signal(int sig, void (*handler)(int)))(int);

void (*signal(int sig, void (*handler)(int)))(int)
{
	struct sigaction act = { .sa_handler = handler, .sa_flags = SA_RESTART }, old;

	if (code_fault_owns(sig) ? code_fault_host_action(sig, &act, &old) :
				   sigaction(sig, &act, &old))
		return SIG_ERR;
	return old.sa_handler;
}

#endif
