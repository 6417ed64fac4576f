/* SPDX-License-Identifier: MIT */
/*
 * The stack, byte by byte: registers spilled and filled, data, zeros, and what was never written.
 * Accesses are aligned to their size, so one of up to 8 bytes at a known offset is in one slot.
 */
#include <errno.h>

#include "verify/verify_int.h"

#define INIT_HINT "initialise the variable before it is read"

static const struct frame *frame_of(struct verifier *v, const struct reg *r)
{
	return v->cur->frames[r->what];
}

/* Slot and byte in it of a negative offset. */
static u32 slot_at(s64 off)
{
	return (u32)((-off - 1) / SLOT_SIZE);
}
static u32 byte_at(s64 off)
{
	return (u32)(SLOT_SIZE - 1 - (-off - 1) % SLOT_SIZE);
}

/* The bytes [*min, *max) that an access may touch are in the frame; *exact: at one known place. */
static int check_bounds(struct verifier *v, u32 r, s64 off, u64 size, const char *how, s64 *min,
			s64 *max, bool *exact)
{
	const struct reg *reg = cur_reg(v, r);
	const struct num *n = &reg->n;
	int err;

	off += reg->off;
	*exact = num_is_const(n);
	if (!*exact && (n->smin < -MAX_VAR_OFF || n->smax > MAX_VAR_OFF))
		return refuse(v, -EACCES, "bound the index, from below too if it is signed",
			      "invalid unbounded variable-offset%s stack R%u", how, r);
	*min = off + n->smin;
	*max = off + n->smax + (s64)size;
	if (*min >= -ISA_STACK_SIZE && *max <= 0)
		return 0;
	/* The kernel's errno when the access starts in the frame and ends above it is another. */
	err = *min >= -ISA_STACK_SIZE && *min < 0 ? -EINVAL : -EACCES;
	if (*exact)
		return refuse(v, err, "a frame has 512 bytes of stack",
			      "invalid%s stack R%u off=%lld size=%llu", how, r, (long long)*min,
			      (unsigned long long)size);
	return refuse(v, err, "bound the index to the size of the array",
		      "invalid variable-offset%s stack R%u off=%lld size=%llu", how, r, (long long)off,
		      (unsigned long long)size);
}

static u64 slots_mask(s64 min, s64 max)
{
	u32 from = slot_at(max - 1), to = slot_at(min);

	return (~0ull >> (63 - (to - from))) << from;
}

/* The frame that the pointer r is to, with room from `min` on; for writing. */
static int use_stack(struct verifier *v, const struct reg *r, s64 min, struct frame **out)
{
	struct frame *f = *out = state_frame_edit(v, v->cur, r->what);
	struct prog_func *fn;

	if (!f)
		return v->error;
	fn = &v->p->funcs[f->func];
	if (fn->stack < -min)
		fn->stack = (u16)-min;
	return frame_grow(v, f, slot_at(min) + 1);
}

/* ---- reading ---------------------------------------------------------------------------------- */

static int check_written(struct verifier *v, u32 r, s64 min, s64 max, bool exact, u64 size)
{
	struct reg *reg = cur_reg(v, r);
	const struct frame *f = frame_of(v, reg);
	s64 i;

	for (i = min; i < max; i++) {
		u32 s = slot_at(i);

		if (s < f->nslots && f->slots[s].bytes[byte_at(i)] != BYTE_NONE &&
		    f->slots[s].bytes[byte_at(i)] != BYTE_DYNPTR &&
		    f->slots[s].bytes[byte_at(i)] != BYTE_ITER)
			continue;
		if (exact)
			return refuse(v, -EACCES, INIT_HINT,
				      "invalid read from stack R%u off %lld+%lld size %llu", r,
				      (long long)min, (long long)(i - min), (unsigned long long)size);
		return refuse(v, -EACCES, INIT_HINT,
			      "invalid read from stack R%u var_off [%lld,%lld)+%lld size %llu", r,
			      (long long)min, (long long)max, (long long)(i - min),
			      (unsigned long long)size);
	}
	if (min < max)
		state_mark_read(v, v->cur, reg->what, slots_mask(min, max));
	return 0;
}

static bool all_zero(const struct frame *f, s64 min, s64 max)
{
	s64 i;

	for (i = min; i < max; i++)
		if (f->slots[slot_at(i)].bytes[byte_at(i)] != BYTE_ZERO)
			return false;
	return true;
}

