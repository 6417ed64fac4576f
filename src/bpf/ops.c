/* SPDX-License-Identifier: MIT */
/*
 * Plug-in tables (ferry/ops.h): types that hosts registered, programs that implement a member, and maps
 * that hold a whole table. A table in place is changed by one store; the old one goes when every thread
 * that was inside has left.
 */
#include <ctype.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "bpf/run/closure_int.h"
#include "bpf/ops.h"
#include "bpf/run/run_int.h"
#include "ferry/call.h"
#include "ferry/ops.h"

#define MAX_MEMBERS 256
#define VALUE_PREFIX "bpf_struct_ops_" /* libbpf's STRUCT_OPS_VALUE_PREFIX */

/* One object's implementation. */
struct impl {
	struct sys_map *sm; /* referenced while it is in place */
	bool linked;        /* of a map whose link puts it in place: the map's to free */
	struct ferry_closure **closures;
	u8 *table;
};

struct ferry_ops_table {
	struct ferry_ops_table *next;
	char name[64];
	char *types_text;
	struct ctypes *types;
	const struct ctype *type;
	char **prototypes;    /* one a member; NULL: data */
	u32 type_id, value_id, data_off, value_size; /* in the kernel's BTF */
	void *fallback;       /* a copy; NULL */
	int (*check)(const void *table, void *arg);
	void *arg;
	const void *_Atomic current; /* the table that threads see */
	struct impl *impl;
};

static struct ferry_ops_table *tables;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* the list */
/* One change of a table after the other. Held while waiting: not taken inside a program, which may load. */
static pthread_mutex_t change = PTHREAD_MUTEX_INITIALIZER;

/* ---- registering -------------------------------------------------------------------------------- */

static int refuse(const struct ferry_ops *ops, const char *what, const char *which)
{
	log_msg(LOG_ERROR, "plug-in table %s: %s%s", ops->name ? ops->name : "(no name)", what, which);
	return -EINVAL;
}

static const struct ctype *function_of(const struct ctype_member *m)
{
	const struct ctype *t = ctype_strip(m->type);

	t = t->kind == CTYPE_POINTER ? ctype_strip(t->to) : NULL;
	return t && t->kind == CTYPE_FUNC ? t : NULL;
}

/* Data without pointers: it comes from a file. */
static bool is_plain(const struct ctype *t)
{
	t = ctype_strip(t);
	if (t->kind == CTYPE_ARRAY)
		return is_plain(t->to);
	if (t->kind != CTYPE_STRUCT && t->kind != CTYPE_UNION)
		return t->kind == CTYPE_INT || t->kind == CTYPE_ENUM || t->kind == CTYPE_BOOL;
	for (u32 n = 0; n < t->count; n++)
		if (!is_plain(t->members[n].type))
			return false;
	return true;
}

static bool is_passed(const struct ctype *t) /* as a u64 of the context */
{
	t = ctype_strip(t);
	return t->kind != CTYPE_STRUCT && t->kind != CTYPE_UNION && t->kind != CTYPE_FLOAT && t->size <= 8;
}

static int check_member(const struct ferry_ops *ops, const struct ctype_member *m, char **prototype)
{
	const struct ctype *f = function_of(m);
	struct text t = { 0 };

	if (!f)
		return !m->bits && is_plain(m->type) ? 0 : refuse(ops, "a pointer or bit-field as data: ", m->name);
	if (f->count > 12 || f->variadic)
		return refuse(ops, "more than 12 arguments: ", m->name);
	for (u32 n = 0; n < f->count; n++)
		if (!is_passed(f->params[n].type))
			return refuse(ops, "a struct or floating point number as argument of ", m->name);
	if (ctype_strip(f->to)->kind != CTYPE_VOID && !is_passed(f->to))
		return refuse(ops, "a struct or floating point number as result of ", m->name);
	ctype_print(f, "member", &t);
	*prototype = t.s;
	return t.oom ? -ENOMEM : 0;
}

