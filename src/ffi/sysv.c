/* SPDX-License-Identifier: MIT */
/* Which registers and stack slots a signature uses: System V ABI for x86-64, 3.2.3. */
#include <string.h>

#include "ffi/call_int.h"

enum class { NO_CLASS, INTEGER, SSE, SSEUP, X87, X87UP, COMPLEX_X87, MEMORY };

#define MAX_WORDS 8 /* eightbytes: the largest vector type of the ABI */

/* The class of an eightbyte that two fields share: 3.2.3, item 4 of classification. */
static enum class merge(enum class a, enum class b)
{
	if (a == b)
		return a;
	if (a == NO_CLASS)
		return b;
	if (b == NO_CLASS)
		return a;
	if (a == MEMORY || b == MEMORY)
		return MEMORY;
	if (a == INTEGER || b == INTEGER)
		return INTEGER;
	if (a >= X87 || b >= X87)
		return MEMORY;
	return SSE;
}

static void mark(u8 *words, size_t off, size_t size, enum class first, enum class rest)
{
	size_t w, end = (off + size + 7) / 8;

	for (w = off / 8; w < end && w < MAX_WORDS; w++)
		words[w] = (u8)merge(words[w], w == off / 8 ? first : rest);
}

/* Marks the eightbytes that `t` at offset `off` covers. False: it has to be in memory. */
static bool walk(const ffi_type *t, size_t off, u8 *words)
{
	size_t i;

	if (t->alignment && off % t->alignment)
		return false;
	switch (t->type) {
	case FFI_TYPE_FLOAT:
	case FFI_TYPE_DOUBLE: mark(words, off, t->size, SSE, SSE); return true;
	case FFI_TYPE_LONGDOUBLE: mark(words, off, 16, X87, X87UP); return true;
	case FFI_TYPE_VECTOR: mark(words, off, t->size, SSE, SSEUP); return true;
	case FFI_TYPE_COMPLEX:
		/* COMPLEX_X87 is for the type itself; inside a struct it fits no two eightbytes. */
		if (t->elements[0]->type == FFI_TYPE_LONGDOUBLE)
			return false;
		return walk(t->elements[0], off, words) &&
		       walk(t->elements[0], off + t->elements[0]->size, words);
	case FFI_TYPE_STRUCT:
		for (i = 0; t->elements && t->elements[i]; i++) {
			off = ALIGN_UP(off, (size_t)t->elements[i]->alignment);
			if (!walk(t->elements[i], off, words))
				return false;
			off += t->elements[i]->size;
		}
		return true;
	default: mark(words, off, t->size, INTEGER, INTEGER); return true;
	}
}

/* The classes of a type's eightbytes; returns how many, or 0 for memory. */
static u32 classify(const ffi_type *t, u8 *words)
{
	u32 n = (u32)((t->size + 7) / 8), i;

	memset(words, NO_CLASS, MAX_WORDS);
	if (t->type == FFI_TYPE_COMPLEX && t->elements[0]->type == FFI_TYPE_LONGDOUBLE) {
		memset(words, COMPLEX_X87, n);
		return n;
	}
	if (t->size > MAX_WORDS * 8 || !walk(t, 0, words))
		return 0;
	/* 3.2.3, item 5: the post-merger. */
	for (i = 0; i < n; i++) {
		if (words[i] == MEMORY || (words[i] == X87UP && (!i || words[i - 1] != X87)))
			return 0;
		if (words[i] == SSEUP && (!i || (words[i - 1] != SSE && words[i - 1] != SSEUP)))
			words[i] = SSE;
	}
	if (n > 2) {
		if (words[0] != SSE)
			return 0;
		for (i = 1; i < n; i++)
			if (words[i] != SSEUP)
				return 0;
	}
	return n;
}

