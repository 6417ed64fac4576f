/* SPDX-License-Identifier: MIT */
/* Inside src/preload: the functions as libc has them, and the hooks. */
#ifndef FERRY_PRELOAD_INT_H
#define FERRY_PRELOAD_INT_H

#include <dirent.h>
#include <fcntl.h>
#include <glob.h>
#include <link.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <sys/types.h>
#include <unistd.h>

#include "preload/preload.h"

struct FTW;
typedef int (*preload_ftw)(const char *path, const struct stat *st, int type, struct FTW *at);

/* Where the hooked calls go that are not ours; filled before the first hook is in place. */
struct real {
#define HOOK(ret, name, params) ret(*name) params;
#include "preload/hook.def"
#undef HOOK
};
extern struct real preload_real;

#define HOOK(ret, name, params) ret hook_##name params;
#include "preload/hook.def"
#undef HOOK

struct preload_hook {
	const char *name;
	void *hook;
	void **real;
};
extern const struct preload_hook preload_hooks[];
extern const size_t preload_nhooks;
/* Those of libbpf, which is not always there and whose names nobody else exports (libbpf.c). */
extern const struct preload_hook preload_libbpf_hooks[];
extern const size_t preload_nlibbpf_hooks;
void preload_find_libbpf(void);

/* find.c: a loaded object, as its dynamic section describes it. False: it has none. */
struct preload_image {
	ElfW(Addr) base;
	const ElfW(Sym) *syms;
	const char *strings;
	const u32 *hash;	    /* DT_GNU_HASH */
	const ElfW(Half) *versions; /* DT_VERSYM */
	const ElfW(Rela) *rela[2];  /* of the PLT, and the others */
	size_t nrela[2];
	ElfW(Addr) relro, relro_end; /* read-only after start */
};
bool preload_image(struct preload_image *im, const struct dl_phdr_info *info);
/* find.c: fills preload_real. Allocates nothing: the first hooked call may be an allocator's. */
void preload_find_libc(void);

/* signal.c: a mask for the time of a call, without signals that are never blocked. */
const sigset_t *preload_safe_mask(const sigset_t *mask, sigset_t *room);

/* extern.c: before libbpf loads an object. */
struct bpf_object;
void preload_fix_externs(const struct bpf_object *obj);

#endif
