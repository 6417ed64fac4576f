/* SPDX-License-Identifier: MIT */
/* ffi_prep_cif, ffi_call and call plans: the shape of a signature is found once, its number kept in the cif. */
#include <pthread.h>
#include <string.h>

#include "ffi/call_int.h"

/*
 * Shapes by number, never freed: a cif that was copied anywhere stays right. Readers take no lock;
 * an entry is complete before its number leaves call_intern.
 */
static struct shape *shapes[CALL_MAX_SHAPES];
call_thunk call_thunks[CALL_MAX_SHAPES] = { call_slow };
call_entry call_entries[CALL_MAX_SHAPES];
static struct hash by_content;
static u32 nshapes = 1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void fork_prepare(void)
{
	pthread_mutex_lock(&lock);
}

static void fork_done(void)
{
	pthread_mutex_unlock(&lock);
}

__attribute__((constructor)) static void watch_fork(void)
{
	pthread_atfork(fork_prepare, fork_done, fork_done);
}

static size_t shape_size(const struct shape *s)
{
	return sizeof(*s) + s->nmoves * sizeof(s->moves[0]);
}

/* The shape equal to s with hash h; different shapes of one hash follow at the next keys. */
static struct shape *find(const struct shape *s, u64 *h)
{
	struct shape *old;

	for (; (old = hash_get(&by_content, *h)); (*h)++) {
		u32 number = old->number;
		bool same;

		if (shape_size(old) != shape_size(s))
			continue;
		same = !memcmp((const char *)old + sizeof(number), (const char *)s + sizeof(number),
			       shape_size(s) - sizeof(number));
		if (same)
			return old;
	}
	return NULL;
}

u32 call_intern(struct shape *s)
{
	u64 h = hash_bytes((char *)s + sizeof(s->number), shape_size(s) - sizeof(s->number), 0);
	struct shape *old;
	u32 number = 0;

	pthread_mutex_lock(&lock);
	old = find(s, &h);
	if (old) {
		number = old->number;
	} else if (nshapes < CALL_MAX_SHAPES && !hash_put(&by_content, h, s)) {
		number = s->number = nshapes++;
		shapes[number] = s;
		call_compile(s, &call_thunks[number], &call_entries[number]);
		if (!call_thunks[number])
			call_thunks[number] = call_slow;
		if (!call_entries[number])
			call_entries[number] = call_conv((ffi_abi)s->conv)->entry;
		s = NULL;
	}
	pthread_mutex_unlock(&lock);
	base_free(s);
	return number;
}

const struct shape *call_shape(u32 number)
{
	return number < CALL_MAX_SHAPES ? shapes[number] : NULL;
}

bool call_is_small_int(const ffi_type *t)
{
	switch (t->type) {
	case FFI_TYPE_INT:
	case FFI_TYPE_UINT8:
	case FFI_TYPE_SINT8:
	case FFI_TYPE_UINT16:
	case FFI_TYPE_SINT16:
	case FFI_TYPE_UINT32:
	case FFI_TYPE_SINT32: return true;
	default: return false;
	}
}

bool call_is_signed(const ffi_type *t)
{
	switch (t->type) {
	case FFI_TYPE_INT:
	case FFI_TYPE_SINT8:
	case FFI_TYPE_SINT16:
	case FFI_TYPE_SINT32:
	case FFI_TYPE_SINT64: return true;
	default: return false;
	}
}

struct shape *call_new_shape(unsigned nargs, unsigned per_arg)
{
	struct shape *s = base_alloc(sizeof(*s) + (nargs * (size_t)per_arg + 1) * sizeof(s->moves[0]));

	if (s)
		s->nargs = nargs;
	return s;
}

struct shape *call_classify(const ffi_cif *cif)
{
	return call_conv(cif->abi)->classify(cif, cif->flags >> CALL_FIXED_SHIFT);
}

/* Is the type something a call can be made with? Lays aggregates out on the way. */
static ffi_status check(ffi_type *t, ffi_abi abi, bool result)
{
	ffi_status st = call_layout(t, abi);

	if (st != FFI_OK)
		return st;
	if (t->type == FFI_TYPE_VOID && !result)
		return FFI_BAD_TYPEDEF;
	if (t->type == FFI_TYPE_VECTOR && t->size > call_conv(abi)->max_vector)
		return FFI_BAD_TYPEDEF;
	return FFI_OK;
}

