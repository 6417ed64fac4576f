/* SPDX-License-Identifier: MIT */
/* Ferry's public functions (ferry/ferry.h), but for ferry_hook (src/preload). */
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bpf/sys_int.h"
#include "ferry/ferry.h"
#include "helper/helper.h"

#define STRING_(x) #x
#define STRING(x)  STRING_(x)

const char *ferry_version(void)
{
	return STRING(FERRY_VERSION_MAJOR) "." STRING(FERRY_VERSION_MINOR) ".0";
}

long ferry_bpf(int cmd, void *attr, unsigned int size)
{
	long ret = sys_bpf(cmd, attr, size);

	if (ret < 0) {
		errno = -ret;
		return -1;
	}
	return ret;
}

int ferry_strict(int on)
{
	return sys_strict(on != 0);
}

void ferry_log_to(ferry_log_fn fn, void *arg)
{
	log_to(fn, arg);
}

void ferry_trace_to(ferry_trace_fn fn, void *arg)
{
	if (fn)
		helper_trace_to(fn, arg);
	else
		sys_trace_init();
}

/* ---- modules -------------------------------------------------------------------------------- */

int ferry_module_register(const struct ferry_module *mod)
{
	struct text why = { 0 };
	struct module *m = NULL;
	int err;

	if (!mod)
		return -EINVAL;
	sys_inside++;
	err = module_register(mod, &m, &why);
	if (err)
		log_msg(LOG_ERROR, "module '%s': %s", mod->name ? mod->name : "(no name)",
			why.len ? text_str(&why) : strerror(-err));
	text_free(&why);
	sys_inside--;
	return err;
}

int ferry_module_unregister(const char *name)
{
	int err;

	if (!name)
		return -EINVAL;
	sys_inside++;
	err = sys_btf_unregister(name);
	sys_inside--;
	return err;
}

int ferry_module_load(const char *path)
{
	const struct ferry_module *mod;
	void *lib;
	int err;

	if (!path)
		return -EINVAL;
	lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!lib) {
		log_msg(LOG_ERROR, "%s", dlerror());
		return access(path, F_OK) ? -ENOENT : -EINVAL;
	}
	mod = dlsym(lib, "ferry_module");
	if (!mod) {
		log_msg(LOG_ERROR, "%s exports no module: define one with FERRY_MODULE, or make one of its header (ferry module build)", path);
		dlclose(lib);
		return -EINVAL;
	}
	err = ferry_module_register(mod);
	if (err)
		dlclose(lib); /* otherwise its functions are called from now on */
	return err;
}

/* ---- externs -------------------------------------------------------------------------------- */

static void give_text(struct text *t, char *buf, size_t size)
{
	if (size)
		snprintf(buf, size, "%s", text_str(t));
	text_free(t);
}

int ferry_explain_ksym(const char *name, char *buf, size_t size)
{
	struct text t = { 0 };

	if (!name || (!buf && size))
		return -EINVAL;
	sys_explain_ksym(name, &t);
	give_text(&t, buf, size);
	return module_func_named(name) != NULL;
}

int ferry_explain_object(const struct bpf_object *obj, char *buf, size_t size)
{
	struct text t = { 0 };
	int n;

	if (!obj || (!buf && size))
		return -EINVAL;
	n = sys_missing_ksyms(obj, &t);
	give_text(&t, buf, size);
	return n;
}

/* ---- running -------------------------------------------------------------------------------- */

struct ferry_runner {
	struct prog *p; /* with a reference on its object */
};

/*
 * The context that running `p` needs, in bytes: what it touches, or all that its type has when
 * others may be reached by tail call. -EINVAL for packets, whose context is not the caller's to
 * make.
 */
static s64 ctx_need(const struct prog *p, bool *tail_calls)
{
	const struct prog_type *t = prog_type_of(p->type);
	u32 i;

	*tail_calls = false;
	if (!t || t->has_packet || t->typed)
		return -EINVAL;
	if (t->fields)
		return t->real_size;
	for (i = 0; i < p->nmaps; i++)
		if (p->maps[i]->attr.type == BPF_MAP_TYPE_PROG_ARRAY)
			*tail_calls = true;
	return p->max_ctx_off;
}

static int prog_of(int fd, struct prog **out)
{
	*out = sys_fd_prog(fd);
	return *out ? 0 : -EBADF;
}

/* On a copy as large as any program of the type may read, for the sake of tail calls. */
static int run_padded(const struct prog *p, void *ctx, size_t size, u64 *ret)
{
	u8 *copy = base_alloc(prog_type_of(p->type)->raw_end);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, ctx, size);
	*ret = sys_prog_run(p, copy, 0);
	memcpy(ctx, copy, size);
	base_free(copy);
	return 0;
}

int ferry_prog_run(int prog_fd, void *ctx, size_t size, uint64_t *ret)
{
	bool tail_calls;
	struct prog *p;
	u64 value = 0;
	int err = prog_of(prog_fd, &p);
	s64 need;

	if (err)
		return err;
	need = ctx_need(p, &tail_calls);
	if (need < 0 || size < (size_t)need || (size && !ctx))
		err = -EINVAL;
	else if (tail_calls && size < prog_type_of(p->type)->raw_end)
		err = run_padded(p, ctx, size, &value);
	else
		value = sys_prog_run(p, ctx, 0);
	sys_prog_put(p);
	if (!err && ret)
		*ret = value;
	return err;
}

int ferry_runner_new(int prog_fd, size_t ctx_size, struct ferry_runner **out)
{
	struct ferry_runner *r;
	bool tail_calls;
	struct prog *p;
	int err = prog_of(prog_fd, &p);
	s64 need;

	if (err)
		return err;
	need = ctx_need(p, &tail_calls);
	r = base_alloc(sizeof(*r));
	if (need < 0 || ctx_size < (size_t)need ||
	    (tail_calls && ctx_size < prog_type_of(p->type)->raw_end))
		err = -EINVAL;
	else if (!r)
		err = -ENOMEM;
	if (err) {
		base_free(r);
		sys_prog_put(p);
		return err;
	}
	r->p = p;
	*out = r;
	return 0;
}

uint64_t ferry_runner_run(const struct ferry_runner *r, void *ctx)
{
	return sys_prog_run(r->p, ctx, 0);
}

void ferry_runner_free(struct ferry_runner *r)
{
	if (!r)
		return;
	sys_prog_put(r->p);
	base_free(r);
}

int ferry_prog_faults(int prog_fd, struct ferry_fault *out, size_t n)
{
	struct prog *p;
	int found = 0, err = !out && n ? -EINVAL : prog_of(prog_fd, &p);
	u32 i;

	if (err)
		return err;
	for (i = 0; p->faults && i < p->insn_cnt; i++) {
		u64 count = atomic_load_explicit(&p->faults[i], memory_order_relaxed);

		if (!count)
			continue;
		if ((size_t)found < n)
			out[found] = (struct ferry_fault){ i, count };
		found++;
	}
	sys_prog_put(p);
	return found;
}
