/* SPDX-License-Identifier: MIT */
/* Maps: creation, references, and what bpf(2)'s element commands do for every type. */
#include "map/map_int.h"

#define MAPTYPE(num, str, type_ops) [BPF_MAP_TYPE_##num] = { str, &type_ops },
#define MAPNAME(num, str)           [BPF_MAP_TYPE_##num] = { str, NULL },
static const struct {
	const char *name;
	const struct map_ops *ops;
} types[] = {
#include "map/map.def"
};
#undef MAPTYPE
#undef MAPNAME

void (*map_drop_obj)(const struct map *m, void *obj);

static _Thread_local const char *refusal;

int map_refuse(int err, const char *why)
{
	refusal = why;
	return err;
}

const struct map_ops *map_ops_of(u32 type)
{
	return type < ARRAY_SIZE(types) ? types[type].ops : NULL;
}

const char *map_type_name(u32 type)
{
	static _Thread_local char unknown[24];
	char digits[11];
	int n = 0, at = 5;

	if (type < ARRAY_SIZE(types) && types[type].name)
		return types[type].name;
	memcpy(unknown, "type ", 5);
	do {
		digits[n++] = (char)('0' + type % 10);
	} while (type /= 10);
	while (n)
		unknown[at++] = digits[--n];
	unknown[at] = '\0';
	return unknown;
}

bool map_is_percpu(u32 type)
{
	return type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_ARRAY ||
	       type == BPF_MAP_TYPE_LRU_PERCPU_HASH || type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
}

/* Constants that follow from the attr. */
static void set_sizes(struct map *m)
{
	u32 cpus = map_cpus();

	/* As many for each CPU's list of the kernel's, which shows (prealloc of percpu_lru). */
	if (m->attr.flags & BPF_F_NO_COMMON_LRU && m->attr.max_entries < 1u << 31)
		m->attr.max_entries = (m->attr.max_entries + cpus - 1) / cpus * cpus;
	m->user_value_size = m->attr.value_size;
	if (map_is_percpu(m->attr.type))
		m->user_value_size = ALIGN_UP(m->attr.value_size, 8u) * map_cpus();
}

/* ---- creation ------------------------------------------------------------------------------- */

int map_check_access_flags(const struct map_attr *a, u32 allowed)
{
	if (a->flags &
	    ~(allowed | BPF_F_RDONLY | BPF_F_WRONLY | BPF_F_RDONLY_PROG | BPF_F_WRONLY_PROG))
		return map_refuse(-EINVAL, "map_flags has a flag that this type does not know");
	if ((a->flags & BPF_F_RDONLY_PROG) && (a->flags & BPF_F_WRONLY_PROG))
		return map_refuse(-EINVAL,
				  "BPF_F_RDONLY_PROG and BPF_F_WRONLY_PROG exclude each other");
	return 0;
}

static bool name_ok(const char *name)
{
	size_t i, n = strnlen(name, BPF_OBJ_NAME_LEN);

	for (i = 0; i < n; i++)
		if (!((name[i] >= 'a' && name[i] <= 'z') || (name[i] >= 'A' && name[i] <= 'Z') ||
		      (name[i] >= '0' && name[i] <= '9') || name[i] == '_' || name[i] == '.'))
			return false;
	if (n == BPF_OBJ_NAME_LEN)
		return false;
	for (; n < BPF_OBJ_NAME_LEN; n++)
		if (name[n])
			return false;
	return true;
}

/* What holds for every type and the type's own rules, in the kernel's order. */
static int check(const struct map_attr *attr, const struct map_ops **ops, size_t *bytes)
{
	if (attr->type != BPF_MAP_TYPE_BLOOM_FILTER && attr->extra)
		return map_refuse(-EINVAL, "map_extra must be 0 for this type");
	if ((attr->flags & BPF_F_RDONLY) && (attr->flags & BPF_F_WRONLY))
		return map_refuse(-EINVAL, "BPF_F_RDONLY and BPF_F_WRONLY exclude each other");
	if (attr->type >= ARRAY_SIZE(types) || attr->type == BPF_MAP_TYPE_UNSPEC)
		return map_refuse(-EINVAL, "there is no such map type");
	*ops = types[attr->type].ops;
	if (!*ops)
		return map_refuse(-EOPNOTSUPP, "this map type is not supported");
	return (*ops)->check(attr, bytes);
}

bool map_is_outer(u32 type)
{
	return type == BPF_MAP_TYPE_ARRAY_OF_MAPS || type == BPF_MAP_TYPE_HASH_OF_MAPS;
}

