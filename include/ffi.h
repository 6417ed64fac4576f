/* SPDX-License-Identifier: MIT */
/*
 * The libffi interface, source- and ABI-compatible with libffi 3.4 and with what it added up to
 * 3.8.0, implemented by Ferry. Describe a function's types in a cif, call it with ffi_call; make a C
 * function pointer out of a handler with a closure.
 */
#ifndef LIBFFI_H
#define LIBFFI_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__x86_64__) && !defined(X86_64)
#define X86_64
#endif
#if defined(__aarch64__) && !defined(AARCH64)
#define AARCH64
#endif

#define FFI_TYPE_VOID 0
#define FFI_TYPE_INT 1
#define FFI_TYPE_FLOAT 2
#define FFI_TYPE_DOUBLE 3
#define FFI_TYPE_LONGDOUBLE 4
#define FFI_TYPE_UINT8 5
#define FFI_TYPE_SINT8 6
#define FFI_TYPE_UINT16 7
#define FFI_TYPE_SINT16 8
#define FFI_TYPE_UINT32 9
#define FFI_TYPE_SINT32 10
#define FFI_TYPE_UINT64 11
#define FFI_TYPE_SINT64 12
#define FFI_TYPE_STRUCT 13
#define FFI_TYPE_POINTER 14
#define FFI_TYPE_COMPLEX 15
#define FFI_TYPE_UINT128 16
#define FFI_TYPE_SINT128 17
#define FFI_TYPE_VECTOR 18
#define FFI_TYPE_LAST FFI_TYPE_VECTOR

#include <ffitarget.h>

#define FFI_TARGET_HAS_INT128

#ifndef LIBFFI_ASM

#include <limits.h>
#include <stddef.h>

/*
 * A type. The caller fills `type` and, for structs (also unions and arrays written as structs), a
 * NULL-terminated `elements` with size and alignment 0: ffi_prep_cif computes them. A vector has
 * one element a lane, all the same scalar. A complex type has its part as the only element.
 */
typedef struct _ffi_type {
	size_t size; /* bytes */
	unsigned short alignment;
	unsigned short type; /* FFI_TYPE_* */
	struct _ffi_type **elements;
} ffi_type;

#ifndef FFI_API
#define FFI_API __attribute__((visibility("default")))
#endif
#define FFI_EXTERN extern FFI_API

#ifndef LIBFFI_HIDE_BASIC_TYPES
#define ffi_type_uchar ffi_type_uint8
#define ffi_type_schar ffi_type_sint8
#define ffi_type_ushort ffi_type_uint16
#define ffi_type_sshort ffi_type_sint16
#define ffi_type_uint ffi_type_uint32
#define ffi_type_sint ffi_type_sint32
#define ffi_type_ulong ffi_type_uint64
#define ffi_type_slong ffi_type_sint64

FFI_EXTERN ffi_type ffi_type_void;
FFI_EXTERN ffi_type ffi_type_uint8;
FFI_EXTERN ffi_type ffi_type_sint8;
FFI_EXTERN ffi_type ffi_type_uint16;
FFI_EXTERN ffi_type ffi_type_sint16;
FFI_EXTERN ffi_type ffi_type_uint32;
FFI_EXTERN ffi_type ffi_type_sint32;
FFI_EXTERN ffi_type ffi_type_uint64;
FFI_EXTERN ffi_type ffi_type_sint64;
FFI_EXTERN ffi_type ffi_type_float;
FFI_EXTERN ffi_type ffi_type_double;
FFI_EXTERN ffi_type ffi_type_pointer;
FFI_EXTERN ffi_type ffi_type_longdouble;
FFI_EXTERN ffi_type ffi_type_complex_float;
FFI_EXTERN ffi_type ffi_type_complex_double;
FFI_EXTERN ffi_type ffi_type_complex_longdouble;
FFI_EXTERN ffi_type ffi_type_uint128;
FFI_EXTERN ffi_type ffi_type_sint128;
#endif

typedef enum {
	FFI_OK = 0,
	FFI_BAD_TYPEDEF, /* a type is malformed: size 0, no elements, recursive */
	FFI_BAD_ABI,
	FFI_BAD_ARGTYPE /* an argument that C would have promoted, in a variadic call */
} ffi_status;

