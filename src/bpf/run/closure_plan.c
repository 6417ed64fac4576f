/* SPDX-License-Identifier: MIT */
/* How the arguments of a C prototype become those of a program, and whether a program fits one. */
#include <errno.h>
#include <string.h>

#include "bpf/run/closure_int.h"
#include "btf/fbtf.h"

static bool is_record(const struct ctype *t)
{
	return t->kind == CTYPE_STRUCT || t->kind == CTYPE_UNION;
}

static bool is_pointer(const struct ctype *t) /* as a parameter: C17 6.7.6.3 */
{
	return t->kind == CTYPE_POINTER || t->kind == CTYPE_ARRAY || t->kind == CTYPE_FUNC;
}

/* ---- the plan ----------------------------------------------------------------------------------- */

static int refuse(const char *what)
{
	log_msg(LOG_ERROR, "closure: %s", what);
	return -EOPNOTSUPP;
}

static int plan_arg(const struct ctype *t, u32 n, struct closure_plan *p)
{
	t = ctype_strip(t);
	if (is_record(t)) {
		p->by_ref |= 1u << n;
		p->args[n].width = 8;
		p->registers = false;
		return 0;
	}
	p->args[n].width = is_pointer(t) ? 8 : (u8)t->size;
	p->args[n].is_signed = t->is_signed && !is_pointer(t);
	p->args[n].is_float = t->kind == CTYPE_FLOAT;
	return p->args[n].width && p->args[n].width <= 8 ? 0 :
		       refuse("numbers of more than 64 bits do not fit a program's registers");
}

int closure_plan(const struct ctype *func, const ffi_cif *cif, struct closure_plan *p)
{
	const struct ctype *ret = ctype_strip(func->to);
	int err = 0;

	memset(p, 0, sizeof(*p));
	p->nargs = func->count;
	p->registers = true;
	if (p->nargs > CLOSURE_MAX_ARGS)
		return refuse("more than 32 arguments");
	for (u32 n = 0; n < p->nargs && !err; n++)
		err = plan_arg(func->params[n].type, n, p);
	if (err)
		return err;
	p->ret_size = (u32)cif->rtype->size;
	p->ret_width = (u8)ret->size;
	p->ret_signed = ret->is_signed;
	if (ret->kind == CTYPE_VOID) {
		p->ret = CLOSURE_VOID;
	} else if (is_record(ret)) {
		p->ret = CLOSURE_STRUCT;
	} else if (ret->kind == CTYPE_FLOAT) {
		p->ret = CLOSURE_BYTES;
	} else {
		p->ret = CLOSURE_INT;
		p->ret_width = is_pointer(ret) ? 8 : p->ret_width;
	}
	if (p->ret != CLOSURE_STRUCT && p->ret != CLOSURE_VOID && (p->ret_width > 8 || !p->ret_width))
		return refuse("a result of more than 64 bits does not fit a program's register");
	p->block = p->nargs + (p->ret == CLOSURE_STRUCT) > PROG_MAX_ARGS;
	p->registers &= !p->block && p->ret != CLOSURE_STRUCT;
	return 0;
}

/* ---- calls -------------------------------------------------------------------------------------- */

static u64 load(const void *p, const struct jit_arg *a)
{
	switch (a->width) {
	case 1: return a->is_signed ? (u64)*(const s8 *)p : *(const u8 *)p;
	case 2: return a->is_signed ? (u64)*(const s16 *)p : *(const u16 *)p;
	case 4: return a->is_signed ? (u64)*(const s32 *)p : *(const u32 *)p;
	default: return *(const u64 *)p;
	}
}

void closure_load(const struct closure_plan *plan, void *ret, void **args, u64 *regs, u64 *block)
{
	u64 *to = plan->block ? block : regs;

	if (plan->ret == CLOSURE_STRUCT) {
		memset(ret, 0, plan->ret_size);
		*regs++ = (u64)(uintptr_t)ret;
		to += !plan->block;
	}
	for (u32 n = 0; n < plan->nargs; n++)
		to[n] = plan->by_ref >> n & 1 ? (u64)(uintptr_t)args[n] : load(args[n], &plan->args[n]);
	if (plan->block)
		*regs = (u64)(uintptr_t)block;
}

void closure_store(const struct closure_plan *plan, void *ret, u64 value)
{
	switch (plan->ret) {
	case CLOSURE_INT: /* widened to the register, as libffi's closures want it */
		*(u64 *)ret = load(&value, &(struct jit_arg){ .width = plan->ret_width, .is_signed = plan->ret_signed });
		break;
	case CLOSURE_BYTES:
		if (plan->ret_width == 4)
			*(u32 *)ret = (u32)value;
		else
			*(u64 *)ret = value;
		break;
	default:
		break;
	}
}

/* ---- does the program fit? ---------------------------------------------------------------------- */

static bool named_otherwise(const struct ctype *t, const struct btf *btf, u32 id)
{
	const struct btf_type *b = id ? btf__type_by_id(btf, id) : NULL;
	const char *name;

	if (!is_record(t) || !b || (!btf_is_composite(b) && !btf_is_fwd(b)))
		return false;
	name = fbtf_name(btf, b->name_off);
	return *name && t->name[0] && strcmp(name, t->name);
}

static bool ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), k = strlen(end);

	return n >= k && !strcmp(s + n - k, end);
}

static void type_text(const struct ctype *t, struct text *out)
{
	text_puts(out, "`");
	ctype_print(t, "", out);
	text_puts(out, "'");
}

