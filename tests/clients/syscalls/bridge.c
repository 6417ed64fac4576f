/* SPDX-License-Identifier: MIT */
/* Who calls it, in the same object: like libc's read(2) and others. */
#include <pthread.h>

#include "bridge.h"

long bridge(volatile int *w, long nr, long a1, long a2, long a3, long a4, long a5, long a6)
	__attribute__((visibility("hidden")));
extern const char bridge_start[], bridge_end[] __attribute__((visibility("hidden")));
__attribute__((visibility("hidden"))) void bridge_cancel(void);

static __thread volatile int word;

void bridge_cancel(void)
{
	pthread_exit(PTHREAD_CANCELED);
}

long bridge_call(long nr, long a1, long a2, long a3, long a4, long a5, long a6)
{
	long ret = bridge(&word, nr, a1, a2, a3, a4, a5, a6);

	/* A call that did nothing yet. */
	if (ret == -4 /* EINTR */ && word & 8)
		bridge_cancel();
	return ret;
}

volatile int *bridge_own_word(void)
{
	return &word;
}

int bridge_has(unsigned long pc)
{
	return pc >= (unsigned long)bridge_start && pc < (unsigned long)bridge_end;
}

const unsigned char *bridge_code(void)
{
	return (const unsigned char *)bridge_call;
}
