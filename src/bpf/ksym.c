/* SPDX-License-Identifier: MIT */
/*
 * Externs that nothing satisfies. libbpf looks names up in our BTF by itself and fails before it
 * asks us anything; src/preload hears of it.
 */
#include <pthread.h>
#include <string.h>

#include "bpf/event/attach.h"
#include "bpf/sys_int.h"

#define NEAREST 3

void sys_explain_ksym(const char *name, struct text *out)
{
	const char *near[NEAREST];
	u32 n, i;

	if (module_func_named(name)) {
		text_printf(out,
			    "native function '%s' is registered: does the program declare its "
			    "prototype as the module does?",
			    name);
		return;
	}
	text_printf(out, "no native function '%s' is registered", name);
	n = module_nearest(name, near, NEAREST);
	for (i = 0; i < n; i++)
		text_printf(out, "%s'%s'", i ? i + 1 == n ? " or " : ", " : "; did you mean ",
			    near[i]);
	text_puts(out, n ? "?" : module_nth(0) ? "" : "; there is no module at all");
}

/*
 * What the last load failed over. Not by thread: a library that is loaded late has little room for
 * variables of threads.
 */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
	const struct bpf_object *obj;
	u32 n;
	char names[8][64];
} failed;

void sys_ksym_failed(const struct bpf_object *obj, const char *name, size_t len)
{
	pthread_mutex_lock(&lock);
	if (!name || obj != failed.obj)
		failed.n = 0;
	failed.obj = obj;
	if (name && failed.n < ARRAY_SIZE(failed.names) && len < sizeof(failed.names[0])) {
		memcpy(failed.names[failed.n], name, len);
		failed.names[failed.n++][len] = '\0';
	}
	pthread_mutex_unlock(&lock);
}

int sys_missing_ksyms(const struct bpf_object *obj, struct text *out)
{
	u32 i, n;

	pthread_mutex_lock(&lock);
	n = obj && obj == failed.obj ? failed.n : 0;
	for (i = 0; i < n; i++) {
		if (i)
			text_puts(out, "\n");
		sys_explain_ksym(failed.names[i], out);
	}
	pthread_mutex_unlock(&lock);
	return n;
}

static void list_symbols(const struct module *m, struct text *out)
{
	u32 i;

	for (i = 0; i < m->nfuncs; i++)
		text_printf(out, "%016llx t %s\t[%s]\n",
			    (unsigned long long)(uintptr_t)m->funcs[i].addr, m->funcs[i].name, m->name);
	for (i = 0; i < m->nvars; i++)
		text_printf(out, "%016llx d %s\t[%s]\n",
			    (unsigned long long)(uintptr_t)m->vars[i].addr, m->vars[i].name, m->name);
}

const char *sys_call_func(u64 i)
{
	static const char *const names[] = {
#define SYSCALL(name, ...) "__x64_sys_" #name,
#include "btf/syscalls.def"
#undef SYSCALL
	};

	return i < ARRAY_SIZE(names) ? names[i] : NULL;
}

/*
 * What of the kernel can be probed here: the functions of system calls, by whose names tools tell which
 * wrappers a kernel has.
 */
static void list_calls(struct text *out)
{
	const char *name;
	u64 i;

	for (i = 0; (name = sys_call_func(i)); i++)
		text_printf(out, "%016llx T %s\n", (unsigned long long)SYS_CALL_ADDR(i), name);
}

void *sys_kallsyms(u32 *size)
{
	struct text out = { 0 };
	struct module *m;
	void *data;
	u32 n;

	list_calls(&out);
	for (n = 0; (m = module_nth_get(n)); n++) {
		list_symbols(m, &out);
		module_put(m);
	}
	*size = (u32)out.len;
	data = out.oom ? NULL : base_memdup(text_str(&out), out.len + 1);
	text_free(&out);
	return data;
}
