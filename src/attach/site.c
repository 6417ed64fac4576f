/* SPDX-License-Identifier: MIT */
/* Probed addresses: the table of them, their stubs, adding and removing hooks, and a hit. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "attach/attach_int.h"
#include "bpf/run/run.h"
#include "code/code.h"

#define BUCKETS 4096

_Static_assert(offsetof(struct site, hit) == 8, "SITE_HIT of entry_x86_64.S");

struct probe {
	struct site *site;
	struct hook hook;
	enum probe_kind kind;
};

static struct site *_Atomic table[BUCKETS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int ready = 1; /* 0 or -errno once tried */
static _Atomic bool waiting; /* who has the lock waits for hooks to be left; all else is done */
static _Thread_local bool unlocked; /* this thread forks without it */

static struct site *_Atomic *bucket(u64 addr)
{
	return &table[(addr * 0x9e3779b97f4a7c15ull) >> 52];
}

struct site *site_at(u64 addr)
{
	struct site *s;

	for (s = *bucket(addr); s && s->addr != addr; s = s->next)
		;
	return s;
}

void probe_override(struct pt_regs *regs, u64 value)
{
	regs->rax = value;
	if (thread_self)
		thread_self->override = regs;
}

const void *probe_func_ip(void)
{
	return thread_self && thread_self->site ? (const void *)(uintptr_t)thread_self->site->addr :
						  NULL;
}

/* ---- sites --------------------------------------------------------------------------------------- */

static bool is_inside(void)
{
	return (thread_self && thread_self->busy) || sys_short_inside() || sys_runner.depth;
}

/* A signal's handler may have come by inside a hook: who waits for that to be left has the lock until it is. */
static void before_fork(void)
{
	base_forking++;
	while (pthread_mutex_trylock(&lock)) {
		unlocked = waiting && is_inside();
		if (unlocked)
			return;
		if (!is_inside()) {
			pthread_mutex_lock(&lock);
			return;
		}
		sched_yield();
	}
}

static void after_fork(void)
{
	if (!unlocked)
		pthread_mutex_unlock(&lock);
	unlocked = false;
	base_fork_over();
}

/* What the one who waited was about to free stays. */
static void in_child(void)
{
	if (unlocked)
		pthread_mutex_init(&lock, NULL);
	else
		pthread_mutex_unlock(&lock);
	unlocked = waiting = false;
	base_fork_over();
}

static void wait_for_hooks(void)
{
	waiting = true;
	thread_wait();
	waiting = false;
}

/* CET: returns are held against a second stack, which return slots and moved calls do not know. */
#ifndef ARCH_SHSTK_STATUS
#define ARCH_SHSTK_STATUS 0x5005
#define ARCH_SHSTK_SHSTK 1
#endif

static bool has_shadow_stack(void)
{
	u64 features = 0;

	return !syscall(SYS_arch_prctl, ARCH_SHSTK_STATUS, &features) && features & ARCH_SHSTK_SHSTK;
}

static int init(void)
{
	u64 bytes;

	if (ready != 1)
		return ready;
	code_copy_safe(&bytes, &lock, sizeof(bytes)); /* its handlers, before any hit */
	ready = has_shadow_stack() ? -EOPNOTSUPP : thread_init();
	if (!ready)
		ready = ret_init();
	if (!ready)
		ready = trap_init();
	if (!ready)
		ready = -pthread_atfork(before_fork, after_fork, in_child);
	return ready;
}

int probe_init(void)
{
	int err;

	pthread_mutex_lock(&lock);
	err = init();
	pthread_mutex_unlock(&lock);
	return err;
}

/*
 * The stub: saves what the shared entry needs, calls it, and runs on into the moved code.
 *   lea rsp, [rsp - 136]   past the red zone
 *   mov [rsp], r11
 *   mov r11, site
 *   call [rip + probe_entry]
 *   mov r11, [rsp]
 *   lea rsp, [rsp + 136]
 */