static void to_stack(struct shape *s, u16 arg, const ffi_type *t)
{
	struct move *m = &s->moves[s->nmoves++];

	/* 3.2.3: arguments on the stack are aligned to eight bytes, or sixteen if the type is. */
	if (t->alignment >= 16)
		s->stack = ALIGN_UP(s->stack, 16u);
	*m = (struct move){ .arg = arg, .dst = s->stack };
	if (call_is_small_int(t)) {
		m->kind = MOVE_STACK_EXT;
		m->size = (u16)t->size;
		m->is_signed = call_is_signed(t);
	} else {
		m->kind = MOVE_STACK;
		m->bytes = (u32)t->size;
	}
	s->stack += ALIGN_UP((u32)t->size, 8u);
}

static void to_registers(struct shape *s, u16 arg, const ffi_type *t, const u8 *words, u32 n)
{
	u32 i;

	for (i = 0; i < n; i++) {
		struct move *m = &s->moves[s->nmoves];
		u32 left = (u32)t->size - i * 8, size = left < 8 ? left : 8;

		if (words[i] == NO_CLASS || words[i] == SSEUP)
			continue;
		*m = (struct move){ .arg = arg, .src = i * 8, .size = (u16)size };
		if (words[i] == INTEGER) {
			m->kind = MOVE_GP;
			m->reg = s->ngp++;
			m->is_signed = call_is_signed(t);
		} else {
			m->kind = MOVE_SSE;
			m->reg = s->nsse++;
			m->size = i + 1 < n && words[i + 1] == SSEUP ? 16 : (u16)size;
		}
		s->nmoves++;
	}
}

static void place(struct shape *s, u16 arg, const ffi_type *t)
{
	u32 n, i, gp = 0, sse = 0;
	u8 words[MAX_WORDS];

	n = classify(t, words);
	for (i = 0; i < n; i++) {
		gp += words[i] == INTEGER;
		sse += words[i] == SSE;
		/* X87 classes are for results only: such arguments are in memory. */
		if (words[i] >= X87)
			n = 0;
	}
	if (!n || s->ngp + gp > 6 || s->nsse + sse > 8)
		to_stack(s, arg, t);
	else
		to_registers(s, arg, t, words, n);
}

static void place_result(struct shape *s, const ffi_type *t)
{
	u8 words[MAX_WORDS];
	u32 n, i, gp = 0, sse = 0;

	s->ret_size = (u32)t->size;
	if (t->type == FFI_TYPE_VOID) {
		s->ret = RET_VOID;
		s->ret_size = 0;
		return;
	}
	n = classify(t, words);
	if (!n) {
		s->ret = RET_MEM;
		s->ngp = 1;
		return;
	}
	if (words[0] == X87 || words[0] == COMPLEX_X87) {
		s->ret = words[0] == X87 ? RET_X87 : RET_X87_2;
		return;
	}
	if (call_is_small_int(t) || t->type == FFI_TYPE_UINT64 || t->type == FFI_TYPE_SINT64 ||
	    t->type == FFI_TYPE_POINTER) {
		s->ret = RET_INT;
		s->ret_signed = call_is_signed(t);
		return;
	}
	s->ret = RET_PARTS;
	for (i = 0; i < n; i++) {
		u32 left = (u32)t->size - i * 8;
		struct ret_part *p = &s->parts[s->nparts];

		if (words[i] != INTEGER && words[i] != SSE)
			continue;
		p->sse = words[i] == SSE;
		p->reg = (u8)(p->sse ? sse++ : gp++);
		p->off = (u8)(i * 8);
		p->size = (u8)(left < 8 ? left : 8);
		if (p->sse && i + 1 < n && words[i + 1] == SSEUP)
			p->size = 16;
		s->nparts++;
	}
}

struct shape *call_classify_sysv(unsigned nargs, ffi_type *rtype, ffi_type **atypes)
{
	struct shape *s = call_new_shape(nargs, 2);
	unsigned i;

	if (!s)
		return NULL;
	s->conv = FFI_UNIX64;
	place_result(s, rtype);
	for (i = 0; i < nargs; i++)
		place(s, (u16)i, atypes[i]);
	s->stack = ALIGN_UP(s->stack, 16u);
	return s;
}
