/* SPDX-License-Identifier: MIT */
/*
 * What the map types share: the file's layout, words of shared memory, locks that survive a death.
 */
#ifndef FERRY_MAP_INT_H
#define FERRY_MAP_INT_H

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "map/map.h"

#ifndef ENOTSUPP
#define ENOTSUPP 524 /* the kernel's own, which bpf(2) lets out */
#endif

#define MAP_PAGE             4096u
#define MAP_MAX_VALUE        (4u << 20)  /* the kernel's largest kmalloc */
#define MAP_MAX_PERCPU_VALUE (32u << 10) /* the kernel's PCPU_MIN_UNIT_SIZE */

/*
 * A map's file is the type's memory from offset 0, in whole pages, and this header in one page
 * after it: a user's mmap of an array at offset 0 sees values and never the header.
 */
#define MAP_MAGIC   0x70616d7972726566ull /* "ferrymap" */
#define MAP_VERSION 3

struct map_head {
	u64 magic;
	u32 version;
	u32 cpus;     /* that per-CPU values are laid out for */
	u64 mem_size; /* of the whole file */
	u64 seed[2];
	struct map_attr attr;
	struct map_tag tag;
	_Atomic u32 frozen;
	struct map_attr inner; /* of maps of maps: what their elements are */
	u32 inner_lock, inner_timer; /* and what values of those hold that is the system's (struct map_fields) */
	_Atomic u32 sharers;   /* of elements that are objects: how often another process came to have it */
};

#define MAPTYPE(num, name, ops) extern const struct map_ops ops;
#define MAPNAME(num, name)
#include "map/map.def"
#undef MAPTYPE
#undef MAPNAME

/*
 * For types without such an operation, so that every type has all of them and a call needs no
 * check: the verifier lets no program get here, but a mistake there must not become a jump to 0.
 */
void *map_no_lookup(struct map *m, const void *key);
int map_no_update(struct map *m, const void *key, const void *value, u64 flags); /* -EINVAL */
int map_no_remove(struct map *m, const void *key);                               /* -EINVAL */
int map_no_next_key(struct map *m, const void *key, void *next);                 /* -EINVAL */
/* -ENOTSUPP, as bpf(2) says for a ring buffer */
int map_no_read(struct map *m, const void *key, void *value, u64 flags);
int map_no_write(struct map *m, const void *key, const void *value, u64 flags);

/* Why `check` refuses: returns err, keeps the text for map_create. */
int map_refuse(int err, const char *why);
int map_check_access_flags(const struct map_attr *a, u32 allowed);

/* array.c, for other arrays */
u32 map_index(const void *key);
int map_array_check(const struct map_attr *a, u32 extra_flags);
int map_array_next_key(struct map *m, const void *key, void *next);

void map_fields_free(struct map *m);

/* freeze.c: around what bpf(2) writes; false: it is frozen. */
bool map_write_begin(struct map *m);
void map_write_end(struct map *m);
int map_attach_sealed(struct map *m); /* a map whose memory cannot be written */

/* ringbuf.c, for user ring buffers */
int map_ring_check(const struct map_attr *a, size_t *bytes);
u8 *map_ring_data(const struct map *m); /* twice in a row; NULL: no memory */
int map_ring_remove(struct map *m, const void *key);
int map_ring_next_key(struct map *m, const void *key, void *next);

/* ---- memory --------------------------------------------------------------------------------- */

/* Makes the file, maps it and fills the header: 0 or -errno. */
int map_mem_create(struct map *m, size_t bytes);
/* Maps the file m->fd, which another process filled, and gives a copy of its attr. `sealed`: only to read. */
int map_mem_attach(struct map *m, struct map_attr *attr, bool *sealed);
void map_mem_free(struct map *m);
/* Puts memory of this process alone in place of the file's, which is no map any longer: 0, -ENOMEM. */
int map_mem_own(struct map *m);
/*
 * Where memory that was ever touched goes on, from `off`: whoever looks for something skips the
 * rest.
 */
size_t map_mem_next(const struct map *m, size_t off);
struct map_head *map_head(const struct map *m);

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
	       "words of shared memory are little-endian");

/*
 * Up to 7 bytes as a word padded with zeros, in registers: a word put together in memory would wait
 * for its parts to be stored.
 */
