/* SPDX-License-Identifier: MIT */
/*
 * Perf events as elements of perf event arrays: buffers of PERF_COUNT_SW_BPF_OUTPUT in the layout
 * of perf_event_open(2) (a page of struct perf_event_mmap_page, then 2^n pages of records), and
 * events of the kernel that are only read.
 *
 * The file is those pages and one more, which no user maps: its positions are what counts, the
 * user's page only repeats them. A record is there when `head` has passed it, so whoever dies while
 * writing one leaves nothing behind. Of what a user writes only data_tail is read, once a record.
 */
#include <fcntl.h>
#include <linux/perf_event.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "map/map_int.h"

#define PERF_MAGIC 0x6672657079727265ull

struct hidden { /* the last page */
	u64 magic;
	u64 id;
	struct map_perf_attr attr;
	_Atomic u32 paused, disabled;
	u32 overwrite;
	map_lock_word lock;
	_Atomic u64 head;
	_Atomic u64 lost; /* records since the last PERF_RECORD_LOST */
	_Atomic u64 lost_ever;
	_Atomic u64 woken_at; /* watermark: the position at the last wakeup */
	_Atomic u32 events;   /* since the last wakeup */
	_Atomic u32 owed;     /* a wakeup that its writer could not make */
};

struct pages {
	struct perf_event_mmap_page *user;
	u8 *data;
	struct hidden *hidden;
	u64 size; /* of the data; 0: only the user's page */
	bool overwrite;
};

struct map_perf {
	struct map_perf_attr attr;
	u64 id;
	int fd; /* memfd, or the kernel's event */
	_Atomic int event;
	map_lock_word lock;
	struct pages *_Atomic pages; /* NULL until the first mmap */
	_Atomic bool paused, disabled;
	void *owner;
};

/* Fields of a sample that are here: eight bytes each, in the order of perf_event_open(2). */
#define FIELDS                                                                                     \
	(PERF_SAMPLE_IDENTIFIER | PERF_SAMPLE_IP | PERF_SAMPLE_TID | PERF_SAMPLE_TIME |            \
	 PERF_SAMPLE_ADDR | PERF_SAMPLE_ID | PERF_SAMPLE_STREAM_ID | PERF_SAMPLE_CPU |             \
	 PERF_SAMPLE_PERIOD)
#define MAX_FIELDS 9

int map_perf_create(const struct map_perf_attr *attr, struct map_perf **out)
{
	static _Atomic u64 ids;
	struct map_perf *p;
	int fd;

	if (attr->sample_type & ~(u64)(FIELDS | PERF_SAMPLE_RAW))
		return -EOPNOTSUPP;
	p = base_alloc(sizeof(*p));
	if (!p)
		return -ENOMEM;
	fd = attr->kernel_fd >= 0 ? fcntl(attr->kernel_fd, F_DUPFD_CLOEXEC, 0)
				  : memfd_create("ferry-perf", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0) {
		base_free(p);
		return -errno;
	}
	p->attr = *attr;
	p->fd = fd;
	p->id = atomic_fetch_add(&ids, 1) + 1;
	atomic_init(&p->event, -1);
	*out = p;
	return 0;
}

void map_perf_free(struct map_perf *p)
{
	struct pages *g = atomic_load(&p->pages);
	int event = atomic_load(&p->event);

	if (g) {
		munmap(g->user, MAP_PAGE + g->size + MAP_PAGE);
		base_free(g);
	}
	if (event >= 0)
		close(event);
	close(p->fd);
	base_free(p);
}

int *map_perf_fd(struct map_perf *p)
{
	return &p->fd;
}

void **map_perf_owner(struct map_perf *p)
{
	return &p->owner;
}

u64 map_perf_id(const struct map_perf *p)
{
	return p->id;
}

bool map_perf_is_mapped(struct map_perf *p)
{
	return atomic_load(&p->pages);
}

void map_perf_switch(struct map_perf *p, bool on)
{
	struct pages *g = atomic_load(&p->pages);

	atomic_store(&p->disabled, !on);
	if (g)
		atomic_store(&g->hidden->disabled, !on);
}

void map_perf_pause(struct map_perf *p, bool pause)
{
	struct pages *g = atomic_load(&p->pages);

	atomic_store(&p->paused, pause);
	if (g)
		atomic_store(&g->hidden->paused, pause);
}

/* ---- the user's side ------------------------------------------------------------------------ */

