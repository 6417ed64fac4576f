/* SPDX-License-Identifier: MIT */
/*
 * Putting hooks in place: the import tables (GOT) of all loaded objects are rewritten where they
 * name one of the hooked functions. Nothing else of the process changes.
 */
#include <elf.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "bpf/event/attach.h"
#include "bpf/session/session.h"
#include "bpf/sys.h"
#include "broker/broker.h"
#include "ferry/ferry.h"
#include "preload/preload_int.h"

#if defined(__x86_64__)
#define R_SLOT R_X86_64_JUMP_SLOT
#define R_DATA R_X86_64_GLOB_DAT
#elif defined(__aarch64__)
#define R_SLOT R_AARCH64_JUMP_SLOT
#define R_DATA R_AARCH64_GLOB_DAT
#endif

struct real preload_real;

const struct preload_hook preload_hooks[] = {
#define HOOK(ret, name, params) { #name, (void *)hook_##name, (void **)&preload_real.name },
#include "preload/hook.def"
#undef HOOK
};
const size_t preload_nhooks = ARRAY_SIZE(preload_hooks);

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic bool undone; /* the process was left (preload_unhook): calls are libc's */

/* Slots that were written, and what they held: libc's function, or what finds it at the first call. */
static struct patched {
	void **slot, *was, *hook;
} *patched;
static size_t npatched, patched_cap;

bool preload_off(void)
{
	static int off = -1;
	const char *env;

	if (off < 0) {
		env = secure_getenv("FERRY");
		off = env && !strcmp(env, "off");
	}
	return off || undone;
}

static void find_real(void)
{
	preload_find_libc();
	preload_find_libbpf();
}

void preload_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, find_real);
}

static const struct preload_hook *hook_of(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(preload_hooks); i++)
		if (!strcmp(preload_hooks[i].name, name))
			return *preload_hooks[i].real ? &preload_hooks[i] : NULL;
	for (i = 0; i < preload_nlibbpf_hooks; i++)
		if (!strcmp(preload_libbpf_hooks[i].name, name))
			return *preload_libbpf_hooks[i].real ? &preload_libbpf_hooks[i] : NULL;
	return NULL;
}

/* ---- one object ----------------------------------------------------------------------------- */

/*
 * Writes one slot. Where start-up made the page read-only it is opened for the moment: other
 * threads only read it, and see the old or the new address.
 */
static int write_slot(const struct preload_image *im, void **slot, void *value)
{
	uintptr_t at = (uintptr_t)slot, page = at & ~(uintptr_t)(getpagesize() - 1);
	bool relro = at >= im->relro && at < im->relro_end;

	if (relro && mprotect((void *)page, getpagesize(), PROT_READ | PROT_WRITE))
		return -errno;
	__atomic_store_n(slot, value, __ATOMIC_RELEASE);
	if (relro)
		mprotect((void *)page, getpagesize(), PROT_READ);
	return 0;
}

static void remember(void **slot, void *hook)
{
	struct patched *p;
	size_t i;

	/* Where a library was unloaded another may lie now. */
	for (i = 0; i < npatched && patched[i].slot != slot; i++)
		;
	p = base_grow(patched, &patched_cap, npatched + 1, sizeof(*p));
	if (!p)
		return; /* it stays hooked, and the hook hands on */
	patched = p;
	patched[i] = (struct patched){ slot, *slot, hook };
	npatched += i == npatched;
}

static int patch(const struct preload_image *im)
{
	int err = 0, t;
	size_t i;

	for (t = 0; t < 2; t++) {
		for (i = 0; im->rela[t] && i < im->nrela[t]; i++) {
			const ElfW(Rela) *r = &im->rela[t][i];
			const struct preload_hook *h;
			const ElfW(Sym) * sym;
			void **slot;
			int e;

			if (ELF64_R_TYPE(r->r_info) != R_SLOT && ELF64_R_TYPE(r->r_info) != R_DATA)
				continue;
			sym = &im->syms[ELF64_R_SYM(r->r_info)];
			h = hook_of(im->strings + sym->st_name);
			/* A name of the object's own is not libc's, even when it is the same. */
			if (!h || sym->st_shndx != SHN_UNDEF)
				continue;
			slot = (void **)(im->base + r->r_offset);
			if (*slot == h->hook)
				continue;
			remember(slot, h->hook);
			e = write_slot(im, slot, h->hook);
			err = e ? e : err;
		}
	}
	return err;
}

