/* SPDX-License-Identifier: MIT */
/* What C lacks: memory through one hook, arenas, growable arrays, a hash, text, log, checked sizes. */
#ifndef FERRY_BASE_H
#define FERRY_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int8_t s8;
typedef int16_t s16;
typedef int32_t s32;
typedef int64_t s64;

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define ALIGN_UP(x, a) (((x) + ((__typeof__(x))(a) - 1)) & ~((__typeof__(x))(a) - 1))
#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

/*
 * Above 0 while this thread is between the handlers of pthread_atfork(3) that hold locks of Ferry's:
 * programs must not run then. Handlers that take locks count it up before, and down behind by
 * base_fork_over(), which calls base_forked (NULL: nothing waits for it) when it is 0.
 */
extern _Thread_local u32 base_forking __attribute__((tls_model("initial-exec")));
extern void (*base_forked)(void);
void base_fork_over(void);
/*
 * This thread's destructors (pthread_key_create) have run, or may have: nothing may be made for it
 * that they would take away. Set and cleared by who knows, per thread.
 */
extern _Thread_local bool base_ending __attribute__((tls_model("initial-exec")));

/*
 * Threads of Ferry's own, which are none of the host's: by the thread itself, at its beginning and at its end.
 * Of those of another process (fork) nothing is said.
 */
void base_thread_own(bool own);
void base_thread_own_as(u32 tid, bool own); /* by who made it, before it runs */
bool base_thread_is_own(u32 tid);

/* ---- memory ----------------------------------------------------------------------------------- */

/*
 * The one allocator of the library: realloc semantics, size 0 frees and returns NULL. Tests replace
 * it to make each allocation fail in turn; set it before any other call and never concurrently.
 */
extern void *(*base_allocator)(void *old, size_t size);

void *base_alloc(size_t size);                 /* zeroed; NULL when out of memory */
void *base_array(size_t n, size_t item_size);  /* zeroed; NULL also when n * item_size overflows */
void base_free(void *p);                       /* NULL is fine */
char *base_strdup(const char *s);
void *base_memdup(const void *p, size_t size);

/*
 * Above 0 while this thread is in a handler of ours for a signal that comes at any moment, maybe in the
 * middle of malloc(3): then base_alloc() gives NULL, base_free() keeps the memory for later, and nothing
 * is logged.
 */
extern _Thread_local int base_in_signal __attribute__((tls_model("initial-exec")));

/*
 * Room for at least `need` items in the array `items` of `*cap` items of `item_size` bytes: returns
 * the array, perhaps moved, or NULL when out of memory (the old array then stays as it was). New
 * room is zeroed.
 */
void *base_grow(void *items, size_t *cap, size_t need, size_t item_size);

/* Checked sizes: false when the result does not fit, *out untouched then. */
bool base_add(size_t a, size_t b, size_t *out);
bool base_mul(size_t a, size_t b, size_t *out);

/* Memory of one unit of work, freed at once. Zero-initialise to start. */
struct arena {
	struct arena_block *last;
	size_t total; /* bytes taken from the allocator */
	size_t limit; /* most bytes it may take; 0 is no limit */
};
void *arena_alloc(struct arena *a, size_t size); /* zeroed, 16-byte aligned; NULL at the limit */
char *arena_strdup(struct arena *a, const char *s);
void arena_free(struct arena *a);

/* ---- hash ------------------------------------------------------------------------------------- */

/* A map from a 64-bit key to a pointer; zero-initialise to start. NULL values cannot be stored. */
struct hash {
	struct hash_slot *slots;
	size_t cap, used, live;
};
int hash_put(struct hash *h, u64 key, void *value); /* replaces; 0 or -ENOMEM */
void *hash_get(const struct hash *h, u64 key);      /* NULL when absent */
void *hash_del(struct hash *h, u64 key);            /* the value that was there, or NULL */
/* Iteration: start with *pos = 0; false at the end. Not stable under put. */
bool hash_next(const struct hash *h, size_t *pos, u64 *key, void **value);
void hash_free(struct hash *h);

u64 hash_bytes(const void *data, size_t size, u64 seed); /* well mixed, not cryptographic */
u32 hash_gnu(const char *name);                         /* of a symbol, in ELF's DT_GNU_HASH tables */

/* ---- text ------------------------------------------------------------------------------------- */

/*
 * A string being built. Zero-initialise to start. With a limit, text past it is counted in `full`
 * but not kept: the contract of bpf(2)'s log buffer. After an allocation failure `oom` is set and
 * additions are ignored.
 */
struct text {
	char *s;      /* always NUL-terminated once anything was added; owned */
	size_t len;   /* bytes kept, without the NUL */
	size_t cap;
	size_t limit; /* most bytes kept, without the NUL; 0 is no limit */
	size_t keep;  /* with it, the last `keep` bytes and maybe some more are kept instead; 0: from the start */
	size_t full;  /* bytes that would have been kept without the limit */
	size_t most;  /* the largest that `full` was */
	bool oom;
};
void text_add(struct text *t, const char *s, size_t n);
void text_puts(struct text *t, const char *s);
void text_printf(struct text *t, const char *fmt, ...) PRINTF_LIKE(2, 3);
void text_vprintf(struct text *t, const char *fmt, va_list ap);
void text_json(struct text *t,
	       const char *s); /* s as a quoted JSON string; what is no UTF-8 as U+FFFD */
/* Hostile names before people see them: control characters but newline, and what is no UTF-8, go.
 */
void text_clean(char *s);
const char *text_str(const struct text *t);    /* never NULL */
void text_cut(struct text *t, size_t full); /* back to when `full` was this */
void text_reset(struct text *t);               /* empty, memory kept */
void text_free(struct text *t);

/* Edit distance between two names, for "did you mean"; at most 255. */
unsigned text_distance(const char *a, const char *b);

/* ---- log -------------------------------------------------------------------------------------- */

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

/*
 * Where messages for people go; the default writes warnings and errors to stderr, more with
 * FERRY_LOG=error|warn|info|debug. `msg` has no newline. NULL restores the default.
 */
typedef void (*log_fn)(void *arg, int level, const char *msg);
void log_to(log_fn fn, void *arg);
void log_msg(enum log_level level, const char *fmt, ...) PRINTF_LIKE(2, 3);

/*
 * A broken invariant: logs where, aborts in debug builds only, and returns -EFAULT for the caller
 * to hand on.
 */
int base_broken(const char *file, int line, const char *what);
#define BROKEN(what) base_broken(__FILE__, __LINE__, what)

#endif
