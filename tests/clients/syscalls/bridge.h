/* SPDX-License-Identifier: MIT */
/* A library whose calls may be cancelled as those of glibc 2.41 may (bridge.c, bridge.S). */
#ifndef BRIDGE_H
#define BRIDGE_H

#pragma GCC visibility push(default)
long bridge_call(long nr, long a1, long a2, long a3, long a4, long a5, long a6);
volatile int *bridge_own_word(void); /* 8 in it: this thread is to end */
int bridge_has(unsigned long pc);    /* where nothing has been done yet: what the signal that cancels asks */
const unsigned char *bridge_code(void); /* of bridge_call() */
#pragma GCC visibility pop

#endif
