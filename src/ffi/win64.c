/* SPDX-License-Identifier: MIT */
/* Which registers and stack slots a signature uses: Microsoft's x64 calling convention. */
#include "ffi/call_int.h"

/* Aggregates of these sizes travel as an integer; others by reference to a copy. */
static bool fits(size_t size)
{
	return size == 1 || size == 2 || size == 4 || size == 8;
}

static bool is_float(const ffi_type *t)
{
	return t->type == FFI_TYPE_FLOAT || t->type == FFI_TYPE_DOUBLE;
}

/* Every argument has one slot of eight bytes, the first four in registers of that position. */
static void place(struct shape *s, u16 arg, const ffi_type *t, u32 slot, bool variadic)
{
	struct move *m = &s->moves[s->nmoves++];

	*m = (struct move){ .arg = arg };
	if (!fits(t->size)) {
		m->kind = slot < 4 ? MOVE_REF_GP : MOVE_REF_STACK;
		m->reg = (u8)slot;
		m->size = (u16)slot;
		m->bytes = (u32)t->size;
		m->dst = s->copies;
		s->copies += ALIGN_UP((u32)t->size, 16u);
	} else if (slot >= 4) {
		m->kind = call_is_small_int(t) ? MOVE_STACK_EXT : MOVE_STACK;
		m->dst = 8 * slot;
		m->size = (u16)t->size;
		m->bytes = (u32)t->size;
		m->is_signed = call_is_signed(t);
	} else {
		m->reg = (u8)slot;
		m->size = (u16)t->size;
		m->is_signed = call_is_signed(t);
		m->kind = !is_float(t) ? MOVE_GP : variadic ? MOVE_SSE_GP : MOVE_SSE;
	}
}

static void place_result(struct shape *s, const ffi_type *t)
{
	s->ret_size = (u32)t->size;
	if (t->type == FFI_TYPE_VOID) {
		s->ret = RET_VOID;
		s->ret_size = 0;
	} else if (is_float(t) || t->type == FFI_TYPE_UINT128 || t->type == FFI_TYPE_SINT128 ||
		   (t->type == FFI_TYPE_VECTOR && t->size == 16)) {
		/* 128-bit integers and vectors come in xmm0. */
		s->ret = RET_PARTS;
		s->nparts = 1;
		s->parts[0] = (struct ret_part){ .sse = 1, .size = (u8)t->size };
	} else if (!fits(t->size)) {
		s->ret = RET_MEM;
	} else if (t->type == FFI_TYPE_STRUCT || t->type == FFI_TYPE_COMPLEX || t->type == FFI_TYPE_VECTOR) {
		s->ret = RET_PARTS;
		s->nparts = 1;
		s->parts[0] = (struct ret_part){ .size = (u8)t->size };
	} else {
		s->ret = RET_INT;
		s->ret_signed = call_is_signed(t);
	}
}

struct shape *call_classify_win64(ffi_abi abi, unsigned nargs, ffi_type *rtype, ffi_type **atypes,
				  unsigned nfixed)
{
	struct shape *s = call_new_shape(nargs, 1);
	u32 slot = 0;
	unsigned i;

	if (!s)
		return NULL;
	s->conv = (u8)abi;
	place_result(s, rtype);
	slot = s->ret == RET_MEM;
	for (i = 0; i < nargs; i++)
		place(s, (u16)i, atypes[i], slot++, i >= nfixed);
	/* The callee owns 32 bytes above its return address, whatever it takes. */
	s->stack = ALIGN_UP(8 * (slot < 4 ? 4 : slot), 16u);
	return s;
}