static struct pages *pages_at(void *mem, u64 size, bool overwrite)
{
	struct pages *g = base_alloc(sizeof(*g));

	if (!g)
		return NULL;
	g->user = mem;
	g->data = (u8 *)mem + MAP_PAGE;
	g->hidden = (void *)((u8 *)mem + MAP_PAGE + size);
	g->size = size;
	g->overwrite = overwrite;
	return g;
}

static struct pages *make_pages(struct map_perf *p, u64 size, bool overwrite)
{
	size_t whole = MAP_PAGE + size + MAP_PAGE;
	struct pages *g;
	void *mem;

	/* The size is final: nobody may cut the file under a mapping (SIGBUS). */
	if (ftruncate(p->fd, (off_t)whole) ||
	    fcntl(p->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return NULL;
	mem = mmap(NULL, whole, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, 0);
	if (mem == MAP_FAILED)
		return NULL;
	g = pages_at(mem, size, overwrite);
	if (!g) {
		munmap(mem, whole);
		return NULL;
	}
	g->hidden->id = p->id;
	g->hidden->attr = p->attr;
	g->hidden->overwrite = overwrite;
	g->hidden->paused = p->paused;
	g->hidden->disabled = p->disabled;
	g->hidden->magic = PERF_MAGIC;
	g->user->version = 0;
	g->user->compat_version = 0;
	g->user->size = offsetof(struct perf_event_mmap_page, __reserved);
	g->user->data_offset = MAP_PAGE;
	g->user->data_size = size;
	return g;
}

/* Without these seals its maker could cut the file under our mapping. */
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

int map_perf_attach(int fd, struct map_perf **out)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct map_perf *p = NULL;
	struct hidden h;
	struct stat st;
	size_t size;
	void *mem;

	if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &st) || st.st_size < 2 * MAP_PAGE ||
	    st.st_size % MAP_PAGE || st.st_size > (1 << 30) + 2 * MAP_PAGE)
		return -EINVAL;
	size = st.st_size - 2 * MAP_PAGE;
	if (pread(fd, &h, sizeof(h), st.st_size - MAP_PAGE) != sizeof(h) || h.magic != PERF_MAGIC ||
	    size & (size - 1) || h.attr.sample_type & ~(u64)(FIELDS | PERF_SAMPLE_RAW) ||
	    h.attr.cpu < -1 || h.attr.cpu >= (s32)map_cpus() || *(u8 *)&h.attr.watermark > 1)
		return -EINVAL;
	mem = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED)
		return -errno;
	p = base_alloc(sizeof(*p));
	if (p)
		p->pages = pages_at(mem, size, h.overwrite);
	if (!p || !p->pages) {
		munmap(mem, st.st_size);
		base_free(p);
		return -ENOMEM;
	}
	p->attr = h.attr;
	p->attr.kernel_fd = -1;
	p->fd = fd;
	p->id = h.id;
	atomic_init(&p->event, -1);
	*out = p;
	return 0;
}

bool map_perf_event_give(struct map_perf *p, int fd)
{
	int none = -1;

	return atomic_compare_exchange_strong(&p->event, &none, fd);
}

/* The kernel's perf_mmap(): the first mapping decides the size, later ones must agree. */
int map_perf_may_mmap(struct map_perf *p, size_t len, int prot, int flags, s64 off)
{
	u64 size = len - MAP_PAGE;
	struct pages *g;
	int err = 0;

	if (p->attr.kernel_fd >= 0 || off || !(flags & MAP_SHARED) || len < MAP_PAGE ||
	    len % MAP_PAGE || (size & (size - 1)) || size > 1u << 30)
		return -EINVAL;
	if (map_lock(&p->lock) < 0)
		return -EINVAL;
	g = atomic_load(&p->pages);
	if (!g) {
		g = make_pages(p, size, !(prot & PROT_WRITE));
		if (!g)
			err = -ENOMEM;
		else
			atomic_store_explicit(&p->pages, g, memory_order_release);
	}
	if (g && g->size != size)
		err = -EINVAL;
	map_unlock(&p->lock);
	return err;
}

void *map_perf_mmap(struct map_perf *p, void *addr, size_t len, int prot, int flags, s64 off)
{
	int err = map_perf_may_mmap(p, len, prot, flags, off);

	if (err) {
		errno = -err;
		return MAP_FAILED;
	}
	return mmap(addr, len, prot, flags, p->fd, 0);
}