/* The kernel's types without map_meta_equal, and maps of maps, are never elements. */
static int make_template(const struct map *like, struct map **out)
{
	struct map *t;

	if (like->inner)
		return map_refuse(-EINVAL, "maps of maps do not nest");
	if (like->fields && like->fields->nkptrs)
		return map_refuse(-ENOTSUPP, "maps with pointers to objects cannot be elements");
	if (like->attr.type == BPF_MAP_TYPE_PROG_ARRAY ||
	    like->attr.type == BPF_MAP_TYPE_STRUCT_OPS)
		return map_refuse(-ENOTSUPP, "maps of that type cannot be elements");
	t = base_alloc(sizeof(*t));
	if (!t)
		return -ENOMEM;
	t->ops = like->fields ? like->fields->base : like->ops;
	t->attr = like->attr;
	set_sizes(t);
	t->btf_fd_id = like->btf_fd_id;
	t->btf_key_id = like->btf_key_id;
	t->btf_value_id = like->btf_value_id;
	t->fd = -1;
	t->is_template = true;
	atomic_init(&t->refs, 1);
	*out = t;
	/* They were good for `like`: only memory can lack. */
	if (like->fields && map_set_fields(t, like->fields->lock, like->fields->timer)) {
		base_free(t);
		return -ENOMEM;
	}
	return 0;
}

bool map_fits(const struct map *tmpl, const struct map *m)
{
	const struct map_attr *a = &tmpl->attr, *b = &m->attr;

	if (a->type != b->type || a->key_size != b->key_size || a->value_size != b->value_size ||
	    a->flags != b->flags || !tmpl->fields != !m->fields ||
	    (m->fields && m->fields->nkptrs) ||
	    (m->fields && (tmpl->fields->lock != m->fields->lock ||
			   tmpl->fields->timer != m->fields->timer)))
		return false;
	/* Code for arrays may have their size built in, unless it was told otherwise. */
	if (a->type == BPF_MAP_TYPE_ARRAY || a->type == BPF_MAP_TYPE_PERCPU_ARRAY)
		return a->flags & BPF_F_INNER_MAP || a->max_entries == b->max_entries;
	return true;
}

int map_create(const struct map_attr *attr, struct map **out, struct text *why)
{
	return map_create_outer(attr, NULL, out, why);
}

int map_create_outer(const struct map_attr *attr, const struct map *like, struct map **out,
		     struct text *why)
{
	const struct map_ops *ops = NULL;
	struct map *m = NULL;
	size_t bytes = 0;
	int err;

	refusal = NULL;
	err = check(attr, &ops, &bytes);
	if (err < 0)
		goto out;
	err = -ENOMEM;
	m = base_alloc(sizeof(*m));
	if (!m)
		goto out;
	m->ops = ops;
	m->attr = *attr;
	set_sizes(m);
	m->fd = -1;
	atomic_init(&m->refs, 1);
	if (map_is_outer(attr->type)) {
		err = like ? make_template(like, &m->inner)
			   : map_refuse(-EBADF, "inner_map_fd must be a map like the elements");
		if (err < 0)
			goto out;
	}
	err = check(&m->attr, &ops, &bytes); /* as it is now */
	if (!err)
		err = map_mem_create(m, bytes);
	if (err < 0)
		goto out;
	err = -EINVAL;
	if (!name_ok(attr->name)) { /* the kernel looks at the name when it has the memory */
		map_refuse(err, "a name has letters, digits, '_' and '.', at most 15");
		goto out;
	}
	err = ops->init(m);
	if (err < 0)
		goto out;
	if (m->inner) {
		map_head(m)->inner = m->inner->attr;
		map_head(m)->inner_lock = m->inner->fields ? m->inner->fields->lock : 0;
		map_head(m)->inner_timer = m->inner->fields ? m->inner->fields->timer : 0;
	}
	*out = m;
	return 0;
out:
	if (m) {
		map_put(m->inner);
		map_mem_free(m);
		base_free(m);
	}
	if (why)
		text_printf(why,
			    "map '%.15s' (%s, key %u, value %u, max_entries %u, flags %#x): %s",
			    attr->name, map_type_name(attr->type), attr->key_size, attr->value_size,
			    attr->max_entries, attr->flags,
			    refusal          ? refusal
			    : err == -ENOMEM ? "out of memory"
					     : "cannot make its memory");
	return err;
}

/* What the elements of another process's map of maps are, as far as that is true of any map. */
static int attach_template(struct map *m)
{
	const struct map_head *h = map_head(m);
	u32 lock = h->inner_lock, timer = h->inner_timer;
	struct map like = { .attr = h->inner };
	size_t bytes;
	int err;

	like.attr.name[sizeof(like.attr.name) - 1] = '\0';
	err = check(&like.attr, &like.ops, &bytes);
	if (!err && (map_is_outer(like.attr.type) || (lock && (lock - 1) % 4) || (timer && (timer - 1) % 8)))
		err = -EINVAL;
	if (!err)
		err = make_template(&like, &m->inner);
	return err ? err : map_set_fields(m->inner, lock, timer);
}

