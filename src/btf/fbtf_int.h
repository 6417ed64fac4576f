/* SPDX-License-Identifier: MIT */
/* Private to src/btf: what the checks of hostile BTF share. */
#ifndef FERRY_FBTF_INT_H
#define FERRY_FBTF_INT_H

#include "btf/fbtf.h"

#define FBTF_MAX_BYTES (16u << 20)
#define FBTF_MAX_TYPE  0x000fffffu
#define FBTF_MAX_NAME  0x00ffffffu
#define FBTF_MAX_DEPTH 32   /* of types that must be resolved before one another */
#define FBTF_NAME_LEN  512  /* the kernel's KSYM_NAME_LEN */
#define FBTF_ENOTSUPP  524  /* the kernel's, which bpf(2) gives for versions it does not know */

/* How far a type that refers to others is. */
enum fbtf_state { FBTF_NEW, FBTF_OPEN, FBTF_DONE };

/* What a walk that started at some type has to look into (it decides which loops are loops). */
enum fbtf_mode {
	FBTF_ANY,
	FBTF_FROM_PTR,    /* modifiers and pointers: pointers may point back to structs */
	FBTF_FROM_RECORD, /* modifiers, arrays, structs: what lies inside by value */
};

struct fbtf_frame {
	const struct btf_type *t;
	u32 id;
	u32 next; /* member, or variable of a section, to go on with */
};

/* BTF bytes being checked. Ids and string offsets below the starts belong to `base`. */
struct fbtf_check {
	const struct btf *base;
	u32 start_id, start_str;
	const char *strs;
	u32 str_len;
	const struct btf_type **types; /* by id - start_id; [0] is void where there is no base */
	size_t n, cap;
	u32 *to;    /* by id - start_id: the type behind modifiers, once resolved */
	u32 *bytes; /* size of arrays, once resolved */
	u8 *state;
	struct fbtf_frame stack[FBTF_MAX_DEPTH];
	u32 depth;
	u8 mode;
	bool object; /* as compilers leave it in object files: see fbtf_check_object */
	u32 at; /* the type that a message is about */
	struct text *why;
};

/* A libbpf BTF from bytes that were checked or made here: 0, -ENOMEM, -EINVAL. */
int fbtf_open(const void *data, u32 size, struct btf *base, struct btf **out);

/* -EINVAL, and in `why` the type that c->at names and the rule that it breaks. */
int fbtf_refuse(struct fbtf_check *c, const char *fmt, ...) PRINTF_LIKE(2, 3);
/* The type, void's being a type of kind 0; NULL when there is none with this id. */
const struct btf_type *fbtf_type(const struct fbtf_check *c, u32 id);

/* Each type alone: its record, names, numbers. Fills c->types. */
int fbtf_check_metas(struct fbtf_check *c, const void *types, u32 len);
/* Each type with those it refers to. */
int fbtf_check_links(struct fbtf_check *c);
/* A member inside its struct, when the member's type is resolved. */
int fbtf_check_member(struct fbtf_check *c, const struct btf_type *rec, u32 i);

/* The size of a type, and in *id the one that has it; NULL when it has none. Resolved types only.
 */
const struct btf_type *fbtf_sized(const struct fbtf_check *c, u32 *id, u32 *size);
/* A parameter's name: none, or an identifier. */
bool fbtf_valid_param(const struct fbtf_check *c, u32 name_off);
bool fbtf_regular_int(const struct btf_type *t);
/* Types that nothing may refer to: variables, sections, declaration tags. */
static inline bool fbtf_source_only(const struct btf_type *t)
{
	return btf_is_var(t) || btf_is_datasec(t) || btf_is_decl_tag(t);
}
static inline bool fbtf_is_modifier(const struct btf_type *t)
{
	return btf_is_mod(t) || btf_is_typedef(t);
}

#endif