static void wake(struct map_perf *p, struct pages *g)
{
	int fd = atomic_load_explicit(&p->event, memory_order_acquire);

	if (fd >= 0)
		map_event_raise(fd, &g->hidden->owed);
}

void map_perf_mend(struct map_perf *p)
{
	struct pages *g = atomic_load_explicit(&p->pages, memory_order_acquire);

	if (g && atomic_load_explicit(&g->hidden->owed, memory_order_relaxed))
		wake(p, g);
}

bool map_perf_pending(struct map_perf *p)
{
	struct pages *g = atomic_load_explicit(&p->pages, memory_order_acquire);

	return g && atomic_load_explicit(&g->hidden->head, memory_order_acquire) !=
			    __atomic_load_n(&g->user->data_tail, __ATOMIC_ACQUIRE);
}

int map_perf_eventfd(struct map_perf *p)
{
	int none = -1, fd = atomic_load_explicit(&p->event, memory_order_acquire);

	if (fd >= 0)
		return fd;
	fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	if (!atomic_compare_exchange_strong(&p->event, &none, fd)) {
		close(fd);
		return none;
	}
	if (map_perf_pending(p)) /* written before there was an eventfd */
		wake(p, atomic_load_explicit(&p->pages, memory_order_acquire));
	return fd;
}

/* ---- records -------------------------------------------------------------------------------- */

/* Bytes into the ring at position *at, which moves on. */
static void put(const struct pages *g, u64 *at, const void *from, u64 n)
{
	u64 off = *at & (g->size - 1);
	u64 first = g->size - off < n ? g->size - off : n;

	if (!n)
		return;
	memcpy(g->data + off, from, first);
	memcpy(g->data, (const u8 *)from + first, n - first);
	*at += n;
}

