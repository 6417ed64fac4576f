/* SPDX-License-Identifier: MIT */
/*
 * The ring buffer of bpf(2): consumer page, producer page, data, echo. Producers take turns under a
 * lock that survives a death; a record's owner stands in its header, so that a record whose producer
 * died before it was committed is thrown away and the consumer goes on.
 *
 * Positions and headers are shared and may say anything: a position is used only masked, a length
 * only when it fits, so that an address is always inside the mapping.
 *
 * Data is mapped twice in a row, so that a record that passes the end lies in one piece. Who maps the
 * file itself, without map_ringbuf_mmap() (programs that enter the kernel without libc), finds the echo
 * in the second place: before such a record is committed, what of it lies at the start is copied there.
 */
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <pthread.h>
#include <unistd.h>

#include "code/code.h"
#include "map/map_int.h"

#define HDR        8u /* BPF_RINGBUF_HDR_SZ */
#define MAX_RECORD (UINT32_MAX / 4)

struct record {
	_Atomic u32 len;   /* with BPF_RINGBUF_BUSY_BIT and _DISCARD_BIT */
	_Atomic u32 owner; /* the kernel's pg_off: nothing for a consumer to read */
};

struct producer_page {
	_Atomic u64 pos;
	u64 apart[15]; /* what follows is not for consumers, who read `pos` all the time */
	map_lock_word lock;
	_Atomic u64 pending; /* below it, all records are committed */
	_Atomic u64 seen;    /* the consumer's position as last read: it is at least there */
	_Atomic u32 owed;    /* a wakeup that its producer could not make */
};

struct ring {
	_Atomic u64 *consumer;
	struct producer_page *prod;
	u8 *data; /* twice in a row */
	u8 *echo;
	u64 mask;
	_Atomic int event; /* -1 without */
	/* Wakes for a consumer that seems to sleep although records wait; see wake_rule. */
	_Atomic u64 lag_at;
	_Atomic u32 lag, lag_wake;
};

/* ---- which ring buffer is a record of? ------------------------------------------------------ */

/*
 * A commit gets only the record's address, and the header is not to be believed: the rings of this
 * process by address, entries never freed. A reader may meet an entry that changes, but no two
 * rings overlap, so `start` read before and after tells.
 */
struct place {
	_Atomic uintptr_t start; /* 0: unused */
	_Atomic size_t size;
	struct ring *_Atomic ring;
	struct place *next;
};

static struct place *_Atomic places;
static pthread_mutex_t places_lock = PTHREAD_MUTEX_INITIALIZER;

/* The last one of this thread, good while no ring has gone since. */
static _Atomic u64 places_gone;
static _Thread_local struct {
	uintptr_t start;
	size_t size;
	struct ring *ring;
	u64 gone;
} last __attribute__((tls_model("initial-exec")));

static int places_add(struct ring *r)
{
	struct place *p;
	int err = 0;

	pthread_mutex_lock(&places_lock);
	for (p = places; p && atomic_load(&p->start); p = p->next)
		;
	if (!p) {
		p = base_alloc(sizeof(*p));
		if (!p) {
			err = -ENOMEM;
			goto out;
		}
		p->next = places;
		atomic_store(&places, p);
	}
	atomic_store(&p->ring, r);
	atomic_store(&p->size, 2 * (r->mask + 1));
	atomic_store(&p->start, (uintptr_t)r->data);
out:
	pthread_mutex_unlock(&places_lock);
	return err;
}

static void places_del(const struct ring *r)
{
	struct place *p;

	pthread_mutex_lock(&places_lock);
	for (p = places; p; p = p->next)
		if (atomic_load(&p->start) == (uintptr_t)r->data)
			atomic_store(&p->start, 0);
	atomic_fetch_add(&places_gone, 1);
	pthread_mutex_unlock(&places_lock);
}

static struct ring *ring_of(const void *record)
{
	uintptr_t at = (uintptr_t)record;
	u64 gone = atomic_load_explicit(&places_gone, memory_order_acquire);
	struct place *p;

