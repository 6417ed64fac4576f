/* SPDX-License-Identifier: MIT */
/* Maps of one plug-in table (ferry/ops.h): the memory of its value. src/bpf/ops.c does the rest. */
#include "map/map_int.h"

static int ops_check(const struct map_attr *a, size_t *bytes)
{
	if (a->max_entries != 1 || a->key_size != 4 || !a->value_size || a->value_size > 1u << 20)
		return map_refuse(-EINVAL, "key_size must be 4, max_entries 1, value_size that of the value struct");
	*bytes = ALIGN_UP((size_t)a->value_size, 8);
	return 0;
}

static int ops_init(struct map *m)
{
	m->stride = ALIGN_UP(m->attr.value_size, 8u);
	m->values = m->mem;
	return 0;
}

static int ops_read(struct map *m, const void *key, void *value, u64 flags)
{
	if (flags || map_index(key))
		return flags ? -EINVAL : -ENOENT;
	memcpy(value, m->values, m->attr.value_size);
	return 0;
}

static int ops_next_key(struct map *m, const void *key, void *next)
{
	(void)m;
	if (key && !map_index(key))
		return -ENOENT;
	memset(next, 0, 4);
	return 0;
}

/* Programs may not use it; bpf(2)'s updates and deletions are those of src/bpf. */
const struct map_ops map_struct_ops_ops = {
	.name = "struct_ops",
	.check = ops_check,
	.init = ops_init,
	.read = ops_read,
	.next_key = ops_next_key,
};
