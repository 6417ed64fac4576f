/* SPDX-License-Identifier: MIT */
/*
 * What Ferry needs on top of libbpf's btf__*: checking hostile BTF, look-ups, C types to BTF, and
 * the BTF that stands for the kernel's (`/sys/kernel/btf/vmlinux`).
 */
#ifndef FERRY_FBTF_H
#define FERRY_FBTF_H

#include <bpf/btf.h>

#include "base/base.h"
#include "ffi/ctype.h"

/*
 * Parses bytes from outside after checking all of them as the kernel does: header, sections inside
 * the data, string offsets, type references (in range, no loops, no modifier cycles), sizes, member
 * offsets, kinds. `base` is NULL or the BTF it is split from. 0, -EINVAL, -E2BIG, -ENOMEM; `why`
 * (may be NULL) names the type id and the rule. The caller frees *out with btf__free.
 */
int fbtf_parse(const void *data, u32 size, struct btf *base, struct btf **out, struct text *why);

/*
 * The same check for the .BTF section of an object file, before libbpf reads it: there externs are
 * allowed and sections have no sizes yet. 0, -EINVAL, -E2BIG, -ENOMEM.
 */
int fbtf_check_object(const void *data, u32 size, struct text *why);

/*
 * Adds a C type, and all it refers to, to `btf`: the type id, or -errno, after which the BTF is
 * only good to be freed. `seen` maps ctype to id.
 */
int fbtf_add_ctype(struct btf *btf, struct hash *seen, const struct ctype *t);
/* Adds a FUNC named `name` with the prototype `func`: its type id, or -errno. */
int fbtf_add_func(struct btf *btf, struct hash *seen, const char *name, const struct ctype *func);

/*
 * A read-only copy of a BTF that was being edited: libbpf's edited form is changed even by look-ups
 * of strings, a sealed one is safe for many threads as long as no btf__add_* touches it. 0,
 * -ENOMEM, -EINVAL.
 */
int fbtf_seal(const struct btf *edited, struct btf *base, struct btf **out);

/*
 * The BTF shown as the kernel's: contexts of program types, integer types and what CO-RE programs
 * of user space read. Made once; borrowed. NULL when out of memory.
 */
struct btf *fbtf_vmlinux(void);
/* C declarations to be in it too: -EBUSY when it was made already, -EINVAL (logged), -ENOMEM. */
int fbtf_vmlinux_add(const char *types);

/* Through modifiers and typedefs: the type, its id in *id (may be NULL). NULL for void or bad ids.
 */
const struct btf_type *fbtf_strip(const struct btf *btf, u32 id, u32 *out_id);
const char *fbtf_name(const struct btf *btf, u32 name_off); /* "" when there is none */
s64 fbtf_size(const struct btf *btf, u32 id);               /* bytes, or -EINVAL */

bool fbtf_is_const(const struct btf *btf, u32 id); /* some modifier of the type says const */

/* What the bytes [off, off + size) of a struct or union are, by the kernel's rules of loads. */
#define FBTF_MAX_NESTING 32 /* of structs in structs */
struct fbtf_access {
	bool is_ptr;      /* to a struct or union, `type`; otherwise it is read as data */
	bool points;      /* a pointer of any kind */
	bool in_union;    /* of several members: who says that it is this one? */
	bool flexible;    /* of an array that the struct's size does not count */
	u32 type;
	const char *name; /* of the member; NULL for bit-fields and flexible arrays */
	const char *tag;  /* of the pointer's target (__attribute__((btf_type_tag))); NULL */
};
/* 0, -EACCES or -EINVAL: no member is there, or the load takes a part of it; `why` may be NULL. */
int fbtf_access(const struct btf *btf, u32 id, u32 off, u32 size, struct fbtf_access *out,
		struct text *why);
/* Is there, `off` bytes into the struct, a struct of type `want`: itself, a member, an element? */
bool fbtf_contains(const struct btf *btf, u32 id, u32 off, u32 want);

/*
 * Members of a value's type that belong to the system, also in nested structs and in a section of
 * variables: offset + 1, 0 is none. 0, -EEXIST (two of a kind), -EINVAL (not aligned).
 */
enum { FBTF_LOCK, FBTF_TIMER, FBTF_SPECIALS };
int fbtf_find_special(const struct btf *btf, u32 id, u32 found[FBTF_SPECIALS]);

/*
 * Pointers to objects in a value's type: members marked with the type tag kptr (or kptr_ref, as it was called
 * first; the map owns the object) or kptr_untrusted. How many there are, of which the first `max` are in `out`;
 * -EINVAL: not aligned, or to no struct.
 */
struct fbtf_kptr {
	u32 off, type; /* the struct in this BTF */
	bool owned;
};
int fbtf_find_kptrs(const struct btf *btf, u32 id, struct fbtf_kptr *out, u32 max);

/* A value as text, by its type: structs as { .a = 1, }, char arrays as strings; json: as JSON. */
int fbtf_dump_value(const struct btf *btf, u32 type_id, const void *data, size_t size, bool json,
		    struct text *out);

/*
 * The same in the form of bpf_snprintf_btf(), with its flags (BTF_F_*). `data` has fbtf_size() bytes. 0 or
 * -EINVAL (a type without a size).
 */
struct fbtf_show_to {
	void (*put)(void *arg, const char *s, size_t n);
	u64 (*hide)(u64 address); /* what is shown of a pointer without BTF_F_PTR_RAW */
	void *arg;
};
int fbtf_show(const struct btf *btf, u32 id, const void *data, u64 flags, const struct fbtf_show_to *to);

#endif