static const u8 STUB[] = {
	0x48, 0x8d, 0xa4, 0x24, 0x78, 0xff, 0xff, 0xff, /* lea */
	0x4c, 0x89, 0x1c, 0x24,                         /* mov [rsp], r11 */
	0x49, 0xbb, 0, 0, 0, 0, 0, 0, 0, 0,             /* mov r11, imm64 at 14 */
	0xff, 0x15, 0, 0, 0, 0,                         /* call, its rel32 at 24 */
	0x4c, 0x8b, 0x1c, 0x24,
	0x48, 0x8d, 0xa4, 0x24, 0x88, 0x00, 0x00, 0x00,
};
#define STUB_SITE 14
#define STUB_CALL 24
/* The pointer to probe_entry, the stub, and moved code. */
#define STUB_ROOM (8 + sizeof(STUB) + sizeof(((struct moved *)0)->code))

static int write_stub(struct site *s)
{
	u64 self = (u64)(uintptr_t)s;
	u64 entry = (u64)(uintptr_t)(s->is_start ? probe_entry_start : probe_entry);
	s32 rel = -(s32)(8 + STUB_CALL + 4);
	u8 buf[STUB_ROOM];

	memcpy(buf, &entry, 8);
	memcpy(buf + 8, STUB, sizeof(STUB));
	memcpy(buf + 8 + STUB_SITE, &self, 8);
	memcpy(buf + 8 + STUB_CALL, &rel, 4);
	memcpy(buf + 8 + sizeof(STUB), s->m.code, s->m.size);
	return area_write(s->stub - 8, buf, 8 + sizeof(STUB) + s->m.size);
}

static bool is_wanted(const struct site *s)
{
	return s->entry || s->ret;
}

static bool is_active(const struct site *s)
{
	return s->patched || is_wanted(s);
}

static const char OVERLAP[] = "another probe is within the five bytes of a jump";

static bool covers_another(u64 addr, u8 len)
{
	const struct site *s;
	u8 d;

	for (d = 1; d < len; d++)
		if ((s = site_at(addr + d)) && is_active(s))
			return true;
	return false;
}

/* A jump that is or is about to be where `addr` is in the middle. */
static struct site *covering(u64 addr)
{
	struct site *s;
	u8 d;

	for (d = 1; d < MAX_STOLEN; d++)
		if ((s = site_at(addr - d)) && s->how == PROBE_JUMP && d < s->m.len && is_active(s))
			return s;
	return NULL;
}

/* Decides how: by a jump if it may be, else by a trap. */
static int plan_site(struct site *s, size_t avail, const char **why)
{
	u64 moved = (u64)(uintptr_t)s->moved;
	int err;

	err = move_code(s->orig, avail, s->addr, moved, JUMP_SIZE, &s->m, &s->trap_why);
	if (!err && covers_another(s->addr, s->m.len)) {
		s->trap_why = OVERLAP;
	} else if (!err && func_allows_jump(s->addr, &s->m, &s->trap_why)) {
		s->how = PROBE_JUMP;
		s->trap_why = NULL;
		return 0;
	}
	s->how = PROBE_TRAP;
	return move_code(s->orig, avail, s->addr, moved, 1, &s->m, why);
}

/* A new site at addr, its bytes already read into `bytes`. */
static int make_site(u64 addr, const u8 *bytes, size_t avail, struct site **out, const char **why)
{
	struct site *s;
	u64 start, end;
	u8 *room;
	int err;

	/* A patch there would make other instructions of this one. */
	if (func_range(addr, &start, &end) && branch_splits(start, end, addr)) {
		*why = "it lies in the middle of an instruction";
		return -EINVAL;
	}
	s = base_alloc(sizeof(*s));
	room = area_alloc((const void *)(uintptr_t)addr, STUB_ROOM);
	if (!s || !room) {
		base_free(s);
		*why = "no memory for code within 2 GiB";
		return -ENOMEM;
	}
	s->addr = addr;
	s->is_start = func_starts_at(addr);
	s->hit = probe_hit;
	s->stub = room + 8;
	s->moved = s->stub + sizeof(STUB);
	memcpy(s->orig, bytes, sizeof(s->orig));
	err = plan_site(s, avail, why);
	if (!err)
		err = write_stub(s);
	if (err) {
		base_free(s); /* the room stays: it is small, and this is rare */
		return err;
	}
	s->next = *bucket(addr);
	*bucket(addr) = s;
	*out = s;
	return 0;
}

