/* SPDX-License-Identifier: MIT */
/*
 * All code of this process that makes system calls: looked through object by object, as the loader
 * knows them, and written at once while no other thread runs.
 */
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attach/syscall_site.h"
#include "bpf/sys.h"
#include "code/code.h"

#define MAX_TEXTS 1024

struct text_of {
	struct sc_text t;
	u64 base;      /* of the object */
	u32 name;      /* hash */
	bool kernel;   /* the vDSO: whether it can be written is the kernel's to say */
	bool seen;
};

static struct text_of *texts[MAX_TEXTS];
static u32 ntexts;
static bool wanted;
static struct probe *watch; /* on the loader's word that it changed something */
static bool lending; /* lend_watch() is on */
static u64 libc_code, libc_start, libc_end;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

bool sc_is_own(u64 addr)
{
	return addr >= (u64)(uintptr_t)__start_ferry_calls && addr < (u64)(uintptr_t)__stop_ferry_calls;
}

bool syscall_is_libc(u64 addr)
{
	return addr >= libc_start && addr < libc_end;
}

static const struct text_of *text_at(u64 addr)
{
	u32 i;

	for (i = 0; i < ntexts; i++)
		if (addr >= texts[i]->t.start && addr < ((texts[i]->t.end + 4095) & ~4095ull))
			return texts[i];
	return NULL;
}

bool sc_is_text(u64 addr)
{
	const struct text_of *x = text_at(addr + 4095);

	return x || text_at(addr);
}

bool sc_is_loader(u64 addr)
{
	const struct text_of *x = text_at(addr);

	return x && x->base == _r_debug.r_ldbase;
}

/* ---- what is loaded ----------------------------------------------------------------------------- */

/*
 * Stubs are kept for ever, for a thread may be on its way through one. What was unloaded and comes back to the same
 * place, as plug-ins do again and again, gets those that it had.
 */
static struct text_of *gone[64];
static u32 ngone;

static void forget(u32 i)
{
	struct text_of **at = &gone[ngone % ARRAY_SIZE(gone)];

	if (*at) {
		sc_forget_points((*at)->t.start, (*at)->t.end);
		base_free((*at)->t.sites);
		base_free(*at);
	}
	*at = texts[i];
	ngone++;
	texts[i] = texts[--ntexts];
}

static bool is_place(const struct text_of *x, u64 base, u32 name, u64 start, u64 end)
{
	return x->base == base && x->name == name && x->t.start == start && x->t.end == end;
}

/* Has it all the bytes that its sites were made from? */
static bool is_untouched(const struct text_of *x)
{
	u8 there[MAX_STOLEN];
	size_t i;

	for (i = 0; i < x->t.nsites; i++)
		if (code_copy_safe(there, (const void *)(uintptr_t)x->t.sites[i].addr, x->t.sites[i].len) ||
		    memcmp(there, x->t.sites[i].orig, x->t.sites[i].len))
			return false;
	return true;
}

static struct text_of *come_back(u64 base, u32 name, u64 start, u64 end)
{
	struct text_of *x;
	size_t k;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(gone); i++) {
		x = gone[i];
		if (!x || !is_place(x, base, name, start, end) || !is_untouched(x))
			continue;
		gone[i] = NULL;
		for (k = 0; k < x->t.nsites; k++)
			x->t.sites[k].written = false;
		return x;
	}
	return NULL;
}

/* Is what we wrote still there? An object that came back to the same place has its own bytes. */
static bool is_same(const struct text_of *x)
{
	u8 there[MAX_STOLEN];
	size_t i;

	for (i = 0; i < x->t.nsites; i++) {
		const struct sc_site *s = &x->t.sites[i];

		if (s->written)
			return !code_copy_safe(there, (const void *)(uintptr_t)s->addr, s->len) &&
			       !memcmp(there, s->now, s->len);
	}
	return true;
}