	if (last.ring && last.gone == gone && at - last.start < last.size)
		return last.ring;
	for (p = atomic_load_explicit(&places, memory_order_acquire); p; p = p->next) {
		uintptr_t start = atomic_load(&p->start);
		size_t size = atomic_load(&p->size);
		struct ring *r = atomic_load(&p->ring);

		if (!start || at - start >= size || atomic_load(&p->start) != start)
			continue;
		last.start = start;
		last.size = size;
		last.ring = r;
		last.gone = gone;
		return r;
	}
	return NULL;
}

/* ---- the type ------------------------------------------------------------------------------- */

int map_ring_check(const struct map_attr *a, size_t *bytes)
{
	if (a->flags & ~BPF_F_NUMA_NODE)
		return map_refuse(-EINVAL, "a ring buffer takes no flag but BPF_F_NUMA_NODE");
	if (a->key_size || a->value_size)
		return map_refuse(-EINVAL, "key_size and value_size must be 0");
	if (!a->max_entries || (a->max_entries & (a->max_entries - 1)) || a->max_entries % MAP_PAGE)
		return map_refuse(-EINVAL,
				  "max_entries is the size in bytes: a power of two of pages");
	*bytes = 2 * MAP_PAGE + 2 * (size_t)a->max_entries;
	return 0;
}