static int find_struct(struct ferry_ops_table *t, const struct ferry_ops *ops)
{
	struct text name = { 0 }, why = { 0 };
	int err;

	text_printf(&name, "struct %s", ops->name);
	err = ctypes_declare(t->types, ops->types, &why);
	if (!err)
		err = ctypes_type(t->types, text_str(&name), &t->type, &why);
	if (err == -EINVAL)
		refuse(ops, text_str(&why), "");
	text_free(&name);
	text_free(&why);
	if (err)
		return err;
	t->type = ctype_strip(t->type);
	if (t->type->incomplete || !t->type->count || t->type->count > MAX_MEMBERS)
		return refuse(ops, "its types do not define a struct of 1 to 256 members of this name", "");
	t->prototypes = base_array(t->type->count, sizeof(*t->prototypes));
	if (!t->prototypes)
		return -ENOMEM;
	for (u32 n = 0; n < t->type->count && !err; n++)
		err = check_member(ops, &t->type->members[n], &t->prototypes[n]);
	return err;
}

/* What loaders look for: the struct and, around it, that of the map's value. */
static int show_types(const struct ferry_ops *ops)
{
	struct text t = { 0 };
	int err;

	text_printf(&t, "%s\nstruct " VALUE_PREFIX "%s { int refcnt; int state; struct %s data; };", ops->types,
		    ops->name, ops->name);
	err = t.oom ? -ENOMEM : fbtf_vmlinux_add(text_str(&t));
	text_free(&t);
	if (err == -EBUSY)
		log_msg(LOG_ERROR, "plug-in table %s: register it before modules, and before anything is loaded",
			ops->name);
	return err;
}

static void free_table(struct ferry_ops_table *t)
{
	for (u32 n = 0; t->prototypes && n < t->type->count; n++)
		base_free(t->prototypes[n]);
	base_free(t->prototypes);
	ctypes_free(t->types);
	base_free(t->types_text);
	base_free(t->fallback);
	base_free(t);
}

static bool is_name(const char *s)
{
	size_t n = 0;

	while (s && (isalnum((unsigned char)s[n]) || s[n] == '_'))
		n++;
	return s && n && n < 64 && !s[n] && !isdigit((unsigned char)s[0]);
}

static bool exists(const char *name)
{
	const struct ferry_ops_table *t;

	for (t = tables; t && strcmp(t->name, name); t = t->next)
		;
	return t != NULL;
}

static int make_table(const struct ferry_ops *ops, struct ferry_ops_table *t)
{
	int err = ctypes_new(&t->types);

	strcpy(t->name, ops->name);
	t->check = ops->check;
	t->arg = ops->arg;
	if (!err)
		err = find_struct(t, ops);
	t->types_text = base_strdup(ops->types);
	if (!err && ops->fallback)
		t->fallback = base_memdup(ops->fallback, t->type->size);
	if (!err && (!t->types_text || (ops->fallback && !t->fallback)))
		err = -ENOMEM;
	t->current = t->fallback;
	return err;
}

int ferry_ops_register(const struct ferry_ops *ops, struct ferry_ops_table **out)
{
	struct ferry_ops_table *t;
	int err;

	if (!ops || !out || ops->sz < sizeof(*ops) || !is_name(ops->name) || !ops->types)
		return -EINVAL;
	t = base_alloc(sizeof(*t));
	if (!t)
		return -ENOMEM;
	sys_inside++;
	err = make_table(ops, t);
	pthread_mutex_lock(&lock);
	if (!err)
		err = exists(ops->name) ? -EEXIST : show_types(ops);
	if (!err) {
		t->next = tables;
		tables = t;
		*out = t;
	}
	pthread_mutex_unlock(&lock);
	if (err)
		free_table(t);
	sys_inside--;
	return err;
}

/* The ids in the BTF that loaders see, once it is made. Under the lock. */
static bool find_ids(struct ferry_ops_table *t)
{
	char value[sizeof(t->name) + sizeof(VALUE_PREFIX)];
	struct btf *btf = fbtf_vmlinux();
	s32 type, outer;

	if (t->value_id || !btf)
		return t->value_id;
	snprintf(value, sizeof(value), VALUE_PREFIX "%s", t->name);
	type = btf__find_by_name_kind(btf, t->name, BTF_KIND_STRUCT);
	outer = btf__find_by_name_kind(btf, value, BTF_KIND_STRUCT);
	if (type <= 0 || outer <= 0)
		return false;
	t->type_id = (u32)type;
	t->data_off = btf_members(btf__type_by_id(btf, (u32)outer))[2].offset / 8;
	t->value_size = btf__type_by_id(btf, (u32)outer)->size;
	t->value_id = (u32)outer;
	return true;
}

static struct ferry_ops_table *find(u32 type_id, u32 value_id)
{
	struct ferry_ops_table *t;