static int take_text(u64 base, const char *name, u64 start, u64 end)
{
	u32 h = (u32)hash_bytes(name, strlen(name), 0), i;
	struct text_of *x;
	int err;

	if (libc_code >= start && libc_code < end) {
		libc_start = start;
		libc_end = end;
	}
	for (i = 0; i < ntexts; i++) {
		x = texts[i];
		if (!is_place(x, base, h, start, end))
			continue;
		if (is_same(x)) {
			x->seen = true;
			return 0;
		}
		forget(i);
		break;
	}
	x = ntexts < MAX_TEXTS ? come_back(base, h, start, end) : NULL;
	if (x) {
		x->seen = true;
		texts[ntexts++] = x;
		return 0;
	}
	x = ntexts < MAX_TEXTS ? base_alloc(sizeof(*x)) : NULL;
	if (!x)
		return -ENOMEM;
	x->base = base;
	x->name = h;
	x->kernel = !strncmp(name, "linux-vdso", 10) || !strncmp(name, "linux-gate", 10);
	x->seen = true;
	x->t.start = start;
	x->t.end = end;
	err = sc_find(&x->t);
	if (err) {
		base_free(x->t.sites);
		base_free(x);
		return err;
	}
	texts[ntexts++] = x;
	return 0;
}

/* A function of libc's own: others may have the name too, and come first (libasan, what is preloaded). */
static u64 find_libc(void)
{
	void *libc = dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD);
	u64 at = (u64)(uintptr_t)dlsym(libc ? libc : RTLD_DEFAULT, "pthread_create");

	if (libc)
		dlclose(libc);
	return at;
}

struct visit {
	int err;
};

static int visit(struct dl_phdr_info *info, size_t size, void *arg)
{
	struct visit *v = arg;
	int i;

	(void)size;
	for (i = 0; i < info->dlpi_phnum && !v->err; i++) {
		const ElfW(Phdr) *ph = &info->dlpi_phdr[i];
		u64 start = info->dlpi_addr + ph->p_vaddr;

		if (ph->p_type == PT_LOAD && ph->p_flags & PF_X)
			v->err = take_text(info->dlpi_addr, info->dlpi_name, start, start + ph->p_filesz);
	}
	return v->err;
}

static int look(void)
{
	struct visit v = { 0 };
	u32 i;

	if (!libc_code)
		libc_code = find_libc();
	for (i = 0; i < ntexts; i++)
		texts[i]->seen = false;
	dl_iterate_phdr(visit, &v);
	for (i = ntexts; !v.err && i-- > 0;)
		if (!texts[i]->seen)
			forget(i);
	return v.err;
}

/* ---- writing ------------------------------------------------------------------------------------- */

/* What to write at a site so that it is as wanted; false: it is, or it is not ours to write. */
static bool make_patch(struct sc_site *s, bool want, struct world_patch *p)
{
	const u8 *there = want ? s->orig : s->now;
	u8 bytes[MAX_STOLEN];
	u32 i;

	if (!s->len || s->written == want ||
	    code_copy_safe(bytes, (const void *)(uintptr_t)s->addr, s->len) ||
	    memcmp(bytes, there, s->len))
		return false;
	p->addr = (u8 *)(uintptr_t)s->addr;
	p->len = s->len;
	memcpy(p->bytes, want ? s->now : s->orig, s->len);
	p->n = want ? s->nways : 0;
	for (i = 0; i < p->n; i++) {
		p->from[i] = s->from[i];
		p->to[i] = s->to[i];
	}
	return true;
}

/* Writes the sites of the vDSO, or of all else. */
static int write_some(bool want, bool kernel)
{
	struct world_patch *p;
	size_t n = 0, np = 0, k;
	u32 i;
	int err = 0;

	for (i = 0; i < ntexts; i++)
		n += texts[i]->t.nsites;
	p = base_array(n ? n : 1, sizeof(*p));
	if (!p)
		return -ENOMEM;
	for (i = 0; i < ntexts; i++)
		for (k = 0; texts[i]->kernel == kernel && k < texts[i]->t.nsites; k++)
			np += make_patch(&texts[i]->t.sites[k], want, &p[np]);
	if (np)
		err = world_patch(p, np);
	for (i = 0; !err && i < ntexts; i++)
		for (k = 0; texts[i]->kernel == kernel && k < texts[i]->t.nsites; k++)
			texts[i]->t.sites[k].written = want && texts[i]->t.sites[k].len;
	base_free(p);
	return err;
}

static int write_all(bool want)
{
	int err = write_some(want, false);

	if (!err)
		write_some(want, true);
	return err;
}

/* The loader calls this after each change of what is loaded (link.h, struct r_debug). */
static void loaded(struct pt_regs *regs, void *arg)
{
	(void)regs;
	(void)arg;
	if (_r_debug.r_state != RT_CONSISTENT || pthread_mutex_trylock(&lock))
		return; /* held by this thread: it is looking anyway */
	sys_inside++;
	if (wanted && (look() || write_all(true)))
		log_msg(LOG_WARN, "system calls of what was loaded just now are not seen");
	sys_inside--;
	pthread_mutex_unlock(&lock);
}