int map_attach(int fd, struct map **out)
{
	const struct map_ops *ops = NULL;
	struct map *m = base_alloc(sizeof(*m));
	size_t bytes = 0, size;
	bool sealed;
	int err;

	if (!m)
		return -ENOMEM;
	m->fd = fd;
	m->attached = true;
	atomic_init(&m->refs, 1);
	err = map_mem_attach(m, &m->attr, &sealed);
	if (!err)
		err = check(&m->attr, &ops, &bytes);
	if (!err && map_is_outer(m->attr.type))
		err = attach_template(m);
	/* As large as the type needs for what the header says, and not a page less. */
	if (!err && (!base_add(bytes, 2 * MAP_PAGE - 1, &size) || !name_ok(m->attr.name) ||
		     (size & ~(size_t)(MAP_PAGE - 1)) != m->mem_size))
		err = -EINVAL;
	if (!err && sealed)
		err = map_attach_sealed(m);
	if (!err) {
		m->ops = ops;
		set_sizes(m);
		err = ops->init(m);
	}
	if (!err)
		map_notice_frozen(m);
	if (err) {
		m->fd = -1; /* stays the caller's */
		map_put(m->inner);
		map_mem_free(m);
		base_free(m);
		return err;
	}
	*out = m;
	return 0;
}

struct map *map_get(struct map *m)
{
	atomic_fetch_add_explicit(&m->refs, 1, memory_order_relaxed);
	return m;
}

void map_put(struct map *m)
{
	if (!m || atomic_fetch_sub_explicit(&m->refs, 1, memory_order_acq_rel) != 1)
		return;
	map_fields_free(m);
	if (m->ops->fini && !m->is_template)
		m->ops->fini(m);
	map_put(m->inner);
	map_mem_free(m);
	base_free(m);
}

/* ---- what a type does not have -------------------------------------------------------------- */

void *map_no_lookup(struct map *m, const void *key)
{
	(void)m, (void)key;
	return NULL;
}

int map_no_update(struct map *m, const void *key, const void *value, u64 flags)
{
	(void)m, (void)key, (void)value, (void)flags;
	return -EINVAL;
}

int map_no_remove(struct map *m, const void *key)
{
	(void)m, (void)key;
	return -EINVAL;
}

int map_no_next_key(struct map *m, const void *key, void *next)
{
	(void)m, (void)key, (void)next;
	return -EINVAL;
}

int map_no_read(struct map *m, const void *key, void *value, u64 flags)
{
	(void)m, (void)key, (void)value, (void)flags;
	return -ENOTSUPP;
}

int map_no_write(struct map *m, const void *key, const void *value, u64 flags)
{
	(void)m, (void)key, (void)value, (void)flags;
	return -ENOTSUPP;
}

/* ---- bpf(2)'s element commands -------------------------------------------------------------- */

static bool may_read(const struct map *m)
{
	return !(m->attr.flags & BPF_F_WRONLY);
}

static bool write_begin(struct map *m)
{
	return !(m->attr.flags & BPF_F_RDONLY) && map_write_begin(m);
}

int map_lookup_user(struct map *m, const void *key, void *value, u64 flags)
{
	const void *v;

	if (flags & ~(u64)BPF_F_LOCK)
		return -EINVAL;
	if (!may_read(m))
		return -EPERM;
	if (flags && !m->fields)
		return -EINVAL;
	if (m->ops->read)
		return m->ops->read(m, key, value, flags);
	v = m->ops->lookup(m, key);
	if (!v)
		return -ENOENT;
	map_load(value, v, m->attr.value_size);
	return 0;
}

int map_update_user(struct map *m, const void *key, const void *value, u64 flags)
{
	int err;

	if (!write_begin(m))
		return -EPERM;
	if (flags & BPF_F_LOCK && !m->fields)
		err = -EINVAL;
	else if (m->ops->write)
		err = m->ops->write(m, key, value, flags);
	else
		err = m->ops->update(m, key, value, flags);
	map_write_end(m);
	return err;
}

int map_delete_user(struct map *m, const void *key)
{
	int err;

	if (!write_begin(m))
		return -EPERM;
	err = m->ops->remove(m, key);
	map_write_end(m);
	return err;
}

int map_next_key_user(struct map *m, const void *key, void *next)
{
	if (!may_read(m))
		return -EPERM;
	return m->ops->next_key(m, key, next);
}

int map_take_user(struct map *m, const void *key, void *value, u64 flags)
{
	int err = -ENOTSUPP;

	if (flags & ~(u64)BPF_F_LOCK)
		return -EINVAL;
	if (!may_read(m) || !write_begin(m))
		return -EPERM;
	if (flags && !m->fields)
		err = -EINVAL;
	else if (m->ops->take)
		err = m->ops->take(m, key, value, flags);
	map_write_end(m);
	return err;
}
