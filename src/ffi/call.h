/* SPDX-License-Identifier: MIT */
/*
 * How a signature is called, as a list of moves: classification (one file a calling convention) writes
 * it, thunks (machine code) and the assembly path carry it out, for calls and, backwards, for closures.
 */
#ifndef FERRY_CALL_H
#define FERRY_CALL_H

#include "base/base.h"
#ifndef FERRY_LIBFFI
#include "ffi/rename.h"
#endif
#include "ffi.h"

enum move_kind {
	MOVE_GP,     /* argument bytes [src, src + size) to general register `reg`, extended */
	MOVE_SSE,    /* the same to a vector register: size 4, 8, 16 (less: zero-filled) */
	MOVE_STACK,  /* copied to the argument area at `dst` */
	MOVE_STACK_EXT, /* an integer of `size` bytes, extended to 8, to the argument area at `dst` */
	MOVE_REF_GP, /* the address of a copy (of `size` bytes, at `dst` of the copies) to `reg` */
	MOVE_REF_STACK, /* the same to the argument area at slot `size` (of 8 bytes) */
	MOVE_SSE_GP, /* Win64 variadic: 8 bytes to both general and vector register `reg` */
};

struct move {
	u8 kind;    /* enum move_kind */
	u8 reg;     /* in order of argument passing: 0 is rdi, xmm0, x0, v0 */
	u8 is_signed;
	u8 pad;
	u16 arg;    /* whose bytes */
	u16 size;   /* bytes; copies to the stack and by reference may be larger: see `bytes` */
	u32 src;    /* first byte in the argument; 0 for copies by reference */
	u32 dst;    /* in the argument area, or in the area of copies */
	u32 bytes;  /* MOVE_STACK, MOVE_REF_*: bytes copied */
};

enum ret_kind {
	RET_VOID,
	RET_INT,   /* general register, `size` bytes, extended to 8 in rvalue */
	RET_PARTS, /* one to four registers, each `part` bytes to its offset */
	RET_X87,   /* long double in st(0) */
	RET_X87_2, /* _Complex long double in st(0), st(1) */
	RET_MEM,   /* memory whose address is passed (general register 0; x8 on AArch64) */
};

struct ret_part {
	u8 sse;  /* vector register, else general */
	u8 reg;  /* in order of returning: 0 is rax, xmm0, x0, v0; 1 is rdx, xmm1, ... */
	u8 size; /* bytes: 1 to 8, 16 for vector registers */
	u8 off;  /* where in the result */
};

struct shape {
	u32 number;      /* in the table; 0 is the shape that is never compiled */
	u32 nmoves;
	u32 stack;       /* bytes of the argument area, a multiple of 16 */
	u32 copies;      /* bytes of the area of copies, a multiple of 16 */
	u32 nargs;
	u32 ret_size;    /* bytes of the result type */
	u8 conv;         /* ffi_abi */
	u8 nsse;         /* vector registers used: al of a SysV variadic call */
	u8 ngp;
	u8 ret;          /* enum ret_kind */
	u8 ret_signed;
	u8 nparts;
	u8 wide_ret;     /* Win64: struct of 1, 2, 4, 8 bytes in rax */
	u8 pad;
	struct ret_part parts[4];
	struct move moves[];
};

/*
 * Fills size and alignment of aggregates, checking them: FFI_OK or FFI_BAD_TYPEDEF. Depth and size are bounded; a
 * struct that contains itself is refused.
 */
ffi_status call_layout(ffi_type *t, ffi_abi abi);

/*
 * A prepared call (ferry/call.h) of a function type that was parsed already and is not variadic; the type is
 * needed no longer than this takes. 0, -ENOMEM, -EOPNOTSUPP with `why`.
 */
struct ferry_call;
struct ctype;
int call_of_ctype(const struct ctype *func, struct ferry_call **out, struct text *why);
u32 call_shape_number(const struct ferry_call *call); /* for call_shape() */

#define CALL_MAX_SHAPES 16384 /* power of two: the low bits of cif->flags */
#define CALL_MAX_ARGS 65535
#define CALL_MAX_BYTES (1u << 20) /* of arguments of one call */
#define CALL_FIXED_SHIFT 24   /* cif->flags above: named arguments, at most 127 */

/* The moves of a prepared signature: a shape from base_alloc, or NULL out of memory. */
struct shape *call_classify(const ffi_cif *cif);

/*
 * The process-wide table. call_intern finds or adds a shape, which it owns from then on, and compiles it
 * where code may be made: its number. Number 0: the table is full; such cifs are classified at each call.
 */
u32 call_intern(struct shape *s);
const struct shape *call_shape(u32 number);

/* Does a call: machine code made for the shape, or call_slow. By number, never NULL for one in use. */
typedef void (*call_thunk)(ffi_cif *cif, void (*fn)(void), void *rvalue, void **avalue);
extern call_thunk call_thunks[CALL_MAX_SHAPES];

/* Where a closure's trampoline jumps, the closure in r10: not a C function. */
typedef void (*call_entry)(void);
extern call_entry call_entries[CALL_MAX_SHAPES];

/* ---- from the text of a prototype (plan.c) ----------------------------------------------------- */

struct ctype;
struct call_sig;
/* Errors as ferry_call_prepare's; the reason is logged. */
int call_sig_new(const char *prototype, const char *types, struct call_sig **out);
void call_sig_free(struct call_sig *g);
ffi_cif *call_sig_cif(struct call_sig *g);
const struct ctype *call_sig_func(const struct call_sig *g); /* a CTYPE_FUNC */

/* What every kind of closure that ferry_closure_free() may be given starts with. */
struct ferry_closure {
	void *code;
	void (*release)(struct ferry_closure *c);
};

#endif