/* A register that was spilled, or its lower part. False when this reads data. */
static int fill(struct verifier *v, const struct slot *s, u32 byte, u32 size, bool sx, struct reg *out,
		bool *done)
{
	u32 spilled = slot_spill_bytes(s), at;

	*done = false;
	if (s->bytes[byte] != BYTE_SPILL)
		return 0;
	if (s->spill.type != REG_SCALAR) {
		if (size != SLOT_SIZE)
			return refuse(v, -EACCES, "read all 8 bytes of a spilled pointer",
				      "invalid size of register fill");
		*out = s->spill;
		*done = true;
		return 0;
	}
	/* Bytes inside it, when all of them are known. */
	at = byte - slot_spill_start(s);
	if (at + size > spilled || (at && !num_is_const(&s->spill.n)))
		return 0;
	*out = s->spill;
	if (at)
		out->n = num_const(s->spill.n.bits.value >> (at * 8));
	if (size < spilled || (sx && size < SLOT_SIZE)) {
		out->id = 0;
		out->off = 0;
		if (sx)
			num_sext(&out->n, size * 8);
		else
			num_zext(&out->n, size * 8);
	}
	*done = true;
	return 0;
}

int vstack_read(struct verifier *v, u32 r, s64 off, u32 size, bool sx, struct reg *out)
{
	const struct frame *f = frame_of(v, cur_reg(v, r));
	s64 min = 0, max = 0;
	bool exact, done = false;
	int err;

	err = check_bounds(v, r, off, size, " read from", &min, &max, &exact);
	if (!err)
		err = check_written(v, r, min, max, exact, size);
	if (err)
		return err;
	if (exact) {
		err = fill(v, &f->slots[slot_at(min)], byte_at(min), size, sx, out, &done);
		if (err || done)
			return err;
	}
	if (all_zero(f, min, max))
		reg_const(out, 0);
	else
		reg_number(out, sx ? num_load_sx(size * 8) : num_load(size * 8));
	return 0;
}

bool vstack_const(struct verifier *v, u32 r, u32 size, u64 *value)
{
	struct reg *reg = cur_reg(v, r), out;
	const struct frame *f = frame_of(v, reg);
	s64 off = reg->off;
	u32 at, s;

	if (!num_is_const(&reg->n) || !size || size > SLOT_SIZE)
		return false;
	off += (s64)reg->n.bits.value;
	if (off < -ISA_STACK_SIZE || off + (s64)size > 0 || (-off) % size)
		return false;
	s = slot_at(off);
	if (s >= f->nslots)
		return false;
	if (all_zero(f, off, off + size)) {
		*value = 0;
	} else {
		out = f->slots[s].spill;
		at = byte_at(off) - slot_spill_start(&f->slots[s]);
		/* Unsigned: a byte below the spilled register wraps around. */
		if (at + size > slot_spill_bytes(&f->slots[s]) || at >= SLOT_SIZE || !reg_is_const(&out))
			return false;
		vprecise_reg(v, &f->slots[s].spill);
		*value = out.n.bits.value >> (8 * at);
		if (size < SLOT_SIZE)
			*value &= (1ull << (size * 8)) - 1;
	}
	state_mark_read(v, v->cur, reg->what, 1ull << s);
	return true;
}

u32 vstack_written(struct verifier *v, const struct reg *r)
{
	const struct frame *f = v->cur->frames[r->what];
	s64 off = r->off + (s64)r->n.bits.value, i = off;

	if (off < -ISA_STACK_SIZE || off >= 0)
		return 0;
	while (i < 0 && slot_at(i) < f->nslots && f->slots[slot_at(i)].bytes[byte_at(i)] != BYTE_NONE)
		i++;
	if (i > off)
		state_mark_read(v, v->cur, r->what, slots_mask(off, i));
	return (u32)(i - off);
}

/* Is the byte known to be zero? */
static bool zero_byte(struct verifier *v, const struct slot *s, u32 byte)
{
	if (s->bytes[byte] == BYTE_ZERO)
		return true;
	if (s->bytes[byte] != BYTE_SPILL || !reg_is_const(&s->spill) ||
	    (u8)(s->spill.n.bits.value >> (8 * (byte - slot_spill_start(s)))))
		return false;
	vprecise_reg(v, &s->spill);
	return true;
}

int vstack_string(struct verifier *v, u32 r)
{
	struct reg *reg = cur_reg(v, r);
	const struct frame *f = frame_of(v, reg);
	s64 min, max, i;
	bool exact;
	int err = check_bounds(v, r, 0, 1, " read from", &min, &max, &exact);

	if (err)
		return err;
	if (!exact)
		return refuse(v, -EACCES, "pass the start of the array",
			      "R%u string at a variable offset of the stack", r);
	for (i = min; i < 0; i++) {
		err = check_written(v, r, i, i + 1, true, 1);
		if (err)
			return err;
		if (zero_byte(v, &f->slots[slot_at(i)], byte_at(i)))
			return 0;
	}
	return refuse(v, -EINVAL, "store a zero byte at a constant place behind the text",
		      "R%u string is not known to be zero-terminated", r);
}

