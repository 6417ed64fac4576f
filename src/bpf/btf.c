/* SPDX-License-Identifier: MIT */
/*
 * BTF objects: what BPF_BTF_LOAD brings, and those that stand for the kernel's own: vmlinux, which
 * is always number 1, and one a registered module.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bpf/event/attach.h"
#include "bpf/sys_int.h"
#include "helper/helper.h"

#define BTF_MAX_BYTES (16u << 20) /* the kernel's BTF_MAX_SIZE */

static struct sys_btf *vmlinux; /* referenced for good */
/* One a registered module, each with a reference; under the slow lock. */
static struct sys_btf **modules;
static size_t nmodules, cap_modules;

void sys_btf_free(struct sys_obj *o)
{
	struct sys_btf *sb = container_of(o, struct sys_btf, o);

	close(o->fd);
	if (sb->owned) {
		btf__free(sb->btf);
		base_free((void *)sb->raw);
	}
	if (sb->mod)
		module_put(sb->mod);
	base_free(sb);
}

/* In front of the bytes in a BTF object's memfd. */
struct btf_file {
	char magic[8];
	u32 id, unused;
};

/* Enters a BTF, filled but for its memfd: 0 or -errno, and then it is the caller's to free. */
static int add_btf(struct sys_btf *sb)
{
	struct btf_file head = { SYS_BTF_MAGIC, 0, 0 };
	int fd, err;

	if (!sb->o.id)
		sb->o.id = sys_obj_number(SYS_BTF);
	head.id = sb->o.id;
	fd = sys_memfd("bpf-btf", &head, sizeof(head), sb->raw, sb->raw_size);
	if (fd >= 0)
		fd = sys_fd_move(fd);
	err = fd < 0 ? fd : sys_obj_add(&sb->o, SYS_BTF, fd);
	if (err) {
		sb->o.id = 0; /* it is in no table */
		if (fd >= 0)
			close(fd);
	} else {
		sys_seal(fd);
	}
	return err;
}

/* ---- the kernel's own ----------------------------------------------------------------------- */

static int add_kernel(struct btf *btf, struct module *mod, struct sys_btf **out)
{
	struct sys_btf *sb = base_alloc(sizeof(*sb));
	int err;

	if (!sb)
		return -ENOMEM;
	sb->btf = btf;
	sb->kernel = true;
	sb->o.id = !mod; /* vmlinux is number 1 in every process */
	if (mod) {
		sb->raw = mod->raw;
		sb->raw_size = mod->raw_size;
	} else {
		sb->raw = btf__raw_data(btf, &sb->raw_size);
	}
	snprintf(sb->o.name, sizeof(sb->o.name), "%s", mod ? mod->name : "vmlinux");
	err = sb->raw ? add_btf(sb) : -ENOMEM;
	if (err) {
		base_free(sb);
		return err;
	}
	if (mod)
		sb->mod = module_get(mod);
	*out = sb;
	return 0;
}

static bool have_module(const struct module *mod)
{
	size_t i;

	for (i = 0; i < nmodules; i++)
		if (modules[i]->mod == mod)
			return true;
	return false;
}

static int add_module(struct module *mod)
{
	void *grown;
	int err;

	if (have_module(mod))
		return 0;
	grown = base_grow(modules, &cap_modules, nmodules + 1, sizeof(struct sys_btf *));
	if (!grown)
		return -ENOMEM;
	modules = grown;
	err = add_kernel(mod->btf, mod, &modules[nmodules]);
	nmodules += !err;
	return err;
}

static int add_modules(void)
{
	struct module *mod;
	u32 n;
	int err = 0;

	/* With a reference: another thread may unregister it meanwhile. */
	for (n = 0; !err && (mod = module_nth_get(n)); n++) {
		err = add_module(mod);
		module_put(mod);
	}
	return err;
}

int sys_btf_sync(void)
{
	size_t i;
	int err = 0;

	sys_slow_lock();
	if (!vmlinux) {
		struct btf *btf = fbtf_vmlinux();

		err = btf ? add_kernel(btf, NULL, &vmlinux) : -ENOMEM;
	}
	for (i = 0; i < nmodules;) {
		if (!modules[i]->mod->gone) {
			i++;
			continue;
		}
		sys_put(&modules[i]->o);
		modules[i] = modules[--nmodules];
	}
	if (!err)
		err = add_modules();
	sys_slow_unlock();
	return err;
}

struct sys_obj *sys_btf_named(const char *name)
{
	struct sys_btf *sb = NULL;
	size_t i;

	if (sys_btf_sync())
		return NULL;
	sys_slow_lock();
	if (!strcmp(name, "vmlinux"))
		sb = vmlinux;
	for (i = 0; i < nmodules && !sb; i++)
		if (!strcmp(name, modules[i]->o.name))
			sb = modules[i];
	if (sb)
		sys_hold(&sb->o);
	sys_slow_unlock();
	return sb ? &sb->o : NULL;
}

