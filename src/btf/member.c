/* SPDX-License-Identifier: MIT */
/* Members inside their structs: what the kernel asks of each kind of member. */
#include <errno.h>

#include "btf/fbtf_int.h"

/* Integers that are 1, 2, 4, 8 or 16 whole bytes. */
bool fbtf_regular_int(const struct btf_type *t)
{
	u32 bits = btf_int_bits(t);

	return !btf_int_offset(t) &&
	       (bits == 8 || bits == 16 || bits == 32 || bits == 64 || bits == 128);
}

static int check_span(struct fbtf_check *c, const struct btf_type *rec, u32 i, u32 off, u32 bits)
{
	u32 first = off >> 3, span = bits + (off & 7);

	if (span > 128)
		return fbtf_refuse(c, "member %u spans %u bits", i, span);
	if (rec->size < first || rec->size - first < (span + 7) / 8)
		return fbtf_refuse(c, "member %u is not inside the %u bytes", i, rec->size);
	return 0;
}

static int check_int(struct fbtf_check *c, const struct btf_type *rec, u32 i,
		     const struct btf_type *t, u32 off, u32 width)
{
	u32 bits = btf_int_bits(t);

	if (!btf_kflag(rec)) {
		/* Bit-fields of old: the offset is in the integer type. */
		if (UINT32_MAX - off < btf_int_offset(t))
			return fbtf_refuse(c, "member %u is at a bit past 32 bits", i);
		return check_span(c, rec, i, off + btf_int_offset(t), bits);
	}
	if (!fbtf_regular_int(t))
		return fbtf_refuse(c, "member %u: its integer is not one of whole bytes", i);
	if (!width && off & 7)
		return fbtf_refuse(c, "member %u is not at a whole byte", i);
	if (width > bits)
		return fbtf_refuse(c, "member %u has %u bits of %u", i, width, bits);
	return check_span(c, rec, i, off, width ? width : bits);
}

static int check_enum(struct fbtf_check *c, const struct btf_type *rec, u32 i,
		      const struct btf_type *t, u32 off, u32 width)
{
	u64 end;

	if (!width && off & 7)
		return fbtf_refuse(c, "member %u is not at a whole byte", i);
	if (width > 32)
		return fbtf_refuse(c, "member %u: an enum of %u bits", i, width);
	/* The kernel counts an int for enums in structs with bit-fields, whatever their size. */
	if (btf_kflag(rec))
		end = ((u64)off + (width ? width : 32) + 7) / 8;
	else
		end = (u64)(off >> 3) + t->size;
	return end <= rec->size ? 0 : fbtf_refuse(c, "member %u is not inside the %u bytes", i,
						  rec->size);
}

static int check_bytes(struct fbtf_check *c, const struct btf_type *rec, u32 i, u32 off, u32 size)
{
	if (off & 7)
		return fbtf_refuse(c, "member %u is not at a whole byte", i);
	if ((u64)(off >> 3) + size > rec->size)
		return fbtf_refuse(c, "member %u is not inside the %u bytes", i, rec->size);
	return 0;
}

static int check_float(struct fbtf_check *c, const struct btf_type *rec, u32 i, u32 off, u32 size)
{
	u32 align = size < 8 ? size : 8;

	if (off % (align * 8))
		return fbtf_refuse(c, "member %u is not aligned to %u bytes", i, align);
	return check_bytes(c, rec, i, off, size);
}

int fbtf_check_member(struct fbtf_check *c, const struct btf_type *rec, u32 i)
{
	u32 off = btf_member_bit_offset(rec, i), width = btf_member_bitfield_size(rec, i);
	u32 id = btf_members(rec)[i].type, size = 0;
	const struct btf_type *t = fbtf_type(c, id);

	/* Behind modifiers; pointers and structs themselves need not be resolved for their size. */
	if (fbtf_is_modifier(t) || btf_is_array(t))
		t = fbtf_sized(c, &id, &size);
	else
		size = btf_is_ptr(t) ? 8 : t->size;
	if (!t)
		return fbtf_refuse(c, "member %u has a type without a size", i);
	switch (btf_kind(t)) {
	case BTF_KIND_INT: return check_int(c, rec, i, t, off, width);
	case BTF_KIND_ENUM:
	case BTF_KIND_ENUM64: return check_enum(c, rec, i, t, off, width);
	case BTF_KIND_PTR:
	case BTF_KIND_ARRAY:
	case BTF_KIND_STRUCT:
	case BTF_KIND_UNION:
	case BTF_KIND_FLOAT: break;
	default: return fbtf_refuse(c, "member %u cannot be of type %u", i, id);
	}
	if (width)
		return fbtf_refuse(c, "member %u: only integers can be bit-fields", i);
	if (btf_is_float(t))
		return check_float(c, rec, i, off, size);
	return check_bytes(c, rec, i, off, size);
}
