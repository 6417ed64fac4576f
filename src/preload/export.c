/* SPDX-License-Identifier: MIT */
/*
 * libferry-preload.so: the hooked names, exported, so that what is loaded later binds to them. No
 * header of libc here: all of the functions take at most seven integers or pointers and return one,
 * and in both calling conventions (SysV ABI 3.2.3, AAPCS64 6.4) handing on seven hands on fewer,
 * variadic or not.
 */
void *ferry_preload_find(const char *name);
void ferry_preload_start(void);

typedef long (*hook_fn)(long, long, long, long, long, long, long);

/*
 * AddressSanitizer's runtime comes here while it begins, when code built with it cannot run yet: until the constructors
 * of what this library needs have run, calls are libc's.
 */
#if defined(__SANITIZE_ADDRESS__)
void *dlsym(void *handle, const char *name);
static int begun;
#define NEXT ((void *)-1L) /* RTLD_NEXT */
#endif

/* What others of the session attached to this process is in place before main(). */
__attribute__((constructor)) static void start(void)
{
#if defined(__SANITIZE_ADDRESS__)
	begun = 1;
#endif
	ferry_preload_start();
}

__attribute__((no_sanitize("address"))) static hook_fn find(hook_fn *slot, const char *name)
{
	hook_fn fn = __atomic_load_n(slot, __ATOMIC_RELAXED);

#if defined(__SANITIZE_ADDRESS__)
	if (!begun)
		return (hook_fn)dlsym(NEXT, name);
#endif
	if (!fn) {
		fn = (hook_fn)ferry_preload_find(name);
		__atomic_store_n(slot, fn, __ATOMIC_RELAXED);
	}
	return fn;
}

#define HOOK(ret, name, params)                                                                    \
	__attribute__((visibility("default"))) long export_##name(long, long, long, long, long,    \
								  long, long) __asm__(#name);      \
	long export_##name(long a, long b, long c, long d, long e, long f, long g)                 \
	{                                                                                          \
		static hook_fn slot;                                                               \
		return find(&slot, #name)(a, b, c, d, e, f, g);                                    \
	}
#include "preload/hook.def"