/* ---- signatures of scalars, seen before --------------------------------------------------------- */

#define MAX_QUICK 23 /* arguments: with the result, 24 codes of five bits fill the key */

/* A signature of built-in scalars, whole: equal keys are equal signatures. */
struct quick {
	u64 key[2];
	u32 number, bytes;
};
static struct quick *_Atomic quick_table[1024];

static const u8 scalar_size[FFI_TYPE_LAST + 1] = {
	[FFI_TYPE_FLOAT] = 4,       [FFI_TYPE_DOUBLE] = 8, [FFI_TYPE_UINT8] = 1,
	[FFI_TYPE_SINT8] = 1,       [FFI_TYPE_UINT16] = 2, [FFI_TYPE_SINT16] = 2,
	[FFI_TYPE_UINT32] = 4,      [FFI_TYPE_SINT32] = 4, [FFI_TYPE_UINT64] = 8,
	[FFI_TYPE_SINT64] = 8,      [FFI_TYPE_POINTER] = 8,
	[FFI_TYPE_LONGDOUBLE] = sizeof(long double),
};

static bool quick_add(u64 *key, unsigned i, const ffi_type *t)
{
	if (!t || t->type > FFI_TYPE_LAST || !scalar_size[t->type] || t->size != scalar_size[t->type] ||
	    t->alignment != t->size)
		return false;
	key[i / 12] |= (u64)t->type << (i % 12 * 5);
	return true;
}

/* The key of a signature of scalars in the machine's own convention; false for others. Code 0 is void, and no argument. */
static bool quick_key(u64 *key, ffi_abi abi, unsigned nargs, const ffi_type *rtype, ffi_type **atypes)
{
	unsigned i;

	key[0] = key[1] = 0;
	if (abi != FFI_DEFAULT_ABI || nargs > MAX_QUICK || !rtype || (nargs && !atypes))
		return false;
	if (rtype->type != FFI_TYPE_VOID && !quick_add(key, 0, rtype))
		return false;
	for (i = 0; i < nargs; i++)
		if (!quick_add(key, i + 1, atypes[i]))
			return false;
	/* The bits above the codes tell lists of different length apart. */
	key[0] |= (u64)(nargs & 15) << 60;
	key[1] |= (u64)(nargs >> 4) << 60;
	return true;
}

static struct quick *_Atomic *quick_slot(const u64 *key)
{
	u64 h = (key[0] ^ key[1] * 0x9e3779b97f4a7c15ull) * 0xd6e8feb86659fd93ull;

	return &quick_table[h >> 54];
}

static void quick_keep(const u64 *key, const ffi_cif *cif)
{
	struct quick *_Atomic *slot = quick_slot(key), *none = NULL, *q;

	if (*slot || !(cif->flags % CALL_MAX_SHAPES))
		return;
	q = base_alloc(sizeof(*q));
	if (!q)
		return;
	*q = (struct quick){ { key[0], key[1] }, cif->flags % CALL_MAX_SHAPES, cif->bytes };
	if (!__atomic_compare_exchange_n((struct quick **)slot, &none, q, false, __ATOMIC_RELEASE,
					 __ATOMIC_RELAXED))
		base_free(q);
}

/* ---- preparation --------------------------------------------------------------------------------- */

static ffi_status prepare_any(ffi_cif *cif, ffi_abi abi, unsigned nfixed, unsigned nargs,
			  ffi_type *rtype, ffi_type **atypes)
{
	struct shape *s;
	ffi_status st;
	unsigned i;
	u64 bytes = 0;

	if (!rtype || (nargs && !atypes))
		return FFI_BAD_TYPEDEF;
	if (!call_conv(abi))
		return FFI_BAD_ABI;
	if (nargs > CALL_MAX_ARGS || nfixed > nargs)
		return FFI_BAD_TYPEDEF;
	st = check(rtype, abi, true);
	for (i = 0; i < nargs && st == FFI_OK; i++) {
		st = atypes[i] ? check(atypes[i], abi, false) : FFI_BAD_TYPEDEF;
		bytes += st == FFI_OK ? atypes[i]->size : 0;
	}
	/* More would not fit a thread's stack. */
	if (st == FFI_OK && bytes > CALL_MAX_BYTES)
		st = FFI_BAD_TYPEDEF;
	if (st != FFI_OK)
		return st;
	*cif = (ffi_cif){ .abi = abi, .nargs = nargs, .arg_types = atypes, .rtype = rtype };
	cif->flags = (nfixed < 127 ? nfixed : 127) << CALL_FIXED_SHIFT;
	s = call_classify(cif);
	if (s) {
		cif->bytes = s->stack;
		cif->flags |= call_intern(s);
	}
	return FFI_OK;
}

