/* SPDX-License-Identifier: MIT */
/*
 * Programs as C functions. A program in a section "closure" is written with the parameters of the C
 * prototype, and becomes a native function pointer:
 *
 *	SEC("closure") int by_key(const struct item *a, const struct item *b)
 *	{
 *		return a->key < b->key ? -1 : a->key > b->key;
 *	}
 *
 *	struct ferry_closure *c;
 *	ferry_closure(bpf_program__fd(prog), "int (const struct item *, const struct item *)", &opts, &c);
 *	qsort(items, n, sizeof(*items), ferry_closure_code(c));
 *	ferry_closure_free(c);
 *
 * The verifier proves at load, by the program's own types, that it reads and writes only the memory that
 * its parameters point to (const: reads) and returns a value of its C type. ferry_closure() checks the
 * prototype against what was proved. The pointers themselves are the C caller's promise: each points
 * to a whole object of its type, and is not NULL unless its parameter's name ends in `__nullable`.
 *
 * How parameters look in the program:
 *   integers, enums, bool      the same type
 *   pointers                   the same; void * may only be compared and returned
 *   pointers to structs        may also be given, unchanged, to native functions that take an object of
 *                              that struct (ferry/module.h); incomplete structs are handles
 *   float, double              unsigned int, unsigned long: their bits
 *   a struct by value          a pointer to it (the callee's copy)
 *   a struct returned          a first parameter that points to it, zeroed; the program returns void
 *   more than five             one pointer to a struct of all, each in 8 bytes (a struct by value: its
 *                              address), in order; pointers there are numbers
 * A program may return NULL or one of its pointer arguments where the prototype returns a pointer.
 */
#ifndef FERRY_CLOSURE_H
#define FERRY_CLOSURE_H

#include <stddef.h>
#include <stdint.h>

#include <ferry/call.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ferry_closure_opts {
	size_t sz;           /* sizeof(struct ferry_closure_opts): room to grow */
	const char *types;   /* C declarations of the types in the prototype; may be NULL */
	/*
	 * What the function returns when the program cannot run or is ended by a limit: integers and
	 * pointers as they are, of other results the first bytes.
	 */
	uint64_t on_error;
};

/*
 * A C function of `prototype` that runs the program. It may be called by any thread, also by native
 * functions that the program called itself, up to 64 deep. The program is held until
 * ferry_closure_free(), which closures of every kind share, and which may be called while threads are
 * inside: it waits for them, or, called from inside a program, leaves the rest to when that is left.
 * A call after that returns on_error as long as no other closure of the same prototype is made.
 *
 * -EBADF (no program), -EINVAL (the program is no C function, or the prototype does not fit it: the
 * log says which argument and why), -EOPNOTSUPP (a prototype that calls cannot carry), -ENOMEM.
 */
FERRY_API int ferry_closure(int prog_fd, const char *prototype, const struct ferry_closure_opts *opts,
			    struct ferry_closure **out);
/*
 * Lets the same function pointer run another program from now on: every call runs the one or the
 * other. Waits until none is inside the old one. Errors as above, and -EBUSY from inside a program;
 * then nothing has changed.
 */
FERRY_API int ferry_closure_update(struct ferry_closure *closure, int prog_fd);

#ifdef __cplusplus
}
#endif
#endif