void *sys_btf_copy(const char *name, u32 *size)
{
	struct sys_obj *o = sys_btf_named(name);
	const struct sys_btf *sb = o ? container_of(o, struct sys_btf, o) : NULL;
	void *copy = NULL;

	if (sb) {
		*size = sb->raw_size;
		copy = base_memdup(sb->raw, sb->raw_size);
	}
	sys_put(o);
	return copy;
}

struct sys_obj *sys_native_find(const char *module, const char *func, u32 *id)
{
	struct sys_obj *o = NULL;
	size_t i;
	u32 f;

	/* From another process, perhaps, which had it. */
	if (!strcmp(module, HELPER_KFUNCS))
		helper_kfuncs();
	if (sys_btf_sync())
		return NULL;
	sys_slow_lock();
	for (i = 0; i < nmodules && !o; i++) {
		const struct module *m = modules[i]->mod;

		if (strcmp(m->name, module))
			continue;
		for (f = 0; f < m->nfuncs && !o; f++) {
			if (strcmp(m->funcs[f].name, func))
				continue;
			*id = m->funcs[f].btf_id;
			o = &modules[i]->o;
			sys_hold(o);
		}
	}
	sys_slow_unlock();
	return o;
}

int sys_btf_unregister(const char *name)
{
	int err;

	if (sys_run_inside())
		return -EBUSY; /* it would wait for itself */
	/* Not while the list is walked, where a module has no reference yet. */
	sys_slow_lock();
	err = module_unregister(name);
	sys_slow_unlock();
	if (!err) {
		sys_btf_sync();
		if (sys_attach_module_gone)
			sys_attach_module_gone();
		sys_limit_module_gone();
	}
	return err;
}

/* ---- commands ------------------------------------------------------------------------------- */

static int load(const union bpf_attr *attr, struct sys_btf *sb, struct text *why)
{
	void *raw;
	int err;

	err = sys_dup(attr->btf, attr->btf_size, &raw);
	if (err)
		return err;
	sb->raw = raw;
	sb->raw_size = attr->btf_size;
	sb->owned = true;
	if (!attr->btf_size) {
		text_puts(why, "hdr_len not found\n");
		return -EINVAL;
	}
	err = fbtf_parse(sb->raw, sb->raw_size, NULL, &sb->btf, why);
	if (err)
		return err;
	return add_btf(sb);
}

int sys_btf_from(int fd, const void *file, size_t size, u32 id, struct sys_obj **out)
{
	struct sys_btf *sb;
	const struct btf_file *head = file;
	const size_t skip = sizeof(*head);
	int err = size <= skip || size - skip > BTF_MAX_BYTES ? -EINVAL : sys_btf_sync();

	if (err)
		return err;
	sb = base_alloc(sizeof(*sb));
	if (!sb)
		return -ENOMEM;
	sb->owned = true;
	sb->raw_size = size - skip;
	sb->raw = base_memdup((const char *)file + skip, size - skip);
	err = sb->raw ? fbtf_parse(sb->raw, sb->raw_size, NULL, &sb->btf, NULL) : -ENOMEM;
	sb->o.id = id ? id : head->id & INT32_MAX;
	if (!err)
		err = sys_obj_add(&sb->o, SYS_BTF, fd);
	if (err) {
		btf__free(sb->btf);
		base_free((void *)sb->raw);
		base_free(sb);
		return err;
	}
	*out = &sb->o;
	return 0;
}

long sys_cmd_btf_load(struct sys_call *c)
{
	struct text why = { 0 };
	struct sys_btf *sb;
	struct sys_log log;
	int err;

	if (c->attr.btf_size > BTF_MAX_BYTES)
		return -E2BIG;
	err = sys_log_begin(&log, c->attr.btf_log_level, c->attr.btf_log_buf, c->attr.btf_log_size);
	if (err)
		return err;
	/* vmlinux is number 1, also when nobody asked for it before. */
	err = sys_btf_sync();
	if (err)
		return err;
	sb = base_alloc(sizeof(*sb));
	if (!sb)
		return -ENOMEM;
	err = load(&c->attr, sb, &why);
	if (err) {
		log_msg(LOG_INFO, "BPF_BTF_LOAD: %s (%s)", why.len ? text_str(&why) : "refused",
			strerror(-err));
		if (log.level)
			text_printf(&log.text, "%s\n", text_str(&why));
	}
	err = sys_log_end(&log, err, sys_log_field(c->uattr, c->size, SYS_BTF_TRUE_SIZE));
	text_free(&why);
	if (!sb->o.id) {
		btf__free(sb->btf);
		base_free((void *)sb->raw);
		base_free(sb);
		return err;
	}
	if (!err)
		err = sys_fd_new(&sb->o, 0);
	sys_put(&sb->o);
	return err;
}
