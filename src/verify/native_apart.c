/* SPDX-License-Identifier: MIT */
/*
 * Arguments of native functions that overlap. Each was proved alone: a string has its end, a size is that of its
 * memory, bytes were written before they are read. The function may write through one argument while it still
 * reads another, so what it writes has to be apart from what those proofs rest on. Only memory of the stack can
 * be asked: strings and sizes anywhere else are refused, constant or copied for the call.
 */
#include <errno.h>

#include "verify/native_int.h"

/* Bytes of a frame of the stack. */
struct span {
	u16 frame;
	s64 lo, hi;
};

static bool span_of(const struct reg *r, u64 bytes, struct span *s)
{
	if (r->type != REG_STACK || !bytes)
		return false;
	*s = (struct span){ r->what, r->off + r->n.smin, r->off + r->n.smax + (s64)bytes };
	return true;
}

static bool overlap(const struct reg *r, u64 bytes, const struct span *b)
{
	struct span a;

	return span_of(r, bytes, &a) && a.frame == b->frame && a.lo < b->hi && b->lo < a.hi;
}

/* Argument `i` is written: are the others what they were proved to be? `i` beyond all: the result. */
static int check_written(struct verifier *v, const struct native *c, u32 i, const struct span *w, bool unread)
{
	const struct module_func *f = c->f;
	u32 k;

	for (k = 0; k < f->nargs; k++) {
		const struct module_arg *a = &f->args[k];
		const struct reg *size = a->size_deref ? &c->args[a->size_arg - 1] : NULL;

		if (size && a->size_arg != i + 1 && overlap(size, f->args[a->size_arg - 1].size, w))
			return native_error(v, c, k, "keep the buffer and the variable with its size apart",
					    "the memory overlaps the variable that holds its size, or another argument "
					    "that is written does");
		if (k == i)
			continue;
		if (a->kind == MODULE_ARG_STRING && overlap(&c->args[k], c->bytes[k], w))
			return native_error(v, c, k, "copy the string first",
					    "another argument that is written overlaps the string");
		/* Written first it would count as initialised, and be read first. */
		if (unread && !a->uninit && (a->kind == MODULE_ARG_MEM || a->kind == MODULE_ARG_VALUE) &&
		    overlap(&c->args[k], c->bytes[k], w))
			return native_error(v, c, k, "use another buffer for what is only written",
					    "an argument that need not be initialised overlaps it");
	}
	for (k = 0; k < c->ntexts; k++)
		if (overlap(&c->texts[k], c->text_bytes[k], w))
			return refuse(v, -EINVAL, "copy the string first",
				      "a string of the format of %s() overlaps an argument that is written", f->name);
	return 0;
}

int native_apart(struct verifier *v, const struct native *c)
{
	const struct module_func *f = c->f;
	struct span w;
	u32 i;
	int err = 0;

	for (i = 0; i < f->nargs && !err; i++) {
		const struct module_arg *a = &f->args[i];

		if (a->kind == MODULE_ARG_MEM && (a->writable || a->uninit) && span_of(&c->args[i], c->bytes[i], &w))
			err = check_written(v, c, i, &w, a->uninit);
	}
	/* C writes a large struct while the function still reads its arguments (SysV ABI 3.2.3). */
	if (!err && f->ret_kind == MODULE_RET_STRUCT && span_of(cur_reg(v, 1), f->ret_size, &w))
		err = check_written(v, c, MODULE_MAX_ARGS, &w, false);
	return err;
}