u32 vstack_string_size(struct verifier *v, const struct reg *r)
{
	s64 start = r->off + (s64)r->n.bits.value, i;
	const struct frame *f;

	if (r->type != REG_STACK || !num_is_const(&r->n) || start < -ISA_STACK_SIZE)
		return 0;
	f = frame_of(v, r);
	for (i = start; i < 0 && slot_at(i) < f->nslots; i++)
		if (zero_byte(v, &f->slots[slot_at(i)], byte_at(i)))
			return (u32)(i - start) + 1;
	return 0;
}

/* ---- writing ---------------------------------------------------------------------------------- */

static void set_bytes(struct slot *s, u32 byte, u32 size, u8 kind)
{
	u32 i;

	for (i = byte; i < byte + size; i++)
		s->bytes[i] = kind;
}

static void spill(struct slot *s, u32 byte, u32 size, const struct reg *value)
{
	slot_scrub(s);
	set_bytes(s, byte, size, BYTE_SPILL);
	s->spill = *value;
	if (value->type == REG_SCALAR && size < SLOT_SIZE) {
		if (value->n.umax >> (size * 8)) {
			s->spill.id = 0;
			s->spill.off = 0;
		}
		num_zext(&s->spill.n, size * 8);
	}
}

/* Bytes of a constant that are zero are known as such, which ends a string; the number mattered then. */
static void set_constant(struct verifier *v, struct slot *s, u32 byte, u32 size, const struct reg *value, u64 bits)
{
	u32 i;

	for (i = 0; i < size; i++) {
		bool zero = !(bits >> (8 * i) & 0xff);

		if (zero)
			vprecise_reg(v, value);
		s->bytes[byte + i] = zero ? BYTE_ZERO : BYTE_MISC;
	}
}

/* A byte or two of a constant, as of text, are about to be written over: the rest keeps its zeros. */
static void break_spill(struct verifier *v, struct slot *s)
{
	u32 at = slot_spill_start(s);

	if (slot_is_spill(s) && reg_is_const(&s->spill))
		set_constant(v, s, at, slot_spill_bytes(s), &s->spill, s->spill.n.bits.value);
}

static int write_exact(struct verifier *v, const struct reg *ptr, struct frame *f, s64 off, u32 size,
		       const struct reg *value)
{
	struct slot *s = &f->slots[slot_at(off)];
	u32 byte = byte_at(off);
	bool zero = value && reg_is_const(value) && value->n.bits.value == 0;

	if (v->o->strict && slot_is_spill(s) && reg_is_ptr(&s->spill) && size != SLOT_SIZE)
		return refuse(v, -EACCES, "overwrite all 8 bytes of a spilled pointer",
			      "attempt to corrupt spilled pointer on stack");
	if (size <= 2)
		break_spill(v, s);
	if (value && reg_is_ptr(value)) {
		if (size != SLOT_SIZE)
			return refuse(v, -EACCES, "store all 8 bytes of a pointer",
				      "invalid size of register spill");
		/* The pointer would outlive what it points to. */
		if (value->type == REG_STACK && ptr->what < value->what)
			return refuse(v, -EINVAL, "return the data, not a pointer to it",
				      "cannot spill pointers to stack into stack frame of the caller");
		spill(s, byte, size, value);
	} else if (value && value->type == REG_SCALAR &&
		   (byte == 0 || (byte == 4 && size == 4 && !zero))) {
		/* The lower half may hold something of its own: a zero there is better known as such. */
		spill(s, byte, size, value);
	} else if (zero) {
		/* Zeros are compared as such: the number mattered. */
		vprecise_reg(v, value);
		slot_scrub(s);
		set_bytes(s, byte, size, BYTE_ZERO);
	} else if (value && size == 2 && reg_is_const(value)) {
		slot_scrub(s);
		set_constant(v, s, byte, size, value, value->n.bits.value);
	} else {
		slot_scrub(s);
		set_bytes(s, byte, size, BYTE_MISC);
	}
	if (size == SLOT_SIZE)
		v->cur->written[ptr->what] |= 1ull << slot_at(off);
	return 0;
}

/*
 * Somewhere in [min, max) something was written: no longer a spilled register, nor zero unless that
 * is what was written. Bytes never written stay so, for they may have been missed.
 */
