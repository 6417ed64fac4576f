/* SPDX-License-Identifier: MIT */
/* The table of code that may fault, the handlers that read it, and the copies that rely on it. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "code/code_int.h"

/*
 * Two levels: sets of entries (one an addition, usually the code of one program) in an index that
 * is replaced as a whole. Handlers read the index through one atomic pointer; an old index is freed
 * when no handler is inside, otherwise by a later change.
 */
struct fault_set {
	const char *start, *end; /* hull of the entries */
	struct code_fault *entries; /* sorted by start, not overlapping */
	size_t n;
};

struct fault_index {
	struct fault_index *next; /* retired ones */
	struct fault_set *dead;   /* sets that went with this index */
	size_t ndead;
	size_t n;
	struct fault_set sets[]; /* sorted by start, hulls not overlapping */
};

static struct fault_index *_Atomic current;
static _Atomic unsigned readers;
static struct fault_index *retired; /* under lock */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- look-up, in the handler ----------------------------------------------------------------- */

static const struct fault_set *find_set(const struct fault_index *x, const char *pc)
{
	size_t lo = 0, hi = x->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (pc >= x->sets[mid].end)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < x->n && pc >= x->sets[lo].start ? &x->sets[lo] : NULL;
}

static const struct code_fault *find_entry(const struct fault_set *s, const char *pc)
{
	size_t lo = 0, hi = s->n;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (pc >= (const char *)s->entries[mid].end)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < s->n && pc >= (const char *)s->entries[lo].start ? &s->entries[lo] : NULL;
}

_Thread_local struct code_guard *code_guard_top;

/* Out of a native function that was called with a guard. */
static bool leave_guarded(int sig, void *ucontext)
{
	struct code_guard *g = code_guard_top;

	if (!g)
		return false;
	g->sig = sig;
	code_arch.set_sp(ucontext, g->sp);
	code_arch.set_pc(ucontext, code_arch.guard_resume);
	return true;
}

static bool handle(void *ucontext, const void *addr)
{
	const char *pc = code_arch.pc(ucontext);
	const struct code_fault *f = NULL;
	const struct fault_index *x;
	struct code_fault copy;

	readers++;
	x = current;
	if (x) {
		const struct fault_set *s = find_set(x, pc);

		f = s ? find_entry(s, pc) : NULL;
	}
	if (f)
		copy = *f;
	readers--;
	if (!f || !copy.resume) /* removed entries have no resume */
		return false;
	if (copy.on_fault)
		copy.on_fault(&copy, ucontext, addr);
	code_arch.set_pc(ucontext, copy.resume);
	return true;
}

/* ---- signals --------------------------------------------------------------------------------- */

/* The kernel's view of an action. By system call: no interposed sigaction() is in the way. */
struct kernel_action {
	void (*handler)(int, siginfo_t *, void *);
	unsigned long flags;
	void (*restorer)(void);
	unsigned long mask;
};

/* FPE and ILL only for guarded calls, TRAP and SYS when somebody claims them. */
static const int owned_signals[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS };
#define ALWAYS_OWNED 2
#define CLAIMED 4 /* from here on */
static code_signal_fn _Atomic claims[ARRAY_SIZE(owned_signals)];
static struct sigaction host_actions[ARRAY_SIZE(owned_signals)]; /* by seq: odd while being written */
static _Atomic unsigned host_seq;
static _Atomic int owns; /* 0 no, 1 being installed, 2 yes */
static _Atomic bool owns_all;

static int signal_index(int sig)
{
	for (int i = 0; i < (int)ARRAY_SIZE(owned_signals); i++)
		if (owned_signals[i] == sig)
			return i;
	return -1;
}

static int kernel_sigaction(int sig, const struct kernel_action *act, struct kernel_action *old)
{
	return syscall(SYS_rt_sigaction, sig, act, old, sizeof(act->mask)) ? -errno : 0;
}

static void read_host(int i, struct sigaction *out)
{
	unsigned seq;

	do {
		seq = host_seq;
		memcpy(out, &host_actions[i], sizeof(*out));
		__atomic_thread_fence(__ATOMIC_ACQUIRE);
	} while ((seq & 1) || seq != host_seq);
}

