/* SPDX-License-Identifier: MIT */
/*
 * How arguments travel from a program to a function. eBPF passes five registers, and clang no structs by value
 * for it; so a struct by value is given by its address, a struct result is written to memory whose address
 * comes first, and where that makes more than five, all arguments are members of one struct on the program's
 * stack, `struct NAME_args`. Floating point travels as its bits.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "ffi/call.h"
#include "module/module_int.h"

static const char *param_name(const struct ctype *t, u32 i, char buf[16])
{
	if (*t->params[i].name)
		return t->params[i].name;
	snprintf(buf, 16, "arg%u", i + 1);
	return buf;
}

static void print_type(const struct ctype *t, const char *name, bool bits, struct text *out);

static void print_pointer(const struct ctype *func, const char *name, struct text *out)
{
	struct text d = { 0 };
	u32 i;

	text_printf(&d, "(*%s)(%s", name, func->count ? "" : "void");
	for (i = 0; i < func->count; i++) {
		text_puts(&d, i ? ", " : "");
		print_type(func->params[i].type, func->params[i].name, true, &d);
	}
	text_puts(&d, ")");
	print_type(func->to, text_str(&d), true, out);
	out->oom |= d.oom;
	text_free(&d);
}

/*
 * `bits`: floating point as the integer that holds it, which is what BTF and libbpf compare; that of functions
 * pointed to as well.
 */
static void print_type(const struct ctype *t, const char *name, bool bits, struct text *out)
{
	const struct ctype *s = ctype_strip(t), *to = s->kind == CTYPE_POINTER ? ctype_strip(s->to) : NULL;

	if (bits && to && to->kind == CTYPE_FUNC)
		print_pointer(to, name, out);
	else if (bits && s->kind == CTYPE_FLOAT)
		text_printf(out, "unsigned %s%s%s", s->size == 8 ? "long long" : "int", *name ? " " : "", name);
	else
		ctype_print(t, *name ? name : NULL, out);
}

static void print_params(const struct module_func *f, const struct ctype *t, bool bits, struct text *out)
{
	char buf[16], name[48];
	u32 i;

	for (i = 0; i < f->nargs; i++) {
		const char *n = param_name(t, i, buf);

		text_puts(out, i || f->ret_kind == MODULE_RET_STRUCT ? ", " : "");
		if (f->args[i].kind == MODULE_ARG_VALUE) {
			snprintf(name, sizeof(name), "*%s", n);
			text_puts(out, ctype_strip(t->params[i].type)->is_const || t->params[i].type->is_const ?
				  "" : "const ");
			ctype_print(t->params[i].type, name, out);
		} else {
			print_type(t->params[i].type, n, bits, out);
		}
	}
	text_puts(out, t->variadic ? ", ..." : "");
}

/* The prototype as a program declares it. */
static void print_proto(const struct module_func *f, const struct ctype *t, bool bits, struct text *out)
{
	struct text head = { 0 };

	text_printf(&head, "%s(", f->name);
	if (f->ret_kind == MODULE_RET_STRUCT)
		ctype_print(t->to, "*result", &head);
	if (f->block_reg)
		text_printf(&head, "%sconst struct %s_args *args", f->block_reg > 1 ? ", " : "", f->name);
	else
		print_params(f, t, bits, &head);
	text_puts(&head, f->nregs ? ")" : "void)");
	if (f->ret_kind == MODULE_RET_STRUCT)
		text_printf(out, "void %s", text_str(&head));
	else
		print_type(t->to, text_str(&head), bits, out);
	out->oom |= head.oom;
	text_free(&head);
}

static void print_block(const struct module_func *f, const struct ctype *t, struct text *out)
{
	char buf[16];
	u32 i;

	text_printf(out, "struct %s_args {", f->name);
	for (i = 0; i < f->nargs; i++) {
		text_puts(out, " ");
		ctype_print(t->params[i].type, param_name(t, i, buf), out);
		text_puts(out, ";");
	}
	text_puts(out, " };");
}

/* Registers in order, or members of the block as C lays them out. */
static int place(struct module_func *f, const struct ctype *t, struct text *why)
{
	u32 first = f->ret_kind == MODULE_RET_STRUCT, i, off = 0;

	f->nregs = (u8)(first + f->nargs);
	for (i = 0; i < f->nargs; i++)
		f->args[i].reg = (u8)(first + i + 1);
	if (f->nregs <= MODULE_MAX_REGS)
		return 0;
	if (f->variadic) {
		if (why)
			text_printf(why, "function %s: a variadic function has at most %d named arguments", f->name,
				    MODULE_MAX_REGS);
		return -EINVAL;
	}
	f->nregs = f->block_reg = (u8)(first + 1);
	for (i = 0; i < f->nargs; i++) {
		const struct ctype *s = ctype_strip(t->params[i].type);

		off = ALIGN_UP(off, s->align ? s->align : 1);
		f->args[i].reg = 0;
		f->args[i].off = off;
		off += s->size;
	}
	f->block_size = ALIGN_UP(off, 8u);
	if (off <= 400)
		return 0;
	if (why)
		text_printf(why, "function %s: its arguments take %u bytes, more than a program's stack spares", f->name,
			    off);
	return -EINVAL;
}

static bool is_plain(const struct module_func *f)
{
	bool plain = !f->block_reg && !f->checks && !f->variadic && !f->ret_float &&
		     f->ret_kind != MODULE_RET_STRUCT;
	u32 i;

	for (i = 0; i < f->nargs; i++)
		plain &= !f->args[i].is_float && f->args[i].kind != MODULE_ARG_VALUE;
	return plain;
}

int module_pass(struct module_func *f, const struct ctype *t, struct text *bits_proto, struct text *why)
{
	struct text decls = { 0 }, proto = { 0 }, reason = { 0 };
	int err = place(f, t, why);

	if (err)
		return err;
	if (f->block_reg)
		print_block(f, t, &decls);
	print_proto(f, t, false, &proto);
	print_proto(f, t, true, bits_proto);
	f->decls = base_strdup(text_str(&decls));
	f->extern_proto = base_strdup(text_str(&proto));
	if (!f->decls || !f->extern_proto || decls.oom || proto.oom || bits_proto->oom)
		err = -ENOMEM;
	text_free(&decls);
	text_free(&proto);
	f->bridged = !is_plain(f);
	if (!err && f->bridged && !f->variadic) {
		err = call_of_ctype(t, &f->call, &reason);
		if (err == -EOPNOTSUPP) {
			if (why)
				text_printf(why, "function %s: %s", f->name, text_str(&reason));
			err = -EINVAL;
		}
		text_free(&reason);
	}
	return err;
}
