/* SPDX-License-Identifier: MIT */
/* Which threads are Ferry's own. */
#include <stdatomic.h>
#include <unistd.h>

#include "base/base.h"

/* Process and thread: a child of fork(2) has a copy, and none of the threads. */
static _Atomic u64 own[16];

static u64 key(u32 tid)
{
	return (u64)(u32)getpid() << 32 | tid;
}

void base_thread_own_as(u32 tid, bool is_own)
{
	u64 k = key(tid), was;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(own); i++) {
		was = own[i];
		if (is_own && was == k)
			return;
		if (is_own ? was >> 32 != k >> 32 : was == k)
			if (atomic_compare_exchange_strong(&own[i], &was, is_own ? k : 0) && is_own)
				return;
	}
}

void base_thread_own(bool is_own)
{
	base_thread_own_as((u32)gettid(), is_own);
}

bool base_thread_is_own(u32 tid)
{
	u64 k = key(tid);
	size_t i;

	for (i = 0; i < ARRAY_SIZE(own); i++)
		if (own[i] == k)
			return true;
	return false;
}