/*
 * A jump becomes a trap, since there is to be a probe on one of the instructions it covers. Whoever is on the
 * way through its stub still carries those out there.
 */
static int demote(struct site *s, const char **why)
{
	struct world_patch p = { .addr = (u8 *)(uintptr_t)s->addr, .len = s->patched };
	u8 *room = area_alloc(p.addr, sizeof(s->m.code));
	struct moved m;
	int err;

	*why = "no memory for code within 2 GiB";
	if (!room)
		return -ENOMEM;
	err = move_code(s->orig, s->m.len, s->addr, (u64)(uintptr_t)room, 1, &m, why);
	if (!err)
		err = area_write(room, m.code, m.size);
	if (err)
		return err;
	memcpy(p.bytes, s->orig, sizeof(p.bytes));
	p.bytes[0] = 0xcc;
	s->m = m;
	s->moved = room;
	s->how = PROBE_TRAP;
	s->trap_why = OVERLAP;
	if (!p.len)
		return 0;
	err = world_patch(&p, 1);
	if (err == -EPERM && !trap_is_blocked()) {
		/* Nobody can be stopped: nobody comes further than the first byte either. */
		err = area_write(p.addr, p.bytes, 1);
		thread_sync();
		if (!err)
			err = area_write(p.addr + 1, p.bytes + 1, p.len - 1);
	}
	if (err) {
		*why = "other threads cannot be stopped, and one blocks SIGTRAP";
		return err;
	}
	memcpy(s->now, p.bytes, sizeof(s->now));
	s->patched = 1;
	return 0;
}

static int get_site(const void *where, struct site **out, const char **why)
{
	u64 addr = (u64)(uintptr_t)where;
	u8 bytes[MAX_STOLEN] = { 0 };
	size_t avail = MAX_STOLEN;
	struct site *s = site_at(addr), *over;
	int err = 0;

	while (!err && (over = covering(addr)))
		err = demote(over, why);
	if (!err && s && s->how == PROBE_JUMP && !s->patched && covers_another(addr, s->m.len))
		err = demote(s, why);
	if (err)
		return err;
	while (avail && code_copy_safe(bytes, where, avail))
		avail--;
	if (!avail) {
		*why = "nothing is mapped there";
		return -EFAULT;
	}
	if (s && !memcmp(bytes, s->patched ? s->now : s->orig, s->m.len)) {
		*out = s;
		return 0;
	}
	if (s) {
		/* Another library is there now: the old site stays for who may be in it. */
		s->addr = 0;
		s->patched = 0;
	}
	return make_site(addr, bytes, avail, out, why);
}

/* ---- writing ------------------------------------------------------------------------------------- */

/* The bytes that belong at the site now, as a patch; false: they are there. */
static bool make_patch(struct site *s, struct world_patch *p)
{
	bool want = is_wanted(s);
	u8 there[MAX_STOLEN];
	s32 rel;
	u32 i;

	if (s->queued || want == (s->patched != 0))
		return false;
	s->queued = true;
	p->addr = (u8 *)(uintptr_t)s->addr;
	p->len = s->how == PROBE_JUMP ? s->m.len : 1;
	p->n = 0;
	if (!want) {
		memcpy(p->bytes, s->orig, p->len);
		/* Gone with its library, or somebody wrote there: not ours to restore. */
		return !code_copy_safe(there, p->addr, p->len) && !memcmp(there, s->now, p->len);
	}
	memcpy(s->now, s->orig, sizeof(s->now));
	if (s->how == PROBE_JUMP) {
		rel = (s32)(s->stub - (p->addr + JUMP_SIZE));
		s->now[0] = 0xe9;
		memcpy(s->now + 1, &rel, 4);
		for (i = JUMP_SIZE; i < s->m.len; i++)
			s->now[i] = 0xcc;
		for (i = 1; i < s->m.n; i++, p->n++) {
			p->from[p->n] = p->addr + s->m.from[i];
			p->to[p->n] = s->moved + s->m.to[i];
		}
	} else {
		s->now[0] = 0xcc;
	}
	memcpy(p->bytes, s->now, p->len);
	return true;
}

