/* SPDX-License-Identifier: MIT */
/* What a program's BTF says of a program that is called as a C function. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "prog/prog.h"

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), k = strlen(end);

	return n > k && !strcmp(s + n - k, end);
}

/* Is the type, behind typedefs and other qualifiers, const? */
static bool is_const(const struct btf *btf, u32 id)
{
	const struct btf_type *t;

	for (u32 depth = 0; depth < 32; depth++) {
		t = btf__type_by_id(btf, id);
		if (!t)
			return false;
		if (btf_kind(t) == BTF_KIND_CONST)
			return true;
		if (!btf_is_mod(t) && !btf_is_typedef(t))
			return false;
		id = t->type;
	}
	return false;
}

/*
 * Bytes of a struct: those of the program's own declaration, or of the host's, which may be larger:
 * libbpf's relocation has put the host's offsets into the program (CO-RE).
 */
static u32 struct_size(const struct btf *btf, u32 id, const struct btf_type *t)
{
	const char *name = fbtf_name(btf, t->name_off);
	s64 size = fbtf_size(btf, id), other;
	struct module *m;
	s32 found;

	size = size < 0 ? 0 : size;
	for (u32 n = 0; *name && (m = module_nth_get(n)); n++) {
		found = btf__find_by_name_kind(m->btf, name, btf_kind(t));
		other = found > 0 ? fbtf_size(m->btf, (u32)found) : 0;
		size = other > size ? other : size;
		module_put(m);
	}
	return size > INT32_MAX ? 0 : (u32)size;
}

/* What a pointer points to: its id (0: void) and bytes. */
static void pointee(const struct btf *btf, u32 id, u32 *type, u32 *size)
{
	const struct btf_type *t = fbtf_strip(btf, id, type);
	s64 bytes;

	*size = 0;
	if (!t) {
		*type = 0;
	} else if (btf_is_composite(t)) {
		*size = struct_size(btf, *type, t);
	} else if (!btf_is_func_proto(t) && !btf_is_fwd(t)) {
		bytes = fbtf_size(btf, *type);
		*size = bytes > 0 && bytes < INT32_MAX ? (u32)bytes : 0;
	}
}

static bool scalar(const struct btf *btf, u32 id, const struct btf_type *t, u8 *width, bool *is_signed)
{
	s64 size;

	if (!btf_is_int(t) && !btf_is_any_enum(t))
		return false;
	size = fbtf_size(btf, id);
	*width = (u8)size;
	*is_signed = btf_is_int(t) ? btf_int_encoding(t) & BTF_INT_SIGNED : btf_kflag(t);
	return size == 1 || size == 2 || size == 4 || size == 8;
}

static int arg(const struct btf *btf, const struct btf_param *p, u32 n, struct prog_arg *a,
	       struct text *why)
{
	const struct btf_type *t;
	u32 id;

	snprintf(a->name, sizeof(a->name), "%s", fbtf_name(btf, p->name_off));
	t = fbtf_strip(btf, p->type, &id);
	if (t && btf_is_ptr(t)) {
		a->kind = PROG_ARG_MEM;
		a->width = 8;
		a->is_const = is_const(btf, t->type);
		a->nullable = ends_with(a->name, "__nullable");
		pointee(btf, t->type, &a->type, &a->size);
		return 0;
	}
	a->kind = PROG_ARG_SCALAR;
	if (t && scalar(btf, id, t, &a->width, &a->is_signed))
		return 0;
	text_printf(why, "argument %u (%s) is neither an integer nor a pointer: a struct passed by value is "
			 "declared as a pointer to const, a double as a 64-bit integer of its bits",
		    n + 1, a->name);
	return -EINVAL;
}

static void enum_range(const struct btf_type *t, struct prog_sig *s)
{
	s->ret_bounded = btf_vlen(t) > 0;
	for (u32 i = 0; i < btf_vlen(t); i++) {
		s64 v = btf_kind(t) == BTF_KIND_ENUM ? (s64)btf_enum(t)[i].val :
						       (s64)btf_enum64_value(&btf_enum64(t)[i]);

		s->ret_min = !i || v < s->ret_min ? v : s->ret_min;
		s->ret_max = !i || v > s->ret_max ? v : s->ret_max;
	}
}

static int result(const struct btf *btf, u32 type, struct prog_sig *s, struct text *why)
{
	const struct btf_type *t;
	bool is_signed;
	u32 id, size;

	t = fbtf_strip(btf, type, &id);
	if (!t) {
		s->ret_kind = PROG_RET_VOID;
		return 0;
	}
	if (btf_is_ptr(t)) {
		s->ret_kind = PROG_RET_MEM;
		s->ret_width = 8;
		s->ret_const = is_const(btf, t->type);
		pointee(btf, t->type, &s->ret_type, &size);
		return 0;
	}
	s->ret_kind = PROG_RET_SCALAR;
	if (!scalar(btf, id, t, &s->ret_width, &is_signed)) {
		text_puts(why, "its result is neither an integer nor a pointer");
		return -EINVAL;
	}
	if (btf_is_any_enum(t)) {
		if (s->ret_width <= 4)
			enum_range(t, s);
	} else if (btf_int_encoding(t) & BTF_INT_BOOL) {
		s->ret_bounded = true;
		s->ret_max = 1;
	}
	/* Of a char or short the register's upper bits are anything (clang from 15): who takes it widens it. */
	return 0;
}

int prog_sig_new(const struct btf *btf, u32 func_id, struct prog_sig **out, struct text *why)
{
	const struct btf_type *t = btf ? btf__type_by_id(btf, func_id) : NULL;
	struct prog_sig *s;
	int err;

	if (t && btf_is_func(t))
		t = btf__type_by_id(btf, t->type);
	if (!func_id || !t || !btf_is_func_proto(t)) {
		text_puts(why, "its BTF has no type of the function: compile with -g");
		return -EINVAL;
	}
	if (btf_vlen(t) > PROG_MAX_ARGS) {
		text_printf(why, "it has %u parameters, more than %d: take a pointer to a struct of them",
			    btf_vlen(t), PROG_MAX_ARGS);
		return -EINVAL;
	}
	s = base_alloc(sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->btf = btf;
	s->nargs = btf_vlen(t);
	err = result(btf, t->type, s, why);
	for (u32 n = 0; n < s->nargs && !err; n++)
		err = arg(btf, &btf_params(t)[n], n, &s->args[n], why);
	if (err)
		base_free(s);
	else
		*out = s;
	return err;
}

int prog_sig_result(const struct btf *btf, u32 proto, struct prog_sig **out)
{
	const struct btf_type *t = btf ? btf__type_by_id(btf, proto) : NULL;
	struct text why = { 0 };
	struct prog_sig *s;
	int err;

	if (!t || !btf_is_func_proto(t))
		return -EINVAL;
	s = base_alloc(sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->btf = btf;
	err = result(btf, t->type, s, &why);
	text_free(&why);
	if (err)
		base_free(s);
	else
		*out = s;
	return err;
}
