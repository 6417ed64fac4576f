/* SPDX-License-Identifier: MIT */
/*
 * Calling C functions, and being called as one, from the text of a prototype. The same machinery as
 * ffi.h, without describing types by hand.
 */
#ifndef FERRY_CALL_PUBLIC_H
#define FERRY_CALL_PUBLIC_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef FERRY_API
#define FERRY_API __attribute__((visibility("default")))
#endif

/*
 * A prepared call: immutable, shared by threads.
 *
 * `prototype` is C: "double hypot(double x, double y)"; the name may be left out. `types` has the declarations
 * of the structs, unions, enums and typedefs it uses, or is NULL. A call of a variadic function is prepared with the
 * types of one call behind the dots: "int printf(const char *, ..., int, double)". 0, -EINVAL (what and where
 * is logged), -ENOMEM, -EOPNOTSUPP (a type that calls cannot carry).
 */
struct ferry_call;
FERRY_API int ferry_call_prepare(const char *prototype, const char *types, struct ferry_call **out);
/*
 * Calls fn: args[i] points to argument i, `ret` to room for the result, widened to 8 bytes when it is a narrower
 * integer; NULL discards it.
 */
FERRY_API void ferry_call_invoke(const struct ferry_call *call, void (*fn)(void), void *ret, void **args);
FERRY_API size_t ferry_call_ret_size(const struct ferry_call *call); /* bytes `ret` needs */
FERRY_API void ferry_call_free(struct ferry_call *call);

/*
 * A C function of the given prototype that calls handler(ret, args, data). Free it when nobody is inside.
 * Errors as above.
 */
struct ferry_closure;
typedef void (*ferry_handler)(void *ret, void **args, void *data);
FERRY_API int ferry_closure_new(const char *prototype, const char *types, ferry_handler handler, void *data,
				struct ferry_closure **out);
FERRY_API void *ferry_closure_code(const struct ferry_closure *closure); /* the function pointer */
FERRY_API void ferry_closure_free(struct ferry_closure *closure);

#ifdef __cplusplus
}
#endif
#endif