/* A trap is one byte: where nobody can be stopped it is written while others run. */
static int write_traps(struct world_patch *patches, size_t n)
{
	int err = 0;
	size_t i;

	for (i = 0; i < n; i++)
		if (patches[i].bytes[0] == 0xcc && trap_is_blocked())
			return -EBUSY;
	for (i = 0; i < n && !err; i++)
		err = area_write(patches[i].addr, patches[i].bytes, 1);
	return err;
}

/* Sites whose jump could not be written, as no other thread could be stopped. */
static void make_trap(struct site *s)
{
	s->how = PROBE_TRAP;
	s->trap_why = "other threads cannot be stopped to write a jump";
}

static int write_sites(struct site **sites, size_t n)
{
	struct world_patch *p = base_array(n ? n : 1, sizeof(*p));
	size_t i, np = 0;
	bool traps = true;
	struct site *s;
	int err = 0;

	if (!p)
		return -ENOMEM;
	for (i = 0; i < n; i++)
		if (make_patch(sites[i], &p[np]))
			traps &= p[np++].len == 1;
	if (np)
		err = world_patch(p, np); /* for traps, so that no thread blocks them */
	if (err == -EPERM && traps) {
		err = write_traps(p, np);
	} else if (err == -EPERM) {
		for (i = np = 0; i < n; i++) {
			if (!is_wanted(sites[i]) || sites[i]->patched)
				continue; /* a jump that stays finds no hooks */
			sites[i]->queued = false;
			make_trap(sites[i]);
			np += make_patch(sites[i], &p[np]);
		}
		err = write_traps(p, np);
		for (i = 0; i < n; i++)
			sites[i]->queued &= is_wanted(sites[i]);
	}
	for (i = 0; i < n; i++) {
		s = sites[i];
		if (s->queued && !err)
			s->patched = !is_wanted(s) ? 0 : s->how == PROBE_JUMP ? s->m.len : 1;
		s->queued = false;
	}
	base_free(p);
	return err;
}

/* ---- hooks --------------------------------------------------------------------------------------- */

static struct hooks *_Atomic *list_of(struct probe *p)
{
	return p->kind == PROBE_RETURN ? &p->site->ret : &p->site->entry;
}

/* The list with `add` at its end, or without `del`. NULL: empty, or out of memory when adding. */
static struct hooks *changed(const struct hooks *old, const struct hook *add, const struct hook *del)
{
	u32 n = old ? old->n : 0, i;
	struct hooks *h;

	if (n + (add != NULL) == (del != NULL))
		return NULL;
	h = base_alloc(sizeof(*h) + (n + 1) * sizeof(h->hook[0]));
	if (!h)
		return NULL;
	for (i = 0; i < n; i++) {
		if (del && old->hook[i].fn == del->fn && old->hook[i].arg == del->arg) {
			del = NULL;
			continue;
		}
		h->hook[h->n++] = old->hook[i];
	}
	if (add)
		h->hook[h->n++] = *add;
	return h;
}

static struct hook *only_short(struct hooks *h)
{
	return h && h->n == 1 && h->hook[0].flags & PROBE_SHORT ? &h->hook[0] : NULL;
}

/* After a list changed, and before the old one is freed. */
static void choose_way(struct site *s)
{
	s->short_ret = only_short(s->ret);
	s->short_entry = s->ret ? NULL : only_short(s->entry);
	s->hit = s->short_entry ? probe_hit_short : probe_hit;
}

static void nothing(struct pt_regs *regs, void *arg)
{
	(void)regs, (void)arg;
}

static void unhook(struct probe *p, struct hooks **dead)
{
	struct hooks *_Atomic *list = list_of(p);
	struct hooks *old = *list, *h = changed(old, NULL, &p->hook);
	u32 i;

	if (!h && old->n > 1) {
		/* No memory: the same list, with a hook that does nothing. */
		for (i = 0; i < old->n; i++)
			if (old->hook[i].arg == p->hook.arg && old->hook[i].fn == p->hook.fn)
				__atomic_store_n(&old->hook[i].fn, nothing, __ATOMIC_RELAXED);
		*dead = NULL;
	} else {
		*list = h;
		*dead = old;
	}
	choose_way(p->site);
}

