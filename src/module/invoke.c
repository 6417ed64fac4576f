/* SPDX-License-Identifier: MIT */
/*
 * Calls that are more than a jump: checks that the prototype leaves to the time of the call, arguments from
 * registers or the argument block, structs and floating point by the calling convention (src/ffi).
 */
#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include "ferry/call.h"
#include "module/module_int.h"

#define MAX_STRING 4096 /* a string that is checked at the call is copied, so that it stays what it was */
#define MAX_COPIES (2 * MAX_STRING) /* of all strings of one call */
#define LOG_FIRST  8    /* failing calls of a function that are logged; then each power of two */

u64 module_extend(u64 v, u8 width, bool is_signed, bool is_bool)
{
	switch (width) {
	case 1: return is_bool ? (u8)v != 0 : is_signed ? (u64)(s8)v : (u8)v;
	case 2: return is_signed ? (u64)(s16)v : (u16)v;
	case 4: return is_signed ? (u64)(s32)v : (u32)v;
	default: return v;
	}
}

/* ---- checks ------------------------------------------------------------------------------------ */

static u64 failed(const struct module_func *f, u32 i, const char *what)
{
	/* The one thing of a registered function that changes. */
	_Atomic u64 *count = (_Atomic u64 *)(uintptr_t)&f->failed;
	u64 n = atomic_fetch_add_explicit(count, 1, memory_order_relaxed) + 1;

	if (n <= LOG_FIRST || !(n & (n - 1)))
		log_msg(LOG_WARN, "%s() was not called: argument %u (%s) %s (%llu time%s)", f->name, i + 1,
			f->args[i].name, what, (unsigned long long)n, n > 1 ? "s" : "");
	return f->ret_kind == MODULE_RET_SCALAR && f->ret_signed ? (u64)-EINVAL : 0;
}

static bool in_range(const struct module_arg *a, u64 v)
{
	u32 i;

	if (a->ranged)
		return a->is_signed ? (s64)v >= a->min && (s64)v <= a->max :
				      v >= (u64)a->min && v <= (u64)a->max;
	for (i = 0; i < a->nvalues && a->values[i] != (s64)v; i++)
		;
	return !a->nvalues || i < a->nvalues;
}

struct copies {
	char text[MAX_COPIES];
	u32 used;
};

/* A copy of the string within what the verifier knows to be readable; NULL: no terminator, or no room. */
static const char *copy_string(const char *s, u32 room, struct copies *c)
{
	u32 n = MAX_COPIES - c->used, i;
	char *copy = &c->text[c->used];

	n = n < MAX_STRING ? n : MAX_STRING;
	n = n < room ? n : room;
	/* Other threads may write to it: what was looked at is what is passed. */
	for (i = 0; i < n; i++) {
		copy[i] = ((const volatile char *)s)[i];
		if (!copy[i]) {
			c->used += i + 1;
			return copy;
		}
	}
	return NULL;
}

static const char *wrong(const struct module_arg *a, u64 *v, const struct module_site *site,
			 struct copies *copies)
{
	const char *s = (const char *)(uintptr_t)*v;

	switch (a->kind) {
	case MODULE_ARG_STRING:
		if (!s)
			return a->nullable ? NULL : "is NULL";
		s = copy_string(s, site->str_len, copies);
		*v = (u64)(uintptr_t)s;
		return s ? NULL : "is a string without an end";
	case MODULE_ARG_MEM:
	case MODULE_ARG_OBJECT:
		return s || a->nullable ? NULL : "is NULL";
	}
	return in_range(a, *v) ? NULL : a->ranged ? "is out of its range" : "is no value of its enum";
}

/* ---- the call ---------------------------------------------------------------------------------- */

/* The argument as it was given: a register, or a member of the block. */
static u64 fetch(const struct module_func *f, const struct module_arg *a, const u64 *regs)
{
	const u8 *block;
	u64 v = 0;

	if (a->reg)
		return regs[a->reg - 1];
	block = (const u8 *)(uintptr_t)regs[f->block_reg - 1] + a->off;
	if (a->kind == MODULE_ARG_VALUE)
		return (u64)(uintptr_t)block;
	memcpy(&v, block, a->width);
	return v;
}

