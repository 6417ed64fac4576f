/* SPDX-License-Identifier: MIT */
/* Arrays and per-CPU arrays: values in a row from offset 0 of the file. */
#include <limits.h>

#include "map/map_int.h"

u32 map_index(const void *key)
{
	u32 i;

	memcpy(&i, key, sizeof(i));
	return i;
}

int map_array_check(const struct map_attr *a, u32 extra_flags)
{
	if (a->max_entries == 0)
		return map_refuse(-EINVAL, "max_entries must be above 0");
	if (a->key_size != 4)
		return map_refuse(-EINVAL, "key_size must be 4");
	if (a->value_size == 0)
		return map_refuse(-EINVAL, "value_size must be above 0");
	if (map_check_access_flags(a, BPF_F_NUMA_NODE | extra_flags) < 0)
		return -EINVAL;
	if (map_is_percpu(a->type) && (a->flags & BPF_F_NUMA_NODE) && !a->any_node)
		return map_refuse(-EINVAL, "per-CPU memory has no NUMA node to choose");
	if (a->value_size > INT_MAX)
		return map_refuse(-E2BIG, "value_size must be at most 2147483647");
	return 0;
}

static int array_check(const struct map_attr *a, size_t *bytes)
{
	int err = map_array_check(a, BPF_F_MMAPABLE | BPF_F_INNER_MAP);

	if (err < 0)
		return err;
	if (!base_mul(ALIGN_UP((size_t)a->value_size, 8), a->max_entries, bytes))
		return -ENOMEM;
	return 0;
}

static int array_init(struct map *m)
{
	m->stride = ALIGN_UP(m->attr.value_size, 8u);
	m->values = m->mem;
	if (m->attr.flags & BPF_F_MMAPABLE)
		m->user_size = m->mem_size - MAP_PAGE;
	return 0;
}

static void *array_lookup(struct map *m, const void *key)
{
	u32 i = map_index(key);

	return i < m->attr.max_entries ? m->values + (size_t)i * m->stride : NULL;
}

/* The kernel's order of refusals for every array. */
static int check_update(const struct map *m, u32 i, u64 flags)
{
	if (flags > BPF_EXIST)
		return -EINVAL;
	if (i >= m->attr.max_entries)
		return -E2BIG;
	return flags == BPF_NOEXIST ? -EEXIST : 0;
}

static int array_update(struct map *m, const void *key, const void *value, u64 flags)
{
	u32 i = map_index(key);
	int err = check_update(m, i, flags);

	if (err < 0)
		return err;
	map_store(m->values + (size_t)i * m->stride, value, m->attr.value_size);
	return 0;
}

int map_array_next_key(struct map *m, const void *key, void *next)
{
	u32 i = key ? map_index(key) : UINT_MAX;

	if (i >= m->attr.max_entries)
		i = 0;
	else if (i == m->attr.max_entries - 1)
		return -ENOENT;
	else
		i++;
	memcpy(next, &i, sizeof(i));
	return 0;
}

static void *array_next_elem(struct map *m, u64 *pos, void *key)
{
	u32 i = (u32)*pos;

	if (*pos >= m->attr.max_entries)
		return NULL;
	++*pos;
	memcpy(key, &i, sizeof(i));
	return m->ops->lookup(m, key);
}

/* The next indices, as keys: how many. */
static u32 batch_keys(const struct map *m, u64 *pos, u32 n, u8 *keys)
{
	u32 first = (u32)*pos, i;

	if (*pos >= m->attr.max_entries)
		return 0;
	if (n > m->attr.max_entries - first)
		n = m->attr.max_entries - first;
	for (i = 0; i < n; i++) {
		u32 k = first + i;

		memcpy(keys + (size_t)i * sizeof(k), &k, sizeof(k));
	}
	*pos += n;
	return n;
}

static u32 array_next_batch(struct map *m, u64 *pos, u32 n, u8 *keys, u8 *values)
{
	const u8 *from = m->values + *pos * m->stride;
	u32 size = m->attr.value_size, i;

	n = batch_keys(m, pos, n, keys);
	if (values && size == m->stride)
		map_load(values, from, (size_t)n * size);
	else
		for (i = 0; values && i < n; i++, from += m->stride, values += size)
			map_load(values, from, size);
	return n;
}

static void array_key_of(struct map *m, const void *value, void *key)
{
	u32 i = (u32)((size_t)((const u8 *)value - m->values) / m->stride);

	memcpy(key, &i, sizeof(i));
}