	pthread_mutex_lock(&lock);
	for (t = tables; t; t = t->next)
		if (find_ids(t) && (t->type_id == type_id || t->value_id == value_id))
			break;
	pthread_mutex_unlock(&lock);
	return t;
}

/* ---- programs ----------------------------------------------------------------------------------- */

int ops_prog(const union bpf_attr *attr, struct prog *p, struct text *why)
{
	struct ferry_ops_table *t = attr->attach_btf_id ? find(attr->attach_btf_id, 0) : NULL;
	const struct btf *btf = fbtf_vmlinux();
	const struct btf_type *ptr;
	u32 member = attr->expected_attach_type;

	if (!t) {
		text_printf(why, "attach_btf_id %u is not a plug-in table that was registered", attr->attach_btf_id);
		return -ENOTSUP;
	}
	if (member >= t->type->count || !t->prototypes[member]) {
		text_printf(why, "member %u of struct %s is not a function", member, t->name);
		return -EINVAL;
	}
	ptr = fbtf_strip(btf, btf_members(btf__type_by_id(btf, t->type_id))[member].type, NULL);
	p->args = (struct prog_args){ .btf = (struct btf *)btf, .name = t->type->members[member].name,
				      .trusted = true, .writable = true };
	if (!ptr || !btf_is_ptr(ptr) || !fbtf_strip(btf, ptr->type, &p->args.proto))
		return BROKEN("a plug-in table's BTF is not what was put into it");
	return 0;
}

/* ---- maps --------------------------------------------------------------------------------------- */

int ops_map(struct sys_map *sm, u32 value_id, u32 value_size)
{
	sm->ops = find(0, value_id);
	if (!sm->ops)
		return -SYS_ENOTSUPP;
	return sm->ops->value_size == value_size ? 0 : -EINVAL;
}

/* Nobody is inside: it was never in place, or all have left since. */
static void free_impl(const struct ferry_ops_table *t, struct impl *im)
{
	if (!im)
		return;
	for (u32 n = 0; im->closures && n < t->type->count; n++)
		closure_drop(im->closures[n]);
	base_free(im->closures);
	base_free(im->table);
	base_free(im);
}

/* The function for one member, from the program whose descriptor is `fd`. */
static int implement(struct ferry_ops_table *t, u32 n, s64 fd, struct ferry_closure **out)
{
	struct prog *p = fd > 0 && fd <= INT32_MAX ? sys_fd_prog((int)fd) : NULL;
	int err = p ? 0 : -EINVAL;

	if (p && (p->type != BPF_PROG_TYPE_STRUCT_OPS || p->attach_type != n || !p->sig || !p->args.name ||
		  strcmp(p->args.name, t->type->members[n].name)))
		err = -EINVAL;
	if (!err)
		err = closure_of_context(p, t->prototypes[n], t->types_text, out);
	if (err && p)
		sys_prog_put(p);
	return err;
}

static int fill(struct ferry_ops_table *t, struct impl *im, const u8 *data)
{
	int err = 0;

	for (u32 n = 0; n < t->type->count && !err; n++) {
		const struct ctype_member *m = &t->type->members[n];
		u32 off = m->bit_off / 8, size = ctype_strip(m->type)->size;
		void *code;
		s64 fd;

		if (!t->prototypes[n]) {
			memcpy(im->table + off, data + off, size);
			continue;
		}
		memcpy(&fd, data + off, sizeof(fd));
		if (!fd && t->fallback)
			memcpy(im->table + off, (u8 *)t->fallback + off, sizeof(void *));
		if (!fd)
			continue;
		err = implement(t, n, fd, &im->closures[n]);
		if (err)
			break;
		code = ferry_closure_code(im->closures[n]);
		memcpy(im->table + off, &code, sizeof(code));
	}
	return err;
}

static int make_impl(struct ferry_ops_table *t, const u8 *data, struct impl **out)
{
	struct impl *im = base_alloc(sizeof(*im));
	int err;

	if (!im)
		return -ENOMEM;
	im->closures = base_array(t->type->count, sizeof(*im->closures));
	im->table = base_alloc(t->type->size);
	err = im->closures && im->table ? fill(t, im, data) : -ENOMEM;
	if (!err && t->check)
		err = t->check(im->table, t->arg);
	if (err)
		free_impl(t, im);
	else
		*out = im;
	return err < 0 ? err : err ? -EINVAL : 0;
}