/*
 * What C passes behind the dots depends on the format, which the verifier read. Integers and doubles each have
 * their registers, in order (SysV ABI 3.2.3, AAPCS64 6.4), so one shape of call serves all.
 */
static u64 invoke_variadic(const struct module_func *f, const u64 *v, const u64 *regs,
			   const struct module_site *site)
{
	u64 (*fn)(u64, ...) = (u64 (*)(u64, ...))(uintptr_t)f->addr;
	u64 g[MODULE_MAX_REGS] = { 0 };
	double d[MODULE_MAX_REGS] = { 0 };
	u32 i, ng = 0, nd = 0;

	for (i = 0; i < f->nargs; i++)
		g[ng++] = v[i];
	for (i = 0; i < site->va_count && f->nargs + i < MODULE_MAX_REGS; i++) {
		if (site->va_float & 1u << i)
			memcpy(&d[nd++], &regs[f->nargs + i], sizeof(d[0]));
		else
			g[ng++] = regs[f->nargs + i];
	}
	return fn(g[0], g[1], g[2], g[3], g[4], d[0], d[1], d[2], d[3]);
}

static u64 result(const struct module_func *f, u64 v)
{
	switch (f->ret_kind) {
	case MODULE_RET_VOID:
	case MODULE_RET_STRUCT: return 0; /* what is left in the register is the host's */
	case MODULE_RET_SCALAR: return module_extend(v, f->ret_width, f->ret_signed, f->ret_bool);
	default: return v;
	}
}

static u64 make_call(const struct module_func *f, const u64 *v, const u64 *regs, const struct module_site *site)
{
	u64 ret[2] = { 0 };
	void *args[MODULE_MAX_ARGS], *to = ret;
	u32 i;

	if (f->variadic)
		return result(f, invoke_variadic(f, v, regs, site));
	if (!f->call) /* integers and pointers, at most five */
		return result(f, ((u64(*)(u64, u64, u64, u64, u64))(uintptr_t)f->addr)(
					 v[0], v[1], v[2], v[3], v[4]));
	for (i = 0; i < f->nargs; i++)
		args[i] = f->args[i].kind == MODULE_ARG_VALUE ? (void *)(uintptr_t)v[i] :
								 (void *)(uintptr_t)&v[i];
	/* A result in registers may be written in whole words. */
	if (f->ret_kind == MODULE_RET_STRUCT && f->ret_size > sizeof(ret))
		to = (void *)(uintptr_t)regs[0];
	ferry_call_invoke(f->call, (void (*)(void))(uintptr_t)f->addr, to, args);
	if (f->ret_kind == MODULE_RET_STRUCT && to == ret)
		memcpy((void *)(uintptr_t)regs[0], ret, f->ret_size);
	return result(f, ret[0]);
}

/* With room for a copy of a string, and with function pointers that are good until it returns. */
static u64 invoke_checked(const struct module_func *f, u64 *v, const u64 *regs, const struct module_site *site)
{
	struct copies copies; /* only what is used of it is ever written */
	const char *what;
	u32 i, mark = module_lend_mark();
	u64 ret = 0;

	copies.used = 0;
	for (i = 0; i < f->nargs; i++) {
		what = NULL;
		if (f->args[i].callback)
			what = module_lend(f->args[i].callback, &v[i]);
		else if (f->args[i].check)
			what = wrong(&f->args[i], &v[i], site, &copies);
		if (what)
			break;
	}
	ret = i < f->nargs ? failed(f, i, what) : make_call(f, v, regs, site);
	module_lend_end(mark);
	return ret;
}

u64 module_invoke(const struct module_func *f, const u64 *regs, const struct module_site *site)
{
	u64 v[MODULE_MAX_ARGS] = { 0 };
	u32 i;

	for (i = 0; i < f->nargs; i++) {
		const struct module_arg *a = &f->args[i];

		v[i] = fetch(f, a, regs);
		if (a->kind != MODULE_ARG_IGNORE && a->kind != MODULE_ARG_VALUE && !a->is_float)
			v[i] = module_extend(v[i], a->width, a->is_signed, a->is_bool);
	}
	return f->checks ? invoke_checked(f, v, regs, site) : make_call(f, v, regs, site);
}