static int add_one(const struct probe_spec *spec, struct probe **out, struct text *why)
{
	struct probe *p = base_alloc(sizeof(*p));
	struct hooks *old, *h;
	const char *reason = "out of memory";
	int err = -ENOMEM;

	if (p && spec->kind == PROBE_RETURN && func_returns_twice(spec->addr)) {
		reason = "it returns twice";
		err = -EINVAL;
	} else if (p) {
		err = get_site(spec->addr, &p->site, &reason);
	}
	if (err)
		goto fail;
	p->kind = spec->kind;
	p->hook = (struct hook){ spec->fn, spec->arg, spec->flags };
	old = *list_of(p);
	h = changed(old, &p->hook, NULL);
	if (!h) {
		err = -ENOMEM;
		goto fail;
	}
	*list_of(p) = h;
	choose_way(p->site);
	if (old) {
		wait_for_hooks();
		base_free(old);
	}
	*out = p;
	return 0;
fail:
	base_free(p);
	if (why)
		text_printf(why, "cannot probe %p: %s", spec->addr, reason);
	return err;
}

/* Takes the hooks out, restores bytes where none is left, and waits. Under lock. */
static void remove_all(struct probe **probes, size_t n)
{
	struct site **sites = base_array(n ? n : 1, sizeof(struct site *));
	struct hooks **dead = base_array(n ? n : 1, sizeof(struct hooks *));
	struct hooks *one;
	size_t i;

	for (i = 0; i < n; i++) {
		unhook(probes[i], &one);
		if (dead)
			dead[i] = one;
		if (sites)
			sites[i] = probes[i]->site;
	}
	/* Failing is harmless: the jump stays and finds no hooks. */
	if (sites)
		write_sites(sites, n);
	wait_for_hooks();
	for (i = 0; i < n; i++) {
		if (dead)
			base_free(dead[i]);
		base_free(probes[i]);
	}
	base_free(dead);
	base_free(sites);
}

int probe_add(const struct probe_spec *specs, size_t n, struct probe **out, struct text *why)
{
	struct site **sites = base_array(n ? n : 1, sizeof(struct site *));
	sigset_t owned, old;
	size_t done = 0;
	int err;

	if (!sites)
		return -ENOMEM;
	pthread_mutex_lock(&lock);
	err = init();
	if (err && why)
		text_printf(why, err == -EOPNOTSUPP ? "this process has shadow stacks (CET), which see a changed return as an attack" :
						      "probes cannot be set up in this process");
	/* This thread is not among those that are stopped. */
	sigemptyset(&owned);
	sigaddset(&owned, SIGTRAP);
	if (!pthread_sigmask(SIG_UNBLOCK, &owned, &old) && sigismember(&old, SIGTRAP) == 1)
		code_mask_change(SIG_BLOCK, 1ull << (SIGTRAP - 1));
	while (!err && done < n) {
		err = add_one(&specs[done], &out[done], why);
		if (!err) {
			sites[done] = out[done]->site;
			done++;
		}
	}
	if (!err) {
		err = write_sites(sites, n);
		if (err && why)
			text_printf(why, err == -EBUSY ? "a thread blocks SIGTRAP, and none can be stopped to write a jump" :
							 "this process may not change its code");
	}
	if (err)
		remove_all(out, done);
	pthread_mutex_unlock(&lock);
	base_free(sites);
	return err;
}

void probe_remove(struct probe **probes, size_t n)
{
	pthread_mutex_lock(&lock);
	remove_all(probes, n);
	pthread_mutex_unlock(&lock);
}

enum probe_how probe_how(const struct probe *p)
{
	return p->site->how;
}

const char *probe_why_trap(const struct probe *p)
{
	return p->site->trap_why;
}

const void *probe_addr(const struct probe *p)
{
	return (const void *)(uintptr_t)p->site->addr;
}

u64 probe_missed(const struct probe *p)
{
	return p->site->missed;
}