static int smear(struct verifier *v, struct frame *f, s64 min, s64 max, bool zero)
{
	s64 i;

	for (i = min; i < max; i++) {
		struct slot *s;
		u8 *b;

		if (slot_at(i) >= f->nslots)
			continue;
		if (vdynptr_overwrite(v, f, slot_at(i)))
			return -EINVAL;
		viter_overwrite(f, slot_at(i));
		s = &f->slots[slot_at(i)];
		b = &s->bytes[byte_at(i)];
		if (*b == BYTE_NONE || (*b == BYTE_ZERO && zero))
			continue;
		if (slot_is_spill(s)) {
			if (v->o->strict && reg_is_ptr(&s->spill))
				return refuse(
					v, -EACCES,
					"keep pointers in variables that nothing else writes into",
					"attempt to corrupt spilled pointer on stack");
			slot_scrub(s);
			if (*b == BYTE_NONE)
				continue;
		}
		*b = BYTE_MISC;
	}
	return 0;
}

int vstack_write(struct verifier *v, u32 r, s64 off, u32 size, const struct reg *value)
{
	const struct reg ptr = *cur_reg(v, r);
	bool exact, zero = value && reg_is_const(value) && value->n.bits.value == 0;
	s64 min = 0, max = 0;
	struct frame *f;
	int err;

	err = check_bounds(v, r, off, size, " write to", &min, &max, &exact);
	if (!err)
		err = use_stack(v, &ptr, min, &f);
	if (err)
		return err;
	if (exact) {
		err = vdynptr_overwrite(v, f, slot_at(min));
		viter_overwrite(f, slot_at(min));
		return err ? err : write_exact(v, &ptr, f, min, size, value);
	}
	if (value && reg_is_ptr(value))
		return refuse(v, -EACCES, "store pointers at constant offsets",
			      "invalid variable-offset write of a pointer to stack R%u", r);
	if (zero)
		vprecise_reg(v, value);
	return smear(v, f, min, max, zero);
}

int vstack_room(struct verifier *v, u32 r, struct frame **out)
{
	const struct reg *reg = cur_reg(v, r);

	return use_stack(v, reg, reg->off + (s64)reg->n.bits.value, out);
}

/* ---- arguments -------------------------------------------------------------------------------- */

/* Bytes that a helper or native function reads could end up anywhere. */
static int check_secrets(struct verifier *v, const struct frame *f, u32 r, s64 min, s64 max)
{
	s64 i;

	for (i = min; i < max; i++) {
		const struct slot *s = &f->slots[slot_at(i)];

		if (s->bytes[byte_at(i)] == BYTE_SPILL && slot_is_secret(s))
			return refuse(v, -EACCES, "keep what the host gave in a variable of its own",
				      "R%u: the memory holds a pointer of the host, which is not to leave the program",
				      r);
	}
	return 0;
}

int vstack_arg(struct verifier *v, u32 r, u64 size, enum access access, bool uninit)
{
	const struct reg ptr = *cur_reg(v, r);
	s64 min, max, i;
	struct frame *f;
	bool exact;
	int err;

	err = check_bounds(v, r, 0, size, access == ACCESS_READ ? " read from" : " write to", &min, &max,
			   &exact);
	if (err || !size)
		return err;
	err = use_stack(v, &ptr, min, &f);
	if (err)
		return err;
	if (!exact || !uninit)
		err = check_written(v, r, min, max, exact, size);
	if (!err && access == ACCESS_READ)
		err = check_secrets(v, f, r, min, max);
	if (err || access == ACCESS_READ)
		return err;
	if (!exact || !uninit)
		return smear(v, f, min, max, false);
	for (i = min; i < max; i++) {
		struct slot *s = &f->slots[slot_at(i)];

		if (s->bytes[0] == BYTE_DYNPTR)
			return refuse(v, -EACCES, "let the helper write somewhere else",
				      "potential write to dynptr at off=%lld disallowed", (long long)i);
		if (v->o->strict && slot_is_spill(s) && reg_is_ptr(&s->spill))
			return refuse(v, -EACCES,
				      "keep pointers in variables that nothing else writes into",
				      "attempt to corrupt spilled pointer on stack");
		viter_overwrite(f, slot_at(i));
		slot_scrub(s);
		s->bytes[byte_at(i)] = BYTE_MISC;
		/* Slots whose first and last byte are written are all written. */
		if (byte_at(i) == SLOT_SIZE - 1 && i - min >= SLOT_SIZE - 1)
			v->cur->written[ptr.what] |= 1ull << slot_at(i);
	}
	return 0;
}