/* How it is to be done: FERRY_SYSCALLS is 'patch', 'dispatch', or what fits. */
static bool asked_for(const char *way)
{
	const char *s = secure_getenv("FERRY_SYSCALLS");

	return s && !strcmp(s, way);
}

static bool is_complete(void)
{
	size_t k;
	u32 i;

	for (i = 0; i < ntexts; i++) {
		if (texts[i]->t.unknown)
			return false;
		for (k = 0; k < texts[i]->t.nsites; k++)
			if (!texts[i]->t.sites[k].written)
				return false;
	}
	return !sc_has_other_code();
}

/* Is there no thread but this one and Ferry's, of which there is one in a session? */
static bool is_alone(void)
{
	FILE *f = fopen("/proc/self/status", "re");
	char line[128];
	int threads = 0;

	while (f && fgets(line, sizeof(line), f) && sscanf(line, "Threads: %d", &threads) != 1)
		;
	if (f)
		fclose(f);
	return threads && threads <= 2 && gettid() == getpid();
}

/* All by SIGSYS: no thread comes by a stub, so that each has to be told. */
static int dispatch_all(struct text *why)
{
	int err = syscall_dispatch_all();

	if (!err || is_alone())
		return 0;
	syscall_dispatch(false);
	if (err == -EOPNOTSUPP)
		text_puts(why, "system calls of a process with several threads are not dispatched before Linux 6.4");
	else
		text_puts(why, "the threads of this process cannot be stopped, neither to change its code nor to dispatch its system calls");
	return err == -ENOMEM ? err : -EOPNOTSUPP;
}

static int write_jumps(bool *written)
{
	int err = asked_for("dispatch") ? 0 : write_all(true);

	*written = !err && !asked_for("dispatch");
	if (err == -EPERM) {
		log_msg(LOG_INFO, "no other thread of this process can be stopped to write its code: "
				  "its system calls are dispatched by SIGSYS");
		err = 0;
	}
	return err;
}

/* Under lock. */
static int begin(struct text *why)
{
	bool written = false;
	int err = look();

	if (!err)
		err = write_jumps(&written);
	if (err) {
		text_puts(why, "out of memory");
		return err;
	}
	if (asked_for("patch") || (written && is_complete()))
		return 0;
	if (syscall_dispatch_claim()) {
		log_msg(LOG_WARN, "system calls of some code are not seen: SIGSYS cannot be had");
		return 0;
	}
	syscall_want_dispatch();
	log_msg(LOG_INFO, "system calls of code that is not a library's are dispatched by SIGSYS");
	return written ? 0 : dispatch_all(why);
}

int syscall_patch(struct text *why)
{
	struct probe_spec spec = { (const void *)(uintptr_t)_r_debug.r_brk, PROBE_ENTRY, 0, loaded, NULL };
	int err;

	pthread_mutex_lock(&lock);
	sys_inside++;
	err = probe_init();
	if (!err && !watch && _r_debug.r_brk && probe_add(&spec, 1, &watch, NULL))
		log_msg(LOG_INFO, "system calls of libraries that are loaded later will not be seen");
	if (!err && !asked_for("patch"))
		syscall_dispatch_claim(); /* for code that is made later */
	if (!err)
		err = begin(why);
	wanted = !err;
	if (wanted && !lending)
		lend_watch(lending = true);
	sys_inside--;
	pthread_mutex_unlock(&lock);
	return err;
}

void syscall_unpatch(void)
{
	pthread_mutex_lock(&lock);
	sys_inside++;
	wanted = false;
	if (lending)
		lend_watch(lending = false);
	syscall_dispatch(false);
	/* Failing is harmless: the jumps stay, and nothing is wanted of the calls. */
	if (write_all(false))
		log_msg(LOG_INFO, "code that makes system calls could not be put back");
	if (watch) {
		probe_remove(&watch, 1);
		watch = NULL;
	}
	sys_inside--;
	pthread_mutex_unlock(&lock);
}

struct sc_stats syscall_stats(void)
{
	struct sc_stats s = { 0 };
	size_t k;
	u32 i;

	pthread_mutex_lock(&lock);
	for (i = 0; i < ntexts; i++)
		for (k = 0; k < texts[i]->t.nsites; k++) {
			s.sites += texts[i]->t.sites[k].call != 0;
			s.patched += texts[i]->t.sites[k].call && texts[i]->t.sites[k].written;
		}
	pthread_mutex_unlock(&lock);
	return s;
}