/* Memory of type t, which the caller gives, against what the program does to it. */
static bool check_memory(const struct ctype *t, bool may_write, const struct prog_sig *sig,
			 const struct prog_arg *a, struct text *why)
{
	const struct ctype *plain = ctype_strip(t);
	u32 size = plain->kind == CTYPE_VOID || plain->kind == CTYPE_FUNC || plain->incomplete ? 0 : plain->size;

	if (named_otherwise(plain, sig->btf, a->type)) {
		text_printf(why, "the program takes a pointer to %s",
			    fbtf_name(sig->btf, btf__type_by_id(sig->btf, a->type)->name_off));
	} else if (a->object && !(is_record(plain) && plain->name[0])) {
		text_puts(why, "the program passes it to native functions as a struct, ");
		type_text(t, why);
		text_puts(why, " is none");
	} else if (a->touched > size) {
		text_printf(why, "the program accesses %u bytes of it, ", a->touched);
		type_text(t, why);
		text_printf(why, " has %u", size);
	} else if (a->written && !may_write) {
		text_puts(why, "the program writes to it, and ");
		type_text(t, why);
		text_puts(why, " is const");
	} else {
		return true;
	}
	return false;
}

static bool check_arg(const struct ctype_param *c, const struct jit_arg *j, const struct prog_sig *sig,
		      const struct prog_arg *a, struct text *why)
{
	const struct ctype *t = ctype_strip(c->type);

	if (is_record(t)) {
		if (a->kind == PROG_ARG_MEM)
			return check_memory(t, true, sig, a, why);
		text_puts(why, "a struct by value is a pointer to it in the program, which takes a number");
	} else if (is_pointer(t)) {
		if (a->kind != PROG_ARG_MEM) {
			text_puts(why, "it is a pointer, the program takes a number");
		} else if (ends_with(c->name, "__nullable") && !a->nullable && (a->touched || a->object)) {
			text_printf(why, "it may be NULL: name the program's parameter `%s__nullable' and check it",
				    a->name);
		} else if (t->kind == CTYPE_FUNC) {
			return check_memory(t, false, sig, a, why);
		} else {
			return check_memory(t->to, !t->to->is_const, sig, a, why);
		}
	} else if (a->kind != PROG_ARG_SCALAR) {
		text_puts(why, "it is a number, the program takes a pointer");
	} else if (a->width != j->width) {
		text_printf(why, "it has %u bytes, the program takes %u", j->width, a->width);
	} else {
		return true;
	}
	return false;
}

static int check_result(const struct ctype *func, const struct closure_plan *plan,
			const struct prog_sig *sig, struct text *why)
{
	const struct ctype *ret = ctype_strip(func->to);

	if (plan->ret == CLOSURE_VOID || plan->ret == CLOSURE_STRUCT) {
		if (sig->ret_kind == PROG_RET_VOID)
			return 0;
		text_puts(why, "the program returns a value, and should return void");
	} else if (is_pointer(ret)) {
		if (sig->ret_kind != PROG_RET_MEM)
			text_puts(why, "the result is a pointer, the program returns none");
		else if (ret->kind == CTYPE_POINTER && named_otherwise(ctype_strip(ret->to), sig->btf, sig->ret_type))
			text_puts(why, "the program returns a pointer to another type");
		else if (ret->kind == CTYPE_POINTER && sig->ret_const && !ret->to->is_const)
			text_puts(why, "the program returns a pointer to const");
		else
			return 0;
	} else if (sig->ret_kind != PROG_RET_SCALAR || sig->ret_width != plan->ret_width) {
		text_printf(why, "the result has %u bytes, that of the program %u", plan->ret_width,
			    sig->ret_kind == PROG_RET_SCALAR ? sig->ret_width : 0);
	} else {
		return 0;
	}
	return -EINVAL;
}

/* The program takes all arguments in one block of 8 bytes each. */
static int check_block(const struct closure_plan *plan, const struct prog_arg *a, struct text *why)
{
	if (a->kind != PROG_ARG_MEM)
		text_puts(why, "with so many arguments the program takes one pointer to a struct of them");
	else if (a->touched > 8 * plan->nargs)
		text_printf(why, "the program accesses %u bytes of its arguments, there are %u", a->touched,
			    8 * plan->nargs);
	else
		return 0;
	return -EINVAL;
}

int closure_check(const struct ctype *func, const struct closure_plan *plan, const struct prog_sig *sig,
		  struct text *why)
{
	u32 first = plan->ret == CLOSURE_STRUCT, want = first + (plan->block ? 1 : plan->nargs);
	struct text what = { 0 };
	int err = check_result(func, plan, sig, why);

	if (err)
		return err;
	if (sig->nargs != want) {
		text_printf(why, "the program has %u parameters, expected %u", sig->nargs, want);
		return -EINVAL;
	}
	if (first && (sig->args[0].kind != PROG_ARG_MEM ||
		      !check_memory(func->to, true, sig, &sig->args[0], &what))) {
		text_printf(why, "the result, the program's first parameter: %s", text_str(&what));
		err = -EINVAL;
	}
	if (!err && plan->block)
		err = check_block(plan, &sig->args[first], why);
	for (u32 n = 0; !err && !plan->block && n < plan->nargs; n++) {
		if (check_arg(&func->params[n], &plan->args[n], sig, &sig->args[first + n], &what))
			continue;
		text_printf(why, "argument %u (%s): %s", n + 1, sig->args[first + n].name, text_str(&what));
		err = -EINVAL;
	}
	text_free(&what);
	return err;
}
