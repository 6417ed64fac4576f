/* SPDX-License-Identifier: MIT */
/*
 * Hooks of libbpf's own loading, for one thing: when it fails over an extern, only libbpf knows
 * which (it has no call that says so, and asks nobody), so its messages are read while it loads,
 * and Ferry adds what would be near.
 */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <bpf/libbpf.h>

#include "bpf/sys.h"
#include "preload/preload_int.h"

static int (*real_load)(struct bpf_object *obj);
static int (*real_load_skeleton)(struct bpf_object_skeleton *s);
static libbpf_print_fn_t (*real_set_print)(libbpf_print_fn_t fn);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static libbpf_print_fn_t host_print; /* where messages go */
static unsigned int loads;           /* in progress */
static _Thread_local const struct bpf_object *loading;

/* "libbpf: extern (func ksym) 'name': not found in ..." or "...: func_proto [1] incompatible with
 * ..." */
static void read_message(const char *msg)
{
	const char *at = strstr(msg, "extern ("), *name, *end;

	if (!at || !strstr(at, "ksym)"))
		return;
	name = strchr(at, '\'');
	end = name ? strchr(name + 1, '\'') : NULL;
	if (end && (strstr(end, "not found") || strstr(end, "incompatible")))
		sys_ksym_failed(loading, name + 1, end - name - 1);
}

static int print(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	char msg[256];
	va_list copy;

	if (loading && level == LIBBPF_WARN) {
		va_copy(copy, ap);
		vsnprintf(msg, sizeof(msg), fmt, copy);
		va_end(copy);
		read_message(msg);
	}
	return host_print ? host_print(level, fmt, ap) : 0;
}

static void load_begin(const struct bpf_object *obj)
{
	loading = obj;
	sys_ksym_failed(obj, NULL, 0);
	preload_fix_externs(obj);
	pthread_mutex_lock(&lock);
	if (!loads++)
		host_print = real_set_print(print);
	pthread_mutex_unlock(&lock);
}

static int load_end(int err, const struct bpf_object *obj)
{
	int saved = errno;
	struct text t = { 0 };

	loading = NULL;
	pthread_mutex_lock(&lock);
	if (!--loads)
		real_set_print(host_print);
	pthread_mutex_unlock(&lock);
	if (err && sys_missing_ksyms(obj, &t))
		log_msg(LOG_ERROR, "%s: %s", bpf_object__name(obj), text_str(&t));
	text_free(&t);
	errno = saved;
	return err;
}

static int hook_bpf_object__load(struct bpf_object *obj)
{
	if (!obj || loading || !real_set_print)
		return real_load(obj);
	load_begin(obj);
	return load_end(real_load(obj), obj);
}

static int hook_bpf_object__load_skeleton(struct bpf_object_skeleton *s)
{
	if (!s || !s->obj || !*s->obj || loading || !real_set_print)
		return real_load_skeleton(s);
	load_begin(*s->obj);
	return load_end(real_load_skeleton(s), *s->obj);
}

const struct preload_hook preload_libbpf_hooks[] = {
	{ "bpf_object__load", (void *)hook_bpf_object__load, (void **)&real_load },
	{ "bpf_object__load_skeleton", (void *)hook_bpf_object__load_skeleton,
	  (void **)&real_load_skeleton },
};
const size_t preload_nlibbpf_hooks = ARRAY_SIZE(preload_libbpf_hooks);

void preload_find_libbpf(void)
{
	size_t i;

	for (i = 0; i < preload_nlibbpf_hooks; i++)
		*preload_libbpf_hooks[i].real = dlsym(RTLD_DEFAULT, preload_libbpf_hooks[i].name);
	*(void **)&real_set_print = dlsym(RTLD_DEFAULT, "libbpf_set_print");
}
