/* SPDX-License-Identifier: MIT */
/*
 * Plug-in tables: a struct of function pointers that one BPF object implements as a whole, as the kernel's
 * struct_ops. The host registers the type; the object, loaded by unmodified libbpf, has
 *
 *	SEC("struct_ops/accept") int BPF_PROG(accept, const struct query *r) { ... }
 *	SEC(".struct_ops") struct filter_ops strict = { .name = "strict", .accept = (void *)accept };
 *
 * and bpf_map__attach_struct_ops() puts it in place: all members at once, while threads use the table.
 * Another object attached to the same type takes its place; bpf_link__destroy() of the one in place
 * brings back what the host gave.
 */
#ifndef FERRY_OPS_H
#define FERRY_OPS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef FERRY_API
#define FERRY_API __attribute__((visibility("default")))
#endif

struct ferry_ops {
	size_t sz;            /* sizeof(struct ferry_ops): room to grow */
	const char *name;     /* the tag of the struct: "filter_ops"; an identifier of at most 63 bytes */
	/*
	 * C declarations of the struct and of all that it names, none by the name of a type of the kernel.
	 * Its members are pointers to functions, of at most 12 integers, enums and pointers, and data:
	 * integers, enums, and arrays and structs of them. The pointers that a program gets are trusted
	 * to be valid; pointers loaded through them may be bad.
	 */
	const char *types;
	const void *fallback; /* the table when no object is attached, and for members it leaves out; may be NULL */
	/* Called before a table takes its place, data filled in: 0, or a negative errno to refuse it. May be NULL. */
	int (*check)(const void *table, void *arg);
	void *arg;
};

/*
 * Registers the type, for good. Loaders find it in the BTF that stands for the kernel's, which is made when
 * first asked for: register before modules, and before anything is loaded. -EINVAL (logged), -EBUSY (too
 * late), -EEXIST, -ENOMEM.
 */
struct ferry_ops_table;
FERRY_API int ferry_ops_register(const struct ferry_ops *ops, struct ferry_ops_table **out);

/*
 * The table in place: stays valid, and its functions what they are, until the matching leave by the same
 * thread; they nest. NULL without a fallback and an object. Changing tables waits for those inside, so
 * a thread inside cannot do it (-EBUSY).
 */
FERRY_API const void *ferry_ops_enter(struct ferry_ops_table *t);
FERRY_API void ferry_ops_leave(struct ferry_ops_table *t);

#ifdef __cplusplus
}
#endif
#endif
