/* SPDX-License-Identifier: MIT */
/*
 * Return probes: at entry the return address on the stack is replaced by that of a slot, a piece of
 * code of its own for every return that is awaited. A slot's record is at a fixed distance behind
 * its code, so that one unwind rule finds the real address for all of them: exceptions and
 * backtraces pass. Frames that are left without a return (longjmp, exceptions) leave a record that
 * is found stale later.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "attach/attach_int.h"
#include "bpf/run/run.h"
#include "code/code.h"

struct pending {
	u64 orig;            /* first: the unwind rule reads it */
	u64 sp;              /* where the address was on the stack */
	struct site *site;   /* NULL: it returned, on another thread than it was called on */
	struct pending *next;
};
_Static_assert(sizeof(struct pending) == 32, "a record is as long as a slot's code");

#define STRIDE sizeof(struct pending)
#define NSLOTS ((size_t)1 << 16)
#define PER_PAGE (4096 / STRIDE)
#define KEPT     256  /* unused ones of a thread, at most */
#define TOO_MANY 1024 /* awaited by one thread: is_time() */

static u8 *code;                /* NSLOTS slots */
static struct pending *records; /* right behind */
static struct pending *unused;  /* under lock */
static size_t made;             /* slots whose code is written */
static u64 lock;                /* code_lock(): hits come from anywhere */

/* ---- what unwinders are told ------------------------------------------------------------------- */

/*
 * At a slot, rsp is as the caller has it, and the address to return to is in the slot's record:
 * NSLOTS * STRIDE behind the code. Register 16 is the address of the slot itself, of which one is
 * added so that a look-up of the address before finds the slot (DWARF 4, 6.4.1 and 2.5).
 *
 * Unwinders tell frames apart by their CFA: libgcc's stops at the first that has that of the handler.
 * A slot's must not be its caller's, nor that of another slot that a tail call put before it, so that
 * a bit of the slot's number is in it. It must be near: pthread_cancel compares it with stacks.
 */
static const u8 rules[] = {
	0x0f, 10, 0x80, 0, 0x35, 0x25, 0x08, 63, 0x1a, 0x77, 1, 0x22, /* CFA: rsp + 1 + (rip >> 5 & 63) */
	0x16, 7, 2, 0x77, 0,                                          /* rsp: itself */
	0x10, 16, 5, 0x80, 0xff, 0xff, 0xff, 0x00,                    /* rip: at rip + 0x1fffff */
};
_Static_assert(NSLOTS * STRIDE - 1 == 0x1fffff && STRIDE == 1 << 5, "the rules have these");

struct eh_frame {
	u32 cie_len, cie_id;
	u8 version, aug[1], code_align, data_align, ra, rules[sizeof(rules)];
	u8 pad[2];
	u32 fde_len, fde_cie;
	u64 start, size;
	u32 end;
} __attribute__((packed));
_Static_assert(offsetof(struct eh_frame, fde_len) % 4 == 0, "entries are aligned");

void __register_frame(void *) __attribute__((weak));

static void register_unwind(void)
{
	static struct eh_frame f;

	f = (struct eh_frame){
		.cie_len = offsetof(struct eh_frame, fde_len) - 4,
		.version = 1,
		.code_align = 1,
		.data_align = 0x78,
		.ra = 16,
		.fde_len = offsetof(struct eh_frame, end) - offsetof(struct eh_frame, fde_cie),
		.fde_cie = offsetof(struct eh_frame, fde_cie),
		.start = (u64)(uintptr_t)code,
		.size = NSLOTS * STRIDE,
	};
	memcpy(f.rules, rules, sizeof(rules));
	if (__register_frame)
		__register_frame(&f);
	code_tell_debugger(code, NSLOTS * STRIDE, &f, sizeof(f));
}

