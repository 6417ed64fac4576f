/* SPDX-License-Identifier: MIT */
/*
 * Which registers and stack slots a signature uses: Procedure Call Standard for AArch64 (IHI0055),
 * 6.8.2.
 */
#include "ffi/call_int.h"

#define IN_REGISTERS 64 /* bytes of x0 to x7 */

/*
 * Next general register, next vector register, next stacked argument: NGRN, NSRN, NSAA of the
 * standard.
 */
struct next {
	u32 gp, sse, stack;
};

/* ---- homogeneous aggregates: 5.9.5 ----------------------------------------------------------- */

#define MAX_HFA    4
#define MAX_VISITS 256 /* types looked at: a type that goes round in a circle ends here */

enum member { NO_MEMBER, FLOATING, SHORT_VECTOR };

struct hfa {
	enum member kind;
	u32 size; /* bytes of a member */
	u32 count;
	u32 visits;
};

static bool hfa_add(struct hfa *h, enum member kind, size_t size, u32 count)
{
	if (h->kind != NO_MEMBER && (h->kind != kind || h->size != size))
		return false;
	h->kind = kind;
	h->size = (u32)size;
	h->count += count;
	return h->count <= MAX_HFA;
}

static bool is_floating(const ffi_type *t)
{
	return t->type == FFI_TYPE_FLOAT || t->type == FFI_TYPE_DOUBLE ||
	       t->type == FFI_TYPE_LONGDOUBLE;
}

/* Short vectors: 5.9.3. Compilers treat smaller ones as integers, larger ones as composites. */
static bool is_short_vector(const ffi_type *t)
{
	return t->type == FFI_TYPE_VECTOR && (t->size == 8 || t->size == 16);
}

static bool hfa_walk(struct hfa *h, const ffi_type *t)
{
	size_t i;

	if (++h->visits > MAX_VISITS)
		return false;
	if (is_floating(t))
		return hfa_add(h, FLOATING, t->size, 1);
	if (is_short_vector(t))
		return hfa_add(h, SHORT_VECTOR, t->size, 1);
	if (t->type == FFI_TYPE_COMPLEX)
		return t->elements && t->elements[0] && is_floating(t->elements[0]) &&
		       hfa_add(h, FLOATING, t->elements[0]->size, 2);
	if (t->type != FFI_TYPE_STRUCT || !t->elements)
		return false;
	for (i = 0; t->elements[i]; i++)
		if (!hfa_walk(h, t->elements[i]))
			return false;
	return true;
}

/* Does the type travel in vector registers, a member in each? A scalar is one member. */
static bool in_vectors(const ffi_type *t, struct hfa *h)
{
	*h = (struct hfa){ 0 };
	return hfa_walk(h, t) && h->count && (size_t)h->size * h->count == t->size;
}

/* ---- arguments ------------------------------------------------------------------------------- */

static bool is_composite(const ffi_type *t)
{
	return t->type == FFI_TYPE_STRUCT || t->type == FFI_TYPE_COMPLEX ||
	       t->type == FFI_TYPE_VECTOR;
}

static struct move *new_move(struct shape *s, u16 arg, enum move_kind kind)
{
	struct move *m = &s->moves[s->nmoves++];

	*m = (struct move){ .kind = (u8)kind, .arg = arg };
	return m;
}

/* C.4, C.12: slots of eight bytes, aligned to sixteen where the type is. */
static u32 take_stack(struct next *next, u32 size, u32 align)
{
	u32 at = ALIGN_UP(next->stack, align >= 16 ? 16u : 8u);

	next->stack = at + ALIGN_UP(size, 8u);
	return at;
}

static void to_stack(struct shape *s, struct next *next, u16 arg, const ffi_type *t)
{
	bool small = call_is_small_int(t);
	struct move *m = new_move(s, arg, small ? MOVE_STACK_EXT : MOVE_STACK);

	m->dst = take_stack(next, (u32)t->size, t->alignment);
	m->size = small ? (u16)t->size : 0;
	m->bytes = (u32)t->size;
	m->is_signed = call_is_signed(t);
}

/* C.1 to C.6 */
static void place_vectors(struct shape *s, struct next *next, u16 arg, const ffi_type *t,
			  const struct hfa *h)
{
	u32 i;

	if (next->sse + h->count > 8) {
		next->sse = 8;
		to_stack(s, next, arg, t);
		return;
	}
	for (i = 0; i < h->count; i++) {
		struct move *m = new_move(s, arg, MOVE_SSE);

		m->reg = (u8)next->sse++;
		m->src = i * h->size;
		m->size = (u16)h->size;
	}
}

/* B.5: a copy is made, whose address is the argument: in `reg`, or with -1 on the stack at `at`. */
static bool place_reference(struct shape *s, u16 arg, const ffi_type *t, s32 reg, u32 at)
{
	struct move *m = new_move(s, arg, reg >= 0 ? MOVE_REF_GP : MOVE_REF_STACK);

	m->bytes = (u32)t->size;
	m->dst = s->copies;
	s->copies += ALIGN_UP((u32)t->size, 16u);
	m->reg = (u8)reg;
	m->size = (u16)(at / 8);
	return at / 8 <= UINT16_MAX; /* false: beyond what a shape can say */
}

