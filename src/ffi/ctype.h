/* SPDX-License-Identifier: MIT */
/* C types and prototypes, from their C text. Sizes and alignments are those of the target's ABI. */
#ifndef FERRY_CTYPE_H
#define FERRY_CTYPE_H

#include "base/base.h"

enum ctype_kind {
	CTYPE_VOID,
	CTYPE_BOOL,
	CTYPE_INT,     /* all integers, char too: size and is_signed */
	CTYPE_FLOAT,   /* float, double, long double: size */
	CTYPE_ENUM,
	CTYPE_POINTER,
	CTYPE_ARRAY,
	CTYPE_STRUCT,
	CTYPE_UNION,
	CTYPE_FUNC,
	CTYPE_TYPEDEF,
};

struct ctype;

struct ctype_member {
	const char *name; /* "" for an anonymous struct or union */
	const struct ctype *type;
	u32 bit_off; /* from the start of the struct */
	u32 bits;    /* width of a bit-field; 0 otherwise */
};

struct ctype_enumerator {
	const char *name;
	s64 value;
};

struct ctype_param {
	const char *name; /* "" when the prototype gives none */
	const struct ctype *type;
};

/* A type. Immutable; lives as long as the `struct ctypes` that made it. */
struct ctype {
	u8 kind;          /* enum ctype_kind */
	bool is_signed;   /* integers, enums */
	bool is_const;    /* qualified const: set on a copy of the unqualified type */
	bool is_volatile;
	bool incomplete;  /* struct or union declared and not defined */
	bool variadic;    /* functions */
	u32 size, align;  /* bytes */
	const char *name; /* tag, typedef name or the base type's canonical spelling; "" for none */
	const struct ctype *to; /* pointer, array element, typedef, function result */
	u32 count;        /* array elements, members, enumerators, parameters */
	union {
		const struct ctype_member *members;
		const struct ctype_enumerator *enumerators;
		const struct ctype_param *params;
	};
	const struct ctype *unqualified; /* itself when not qualified */
};

/* A set of declarations that see one another: tags, typedefs, enumerators. */
struct ctypes;
int ctypes_new(
	struct ctypes **out); /* knows the C types, stdint's and the kernel's u8..s64, __u8.. */
void ctypes_free(struct ctypes *cs);

/*
 * Adds declarations: structs, unions, enums, typedefs, separated by `;`. 0, -ENOMEM, or -EINVAL
 * with "line L, column C: what, what was expected" in `why`. Nothing is added on failure. Input is
 * hostile: depth, counts and sizes are bounded.
 */
int ctypes_declare(struct ctypes *cs, const char *text, struct text *why);

/* One function prototype, with or without `extern` and a final `;`: a CTYPE_FUNC and its name. */
int ctypes_prototype(struct ctypes *cs, const char *text, const struct ctype **func,
		     const char **name, struct text *why);
/* A type name such as "const struct item *" or "int (const void *, const void *)". */
int ctypes_type(struct ctypes *cs, const char *text, const struct ctype **type, struct text *why);

/* Iterate declared tags and typedefs in order of declaration; NULL at the end. */
const struct ctype *ctypes_nth(const struct ctypes *cs, u32 n);

const struct ctype *ctype_strip(const struct ctype *t); /* through typedefs and qualifiers */
void ctype_print(const struct ctype *t, const char *name, struct text *out); /* as C declares it */

#endif