static inline u64 map_tail(const void *p, size_t n)
{
	const u8 *from = p;
	u64 w = 0;
	u32 w4;
	u16 w2;

	if (n & 4) {
		memcpy(&w4, from, 4);
		w = w4;
	}
	if (n & 2) {
		memcpy(&w2, from + (n & 4), 2);
		w |= (u64)w2 << (n & 4) * 8;
	}
	if (n & 1)
		w |= (u64)from[n - 1] << (n - 1) * 8;
	return w;
}

/*
 * Copies between private memory and shared memory that others change meanwhile: word by word, each
 * word whole, as the kernel's bpf_long_memcpy. The shared side is 8-byte aligned and padded to 8.
 */
static inline void map_store(void *shared, const void *src, size_t n)
{
	u64 *to = shared, w;
	const u8 *from = src;

	for (; n >= 8; n -= 8, from += 8) {
		memcpy(&w, from, 8);
		__atomic_store_n(to++, w, __ATOMIC_RELAXED);
	}
	if (n)
		__atomic_store_n(to, map_tail(from, n), __ATOMIC_RELAXED);
}

/* Acquire: what is read after this call was not read before it (see the hash's second look). */
static inline void map_load(void *dst, const void *shared, size_t n)
{
	const u64 *from = shared;
	u8 *to = dst;
	u64 w;

	for (; n >= 8; n -= 8, to += 8) {
		w = __atomic_load_n(from++, __ATOMIC_ACQUIRE);
		memcpy(to, &w, 8);
	}
	if (n) {
		w = __atomic_load_n(from, __ATOMIC_ACQUIRE);
		memcpy(to, &w, n);
	}
}

static inline void map_zero(void *shared, size_t n)
{
	u64 *to = shared;

	for (; n; n -= n < 8 ? n : 8)
		__atomic_store_n(to++, 0, __ATOMIC_RELAXED);
}

/* ---- locks that survive the death of their holder ------------------------------------------- */

/*
 * A lock word in shared memory: 0, or who holds it (thread id below, its start time above, so that
 * a reused id is told apart). A program that runs in a signal handler may meet its own thread's
 * lock, and any process may write nonsense here: both end with an error and not a hang.
 */
typedef _Atomic u64 map_lock_word;

enum { LOCK_TAKEN = 0, LOCK_INHERITED = 1 };

/*
 * LOCK_TAKEN; LOCK_INHERITED when the holder before died inside, and the caller has to repair
 * what the lock guards; -EBUSY when this thread holds it already or it was not let go for a second.
 */
int map_lock(map_lock_word *w);
int map_trylock(map_lock_word *w); /* the same without waiting for the living */
void map_unlock(map_lock_word *w);
u64 map_thread(u32 tid);   /* any thread, as in lock words; 0 when there is none */
u64 map_self(void);        /* this thread, as in lock words; never 0 */
/* That, or 0: not known yet. Remembered with the thread, until the process is a copy. */
extern _Thread_local u64 map_self_id __attribute__((tls_model("initial-exec")));
extern const _Atomic u64 *map_self_good __attribute__((visibility("hidden"))); /* ~0, or 0: it is */
static inline u64 map_self_known(void)
{
	return map_self_id & atomic_load_explicit(map_self_good, memory_order_relaxed);
}
bool map_is_dead(u64 who); /* the thread of a lock word has ended */

/*
 * outer.c, for objs.c: places of a hash of maps, where shared memory has the id of one, this process's lock of id and
 * object, and exchanging the object under it.
 */
u32 map_outer_places(const struct map *m);
void *map_outer_id(const struct map *m, u32 i);
map_lock_word *map_outer_lock(struct map *m);
void *map_outer_swap(struct map *m, u32 i, void *obj, u32 id);

/* A short form of map_self() in 32 bits, for the owner of a ring buffer's record. */
u32 map_self_short(void);
bool map_is_dead_short(u32 who);

/* ---- ring buffers --------------------------------------------------------------------------- */

/* The eventfd in *at, made by the first who asks (*at is -1 until then): it or -errno. */
int map_event_once(_Atomic int *at, bool *made);
/*
 * Makes it readable. A child whose descriptors are closed cannot, and leaves *owed, shared memory, at 1 for the
 * next producer or wait. errno stays.
 */
void map_event_raise(int fd, _Atomic u32 *owed);
/* The same of a user ring buffer as of others (map.h). */
bool map_user_event_give(struct map *m, int fd);
int map_user_event_fd(struct map *m);

#endif
