/* SPDX-License-Identifier: MIT */
/*
 * Threads that lend their storage to a child (vfork(2), posix_spawn(3), bare clone(2)): seen by hooks on libc's functions
 * while programs are attached, so that helpers may remember who a thread is (helper/self.c). Calls that are made
 * without libc are seen where system calls are.
 */
#include <dlfcn.h>
#include <linux/sched.h>
#include <pthread.h>

#include "attach/attach_int.h"
#include "bpf/run/run.h"
#include "helper/helper.h"

static void lends(struct pt_regs *regs, void *arg)
{
	(void)regs;
	helper_self_lend((enum helper_lend)(uintptr_t)arg);
}

/* clone(fn, stack, flags, ...) */
static void clones(struct pt_regs *regs, void *arg)
{
	(void)arg;
	lend_flags(regs->rdx);
}

void lend_flags(u64 flags)
{
	if (!sys_inside && flags & CLONE_VM && !(flags & CLONE_SETTLS))
		helper_self_lend(flags & CLONE_VFORK ? HELPER_LEND_ONCE : HELPER_LEND_FOR_GOOD);
}

/* Old programs have functions of their own (posix_spawn@GLIBC_2.2.5). */
static const struct {
	const char *name, *version;
	probe_fn entry;
	enum helper_lend how; /* HELPER_LEND_BEGIN: until it returns */
} functions[] = {
	{ "vfork", NULL, lends, HELPER_LEND_ONCE },
	{ "clone", NULL, clones, 0 },
	{ "posix_spawn", NULL, lends, HELPER_LEND_BEGIN },
	{ "posix_spawnp", NULL, lends, HELPER_LEND_BEGIN },
	{ "posix_spawn", "GLIBC_2.2.5", lends, HELPER_LEND_BEGIN },
	{ "posix_spawnp", "GLIBC_2.2.5", lends, HELPER_LEND_BEGIN },
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct probe *probes[2 * ARRAY_SIZE(functions)];
static size_t nprobes;
static u32 watchers;

static void begin(void)
{
	void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD), *at;
	struct probe_spec specs[ARRAY_SIZE(probes)];
	size_t i, n = 0;

	for (i = 0; i < ARRAY_SIZE(functions); i++) {
		at = !libc		      ? NULL
		     : functions[i].version ? dlvsym(libc, functions[i].name, functions[i].version)
					    : dlsym(libc, functions[i].name);
		if (!at && !functions[i].version)
			goto out;
		if (!at)
			continue;
		specs[n++] = (struct probe_spec){ at, PROBE_ENTRY, PROBE_PLAIN, functions[i].entry,
						  (void *)(uintptr_t)functions[i].how };
		if (functions[i].how == HELPER_LEND_BEGIN)
			specs[n++] = (struct probe_spec){ at, PROBE_RETURN, PROBE_PLAIN, lends,
							  (void *)(uintptr_t)HELPER_LEND_END };
	}
	if (!probe_add(specs, n, probes, NULL)) {
		nprobes = n;
		helper_self_watch(true);
	}
out:
	if (libc)
		dlclose(libc);
}

void lend_watch(bool on)
{
	pthread_mutex_lock(&lock);
	if (on && !watchers++) {
		begin();
	} else if (!on && !--watchers && nprobes) {
		helper_self_watch(false);
		probe_remove(probes, nprobes);
		nprobes = 0;
	}
	pthread_mutex_unlock(&lock);
}