/* ---- all objects ---------------------------------------------------------------------------- */

/* Objects whose calls are what hooks stand on, or that interpose themselves. */
static bool skipped(const char *path)
{
	static const char *const names[] = { "linux-vdso", "linux-gate", "ld-linux", "libc.so",
					     "libpthread", "libferry",   "libasan",  "libubsan",
					     "libtsan",    "liblsan" };
	const char *base = strrchr(path, '/');
	size_t i;

	base = base ? base + 1 : path;
	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (!strncmp(base, names[i], strlen(names[i])))
			return true;
	return false;
}

static int visit(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct preload_image im;
	int *err = arg, e;

	(void)size;
	if (skipped(info->dlpi_name ? info->dlpi_name : "") || !preload_image(&im, info))
		return 0;
	e = patch(&im);
	if (e)
		*err = e;
	return 0;
}

/* The slots of one object that are still as we wrote them get back what they held. */
static int unpatch(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct preload_image im;
	size_t i, k;

	(void)size;
	if (!preload_image(&im, info))
		return 0;
	for (i = 0; i < npatched; i++) {
		uintptr_t at = (uintptr_t)patched[i].slot;

		for (k = 0; k < info->dlpi_phnum; k++)
			if (info->dlpi_phdr[k].p_type == PT_LOAD &&
			    at - im.base - info->dlpi_phdr[k].p_vaddr < info->dlpi_phdr[k].p_memsz &&
			    *patched[i].slot == patched[i].hook && write_slot(&im, patched[i].slot, patched[i].was))
				++*(int *)arg;
	}
	return 0;
}

int preload_unhook(void)
{
	int left = 0;

	sys_inside++;
	pthread_mutex_lock(&lock);
	undone = true;
	dl_iterate_phdr(unpatch, &left);
	npatched = 0;
	pthread_mutex_unlock(&lock);
	sys_inside--;
	return left ? -EPERM : 0;
}

int preload_hook_again(void)
{
	undone = false;
	return preload_hook();
}

int preload_hook(void)
{
	int err = 0;

	if (preload_off())
		return 0;
	preload_init();
	sys_inside++;
	pthread_mutex_lock(&lock);
	dl_iterate_phdr(visit, &err);
	pthread_mutex_unlock(&lock);
	sys_inside--;
	if (err)
		log_msg(LOG_WARN, "not all calls could be hooked: %s", strerror(-err));
	return err;
}

int ferry_hook(void)
{
	return preload_hook();
}

void *ferry_preload_find(const char *name)
{
	size_t i;

	preload_init();
	for (i = 0; i < ARRAY_SIZE(preload_hooks); i++)
		if (!strcmp(preload_hooks[i].name, name))
			return preload_off() ? *preload_hooks[i].real : preload_hooks[i].hook;
	return NULL;
}

static size_t list_len(char **list)
{
	size_t n = 0;

	while (list[n])
		n++;
	return n;
}

/* Was the execve(2) a member's? `ferry exec` is none, and says so. */
static bool was_called(void)
{
	static const char name[] = "FERRY_STARTED=";
	bool by_us = false;
	char **e;

	/* Not getenv(3) and unsetenv(3): those of shells are functions of their own, which know nothing yet. */
	for (e = environ; e && *e;) {
		if (strncmp(*e, name, sizeof(name) - 1)) {
			e++;
			continue;
		}
		by_us |= atoi(*e + sizeof(name) - 1) == getpid();
		memmove(e, e + 1, (list_len(e + 1) + 1) * sizeof(*e));
	}
	return !by_us;
}

void ferry_preload_start(void)
{
	bool called;

	if (preload_off() || !sys_session_joined())
		return;
	called = was_called();
	broker_join();
	/* In a process that runs (ferry attach) it is a thread of the visitor's that comes here. */
	if (sys_attach_program_began && broker_joined() && gettid() == getpid())
		sys_attach_program_began(called);
}

__attribute__((constructor)) static void at_start(void)
{
	preload_hook();
}