/* A prepared signature. Fill with ffi_prep_cif; the fields are not for clients to change. */
typedef struct {
	ffi_abi abi;
	unsigned nargs;
	ffi_type **arg_types; /* the caller's array: it must outlive the cif */
	ffi_type *rtype;
	unsigned bytes; /* of arguments on the stack */
	unsigned flags; /* Ferry: the number of the call's shape */
#ifdef FFI_EXTRA_CIF_FIELDS
	FFI_EXTRA_CIF_FIELDS;
#endif
} ffi_cif;

#ifndef FFI_SIZEOF_ARG
#define FFI_SIZEOF_ARG 8
#endif
#ifndef FFI_SIZEOF_JAVA_RAW
#define FFI_SIZEOF_JAVA_RAW FFI_SIZEOF_ARG
#endif

#define FFI_FN(f) ((void (*)(void))f)
#define FFI_CL(f) ((void *)(f))

/* ---- calls ------------------------------------------------------------------------------------ */

/*
 * Prepares `cif` for calls of functions with this signature. `atypes` has `nargs` types and stays the
 * caller's. Sizes and alignments of structs are filled in. FFI_OK, FFI_BAD_ABI, FFI_BAD_TYPEDEF.
 */
FFI_API ffi_status ffi_prep_cif(ffi_cif *cif, ffi_abi abi, unsigned int nargs, ffi_type *rtype,
				ffi_type **atypes);

/* The same for a variadic function of which the first `nfixedargs` are named; also FFI_BAD_ARGTYPE. */
FFI_API ffi_status ffi_prep_cif_var(ffi_cif *cif, ffi_abi abi, unsigned int nfixedargs,
				    unsigned int ntotalargs, ffi_type *rtype, ffi_type **atypes);

/*
 * Calls `fn`. avalue[i] points to argument i. The result goes to `rvalue`, integers narrower than
 * ffi_arg widened to it, so that it needs room for an ffi_arg; NULL discards the result.
 */
FFI_API void ffi_call(ffi_cif *cif, void (*fn)(void), void *rvalue, void **avalue);

/*
 * A reusable call plan: immutable, shared by threads. The cif must outlive it. alloc returns NULL
 * only when out of memory; free(NULL) and size(NULL) are fine. size is in bytes.
 */
typedef struct ffi_call_plan ffi_call_plan;
FFI_API ffi_call_plan *ffi_call_plan_alloc(ffi_cif *cif);
FFI_API void ffi_call_plan_invoke(ffi_call_plan *plan, void (*fn)(void), void *rvalue, void **avalue);
FFI_API void ffi_call_plan_free(ffi_call_plan *plan);
FFI_API size_t ffi_call_plan_size(ffi_call_plan *plan);

/* Lays a struct out: offsets[i] is the distance in bytes of element i. Also fills size, alignment. */
FFI_API ffi_status ffi_get_struct_offsets(ffi_abi abi, ffi_type *struct_type, size_t *offsets);

#define FFI_VERSION_STRING "3.8.0"
#define FFI_VERSION_NUMBER 30800
FFI_API const char *ffi_get_version(void);
FFI_API unsigned long ffi_get_version_number(void);
FFI_API unsigned int ffi_get_default_abi(void);
FFI_API size_t ffi_get_closure_size(void);

/* ---- closures --------------------------------------------------------------------------------- */

typedef struct {
	union {
		char tramp[FFI_TRAMPOLINE_SIZE];
		void *ftramp;
	};
	ffi_cif *cif;
	void (*fun)(ffi_cif *, void *, void **, void *);
	void *user_data;
} ffi_closure __attribute__((aligned(8)));

/*
 * A closure of at least `size` bytes (sizeof(ffi_closure)) to write to, and in *code the function
 * pointer to call. NULL when out of memory. Freed with ffi_closure_free, not while it is being called.
 */
FFI_API void *ffi_closure_alloc(size_t size, void **code);
FFI_API void ffi_closure_free(void *closure);
#define FFI_CLOSURE_PTR(X) (X)
#define FFI_RESTORE_PTR(X) (X)

/*
 * Makes `codeloc`, from ffi_closure_alloc, a function of the cif's signature that calls
 * fun(cif, result, arguments, user_data). Narrow integer results are written as an ffi_arg.
 */
