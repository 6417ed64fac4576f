/* SPDX-License-Identifier: MIT */
/* What the tests of maps share: making one, or failing the test. */
#ifndef FERRY_MAP_TEST_H
#define FERRY_MAP_TEST_H

#include "test.h"
#include "map/map.h"

static inline int map_try(u32 type, u32 key, u32 value, u32 entries, u32 flags, struct map **m)
{
	struct map_attr attr = { .type = type,
				 .key_size = key,
				 .value_size = value,
				 .max_entries = entries,
				 .flags = flags,
				 .name = "test" };

	*m = NULL;
	return map_create(&attr, m, NULL);
}

static inline struct map *map_make(u32 type, u32 key, u32 value, u32 entries, u32 flags)
{
	struct map *m;

	assert_int_equal(map_try(type, key, value, entries, flags, &m), 0);
	return m;
}

#endif