int ret_init(void)
{
	size_t half = NSLOTS * STRIDE;

	code = mmap(NULL, 2 * half, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (code == MAP_FAILED) {
		code = NULL;
		return -ENOMEM;
	}
	records = (struct pending *)(code + half);
	if (mprotect(code, half, PROT_READ | PROT_EXEC) ||
	    mprotect(records, half, PROT_READ | PROT_WRITE)) {
		munmap(code, 2 * half);
		code = NULL;
		return -ENOMEM;
	}
	register_unwind();
	return 0;
}

bool ret_has(const void *addr)
{
	return code && (const u8 *)addr - code >= 0 && (const u8 *)addr - code < (s64)(NSLOTS * STRIDE);
}

/* ---- slots --------------------------------------------------------------------------------------- */

static u64 slot_addr(const struct pending *r)
{
	return (u64)(uintptr_t)code + (u64)(r - records) * STRIDE + 1;
}

/* nop; push imm32 number; jmp [rip]: probe_return */
static void write_slot(u8 *at, u32 number)
{
	u64 to = (u64)(uintptr_t)probe_return;

	memset(at, 0xcc, STRIDE);
	at[0] = 0x90;
	at[1] = 0x68;
	memcpy(at + 2, &number, 4);
	memcpy(at + 6, "\xff\x25\x04\0\0\0", 6);
	memcpy(at + 16, &to, 8);
}

/* A page of slots more: false when all are made. */
static bool make_page(void)
{
	u8 page[4096];
	u32 i;

	if (!code || made == NSLOTS)
		return false;
	for (i = 0; i < PER_PAGE; i++)
		write_slot(page + i * STRIDE, (u32)made + i);
	if (area_write(code + made * STRIDE, page, sizeof(page)))
		return false;
	/* Counted first: who is left in the middle of this leaves some that nobody has, and none that two have. */
	i = (u32)made;
	__atomic_store_n(&made, made + PER_PAGE, __ATOMIC_RELEASE);
	for (; i < made; i++) {
		records[i].next = unused;
		__atomic_store_n(&unused, &records[i], __ATOMIC_RELEASE);
	}
	return true;
}

static void refill(struct thread *t)
{
	struct pending *r;
	u32 i;

	code_lock(&lock);
	for (i = 0; i < 16 && (unused || make_page()); i++) {
		r = unused;
		__atomic_store_n(&unused, r->next, __ATOMIC_RELEASE);
		r->next = t->spare;
		t->spare = r;
		t->nspare++;
	}
	code_unlock(&lock);
}

static void give_back(void *thread, void *keep)
{
	struct thread *t = thread;
	struct pending *r;

	code_lock(&lock);
	while (t->spare && t->nspare > *(u32 *)keep) {
		r = t->spare;
		__atomic_store_n(&t->spare, r->next, __ATOMIC_RELEASE);
		t->nspare--;
		r->next = unused;
		__atomic_store_n(&unused, r, __ATOMIC_RELEASE);
	}
	if (!t->spare)
		t->nspare = 0; /* handlers of signals that change the list leave it wrong by one */
	code_unlock(&lock);
}

void ret_give_back(struct thread *t)
{
	u32 keep = 0;

	if (t->spare)
		code_keep_vectors(give_back, t, &keep);
}

static void drop(struct thread *t, struct pending **at)
{
	struct pending *r = *at;

	*at = r->next;
	r->next = t->spare;
	t->spare = r;
	t->npending--;
	t->nspare++;
}

/* Others need them, too: after very many calls inside of one another. */
static __attribute__((noinline)) void keep_some(struct thread *t)
{
	u32 keep = KEPT / 2;

	code_keep_vectors(give_back, t, &keep);
}

/*
 * The address is no longer on the stack: that frame cannot return any more. Or it is just returning, and a
 * signal came in between: then the slot's number is there.
 */
static bool is_stale(const struct pending *r)
{
	u64 there;

	return !r->site || !thread_read(&there, (const void *)(uintptr_t)r->sp, 8) ||
	       (there != slot_addr(r) && there != (u64)(r - records));
}

/* The owner has ended. What it called on a stack that goes on with another thread still comes back, there. */
void ret_forget(struct thread *t)
{
	struct pending **p = &t->pending;

	while (*p)
		if (is_stale(*p))
			drop(t, p);
		else
			p = &(*p)->next;
	t->looked = t->npending;
	t->starved = 0;
}

/* To look for stale ones: when there are many, and twice as many as were left the last time. */
static inline bool is_time(const struct thread *t)
{
	return t->npending >= 2 * t->looked + TOO_MANY;
}

/* The rare part of a hijack: other code than ours runs here, with vector registers kept. */
static void make_room(void *regs_, void *arg)
{
	const struct pt_regs *regs = regs_;
	struct thread *t = arg;
	struct pending **p = &t->pending;
	bool all = is_time(t);

	if (!t->spare && !all) {
		refill(t);
		/* None left: those that are stale, once in as many hits as there are to look at. */
		all = !t->spare && ++t->starved > t->npending;
	}
	while (*p && (all || (*p)->sp <= regs->rsp)) {
		if (is_stale(*p))
			drop(t, p);
		else if (all)
			p = &(*p)->next;
		else
			break;
	}
	if (all) {
		t->looked = t->npending;
		t->starved = 0;
	}
	if (!t->spare)
		refill(t);
}

bool ret_hijack(struct thread *t, struct site *s, struct pt_regs *regs)
{
	u64 *at = (u64 *)(uintptr_t)regs->rsp;
	struct pending *r;

	if (!t->spare || (t->pending && t->pending->sp <= regs->rsp) || is_time(t))
		code_keep_vectors(make_room, regs, t);
	r = t->spare;
	if (!r)
		return false;
	t->spare = r->next;
	t->nspare--;
	r->orig = *at;
	r->sp = regs->rsp;
	r->site = s;
	r->next = t->pending;
	t->pending = r;
	t->npending++;
	*at = slot_addr(r);
	return true;
}

static inline bool run_short(struct site *s, struct pt_regs *regs)
{
	const struct hook *h;

	if (!s->short_ret || !sys_short_enter(regs))
		return false;
	h = s->short_ret;
	if (h && !probe_short_now(h))
		h = NULL;
	if (h)
		probe_short(h, regs, s->addr);
	sys_short_leave();
	return h;
}

u64 probe_returned(u64 slot, struct pt_regs *regs)
{
	struct pending *r = &records[slot], **p;
	struct thread *t = thread_self ? thread_self : thread_first();
	struct site *s = r->site;
	u64 orig = r->orig;
	bool nested;

	regs->rip = orig;
	if (!t) {
		r->site = NULL;
		return orig;
	}
	nested = (t->busy || sys_short_inside()) && thread_inside(t, regs);
	if (nested) {
		probe_count_missed(s, s->ret);
	} else {
		thread_enter(t, s, regs);
		if (!run_short(s, regs))
			probe_run_hooks(t, s->ret, regs);
	}
	for (p = &t->pending; *p && *p != r;)
		p = &(*p)->next;
	if (*p)
		drop(t, p);
	else /* called on another thread, whose list this is */
		r->site = NULL;
	if (!nested) {
		if (__builtin_expect(t->nspare > KEPT, 0))
			keep_some(t);
		thread_leave(t); /* only now: handlers change the list, too */
	}
	return orig;
}
