/* SPDX-License-Identifier: MIT */
/* The built-in types, and the layout of aggregates. */
#include "ffi/call_int.h"

#define MAX_DEPTH 64
#define MAX_VISITS (1u << 16) /* structs within a struct */
#define MAX_SIZE ((size_t)1 << 30)

#define TYPE(name, ctype, code)                                                                    \
	ffi_type ffi_type_##name = { sizeof(ctype), _Alignof(ctype), code, NULL }
#define COMPLEX(name, ctype, part)                                                                 \
	static ffi_type *part##_elements[] = { &ffi_type_##part, NULL };                           \
	ffi_type ffi_type_##name = { sizeof(ctype), _Alignof(ctype), FFI_TYPE_COMPLEX,             \
				     part##_elements }

ffi_type ffi_type_void = { 1, 1, FFI_TYPE_VOID, NULL };
TYPE(uint8, u8, FFI_TYPE_UINT8);
TYPE(sint8, s8, FFI_TYPE_SINT8);
TYPE(uint16, u16, FFI_TYPE_UINT16);
TYPE(sint16, s16, FFI_TYPE_SINT16);
TYPE(uint32, u32, FFI_TYPE_UINT32);
TYPE(sint32, s32, FFI_TYPE_SINT32);
TYPE(uint64, u64, FFI_TYPE_UINT64);
TYPE(sint64, s64, FFI_TYPE_SINT64);
TYPE(pointer, void *, FFI_TYPE_POINTER);
TYPE(float, float, FFI_TYPE_FLOAT);
TYPE(double, double, FFI_TYPE_DOUBLE);
TYPE(longdouble, long double, FFI_TYPE_LONGDOUBLE);
TYPE(uint128, unsigned __int128, FFI_TYPE_UINT128);
TYPE(sint128, __int128, FFI_TYPE_SINT128);
COMPLEX(complex_float, _Complex float, float);
COMPLEX(complex_double, _Complex double, double);
COMPLEX(complex_longdouble, _Complex long double, longdouble);

static bool is_scalar(const ffi_type *t)
{
	return t->type != FFI_TYPE_STRUCT && t->type != FFI_TYPE_COMPLEX &&
	       t->type != FFI_TYPE_VECTOR && t->type != FFI_TYPE_VOID;
}

/* Lanes of one scalar; the whole is rounded up to a power of two, as compilers store it. */
static ffi_status layout_vector(ffi_type *t)
{
	size_t lanes = 0, size;

	while (t->elements[lanes]) {
		if (t->elements[lanes] != t->elements[0] || ++lanes > 64)
			return FFI_BAD_TYPEDEF;
	}
	if (!lanes || !is_scalar(t->elements[0]) || t->elements[0]->type == FFI_TYPE_LONGDOUBLE)
		return FFI_BAD_TYPEDEF;
	for (size = 1; size < lanes * t->elements[0]->size; size *= 2)
		;
	t->size = size;
	t->alignment = (unsigned short)(size < 16 ? size : 16);
	return FFI_OK;
}

static ffi_status layout(ffi_type *t, size_t *offsets, int depth)
{
	size_t size = 0, i;
	unsigned short align = 1;

	if (depth > MAX_DEPTH)
		return FFI_BAD_TYPEDEF;
	for (i = 0; t->elements[i]; i++) {
		ffi_type *e = t->elements[i];
		ffi_status st = FFI_OK;

		if (e == t || e->type == FFI_TYPE_VOID || e->type > FFI_TYPE_LAST)
			return FFI_BAD_TYPEDEF;
		if (!e->size && e->type == FFI_TYPE_STRUCT && e->elements)
			st = layout(e, NULL, depth + 1);
		else if (!e->size && e->type == FFI_TYPE_VECTOR && e->elements)
			st = layout_vector(e);
		if (st != FFI_OK)
			return st;
		/* A power of two, or offsets would be nonsense. */
		if (!e->alignment || (e->alignment & (e->alignment - 1)))
			return FFI_BAD_TYPEDEF;
		size = ALIGN_UP(size, (size_t)e->alignment);
		if (offsets)
			offsets[i] = size;
		if (e->size > MAX_SIZE || (size += e->size) > MAX_SIZE)
			return FFI_BAD_TYPEDEF;
		align = e->alignment > align ? e->alignment : align;
	}
	if (!i || (!size && depth == 0 && !offsets))
		return FFI_BAD_TYPEDEF;
	t->size = ALIGN_UP(size, (size_t)align);
	t->alignment = align;
	return FFI_OK;
}

/* A struct with a size set is the caller's word; that it does not contain itself is seen. */
static bool ends(const ffi_type *t, int depth, u32 *visits)
{
	size_t i;

	if (depth > MAX_DEPTH || ++*visits > MAX_VISITS)
		return false;
	for (i = 0; t->elements && t->elements[i]; i++)
		if (t->elements[i]->type == FFI_TYPE_STRUCT && !ends(t->elements[i], depth + 1, visits))
			return false;
	return true;
}

ffi_status call_layout(ffi_type *t, ffi_abi abi)
{
	u32 visits = 0;

	(void)abi;
	if (!t || t->type > FFI_TYPE_LAST)
		return FFI_BAD_TYPEDEF;
	if (t->size)
		return t->alignment && (t->type != FFI_TYPE_STRUCT || ends(t, 0, &visits)) ? FFI_OK :
											     FFI_BAD_TYPEDEF;
	if (!t->elements)
		return FFI_BAD_TYPEDEF;
	if (t->type == FFI_TYPE_VECTOR)
		return layout_vector(t);
	return t->type == FFI_TYPE_STRUCT ? layout(t, NULL, 0) : FFI_BAD_TYPEDEF;
}

ffi_status ffi_get_struct_offsets(ffi_abi abi, ffi_type *t, size_t *offsets)
{
	if (!call_conv(abi))
		return FFI_BAD_ABI;
	if (!t || t->type != FFI_TYPE_STRUCT || !t->elements)
		return FFI_BAD_TYPEDEF;
	return layout(t, offsets, 0);
}