static void *array_direct(struct map *m, u32 off)
{
	/* As the kernel: only a map of one element stands for a section of variables. */
	if (m->attr.max_entries != 1 || off >= m->attr.value_size)
		return NULL;
	return m->values + off;
}

const struct map_ops map_array_ops = {
	.name = "array",
	.check = array_check,
	.init = array_init,
	.lookup = array_lookup,
	.lookup_plain = array_lookup,
	.update = array_update,
	.remove = map_no_remove,
	.next_key = map_array_next_key,
	.next_elem = array_next_elem,
	.next_batch = array_next_batch,
	.key_of = array_key_of,
	.direct = array_direct,
	.inline_kind = MAP_INLINE_ARRAY,
};

/* ---- per CPU -------------------------------------------------------------------------------- */

static int percpu_check(const struct map_attr *a, size_t *bytes)
{
	int err = map_array_check(a, 0);
	size_t row;

	if (err < 0)
		return err;
	if (ALIGN_UP((size_t)a->value_size, 8) > MAP_MAX_PERCPU_VALUE)
		return map_refuse(-E2BIG, "value_size must be at most 32768 in a per-CPU map");
	if (!base_mul(ALIGN_UP((size_t)a->value_size, 8), a->max_entries, &row) ||
	    !base_mul(ALIGN_UP(row, 64), map_cpus(), bytes))
		return -ENOMEM;
	return 0;
}

static int percpu_init(struct map *m)
{
	m->stride = ALIGN_UP(m->attr.value_size, 8u);
	m->cpu_stride = ALIGN_UP((size_t)m->stride * m->attr.max_entries, 64);
	m->values = m->mem;
	return 0;
}

static u8 *percpu_at(struct map *m, u32 i, u32 cpu)
{
	return m->values + cpu * m->cpu_stride + (size_t)i * m->stride;
}

static void *percpu_lookup(struct map *m, const void *key)
{
	u32 i = map_index(key);

	return i < m->attr.max_entries ? percpu_at(m, i, map_this_cpu()) : NULL;
}

static void *percpu_lookup_cpu(struct map *m, const void *key, u32 cpu)
{
	u32 i = map_index(key);

	return i < m->attr.max_entries ? percpu_at(m, i, cpu) : NULL;
}

static int percpu_update(struct map *m, const void *key, const void *value, u64 flags)
{
	u32 i = map_index(key);
	int err = check_update(m, i, flags);

	if (err < 0)
		return err;
	map_store(percpu_at(m, i, map_this_cpu()), value, m->attr.value_size);
	return 0;
}

static int percpu_read(struct map *m, const void *key, void *value, u64 flags)
{
	u32 i = map_index(key), cpu;
	u8 *to = value;

	(void)flags;
	if (i >= m->attr.max_entries)
		return -ENOENT;
	for (cpu = 0; cpu < map_cpus(); cpu++, to += m->stride)
		map_load(to, percpu_at(m, i, cpu), m->stride);
	return 0;
}

static int percpu_write(struct map *m, const void *key, const void *value, u64 flags)
{
	u32 i = map_index(key), cpu;
	const u8 *from = value;
	int err = check_update(m, i, flags);

	if (err < 0)
		return err;
	for (cpu = 0; cpu < map_cpus(); cpu++, from += m->stride)
		map_store(percpu_at(m, i, cpu), from, m->stride);
	return 0;
}

static u32 percpu_next_batch(struct map *m, u64 *pos, u32 n, u8 *keys, u8 *values)
{
	u32 i;

	n = batch_keys(m, pos, n, keys);
	for (i = 0; values && i < n; i++, keys += sizeof(u32), values += map_user_value_size(m))
		percpu_read(m, keys, values, 0);
	return n;
}

const struct map_ops map_percpu_array_ops = {
	.name = "percpu_array",
	.check = percpu_check,
	.init = percpu_init,
	.lookup = percpu_lookup,
	.lookup_plain = percpu_lookup,
	.lookup_cpu = percpu_lookup_cpu,
	.update = percpu_update,
	.remove = map_no_remove,
	.next_key = map_array_next_key,
	.next_elem = array_next_elem,
	.next_batch = percpu_next_batch,
	.read = percpu_read,
	.write = percpu_write,
	.inline_kind = MAP_INLINE_PERCPU_ARRAY,
};