/*
 * All signals but those of the code that runs: one of our probes, where it is a trap, may be on what libc
 * does next.
 */
void code_signals_sent(sigset_t *out)
{
	size_t i;

	sigfillset(out);
	for (i = 0; i < ARRAY_SIZE(owned_signals); i++)
		sigdelset(out, owned_signals[i]);
}

/* Signals are blocked meanwhile: a handler on this thread would wait for itself. */
static void write_host(int i, const struct sigaction *act)
{
	sigset_t all, old;

	code_signals_sent(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	host_seq++;
	__atomic_thread_fence(__ATOMIC_RELEASE);
	memcpy(&host_actions[i], act, sizeof(*act));
	__atomic_thread_fence(__ATOMIC_RELEASE);
	host_seq++;
	pthread_sigmask(SIG_SETMASK, &old, NULL);
}

/* Nobody handles it: the default action, which is what the host would have seen without us. */
static void default_action(int sig, const siginfo_t *info)
{
	struct kernel_action dfl = { .handler = NULL }; /* SIG_DFL */

	kernel_sigaction(sig, &dfl, NULL);
	/* Sent, not a fault, or one that goes on behind itself: it would not come again by itself. */
	if (info->si_code <= 0 || signal_index(sig) >= CLAIMED)
		syscall(SYS_tgkill, getpid(), syscall(SYS_gettid), sig);
}

static void call_host(int sig, siginfo_t *info, void *ucontext)
{
	int i = signal_index(sig);
	u64 bit = 1ull << (sig - 1), now, wanted, blocked;
	struct code_handler before;
	struct sigaction host;

	read_host(i, &host);
	if (host.sa_handler == SIG_IGN && info->si_code <= 0)
		return;
	if (host.sa_handler == SIG_DFL || host.sa_handler == SIG_IGN) {
		default_action(sig, info);
		return;
	}
	memcpy(&blocked, &host.sa_mask, sizeof(blocked));
	blocked |= code_action_believed(sig) | (host.sa_flags & SA_NODEFER ? 0 : bit);
	if (!code_handler_begin(&before, (u64)(uintptr_t)__builtin_frame_address(0), code_arch.sp(ucontext), blocked) &&
	    info->si_code > 0 && blocked & bit) {
		code_handler_end(&before);
		default_action(sig, info);
		return;
	}
	/* When this returns, the kernel puts back what was (uc_sigmask). */
	memcpy(&now, &((ucontext_t *)ucontext)->uc_sigmask, sizeof(now));
	wanted = (now | blocked) & ~code_signals_owned();
	if (wanted != now)
		code_syscall(SYS_rt_sigprocmask, SIG_SETMASK, (long)&wanted, 0, sizeof(wanted), 0);
	if (host.sa_flags & SA_RESETHAND) {
		struct sigaction dfl = { .sa_handler = SIG_DFL };

		write_host(i, &dfl);
	}
	if (host.sa_flags & SA_SIGINFO)
		host.sa_sigaction(sig, info, ucontext);
	else
		host.sa_handler(sig);
	code_handler_end(&before);
}

static void on_signal(int sig, siginfo_t *info, void *ucontext)
{
	int saved = errno;

	code_signal_fn claim = claims[signal_index(sig)];
	bool done;

	code_stack_given(ucontext, sizeof(ucontext_t));
	code_stack_given(info, sizeof(*info));
	/* A signal that was sent is not a fault of the instruction it interrupts. */
	if (claim)
		done = claim(info, ucontext);
	else if (info->si_code <= 0)
		done = false;
	else
		done = handle(ucontext, info->si_addr) || leave_guarded(sig, ucontext);
	if (!done)
		call_host(sig, info, ucontext);
	errno = saved;
}

static int install_one(int sig)
{
	struct kernel_action act = {
		.handler = on_signal,
		/* Not blocked meanwhile: what runs in the host's handlers is code that may fault, too. */
		.flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER | code_arch.sa_flags |
			 (signal_index(sig) >= CLAIMED ? SA_RESTART : 0),
		.restorer = code_arch.sa_restorer,
	}, old;
	struct sigaction host;
	int err = kernel_sigaction(sig, NULL, &old);

	if (err)
		return err;
	memset(&host, 0, sizeof(host));
	host.sa_sigaction = old.handler;
	host.sa_flags = (int)(old.flags & ~code_arch.sa_flags);
	memcpy(&host.sa_mask, &old.mask, sizeof(old.mask));
	write_host(signal_index(sig), &host);
	return kernel_sigaction(sig, &act, NULL);
}

/*
 * Async-signal-safe, for copies in a handler may be the first to need it: the thread that installs
 * has all signals blocked, so whoever waits is another thread.
 */
static int install(void)
{
	int none = 0, err = 0;
	sigset_t all, old;

	if (owns == 2)
		return 0;
	code_signals_sent(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	if (atomic_compare_exchange_strong(&owns, &none, 1)) {
		for (size_t i = 0; i < ALWAYS_OWNED && !err; i++)
			err = install_one(owned_signals[i]);
		owns = err ? 0 : 2;
	} else {
		while (owns == 1)
			sched_yield();
		err = owns == 2 ? 0 : -EAGAIN;
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err;
}

static void kept_install(void *err, void *unused)
{
	(void)unused;
	*(int *)err = install();
}

/* Before a copy: programs at probes come here with vector registers live. */
static inline int ready(void)
{
	int err;

	if (__builtin_expect(owns == 2, 1))
		return 0;
	code_keep_vectors(kept_install, &err, NULL);
	return err;
}

bool code_fault_owns(int sig)
{
	int i = signal_index(sig);

	if (i >= CLAIMED)
		return claims[i] != NULL;
	return owns == 2 && i >= 0 && (i < ALWAYS_OWNED || owns_all);
}

int code_signal_claim(int sig, code_signal_fn fn)
{
	int i = signal_index(sig), err = 0;

	if (i < CLAIMED)
		return -EINVAL;
	pthread_mutex_lock(&lock);
	if (!claims[i]) {
		claims[i] = fn;
		err = install_one(sig);
		if (err)
			claims[i] = NULL;
	}
	pthread_mutex_unlock(&lock);
	return err;
}

u64 code_signals_owned(void)
{
	u64 bits = 0;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(owned_signals); i++)
		if (code_fault_owns(owned_signals[i]))
			bits |= 1ull << (owned_signals[i] - 1);
	return bits;
}

void code_signals_let_through(sigset_t *set)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(owned_signals); i++)
		if (code_fault_owns(owned_signals[i]))
			sigdelset(set, owned_signals[i]);
}

