/* SPDX-License-Identifier: MIT */
/* Private to src/module: from the text of a prototype to what is proved of its calls and how they are made. */
#ifndef FERRY_MODULE_INT_H
#define FERRY_MODULE_INT_H

#include "module/module.h"

/* ---- annotations (annot.c) --------------------------------------------------------------------- */

enum annot_id {
#define ANNOT(id, word, where, nargs, meaning) ANNOT_##id,
#include "module/annot.def"
#undef ANNOT
};
#define ANNOT_FUNC ~0u /* behind the parameter list: says something of the function */

struct annot {
	u32 param; /* which, from 0; or ANNOT_FUNC */
	u8 id;     /* enum annot_id */
	char arg[2][32];
};

struct annots {
	char *text; /* the prototype without them; base_free() it, after an error too */
	u32 n;
	struct annot all[48];
};

/* 0, -ENOMEM, -EINVAL with the column and what is wrong in `why`. */
int annots_read(const char *prototype, struct annots *out, struct text *why);
const struct annot *annot_find(const struct annots *as, u32 param, u32 id); /* NULL */
const char *annot_word(u32 id);

/* ---- one function ------------------------------------------------------------------------------ */

/*
 * Fill `f` (not its BTF ids) from the prototype `t` and its annotations, in this order. 0, -ENOMEM, or -EINVAL
 * with `why` naming the function, the argument, the reason and what to write instead.
 */
void module_flags(struct module_func *f, const struct annots *as);                    /* result.c */
int module_args(struct module_func *f, const struct ctype *t, const struct annots *as,
		struct text *why);                                                    /* args.c */
int module_result(struct module_func *f, const struct ctype *t, const struct annots *as,
		  struct text *why);                                                  /* result.c */
/*
 * Where each argument travels, and the native call. *bits_proto gets the prototype that BTF has: as programs
 * declare it, except that floating point is the integer of its bits.
 */
int module_pass(struct module_func *f, const struct ctype *t, struct text *bits_proto,
		struct text *why);                                                    /* pass.c */

/* Why values of this type, in memory that the program fills, could hurt; NULL when they cannot. args.c */
const char *module_unsafe_inside(const struct ctype *t);

/* ---- function pointers ------------------------------------------------------------------------- */

/*
 * callback.c: of the function type `proto`, that `types` declares. *out is to be freed after an error too. 0, -ENOMEM,
 * -EINVAL with the reason in `why`.
 */
int module_callback_new(const struct ctype *proto, const char *types, struct module_callback **out,
			struct text *why);
/* The BTF ids of its arguments, `id` being the pointer's type. */
void module_callback_btf(struct module_callback *cb, const struct btf *btf, u32 id);

/* lend.c: *v, a subprogram, becomes a function pointer until module_lend_end(). NULL, or why it cannot. */
const char *module_lend(struct module_callback *cb, u64 *v);
void module_callback_free(struct module_callback *cb);

/*
 * A variable into m->vars, which has room, and as VAR into `btf`: 0, -EINVAL with `why`, -ENOMEM. Its
 * name, which the caller checks, is then that of the last one in m->vars.
 */
int module_add_var(struct module *m, const struct ferry_func *def, struct ctypes *cs, struct btf *btf,
		   struct hash *seen, struct text *why);

#endif
