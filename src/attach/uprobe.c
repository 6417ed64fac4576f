/* SPDX-License-Identifier: MIT */
/*
 * Uprobes and uretprobes of this process: a place in a file (as perf_event_open(2) names it) becomes
 * the addresses where that file is mapped, now and later, and the program runs there with a struct
 * pt_regs.
 */
#include <errno.h>
#include <link.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "attach/attach_int.h"
#include "bpf/event/attach.h"
#include "bpf/session/look.h"
#include "bpf/run/run.h"
#include "bpf/sys.h"
#include "code/code.h"

#define MAX_PLACES 16 /* one file is mapped once; more with dlmopen() */

struct uprobe {
	struct sys_attach what;
	enum probe_kind kind;
	struct probe *probes[MAX_PLACES];
	u16 *counters[MAX_PLACES]; /* of a USDT's semaphore */
	u32 nprobes, ncounters;
	struct uprobe *next;
};

/* All of them: looked at again when a library comes or goes. */
static struct uprobe *all;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct probe *watch; /* on the loader's word that it changed something */

/* ---- where a file is mapped ---------------------------------------------------------------------- */

struct places {
	u64 addr[MAX_PLACES];
	u32 n;
};

/* Addresses of the byte at `offset` of the file, in mappings that have all of `perm` ("x", "w"). */
static int find_places(const char *path, u64 offset, char perm, struct places *out)
{
	u64 start, end, from, ino;
	unsigned int major, minor;
	char flags[8], line[512];
	struct stat st;
	FILE *f;

	out->n = 0;
	if (stat(path, &st))
		return -errno;
	f = fopen("/proc/self/maps", "re");
	if (!f)
		return -errno;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx %7s %lx %x:%x %lu", &start, &end, flags, &from, &major,
			   &minor, &ino) != 7)
			continue;
		if (ino != st.st_ino || makedev(major, minor) != st.st_dev ||
		    flags[perm == 'x' ? 2 : 1] != perm || offset < from ||
		    offset - from >= end - start || out->n == MAX_PLACES)
			continue;
		out->addr[out->n++] = start + (offset - from);
	}
	fclose(f);
	return 0;
}

/* ---- semaphores ---------------------------------------------------------------------------------- */

/* A USDT's argument code runs while its counter, 16 bits in the file's data, is not 0. */
static void count_up(struct uprobe *u)
{
	struct places at;
	u32 i, k;
	u16 now;

	if (find_places(u->what.name, u->what.ref_ctr_off, 'w', &at))
		return;
	for (i = 0; i < at.n && u->ncounters < MAX_PLACES; i++) {
		u16 *c = (u16 *)(uintptr_t)at.addr[i];

		for (k = 0; k < u->ncounters && u->counters[k] != c; k++)
			;
		if (k < u->ncounters || at.addr[i] % 2 || code_copy_safe(&now, c, sizeof(now)))
			continue;
		__atomic_fetch_add(c, 1, __ATOMIC_SEQ_CST);
		u->counters[u->ncounters++] = c;
	}
}

static void count_down(struct uprobe *u)
{
	u16 now;

	while (u->ncounters) {
		u16 *c = u->counters[--u->ncounters];

		/* Its library may have gone. */
		if (!code_copy_safe(&now, c, sizeof(now)) && now)
			__atomic_fetch_sub(c, 1, __ATOMIC_SEQ_CST);
	}
}

/* ---- attach -------------------------------------------------------------------------------------- */

static bool is_place(const struct places *at, const struct probe *p)
{
	u32 i;

	for (i = 0; i < at->n; i++)
		if (at->addr[i] == (u64)(uintptr_t)probe_addr(p))
			return true;
	return false;
}

/* Probes where the file is now, and nowhere else. */
static int place(struct uprobe *u, struct text *why)
{
	const struct prog *p = u->what.p;
	u32 flags = sys_short_may(p) ? PROBE_PLAIN | PROBE_SHORT : p->plain ? PROBE_PLAIN : 0;
	struct probe_spec spec = { NULL, u->kind, flags, probe_run_prog, &u->what };
	struct places at;
	int err = find_places(u->what.name, u->what.offset, 'x', &at);
	u32 i, k;

	if (err) {
		text_puts(why, "the file cannot be looked at");
		return err;
	}
	for (i = u->nprobes; i-- > 0;)
		if (!is_place(&at, u->probes[i])) {
			probe_remove(&u->probes[i], 1);
			u->probes[i] = u->probes[--u->nprobes];
		}
	for (i = 0; i < at.n && !err; i++) {
		spec.addr = (const void *)(uintptr_t)at.addr[i];
		for (k = 0; k < u->nprobes && probe_addr(u->probes[k]) != spec.addr; k++)
			;
		if (k < u->nprobes)
			continue;
		err = probe_add(&spec, 1, &u->probes[u->nprobes], why);
		if (err)
			break;
		if (probe_how(u->probes[u->nprobes]) == PROBE_TRAP)
			log_msg(LOG_INFO, "'%s' at %s+0x%llx is reached by a trap, which is slow: %s",
				u->what.p->name, u->what.name, (unsigned long long)u->what.offset,
				probe_why_trap(u->probes[u->nprobes]));
		u->nprobes++;
	}
	if (u->what.ref_ctr_off)
		count_up(u);
	return err;
}

