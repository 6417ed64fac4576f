/* SPDX-License-Identifier: MIT */
/* The raw and the Java raw interface: arguments packed in words, on top of the ordinary one. */
#include <string.h>

#include "ffi/call_int.h"

#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

static bool by_pointer(const ffi_type *t)
{
	return t->type == FFI_TYPE_STRUCT || t->type == FFI_TYPE_COMPLEX || t->type == FFI_TYPE_VECTOR;
}

static size_t words(const ffi_type *t)
{
	return by_pointer(t) ? 1 : ALIGN_UP(t->size, sizeof(ffi_raw)) / sizeof(ffi_raw);
}

static size_t java_words(const ffi_type *t)
{
	switch (t->type) {
	case FFI_TYPE_UINT64:
	case FFI_TYPE_SINT64:
	case FFI_TYPE_DOUBLE: return 2;
	default: return words(t);
	}
}

static size_t total(const ffi_cif *cif, size_t (*count)(const ffi_type *t))
{
	size_t n = 0;
	unsigned i;

	for (i = 0; i < cif->nargs; i++)
		n += count(cif->arg_types[i]);
	return n * sizeof(ffi_raw);
}

static void unpack(const ffi_cif *cif, ffi_raw *raw, void **args, size_t (*count)(const ffi_type *t))
{
	unsigned i;

	for (i = 0; i < cif->nargs; i++) {
		args[i] = by_pointer(cif->arg_types[i]) ? raw->ptr : raw;
		raw += count(cif->arg_types[i]);
	}
}

/* Integers are widened to the word by their sign; everything else is copied. */
static void pack(const ffi_cif *cif, void **args, ffi_raw *raw, size_t (*count)(const ffi_type *t))
{
	unsigned i;

	for (i = 0; i < cif->nargs; i++) {
		const ffi_type *t = cif->arg_types[i];

		switch (t->type) {
		case FFI_TYPE_UINT8: raw->uint = *(u8 *)args[i]; break;
		case FFI_TYPE_SINT8: raw->sint = *(s8 *)args[i]; break;
		case FFI_TYPE_UINT16: raw->uint = *(u16 *)args[i]; break;
		case FFI_TYPE_SINT16: raw->sint = *(s16 *)args[i]; break;
		case FFI_TYPE_UINT32: raw->uint = *(u32 *)args[i]; break;
		case FFI_TYPE_INT:
		case FFI_TYPE_SINT32: raw->sint = *(s32 *)args[i]; break;
		default:
			if (by_pointer(t))
				raw->ptr = args[i];
			else
				memcpy(raw->data, args[i], t->size);
		}
		raw += count(t);
	}
}

size_t ffi_raw_size(ffi_cif *cif)
{
	return total(cif, words);
}

size_t ffi_java_raw_size(ffi_cif *cif)
{
	return total(cif, java_words);
}

void ffi_raw_to_ptrarray(ffi_cif *cif, ffi_raw *raw, void **args)
{
	unpack(cif, raw, args, words);
}

void ffi_java_raw_to_ptrarray(ffi_cif *cif, ffi_java_raw *raw, void **args)
{
	unpack(cif, raw, args, java_words);
}

void ffi_ptrarray_to_raw(ffi_cif *cif, void **args, ffi_raw *raw)
{
	pack(cif, args, raw, words);
}

void ffi_java_ptrarray_to_raw(ffi_cif *cif, void **args, ffi_java_raw *raw)
{
	pack(cif, args, raw, java_words);
}

static void call_packed(ffi_cif *cif, void (*fn)(void), void *rvalue, ffi_raw *raw,
			size_t (*count)(const ffi_type *t))
{
	void *few[64], **args = cif->nargs <= 64 ? few : base_array(cif->nargs, sizeof(*args));

	if (!args) {
		log_msg(LOG_ERROR, "ffi_raw_call: out of memory");
		return;
	}
	unpack(cif, raw, args, count);
	ffi_call(cif, fn, rvalue, args);
	if (args != few)
		base_free(args);
}

void ffi_raw_call(ffi_cif *cif, void (*fn)(void), void *rvalue, ffi_raw *raw)
{
	call_packed(cif, fn, rvalue, raw, words);
}

void ffi_java_raw_call(ffi_cif *cif, void (*fn)(void), void *rvalue, ffi_java_raw *raw)
{
	call_packed(cif, fn, rvalue, raw, java_words);
}

/* A raw closure is an ordinary one whose handler packs the arguments and calls the raw handler. */
static void run_packed(ffi_cif *cif, void *rvalue, void **args, const ffi_raw_closure *c, size_t size,
		       size_t (*count)(const ffi_type *t))
{
	ffi_raw few[64], *raw = size <= sizeof(few) ? few : base_alloc(size);

	if (!raw) {
		log_msg(LOG_ERROR, "raw closure: out of memory");
		return;
	}
	pack(cif, args, raw, count);
	c->fun(cif, rvalue, raw, c->user_data);
	if (raw != few)
		base_free(raw);
}

static void translate_raw(ffi_cif *cif, void *rvalue, void **args, void *closure)
{
	run_packed(cif, rvalue, args, closure, ffi_raw_size(cif), words);
}

static void translate_java(ffi_cif *cif, void *rvalue, void **args, void *closure)
{
	run_packed(cif, rvalue, args, closure, ffi_java_raw_size(cif), java_words);
}

_Static_assert(offsetof(ffi_raw_closure, translate_args) == offsetof(ffi_closure, fun) &&
	       offsetof(ffi_raw_closure, this_closure) == offsetof(ffi_closure, user_data) &&
	       sizeof(ffi_raw_closure) == sizeof(ffi_java_raw_closure), "raw closures begin as closures");

ffi_status ffi_prep_raw_closure_loc(ffi_raw_closure *c, ffi_cif *cif,
				    void (*fun)(ffi_cif *, void *, ffi_raw *, void *), void *user_data,
				    void *codeloc)
{
	ffi_status st = ffi_prep_closure_loc((ffi_closure *)c, cif, translate_raw, c, codeloc);

	if (st == FFI_OK) {
		c->fun = fun;
		c->user_data = user_data;
	}
	return st;
}

ffi_status ffi_prep_java_raw_closure_loc(ffi_java_raw_closure *c, ffi_cif *cif,
					 void (*fun)(ffi_cif *, void *, ffi_java_raw *, void *),
					 void *user_data, void *codeloc)
{
	ffi_status st = ffi_prep_closure_loc((ffi_closure *)c, cif, translate_java, c, codeloc);

	if (st == FFI_OK) {
		c->fun = fun;
		c->user_data = user_data;
	}
	return st;
}

ffi_status ffi_prep_raw_closure(ffi_raw_closure *c, ffi_cif *cif,
				void (*fun)(ffi_cif *, void *, ffi_raw *, void *), void *user_data)
{
	return ffi_prep_raw_closure_loc(c, cif, fun, user_data, *(void **)c->tramp);
}

ffi_status ffi_prep_java_raw_closure(ffi_java_raw_closure *c, ffi_cif *cif,
				     void (*fun)(ffi_cif *, void *, ffi_java_raw *, void *),
				     void *user_data)
{
	return ffi_prep_java_raw_closure_loc(c, cif, fun, user_data, *(void **)c->tramp);
}
