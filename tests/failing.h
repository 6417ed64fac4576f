/* SPDX-License-Identifier: MIT */
/* An allocator for base_allocator of which the allocation number `fail_at` fails, and which counts what lives. */
#ifndef FERRY_FAILING_H
#define FERRY_FAILING_H

#include "base/base.h"

#include <stdlib.h>

static u32 allocs, fail_at;
static size_t live;

static void *failing(void *old, size_t size)
{
	if (!size) {
		live -= old != NULL;
		free(old);
		return NULL;
	}
	if (++allocs == fail_at)
		return NULL;
	live += old == NULL;
	return realloc(old, size);
}

#endif