/* What is loaded changed: under lock. */
static void place_all(void)
{
	struct text why = { 0 };
	struct uprobe *u;

	sys_inside++;
	for (u = all; u; u = u->next)
		if (place(u, &why)) {
			log_msg(LOG_WARN, "'%s': %s", u->what.p->name, text_str(&why));
			text_reset(&why);
		}
	sys_inside--;
	text_free(&why);
}

/* It changed while the lock was held: whoever lets that go looks again. */
static _Atomic bool changed;

static void unlock(void)
{
	do {
		while (atomic_exchange(&changed, false))
			place_all();
		pthread_mutex_unlock(&lock);
	} while (changed && !pthread_mutex_trylock(&lock));
}

/* The loader calls this after each change of what is loaded (link.h, struct r_debug). Its lock is held. */
static void loaded(struct pt_regs *regs, void *arg)
{
	(void)regs;
	(void)arg;
	if (_r_debug.r_state != RT_CONSISTENT)
		return;
	changed = true;
	if (!pthread_mutex_trylock(&lock))
		unlock();
}

static void watch_loader(void)
{
	struct probe_spec spec = { (const void *)(uintptr_t)_r_debug.r_brk, PROBE_ENTRY, 0, loaded, NULL };

	if (!watch && _r_debug.r_brk && probe_add(&spec, 1, &watch, NULL))
		log_msg(LOG_INFO, "libraries that are loaded later will not be probed");
}

static void forget(struct uprobe *u)
{
	count_down(u);
	probe_remove(u->probes, u->nprobes);
	base_free(u);
}

static int attach(const struct sys_attach *a, enum probe_kind kind, void **event, struct text *why)
{
	struct uprobe *u;
	int err;

	if (a->pid > 0 && a->pid != getpid()) {
		text_printf(why, "process %d is another one", a->pid);
		return -EOPNOTSUPP;
	}
	u = base_alloc(sizeof(*u));
	if (!u)
		return -ENOMEM;
	u->what = *a;
	u->kind = kind;
	pthread_mutex_lock(&lock);
	watch_loader();
	if (!all)
		lend_watch(true);
	err = place(u, why);
	if (err) {
		forget(u);
	} else {
		u->next = all;
		all = u;
		*event = u;
	}
	if (!all)
		lend_watch(false);
	unlock();
	return err;
}

static int attach_entry(const struct sys_attach *a, void **event, struct text *why)
{
	return attach(a, PROBE_ENTRY, event, why);
}

static int attach_return(const struct sys_attach *a, void **event, struct text *why)
{
	return attach(a, PROBE_RETURN, event, why);
}

static void detach(void *event)
{
	struct uprobe *u = event, **at;

	pthread_mutex_lock(&lock);
	for (at = &all; *at != u; at = &(*at)->next)
		;
	*at = u->next;
	forget(u);
	if (!all && watch) {
		probe_remove(&watch, 1);
		watch = NULL;
	}
	if (!all)
		lend_watch(false);
	unlock();
}

/* By what means, of several places the slowest. */
static void tell(void *event, struct sys_attach_state *out)
{
	struct uprobe *u = event;
	u32 i;

	if (pthread_mutex_trylock(&lock))
		return;
	out->how = u->nprobes ? "jump" : "nowhere";
	out->places = u->nprobes;
	for (i = 0; i < u->nprobes; i++) {
		out->missed += probe_missed(u->probes[i]);
		if (probe_how(u->probes[i]) == PROBE_TRAP) {
			out->how = "trap";
			out->why = probe_why_trap(u->probes[i]);
		}
	}
	unlock();
}

static const struct sys_attach_ops entry_ops = { attach_entry, detach };
static const struct sys_attach_ops return_ops = { attach_return, detach };

static __attribute__((constructor)) void init(void)
{
	sys_attach_source(SYS_ATTACH_UPROBE, &entry_ops);
	sys_attach_source(SYS_ATTACH_URETPROBE, &return_ops);
	sys_attach_tells(SYS_ATTACH_UPROBE, tell);
	sys_attach_tells(SYS_ATTACH_URETPROBE, tell);
}