static u32 sample_fields(const struct map_perf *p, u64 out[MAX_FIELDS])
{
	u64 type = p->attr.sample_type;
	struct timespec t;
	u32 n = 0;

	if (type & PERF_SAMPLE_IDENTIFIER)
		out[n++] = p->id;
	if (type & PERF_SAMPLE_IP)
		out[n++] = 0;
	if (type & PERF_SAMPLE_TID)
		out[n++] = (u64)(u32)gettid() << 32 | (u32)getpid();
	if (type & PERF_SAMPLE_TIME) {
		clock_gettime(CLOCK_MONOTONIC, &t);
		out[n++] = (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
	}
	if (type & PERF_SAMPLE_ADDR)
		out[n++] = 0;
	if (type & PERF_SAMPLE_ID)
		out[n++] = p->id;
	if (type & PERF_SAMPLE_STREAM_ID)
		out[n++] = p->id;
	if (type & PERF_SAMPLE_CPU)
		out[n++] = map_this_cpu();
	if (type & PERF_SAMPLE_PERIOD)
		out[n++] = 1;
	return n;
}

struct lost_record {
	struct perf_event_header head;
	u64 id, lost;
};

/* Is it time to wake whoever waits? Under the lock. */
static bool wakes(const struct map_perf *p, struct pages *g, u64 head)
{
	struct hidden *h = g->hidden;
	u64 mark = p->attr.watermark && p->attr.wakeup ? p->attr.wakeup : g->size / 2;
	u32 events;

	if (!p->attr.watermark && p->attr.wakeup) {
		events = atomic_load_explicit(&h->events, memory_order_relaxed) + 1;
		atomic_store_explicit(&h->events, events < p->attr.wakeup ? events : 0,
				      memory_order_relaxed);
		return events >= p->attr.wakeup;
	}
	if (head - atomic_load_explicit(&h->woken_at, memory_order_relaxed) <= mark)
		return false;
	atomic_store_explicit(&h->woken_at, head, memory_order_relaxed);
	return true;
}

/*
 * perf_output_begin() to perf_output_end(): -ENOSPC when the reader is too far behind, which counts
 * as lost, and the next record that fits is preceded by their number.
 */
static int write_record(struct map_perf *p, struct pages *g, const struct map_perf_data *data)
{
	struct hidden *h = g->hidden;
	u64 head = atomic_load_explicit(&h->head, memory_order_relaxed), at = head;
	u64 tail = __atomic_load_n(&g->user->data_tail, __ATOMIC_ACQUIRE);
	u64 fields[MAX_FIELDS], zero = 0, lost, need;
	u32 n = sample_fields(p, fields), size = (u32)(data->size + data->more_size);
	u32 raw = ALIGN_UP(size + 4u, 8u) - 4;
	struct perf_event_header sample = { PERF_RECORD_SAMPLE, PERF_RECORD_MISC_USER, 0 };
	bool has_raw = p->attr.sample_type & PERF_SAMPLE_RAW;

	need = sizeof(sample) + n * 8 + (has_raw ? 4 + (u64)raw : 0);
	if (need > UINT16_MAX)
		return -E2BIG;
	sample.size = (u16)need;
	lost = atomic_load_explicit(&h->lost, memory_order_relaxed);
	if (lost)
		need += sizeof(struct lost_record);
	/* A tail ahead of head is nonsense and leaves no room. */
	if (need > g->size || atomic_load(&h->paused) ||
	    (!g->overwrite && (head - tail > g->size || g->size - 1 - (head - tail) < need))) {
		atomic_fetch_add_explicit(&h->lost, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&h->lost_ever, 1, memory_order_relaxed);
		return -ENOSPC;
	}
	if (lost) {
		struct lost_record rec = { { PERF_RECORD_LOST, 0, sizeof(rec) }, p->id, lost };

		put(g, &at, &rec, sizeof(rec));
	}
	put(g, &at, &sample, sizeof(sample));
	put(g, &at, fields, n * 8);
	if (has_raw) {
		put(g, &at, &raw, sizeof(raw));
		put(g, &at, data->at, data->size);
		put(g, &at, data->more, data->more_size);
		put(g, &at, &zero, raw - size);
	}
	atomic_store_explicit(&h->head, at, memory_order_release);
	__atomic_store_n(&g->user->data_head, at, __ATOMIC_RELEASE);
	if (lost)
		atomic_fetch_sub_explicit(&h->lost, lost, memory_order_relaxed);
	if (wakes(p, g, at) || atomic_load_explicit(&h->owed, memory_order_relaxed))
		wake(p, g);
	return 0;
}

/* The element that `index` (or this CPU) names: bpf_perf_event_output()'s errors. */
static int find(struct map *m, u64 index, struct map_perf **out)
{
	struct map_perf *p;
	u32 cpu = map_this_cpu();

	if (index == BPF_F_CURRENT_CPU)
		index = cpu;
	if (index >= m->attr.max_entries)
		return -E2BIG;
	p = atomic_load_explicit(&m->objs[index], memory_order_acquire);
	if (!p)
		return -ENOENT;
	*out = p;
	return 0;
}

int map_perf_output(struct map *m, u64 flags, const struct map_perf_data *data)
{
	struct map_perf *p;
	struct pages *g;
	int err;

	if (m->ops != &map_perf_array_ops || flags & ~(u64)BPF_F_INDEX_MASK)
		return -EINVAL;
	err = find(m, flags, &p);
	if (err)
		return err;
	if (p->attr.kernel_fd >= 0)
		return -EINVAL;
	/*
	 * An event of a CPU takes what happens there. The thread may have moved since `find`: then
	 * it was there a moment ago.
	 */
	g = atomic_load_explicit(&p->pages, memory_order_acquire);
	if ((g ? atomic_load(&g->hidden->disabled) : atomic_load(&p->disabled)) ||
	    (flags != BPF_F_CURRENT_CPU && p->attr.cpu >= 0 && p->attr.cpu != (s32)map_this_cpu()))
		return -EOPNOTSUPP;
	if (!g || !g->size)
		return -ENOSPC;
	if (data->size > UINT16_MAX || data->more_size > UINT16_MAX)
		return -E2BIG;
	err = map_lock(&g->hidden->lock);
	if (err < 0)
		return err;
	err = write_record(p, g, data);
	map_unlock(&g->hidden->lock);
	return err;
}

int map_perf_read(struct map *m, u64 flags, struct bpf_perf_event_value *value)
{
	u64 words[3] = { 0 };
	struct map_perf *p;
	int err;

	if (m->ops != &map_perf_array_ops || flags & ~(u64)BPF_F_INDEX_MASK)
		return -EINVAL;
	err = find(m, flags, &p);
	if (err)
		return err;
	/* As many words as its read_format has; a buffer of ours counts nothing. */
	if (p->attr.kernel_fd >= 0 && read(p->fd, words, sizeof(words)) < 8)
		return -EINVAL;
	value->counter = words[0];
	value->enabled = words[1];
	value->running = words[2];
	return 0;
}