int code_fault_host_action(int sig, const struct sigaction *act, struct sigaction *old)
{
	int i = signal_index(sig);

	if (i < 0)
		return -EINVAL;
	pthread_mutex_lock(&lock);
	if (old)
		read_host(i, old);
	if (act)
		write_host(i, act);
	pthread_mutex_unlock(&lock);
	return 0;
}

/* ---- changes --------------------------------------------------------------------------------- */

static void free_index(struct fault_index *x)
{
	for (size_t i = 0; i < x->ndead; i++)
		base_free(x->dead[i].entries);
	base_free(x->dead);
	base_free(x);
}

/* Under lock: `x` becomes the index. The sets `dead` leave with the old one. */
static void publish(struct fault_index *x, struct fault_set *dead, size_t ndead)
{
	struct fault_index *old = current;

	current = x;
	if (old) {
		old->dead = dead;
		old->ndead = ndead;
		old->next = retired;
		retired = old;
	}
	/* Whoever enters now sees the new index; once nobody is inside, nobody sees an old one. */
	if (readers)
		return;
	while (retired) {
		old = retired;
		retired = old->next;
		free_index(old);
	}
}

static struct fault_index *new_index(size_t n)
{
	size_t bytes;

	if (!base_mul(n, sizeof(struct fault_set), &bytes) ||
	    !base_add(bytes, sizeof(struct fault_index), &bytes))
		return NULL;
	return base_alloc(bytes);
}