/* C.7 to C.17 */
static void place_general(struct shape *s, struct next *next, u16 arg, const ffi_type *t)
{
	u32 n = (u32)ALIGN_UP(t->size, (size_t)8) / 8, i;

	if (t->alignment >= 16)
		next->gp = ALIGN_UP(next->gp, 2u);
	if (next->gp + n > 8) {
		next->gp = 8;
		to_stack(s, next, arg, t);
		return;
	}
	for (i = 0; i < n; i++) {
		struct move *m = new_move(s, arg, MOVE_GP);
		u32 left = (u32)t->size - i * 8;

		m->reg = (u8)next->gp++;
		m->src = i * 8;
		m->size = (u16)(left < 8 ? left : 8);
		m->is_signed = call_is_signed(t);
	}
}

static bool place(struct shape *s, struct next *next, u16 arg, const ffi_type *t)
{
	struct hfa h;

	if (in_vectors(t, &h))
		place_vectors(s, next, arg, t, &h);
	else if (t->size > 16 && next->gp < 8)
		return place_reference(s, arg, t, (s32)next->gp++, 0);
	else if (t->size > 16)
		return place_reference(s, arg, t, -1, take_stack(next, 8, 8));
	else
		place_general(s, next, arg, t);
	return true;
}

/*
 * Microsoft's variadic functions: everything goes to an imaginary stack, whose first 64 bytes are
 * loaded into the general registers. An argument may be partly in both.
 */
static bool place_in_order(struct shape *s, struct next *next, u16 arg, const ffi_type *t)
{
	bool by_reference = t->size > 16;
	u32 size = by_reference ? 8 : (u32)t->size, off;
	u32 at = take_stack(next, size, by_reference ? 8 : t->alignment);
	struct move *m;

	if (by_reference)
		return at < IN_REGISTERS ? place_reference(s, arg, t, (s32)at / 8, 0)
					 : place_reference(s, arg, t, -1, at - IN_REGISTERS);
	for (off = 0; off < size && at < IN_REGISTERS; off += 8, at += 8) {
		m = new_move(s, arg, MOVE_GP);
		m->src = off;
		m->size = (u16)(size - off < 8 ? size - off : 8);
		m->is_signed = call_is_signed(t);
		m->reg = (u8)(at / 8);
	}
	if (off < size) {
		m = new_move(s, arg, call_is_small_int(t) ? MOVE_STACK_EXT : MOVE_STACK);
		m->src = off;
		m->dst = at - IN_REGISTERS;
		m->bytes = size - off;
		m->size = (u16)m->bytes;
		m->is_signed = call_is_signed(t);
	}
	return true;
}

/* ---- results: 6.9 ---------------------------------------------------------------------------- */

static void add_part(struct shape *s, bool sse, u32 size, u32 off)
{
	struct ret_part *p = &s->parts[s->nparts];

	*p = (struct ret_part){ .sse = sse, .reg = s->nparts, .size = (u8)size, .off = (u8)off };
	s->nparts++;
}

static void place_result(struct shape *s, const ffi_type *t)
{
	struct hfa h;
	u32 i;

	if (t->type == FFI_TYPE_VOID) {
		s->ret = RET_VOID;
		return;
	}
	s->ret_size = (u32)t->size;
	s->ret = RET_PARTS;
	if (in_vectors(t, &h)) {
		for (i = 0; i < h.count; i++)
			add_part(s, true, h.size, i * h.size);
	} else if (t->size > 16) {
		s->ret = RET_MEM;
	} else if (is_composite(t) || t->size > 8) {
		for (i = 0; i < s->ret_size; i += 8)
			add_part(s, false, s->ret_size - i < 8 ? s->ret_size - i : 8, i);
	} else {
		s->ret = RET_INT;
		s->ret_signed = call_is_signed(t);
	}
}

struct shape *call_classify_aapcs64(const ffi_cif *cif, bool in_order)
{
	struct shape *s = call_new_shape(cif->nargs, MAX_HFA);
	struct next next = { 0 };
	unsigned i;

	if (!s)
		return NULL;
	s->conv = (u8)cif->abi;
	place_result(s, cif->rtype);
	for (i = 0; i < cif->nargs; i++) {
		if (!(in_order ? place_in_order : place)(s, &next, (u16)i, cif->arg_types[i])) {
			base_free(s);
			return NULL;
		}
	}
	if (in_order)
		next.stack = next.stack < IN_REGISTERS ? 0 : next.stack - IN_REGISTERS;
	s->ngp = in_order ? 8 : (u8)next.gp;
	s->nsse = (u8)next.sse;
	s->stack = ALIGN_UP(next.stack, 16u);
	return s;
}
