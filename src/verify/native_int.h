/* SPDX-License-Identifier: MIT */
/* What the files about calls of native functions share: one call, being verified. */
#ifndef FERRY_NATIVE_INT_H
#define FERRY_NATIVE_INT_H

#include "verify/verify_int.h"

struct native {
	const struct module_func *f;
	struct reg args[MODULE_MAX_ARGS];  /* as they are given, before any memory is written */
	struct reg sizes[MODULE_MAX_ARGS]; /* of memory: what tells its size */
	u64 bytes[MODULE_MAX_ARGS];        /* proved of memory and strings; 0: none, or NULL */
	struct reg texts[MODULE_MAX_REGS]; /* strings that a format asks for */
	u32 text_bytes[MODULE_MAX_REGS], ntexts;
	struct module_site site;
};

/* native_arg.c: the argument is not what the prototype says; the rule is named. */
int native_error(struct verifier *v, const struct native *c, u32 i, const char *hint, const char *what);
/* Reads what is given into c->args and c->sizes. */
int native_fetch(struct verifier *v, struct native *c);
int native_args(struct verifier *v, struct native *c);
/* Is it, unchanged, an object of the type that argument i points to? */
bool native_is_object(const struct verifier *v, const struct native *c, u32 i);

/* native_apart.c: after all arguments were proved, what the function writes leaves those proofs true. */
int native_apart(struct verifier *v, const struct native *c);

/* native_format.c: the arguments behind a printf format, and which of them are double. */
int native_format(struct verifier *v, struct native *c, u32 i);

#endif