static int by_start(const void *a, const void *b)
{
	const struct code_fault *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

/* One set of the entries of `sets` and `more`; -EEXIST when two entries overlap. */
static int merge(const struct fault_set *sets, size_t nsets, const struct code_fault *more,
		 size_t n, struct fault_set *out)
{
	size_t total = n, at = 0;

	for (size_t i = 0; i < nsets; i++)
		total += sets[i].n;
	out->entries = base_array(total, sizeof(*out->entries));
	if (!out->entries)
		return -ENOMEM;
	for (size_t i = 0; i < nsets; i++)
		for (size_t k = 0; k < sets[i].n; k++)
			if (sets[i].entries[k].resume)
				out->entries[at++] = sets[i].entries[k];
	memcpy(out->entries + at, more, n * sizeof(*more));
	total = at + n;
	if (nsets)
		qsort(out->entries, total, sizeof(*more), by_start);
	for (size_t i = 0; i < total; i++) {
		const struct code_fault *e = &out->entries[i];

		int err = e->start >= e->end ? -EINVAL : i && e[-1].end > e->start ? -EEXIST : 0;

		if (err) {
			base_free(out->entries);
			return err;
		}
	}
	out->n = total;
	out->start = out->entries[0].start;
	out->end = out->entries[total - 1].end;
	return 0;
}

/* Under lock. */
static int add_locked(const struct code_fault *entries, size_t n)
{
	const char *start = entries[0].start, *end = entries[n - 1].end;
	const struct fault_index *old = current;
	size_t count = old ? old->n : 0, lo = 0, hi;
	struct fault_set set, *dead = NULL;
	struct fault_index *x;
	int err;

	while (lo < count && old->sets[lo].end <= start)
		lo++;
	for (hi = lo; hi < count && old->sets[hi].start < end; hi++)
		;
	err = merge(old ? old->sets + lo : NULL, hi - lo, entries, n, &set);
	if (err)
		return err;
	x = new_index(count - (hi - lo) + 1);
	if (hi > lo)
		dead = base_memdup(old->sets + lo, (hi - lo) * sizeof(*dead));
	if (!x || (hi > lo && !dead)) {
		base_free(x);
		base_free(dead);
		base_free(set.entries);
		return -ENOMEM;
	}
	if (lo)
		memcpy(x->sets, old->sets, lo * sizeof(set));
	x->sets[lo] = set;
	if (hi < count)
		memcpy(x->sets + lo + 1, old->sets + hi, (count - hi) * sizeof(set));
	x->n = count - (hi - lo) + 1;
	publish(x, dead, hi - lo);
	return 0;
}

int code_fault_add(const struct code_fault *entries, size_t n)
{
	int err;

	if (!n)
		return 0;
	err = install();
	if (err)
		return err;
	pthread_mutex_lock(&lock);
	err = add_locked(entries, n);
	pthread_mutex_unlock(&lock);
	return err;
}

/* Removes the entries of a set that lie in [start, end): true when none is left. */
static bool disable(struct fault_set *s, const char *start, const char *end)
{
	bool empty = true;

	if (s->end <= start || s->start >= end)
		return false;
	for (size_t k = 0; k < s->n; k++) {
		struct code_fault *e = &s->entries[k];

		if ((const char *)e->start >= start && (const char *)e->end <= end)
			__atomic_store_n(&e->resume, NULL, __ATOMIC_RELEASE);
		empty &= !e->resume;
	}
	return empty;
}

/* Cannot fail: without memory for a new index the entries stay, disabled. */
static void remove_locked(const char *start, const char *end)
{
	struct fault_index *old = current, *x;
	struct fault_set *dead;
	size_t ndead = 0, at = 0;

	for (size_t i = 0; old && i < old->n; i++)
		ndead += disable(&old->sets[i], start, end);
	if (!ndead)
		return;
	x = new_index(old->n - ndead);
	dead = base_array(ndead, sizeof(*dead));
	if (!x || !dead) {
		base_free(x);
		base_free(dead);
		return;
	}
	for (size_t i = 0; i < old->n; i++) {
		if (at < ndead && disable(&old->sets[i], start, end))
			dead[at++] = old->sets[i];
		else
			x->sets[x->n++] = old->sets[i];
	}
	publish(x, dead, ndead);
}

void code_fault_remove(const void *start, const void *end)
{
	pthread_mutex_lock(&lock);
	remove_locked(start, end);
	pthread_mutex_unlock(&lock);
}

/* ---- copies ---------------------------------------------------------------------------------- */

/* The table takes memory and a lock: the copies' own ranges are entered when the library loads. */
__attribute__((constructor)) static void copies_init(void)
{
	struct code_fault e[2];

	for (int i = 0; i < 2; i++)
		e[i] = (struct code_fault){ code_arch.copy[i].start, code_arch.copy[i].end,
					    code_arch.copy[i].resume, NULL, NULL };
	pthread_mutex_lock(&lock);
	add_locked(e, 2);
	pthread_mutex_unlock(&lock);
}

_Thread_local u32 code_lender __attribute__((tls_model("initial-exec")));

/* Is this a child with another thread's storage? */
static bool borrowed(void)
{
	u32 lender = code_lender;

	if ((u32)code_syscall(SYS_gettid, 0, 0, 0, 0, 0) != (lender & ~CODE_LENT_ONCE))
		return true;
	if (lender & CODE_LENT_ONCE)
		code_lender = 0;
	return false;
}

/* What process_vm_readv(2) can read of this process: `n`, fewer up to what cannot be read, or -errno. */
static s64 ask_copy(void *dst, const void *src, size_t n)
{
	volatile long to[2], from[2]; /* struct iovec; volatile: filled without vector registers */
	long pid = code_syscall(SYS_getpid, 0, 0, 0, 0, 0);

	to[0] = (long)dst;
	from[0] = (long)src;
	to[1] = from[1] = (long)n;
	return code_syscall(SYS_process_vm_readv, pid, (long)to, 1, (long)from, 1);
}

/* Pieces inside of one page. What lies behind the end of the string stays; no memcpy(3), which uses vector registers. */
static s64 ask_copy_string(char *dst, const char *src, size_t n)
{
	char piece[256];
	size_t at = 0, i, most;

	while (at < n) {
		most = sizeof(piece) - (size_t)(src + at) % sizeof(piece);
		most = most < n - at ? most : n - at;
		if (ask_copy(piece, src + at, most) != (s64)most)
			return -EFAULT;
		for (i = 0; i < most; i++) {
			dst[at++] = piece[i];
			if (!piece[i])
				return (s64)at;
		}
	}
	return (s64)n;
}

int code_copy_safe(void *dst, const void *src, size_t n)
{
	int err;

	if (__builtin_expect(code_lender != 0, 0) && borrowed())
		return ask_copy(dst, src, n) == (s64)n ? 0 : -EFAULT;
	err = ready();
	return err ? err : code_arch.copy_bytes(dst, src, n);
}

s64 code_copy_string_safe(char *dst, const char *src, size_t n)
{
	int err;

	if (__builtin_expect(code_lender != 0, 0) && borrowed())
		return ask_copy_string(dst, src, n);
	err = ready();
	return err ? err : code_arch.copy_string(dst, src, n);
}

/* ---- guarded calls ------------------------------------------------------------------------------- */

int code_guard_init(void)
{
	int err = code_arch.guard ? install() : -EOPNOTSUPP;
	size_t i;

	if (err)
		return err;
	pthread_mutex_lock(&lock);
	for (i = ALWAYS_OWNED; i < ARRAY_SIZE(owned_signals) && !err && !owns_all; i++)
		err = install_one(owned_signals[i]);
	owns_all = !err;
	pthread_mutex_unlock(&lock);
	return err;
}

u64 code_guard(struct code_guard *g, const void *fn, const u64 *args)
{
	u64 ret;

	g->sig = 0;
	g->prev = code_guard_top;
	code_guard_top = g;
	ret = code_arch.guard(g, fn, args);
	code_guard_top = g->prev;
#if defined(__SANITIZE_ADDRESS__)
	/* The frames that were left take their poison with them; below this one all are dead. */
	if (g->sig) {
		__asan_handle_no_return();
		__asan_unpoison_memory_region((const char *)__builtin_frame_address(0) - 65536, 65536);
	}
#endif
	return ret;
}