u8 *map_ring_data(const struct map *m)
{
	size_t size = m->attr.max_entries;
	u8 *room;

	room = mmap(NULL, 2 * size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (room == MAP_FAILED)
		return NULL;
	if (mmap(room, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, m->fd, 2 * MAP_PAGE) ==
		    MAP_FAILED ||
	    mmap(room + size, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, m->fd,
		 2 * MAP_PAGE) == MAP_FAILED) {
		munmap(room, 2 * size);
		return NULL;
	}
	return room;
}

static int ring_init(struct map *m)
{
	size_t size = m->attr.max_entries;
	struct ring *r = base_alloc(sizeof(*r));
	u8 *room;
	int err = -ENOMEM;

	if (!r)
		return -ENOMEM;
	room = map_ring_data(m);
	if (!room)
		goto out;
	r->consumer = (_Atomic u64 *)m->mem;
	r->prod = (struct producer_page *)(m->mem + MAP_PAGE);
	r->data = room;
	r->echo = m->mem + 2 * MAP_PAGE + size;
	r->mask = size - 1;
	atomic_init(&r->event, -1);
	err = places_add(r);
	if (err < 0)
		goto out_room;
	m->priv = r;
	m->user_size = 2 * MAP_PAGE + size;
	return 0;
out_room:
	munmap(room, 2 * size);
out:
	base_free(r);
	return err;
}

static void ring_fini(struct map *m)
{
	struct ring *r = m->priv;

	places_del(r);
	munmap(r->data, 2 * (r->mask + 1));
	if (r->event >= 0)
		close(r->event);
	base_free(r);
}

int map_ring_remove(struct map *m, const void *key)
{
	(void)m, (void)key;
	return -ENOTSUPP;
}

int map_ring_next_key(struct map *m, const void *key, void *next)
{
	(void)m, (void)key, (void)next;
	return -ENOTSUPP;
}

const struct map_ops map_ringbuf_ops = {
	.name = "ringbuf",
	.check = map_ring_check,
	.init = ring_init,
	.fini = ring_fini,
	.lookup = map_no_lookup,
	.update = map_no_update,
	.remove = map_ring_remove,
	.next_key = map_ring_next_key,
	.read = map_no_read,
	.write = map_no_write,
};

/* ---- producing ------------------------------------------------------------------------------ */

void map_event_raise(int fd, _Atomic u32 *owed)
{
	int saved = errno;
	u64 one = 1;

	if (write(fd, &one, sizeof(one)) == sizeof(one))
		atomic_store_explicit(owed, 0, memory_order_relaxed);
	else if (errno == EBADF)
		atomic_store_explicit(owed, 1, memory_order_relaxed);
	errno = saved; /* else the counter is full: it is readable as it is */
}

static void write_one(void *fd, void *owed)
{
	map_event_raise(*(int *)fd, owed);
}

/* Programs at probes come here with vector registers live. */
static void wake(struct ring *r)
{
	int fd = atomic_load_explicit(&r->event, memory_order_acquire);

	if (fd >= 0)
		code_keep_vectors(write_one, &fd, &r->prod->owed);
}

static struct record *record_at(const struct ring *r, u64 pos)
{
	return (struct record *)(r->data + (pos & r->mask & ~7ull));
}

/* The record at `pos` is thrown away if its producer is dead. */
static bool discard_dead(struct ring *r, u64 pos)
{
	struct record *rec = record_at(r, pos);
	u32 len = atomic_load_explicit(&rec->len, memory_order_acquire);
	u32 owner = atomic_load_explicit(&rec->owner, memory_order_relaxed);

	if (!(len & BPF_RINGBUF_BUSY_BIT) || owner == map_self_short() || !map_is_dead_short(owner))
		return false;
	/* Not when somebody else was quicker. */
	if (atomic_compare_exchange_strong(&rec->len, &len,
					   (len & ~BPF_RINGBUF_BUSY_BIT) | BPF_RINGBUF_DISCARD_BIT))
		wake(r);
	return true;
}

/*
 * Moves `pending` over committed records, as the kernel does, so that a lying consumer position
 * cannot make a new record overwrite one still being written. A step is at least 8 bytes and the
 * way at most the ring's size: it ends whatever the lengths say.
 */
static u64 advance_pending(struct ring *r, u64 prod, u64 need)
{
	u64 pend = atomic_load_explicit(&r->prod->pending, memory_order_relaxed);
	u64 left = r->mask + 1;

	if (prod - pend > r->mask)
		pend = prod; /* nonsense */
	while (pend != prod && left) {
		u32 len = atomic_load_explicit(&record_at(r, pend)->len, memory_order_acquire);
		u64 step;

		if (len & BPF_RINGBUF_BUSY_BIT) {
			if (prod + need - pend <= r->mask || !discard_dead(r, pend))
				break;
			left -= HDR;
			continue;
		}
		step = ALIGN_UP((u64)(len & ~BPF_RINGBUF_DISCARD_BIT) + HDR, 8);
		if (step > prod - pend || step > left) {
			pend = prod; /* nonsense */
			break;
		}
		pend += step;
		left -= step;
	}
	atomic_store_explicit(&r->prod->pending, pend, memory_order_relaxed);
	return pend;
}

void *map_ringbuf_reserve(struct map *m, u64 size, u64 flags)
{
	struct ring *r = m->priv;
	u64 cons, prod, pend, need;
	struct record *rec = NULL;

	if (m->ops != &map_ringbuf_ops || flags || size > MAX_RECORD)
		return NULL;
	need = ALIGN_UP(size + HDR, 8);
	if (need > r->mask + 1 || map_lock(&r->prod->lock) < 0)
		return NULL;
	/* Nothing to repair after a death: a record is there only when `pos` has passed it. */
	prod = atomic_load_explicit(&r->prod->pos, memory_order_relaxed) & ~7ull;
	cons = atomic_load_explicit(&r->prod->seen, memory_order_relaxed);
	if (prod + need - cons > r->mask) {
		cons = atomic_load_explicit(r->consumer, memory_order_acquire);
		atomic_store_explicit(&r->prod->seen, cons, memory_order_relaxed);
	}
	pend = advance_pending(r, prod, need);
	if (prod + need - cons > r->mask || prod + need - pend > r->mask) {
		/* The consumer may stand before a dead producer's record. */
		discard_dead(r, cons);
		goto out;
	}
	rec = record_at(r, prod);
	atomic_store_explicit(&rec->owner, map_self_short(), memory_order_relaxed);
	atomic_store_explicit(&rec->len, (u32)size | BPF_RINGBUF_BUSY_BIT, memory_order_relaxed);
	atomic_store_explicit(&r->prod->pos, prod + need, memory_order_release);
out:
	map_unlock(&r->prod->lock);
	return rec ? rec + 1 : NULL;
}

/*
 * The kernel wakes when the consumer has come up to this very record. An eventfd has no level as
 * the kernel's poll has, so a consumer's position still on its way to memory could lose the wakeup:
 * one that has not moved for 16, 32, 64... commits is woken again. It may also stand before a
 * record of a dead producer.
 */
static bool wake_rule(struct ring *r, u64 rec_pos)
{
	u64 cons = atomic_load_explicit(r->consumer, memory_order_seq_cst);
	u32 lag, at;

	if ((cons & r->mask) == rec_pos ||
	    atomic_load_explicit(&r->prod->owed, memory_order_relaxed)) {
		atomic_store_explicit(&r->lag_wake, 16, memory_order_relaxed);
		return true;
	}
	if (cons != atomic_load_explicit(&r->lag_at, memory_order_relaxed)) {
		atomic_store_explicit(&r->lag_at, cons, memory_order_relaxed);
		atomic_store_explicit(&r->lag, 0, memory_order_relaxed);
		atomic_store_explicit(&r->lag_wake, 16, memory_order_relaxed);
		return false;
	}
	lag = atomic_load_explicit(&r->lag, memory_order_relaxed) + 1;
	at = atomic_load_explicit(&r->lag_wake, memory_order_relaxed);
	atomic_store_explicit(&r->lag, lag, memory_order_relaxed);
	if (lag < at)
		return !(lag & (lag - 1)) && discard_dead(r, cons);
	atomic_store_explicit(&r->lag_wake, at < 1u << 20 ? at * 2 : at, memory_order_relaxed);
	discard_dead(r, cons);
	return true;
}

void map_ringbuf_mend(struct map *m)
{
	struct ring *r = m->priv;
	u64 cons;

	if (m->ops != &map_ringbuf_ops)
		return;
	if (atomic_load_explicit(&r->prod->owed, memory_order_relaxed))
		wake(r);
	cons = atomic_load_explicit(r->consumer, memory_order_acquire);
	if (cons != atomic_load_explicit(&r->prod->pos, memory_order_acquire))
		discard_dead(r, cons);
}

static void complain(void *unused, void *unused2)
{
	(void)unused, (void)unused2;
	BROKEN("a record of no ring buffer");
}

/* The start of the data, where the end of a record lies, once more. */
static void echo(void *ring, void *size)
{
	const struct ring *r = ring;

	memcpy(r->echo, r->data, *(u64 *)size);
}

void map_ringbuf_commit(void *record, u64 flags, bool discard)
{
	struct record *rec = (struct record *)record - 1;
	struct ring *r = ring_of(rec);
	u64 off, over;
	u32 len;

	if (!r) {
		code_keep_vectors(complain, NULL, NULL);
		return;
	}
	off = (u64)((u8 *)rec - r->data) & r->mask;
	len = atomic_load_explicit(&rec->len, memory_order_relaxed) & ~BPF_RINGBUF_BUSY_BIT;
	if (discard) {
		len |= BPF_RINGBUF_DISCARD_BIT;
	} else if (off + HDR + len > r->mask + 1 && len <= r->mask + 1) {
		over = off + HDR + len - (r->mask + 1);
		code_keep_vectors(echo, r, &over);
	}
	/* Before the consumer's position is read: one of the two sees the other's. */
	atomic_exchange_explicit(&rec->len, len, memory_order_seq_cst);
	if (flags & BPF_RB_FORCE_WAKEUP)
		wake(r);
	else if (!(flags & BPF_RB_NO_WAKEUP) && wake_rule(r, off))
		wake(r);
}

int map_ringbuf_output(struct map *m, const void *data, u64 size, u64 flags)
{
	void *rec;

	if (flags & ~(u64)(BPF_RB_NO_WAKEUP | BPF_RB_FORCE_WAKEUP))
		return -EINVAL;
	rec = map_ringbuf_reserve(m, size, 0);
	if (!rec)
		return -EAGAIN;
	memcpy(rec, data, size);
	map_ringbuf_commit(rec, flags, false);
	return 0;
}

u64 map_ringbuf_query(struct map *m, u64 what)
{
	struct ring *r = m->priv;
	u64 cons, prod;

	if (m->ops != &map_ringbuf_ops)
		return 0;
	cons = atomic_load_explicit(r->consumer, memory_order_acquire);
	prod = atomic_load_explicit(&r->prod->pos, memory_order_acquire);
	switch (what) {
	case BPF_RB_AVAIL_DATA: return prod - cons;
	case BPF_RB_RING_SIZE: return r->mask + 1;
	case BPF_RB_CONS_POS: return cons;
	case BPF_RB_PROD_POS: return prod;
	}
	return 0;
}

/* ---- the user's side ------------------------------------------------------------------------ */

int map_event_once(_Atomic int *at, bool *made)
{
	int none = -1, fd = atomic_load_explicit(at, memory_order_acquire);

	*made = false;
	if (fd >= 0)
		return fd;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (!atomic_compare_exchange_strong(at, &none, fd)) {
		close(fd);
		return none;
	}
	*made = true;
	return fd;
}

int map_event_fd(struct map *m)
{
	struct ring *r = m->priv;

	if (m->ops == &map_user_ringbuf_ops)
		return map_user_event_fd(m);
	return m->ops == &map_ringbuf_ops ? atomic_load(&r->event) : -1;
}

bool map_event_give(struct map *m, int fd)
{
	struct ring *r = m->priv;
	int none = -1;

	if (m->ops == &map_user_ringbuf_ops)
		return map_user_event_give(m, fd);
	return m->ops == &map_ringbuf_ops && atomic_compare_exchange_strong(&r->event, &none, fd);
}

int map_ringbuf_eventfd(struct map *m)
{
	struct ring *r = m->priv;
	bool made;
	int fd;

	if (m->ops != &map_ringbuf_ops)
		return -EINVAL;
	fd = map_event_once(&r->event, &made);
	if (made && map_ringbuf_query(m, BPF_RB_AVAIL_DATA)) /* committed before there was an eventfd */
		wake(r);
	return fd;
}

int map_ringbuf_may_mmap(const struct map *m, size_t len, int prot, int flags, s64 off)
{
	size_t whole = 2 * MAP_PAGE + 2 * (size_t)m->attr.max_entries;
	bool user = m->ops == &map_user_ringbuf_ops;

	if ((m->ops != &map_ringbuf_ops && !user) || !len || off < 0 || off % MAP_PAGE ||
	    !(flags & MAP_SHARED))
		return -EINVAL;
	/* The consumer's page is the user's to write, or, in a user ring buffer, all others are. */
	if (prot & PROT_WRITE && (user ? !off : off || len > MAP_PAGE))
		return -EPERM;
	if (len > whole || (size_t)off > whole || ALIGN_UP(len, MAP_PAGE) > whole - (size_t)off)
		return -EINVAL;
	return 0;
}

void *map_ringbuf_mmap(struct map *m, void *addr, size_t len, int prot, int flags, s64 off)
{
	size_t size = m->attr.max_entries, done, take, from;
	u8 *room;
	int fd, err = map_ringbuf_may_mmap(m, len, prot, flags, off);

	if (err) {
		errno = -err;
		return MAP_FAILED;
	}
	len = ALIGN_UP(len, MAP_PAGE);
	if (map_user_ringbuf_is_linear(m) || (prot & PROT_WRITE && m->ops == &map_ringbuf_ops))
		return mmap(addr, len, prot, flags, m->fd, off);
	room = mmap(addr, len, PROT_NONE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE |
			    (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)),
		    -1, 0);
	if (room == MAP_FAILED)
		return MAP_FAILED;
	/* One that can only read, so that mprotect(2) cannot make the mapping writable. */
	fd = prot & PROT_WRITE ? -1 : map_fd_readonly(m);
	for (done = 0; done < len; done += take) {
		from = (size_t)off + done;
		take = len - done;
		if (from >= 2 * MAP_PAGE + size)
			from -= size;
		else if (take > 2 * MAP_PAGE + size - from)
			take = 2 * MAP_PAGE + size - from;
		if (mmap(room + done, take, prot, MAP_SHARED | MAP_FIXED, fd >= 0 ? fd : m->fd,
			 (off_t)from) == MAP_FAILED) {
			err = errno;
			munmap(room, len);
			room = MAP_FAILED;
			errno = err;
			break;
		}
	}
	if (fd >= 0) {
		err = errno;
		close(fd);
		errno = err;
	}
	return room;
}