/* Puts a table in place (NULL: the host's own), and lets go of the old one. Under `change`. */
static void put_in_place(struct ferry_ops_table *t, struct impl *im)
{
	struct impl *old = t->impl;
	struct sys_map *gone = old ? old->sm : NULL;

	t->impl = im;
	atomic_store(&t->current, im ? im->table : t->fallback);
	if (!old)
		return;
	sys_run_wait();
	if (!old->linked)
		free_impl(t, old);
	sys_put(&gone->o);
}

int ops_update(struct sys_map *sm, const void *key, const void *value, u64 flags)
{
	struct ferry_ops_table *t = sm->ops;
	struct impl *im;
	u32 index;
	int err;

	memcpy(&index, key, sizeof(index));
	if (flags)
		return -EINVAL;
	if (index)
		return -E2BIG;
	if (sys_run_inside())
		return -EBUSY;
	pthread_mutex_lock(&change);
	/* As the kernel's: one that is in place cannot be changed, only exchanged or deleted. */
	if ((t->impl && t->impl->sm == sm) || sm->ops_ready)
		err = -EBUSY;
	else
		err = make_impl(t, (const u8 *)value + t->data_off, &im);
	if (!err && sm->map->attr.flags & OPS_F_LINK) {
		memcpy(sm->map->values, value, t->value_size);
		im->sm = sm;
		im->linked = true;
		sm->ops_ready = im;
	} else if (!err) {
		memcpy(sm->map->values, value, t->value_size);
		im->sm = sm;
		sys_hold(&sm->o);
		put_in_place(t, im);
	}
	pthread_mutex_unlock(&change);
	return err;
}

int ops_delete(struct sys_map *sm)
{
	struct ferry_ops_table *t = sm->ops;
	int err = -ENOENT;

	if (sm->map->attr.flags & OPS_F_LINK)
		return -EOPNOTSUPP; /* its link is what is taken away */
	if (sys_run_inside())
		return -EBUSY;
	pthread_mutex_lock(&change);
	if (t->impl && t->impl->sm == sm) {
		put_in_place(t, NULL);
		err = 0;
	}
	pthread_mutex_unlock(&change);
	return err;
}

/* ---- links -------------------------------------------------------------------------------------- */

/* May a link put it in place? Its value was given (bpf_struct_ops_valid_to_reg). */
static bool may_link(const struct sys_map *sm)
{
	return sm->ops && sm->map->attr.flags & OPS_F_LINK && sm->ops_ready;
}

int ops_link(struct sys_map *sm)
{
	int err = may_link(sm) ? 0 : -EINVAL;

	if (err || sys_run_inside())
		return err ? err : -EBUSY;
	pthread_mutex_lock(&change);
	if (sm->ops->impl) {
		err = -EBUSY; /* another is in place: it is exchanged by its own link */
	} else {
		sys_hold(&sm->o);
		put_in_place(sm->ops, sm->ops_ready);
	}
	pthread_mutex_unlock(&change);
	return err;
}

int ops_link_update(struct sys_map *old, struct sys_map *sm)
{
	int err = may_link(sm) && sm->ops == old->ops ? 0 : -EINVAL;

	if (err || sys_run_inside())
		return err ? err : -EBUSY;
	pthread_mutex_lock(&change);
	if (old->ops->impl != old->ops_ready) {
		err = -ENOLINK;
	} else if (old != sm) {
		sys_hold(&sm->o);
		put_in_place(sm->ops, sm->ops_ready);
	}
	pthread_mutex_unlock(&change);
	return err;
}

void ops_unlink(struct sys_map *sm)
{
	pthread_mutex_lock(&change);
	if (sm->ops->impl == sm->ops_ready)
		put_in_place(sm->ops, NULL);
	pthread_mutex_unlock(&change);
}

void ops_map_free(struct sys_map *sm)
{
	if (sm->ops_ready)
		free_impl(sm->ops, sm->ops_ready);
	sm->ops_ready = NULL;
}

/* ---- use ---------------------------------------------------------------------------------------- */

const void *ferry_ops_enter(struct ferry_ops_table *t)
{
	sys_run_enter();
	return atomic_load_explicit(&t->current, memory_order_acquire);
}

void ferry_ops_leave(struct ferry_ops_table *t)
{
	(void)t;
	sys_run_leave();
}