static ffi_status prepare(ffi_cif *cif, ffi_abi abi, unsigned nfixed, unsigned nargs,
			  ffi_type *rtype, ffi_type **atypes)
{
	bool quick;
	struct quick *q;
	ffi_status st;
	u64 key[2];

	if (!cif)
		return FFI_BAD_TYPEDEF;
	quick = nfixed <= nargs && quick_key(key, abi, nargs, rtype, atypes);
	q = quick ? *quick_slot(key) : NULL;
	if (q && q->key[0] == key[0] && q->key[1] == key[1]) {
		*cif = (ffi_cif){ .abi = abi, .nargs = nargs, .arg_types = atypes, .rtype = rtype,
				  .bytes = q->bytes, .flags = q->number | nfixed << CALL_FIXED_SHIFT };
		return FFI_OK;
	}
	st = prepare_any(cif, abi, nfixed, nargs, rtype, atypes);
	if (st == FFI_OK && quick)
		quick_keep(key, cif);
	return st;
}

ffi_status ffi_prep_cif(ffi_cif *cif, ffi_abi abi, unsigned int nargs, ffi_type *rtype,
			ffi_type **atypes)
{
	return prepare(cif, abi, nargs, nargs, rtype, atypes);
}

ffi_status ffi_prep_cif_var(ffi_cif *cif, ffi_abi abi, unsigned int nfixed, unsigned int nargs,
			    ffi_type *rtype, ffi_type **atypes)
{
	ffi_status st = prepare(cif, abi, nfixed, nargs, rtype, atypes);
	unsigned i;

	/* C17 6.5.2.2, 6: the default argument promotions leave no float and nothing below int. */
	for (i = nfixed; i < nargs && st == FFI_OK; i++)
		if (atypes[i]->type == FFI_TYPE_FLOAT ||
		    (call_is_small_int(atypes[i]) && atypes[i]->size < sizeof(int)))
			st = FFI_BAD_ARGTYPE;
	return st;
}

void ffi_call(ffi_cif *cif, void (*fn)(void), void *rvalue, void **avalue)
{
	call_thunks[cif->flags % CALL_MAX_SHAPES](cif, fn, rvalue, avalue);
}

/* ---- plans: all of what a cif's number leads to, at hand ---------------------------------------- */

struct ffi_call_plan {
	call_thunk thunk;
	ffi_cif *cif;
};

ffi_call_plan *ffi_call_plan_alloc(ffi_cif *cif)
{
	ffi_call_plan *plan = base_alloc(sizeof(*plan));

	if (plan) {
		plan->thunk = call_thunks[cif->flags % CALL_MAX_SHAPES];
		plan->cif = cif;
	}
	return plan;
}

void ffi_call_plan_invoke(ffi_call_plan *plan, void (*fn)(void), void *rvalue, void **avalue)
{
	plan->thunk(plan->cif, fn, rvalue, avalue);
}

void ffi_call_plan_free(ffi_call_plan *plan)
{
	base_free(plan);
}

size_t ffi_call_plan_size(ffi_call_plan *plan)
{
	return plan ? sizeof(*plan) : 0;
}

const char *ffi_get_version(void)
{
	return FFI_VERSION_STRING;
}

unsigned long ffi_get_version_number(void)
{
	return FFI_VERSION_NUMBER;
}

unsigned int ffi_get_default_abi(void)
{
	return FFI_DEFAULT_ABI;
}

size_t ffi_get_closure_size(void)
{
	return sizeof(ffi_closure);
}