FFI_API ffi_status ffi_prep_closure_loc(ffi_closure *closure, ffi_cif *cif,
					void (*fun)(ffi_cif *, void *, void **, void *),
					void *user_data, void *codeloc);
FFI_API ffi_status ffi_prep_closure(ffi_closure *closure, ffi_cif *cif,
				    void (*fun)(ffi_cif *, void *, void **, void *), void *user_data)
	__attribute__((deprecated("use ffi_prep_closure_loc instead")));

/* ---- go closures ------------------------------------------------------------------------------ */

/* A closure whose address the caller has in the static chain register (x86-64: r10). */
typedef struct {
	void *tramp;
	ffi_cif *cif;
	void (*fun)(ffi_cif *, void *, void **, void *);
} ffi_go_closure;

FFI_API ffi_status ffi_prep_go_closure(ffi_go_closure *closure, ffi_cif *cif,
				       void (*fun)(ffi_cif *, void *, void **, void *));
FFI_API void ffi_call_go(ffi_cif *cif, void (*fn)(void), void *rvalue, void **avalue, void *closure);

/* ---- the raw interface: arguments packed in words ---------------------------------------------- */

typedef union {
	ffi_sarg sint;
	ffi_arg uint;
	float flt;
	char data[FFI_SIZEOF_ARG];
	void *ptr;
} ffi_raw;
typedef ffi_raw ffi_java_raw;

FFI_API void ffi_raw_call(ffi_cif *cif, void (*fn)(void), void *rvalue, ffi_raw *avalue);
FFI_API void ffi_ptrarray_to_raw(ffi_cif *cif, void **args, ffi_raw *raw);
FFI_API void ffi_raw_to_ptrarray(ffi_cif *cif, ffi_raw *raw, void **args);
FFI_API size_t ffi_raw_size(ffi_cif *cif);

/* Java's packing: longs and doubles take two words. */
FFI_API void ffi_java_raw_call(ffi_cif *cif, void (*fn)(void), void *rvalue, ffi_java_raw *avalue)
	__attribute__((deprecated));
FFI_API void ffi_java_ptrarray_to_raw(ffi_cif *cif, void **args, ffi_java_raw *raw)
	__attribute__((deprecated));
FFI_API void ffi_java_raw_to_ptrarray(ffi_cif *cif, ffi_java_raw *raw, void **args)
	__attribute__((deprecated));
FFI_API size_t ffi_java_raw_size(ffi_cif *cif) __attribute__((deprecated));

typedef struct {
	char tramp[FFI_TRAMPOLINE_SIZE];
	ffi_cif *cif;
	void (*translate_args)(ffi_cif *, void *, void **, void *);
	void *this_closure;
	void (*fun)(ffi_cif *, void *, ffi_raw *, void *);
	void *user_data;
} ffi_raw_closure;

typedef struct {
	char tramp[FFI_TRAMPOLINE_SIZE];
	ffi_cif *cif;
	void (*translate_args)(ffi_cif *, void *, void **, void *);
	void *this_closure;
	void (*fun)(ffi_cif *, void *, ffi_java_raw *, void *);
	void *user_data;
} ffi_java_raw_closure;

FFI_API ffi_status ffi_prep_raw_closure(ffi_raw_closure *closure, ffi_cif *cif,
					void (*fun)(ffi_cif *, void *, ffi_raw *, void *),
					void *user_data);
FFI_API ffi_status ffi_prep_raw_closure_loc(ffi_raw_closure *closure, ffi_cif *cif,
					    void (*fun)(ffi_cif *, void *, ffi_raw *, void *),
					    void *user_data, void *codeloc);
FFI_API ffi_status ffi_prep_java_raw_closure(ffi_java_raw_closure *closure, ffi_cif *cif,
					     void (*fun)(ffi_cif *, void *, ffi_java_raw *, void *),
					     void *user_data) __attribute__((deprecated));
FFI_API ffi_status ffi_prep_java_raw_closure_loc(ffi_java_raw_closure *closure, ffi_cif *cif,
						 void (*fun)(ffi_cif *, void *, ffi_java_raw *, void *),
						 void *user_data, void *codeloc)
	__attribute__((deprecated));

#endif /* LIBFFI_ASM */

#ifdef __cplusplus
}
#endif
#endif
