/* SPDX-License-Identifier: MIT */
/* Calls and closures from the text of a prototype: C types become libffi's. */
#include <errno.h>
#include <string.h>

#include "ferry/call.h"
#include "ffi/call_int.h"
#include "ffi/ctype.h"

#define MAX_ELEMENTS 64 /* of a struct written out; larger ones travel in memory anyway */

/* A signature: a cif and all that it points to. */
struct call_sig {
	struct arena mem;
	struct ctypes *types;
	ffi_cif cif;
	const struct ctype *func;
};

static ffi_type *convert(struct call_sig *g, const struct ctype *t, struct text *why);

static ffi_type *integer(u32 size, bool is_signed)
{
	switch (size) {
	case 1: return is_signed ? &ffi_type_sint8 : &ffi_type_uint8;
	case 2: return is_signed ? &ffi_type_sint16 : &ffi_type_uint16;
	case 4: return is_signed ? &ffi_type_sint32 : &ffi_type_uint32;
	case 8: return is_signed ? &ffi_type_sint64 : &ffi_type_uint64;
	case 16: return is_signed ? &ffi_type_sint128 : &ffi_type_uint128;
	default: return NULL;
	}
}

static ffi_type *floating(u32 size)
{
	return size == 4 ? &ffi_type_float : size == 8 ? &ffi_type_double :
	       size == sizeof(long double) ? &ffi_type_longdouble : NULL;
}

/* Can the struct be written as a list of its elements, and then how many are there? 0: no. */
static u32 plain_elements(const struct ctype *t)
{
	u32 i, n = 0, k;

	for (i = 0; i < t->count; i++) {
		const struct ctype *m = ctype_strip(t->members[i].type);
		u32 times = 1;

		for (; m->kind == CTYPE_ARRAY; m = ctype_strip(m->to)) {
			times = m->count && times <= MAX_ELEMENTS ? times * m->count : MAX_ELEMENTS + 1;
			if (!m->count)
				return 0;
		}
		k = m->kind == CTYPE_UNION || t->members[i].bits ? 0 :
		    m->kind == CTYPE_STRUCT ? plain_elements(m) : 1;
		if (!k || times > MAX_ELEMENTS || k * times > MAX_ELEMENTS - n)
			return 0;
		n += m->kind == CTYPE_STRUCT ? times : times * k;
	}
	return n;
}

static ffi_type *new_struct(struct call_sig *g, const struct ctype *t, u32 elements)
{
	ffi_type *f = arena_alloc(&g->mem, sizeof(*f));

	if (!f)
		return NULL;
	f->type = FFI_TYPE_STRUCT;
	f->size = t->size;
	f->alignment = (unsigned short)t->align;
	f->elements = arena_alloc(&g->mem, (elements + 1) * sizeof(*f->elements));
	return f->elements ? f : NULL;
}

static ffi_type *by_elements(struct call_sig *g, const struct ctype *t, u32 n, struct text *why)
{
	ffi_type *f = new_struct(g, t, n), *e;
	u32 i, k = 0, times;

	for (i = 0; f && i < t->count; i++) {
		const struct ctype *m = ctype_strip(t->members[i].type);

		for (times = 1; m->kind == CTYPE_ARRAY; m = ctype_strip(m->to))
			times *= m->count;
		e = convert(g, m, why);
		if (!e)
			return NULL;
		for (; times && k < n; times--)
			f->elements[k++] = e;
	}
	return f;
}

/* What the eightbytes of a struct or union hold: bit 0 integers, bit 1 floating point, bit 2 long double. */
static void mark_words(const struct ctype *t, u32 off, u8 *words)
{
	u32 i, w, size;

	t = ctype_strip(t);
	if (t->kind == CTYPE_STRUCT || t->kind == CTYPE_UNION) {
		for (i = 0; i < t->count; i++) {
			const struct ctype_member *m = &t->members[i];

			if (!m->bits) {
				mark_words(m->type, off + m->bit_off / 8, words);
				continue;
			}
			for (w = m->bit_off / 8; w <= (m->bit_off + m->bits - 1) / 8; w++)
				words[(off + w) / 8] |= 1;
		}
		return;
	}
	if (t->kind == CTYPE_ARRAY) {
		for (i = 0; i < t->count; i++)
			mark_words(t->to, off + i * ctype_strip(t->to)->size, words);
		return;
	}
	size = t->size ? t->size : 1;
	for (w = off / 8; w <= (off + size - 1) / 8; w++)
		words[w] |= t->kind != CTYPE_FLOAT ? 1 : t->size > 8 ? 4 : 2;
}

/*
 * Unions, bit-fields and long arrays cannot be written as elements. What matters is the class of each
 * eightbyte (System V ABI 3.2.3), and above sixteen bytes nothing: then one element stands for all.
 */
static ffi_type *by_words(struct call_sig *g, const struct ctype *t, struct text *why)
{
	ffi_type *f = new_struct(g, t, 16);
	u8 words[2] = { 0 };
	u32 k = 0, off;

	if (!f)
		return NULL;
	if (t->size > 16) {
		f->elements[0] = &ffi_type_uint64;
		return f;
	}
	mark_words(t, 0, words);
	if (words[0] & 4 || words[1] & 4) {
		if (words[0] != 4 || t->kind != CTYPE_STRUCT) {
			text_puts(why, "long double in a union or beside bit-fields cannot be passed");
			return NULL;
		}
		f->elements[0] = &ffi_type_longdouble;
		return f;
	}
	for (off = 0; off < t->size;) {
		u32 left = t->size - off, part = left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;

		f->elements[k++] = words[off / 8] == 2 && part >= 4 ? floating(part) : integer(part, false);
		off += part;
	}
	return f;
}

static ffi_type *convert(struct call_sig *g, const struct ctype *t, struct text *why)
{
	ffi_type *f = NULL;
	u32 n;

	t = ctype_strip(t);
	switch (t->kind) {
	case CTYPE_VOID: return &ffi_type_void;
	case CTYPE_BOOL: return &ffi_type_uint8;
	case CTYPE_INT:
	case CTYPE_ENUM: f = integer(t->size, t->is_signed); break;
	case CTYPE_FLOAT: f = floating(t->size); break;
	case CTYPE_POINTER:
	case CTYPE_FUNC:
	case CTYPE_ARRAY: return &ffi_type_pointer; /* as parameters they decay: C17 6.7.6.3 */
	case CTYPE_STRUCT:
	case CTYPE_UNION:
		if (t->incomplete || !t->size) {
			text_printf(why, "%s %s is %s", t->kind == CTYPE_UNION ? "union" : "struct", t->name,
				    t->incomplete ? "not defined: declare it in `types`" : "empty");
			return NULL;
		}
		n = t->kind == CTYPE_STRUCT ? plain_elements(t) : 0;
		f = n ? by_elements(g, t, n, why) : by_words(g, t, why);
		break;
	default: break;
	}
	if (!f && !why->len)
		text_puts(why, "a type that calls cannot carry");
	return f;
}

void call_sig_free(struct call_sig *g)
{
	if (!g)
		return;
	ctypes_free(g->types);
	arena_free(&g->mem);
	base_free(g);
}

ffi_cif *call_sig_cif(struct call_sig *g)
{
	return &g->cif;
}

const struct ctype *call_sig_func(const struct call_sig *g)
{
	return g->func;
}

static int fill_cif(struct call_sig *g, u32 nfixed, struct text *why)
{
	const struct ctype *f = g->func;
	ffi_type **args = arena_alloc(&g->mem, (f->count + 1) * sizeof(*args));
	ffi_type *ret = convert(g, f->to, why);
	u32 i;

	for (i = 0; args && ret && i < f->count; i++) {
		args[i] = convert(g, f->params[i].type, why);
		if (!args[i])
			return -EOPNOTSUPP;
	}
	if (!ret || !args)
		return args ? -EOPNOTSUPP : -ENOMEM;
	switch (ffi_prep_cif_var(&g->cif, FFI_DEFAULT_ABI, nfixed, f->count, ret, args)) {
	case FFI_OK: return 0;
	case FFI_BAD_ARGTYPE:
		text_puts(why, "behind the dots C passes no float and nothing narrower than int");
		return -EOPNOTSUPP;
	default:
		text_puts(why, "the arguments are too many or too large");
		return -EOPNOTSUPP;
	}
}

/*
 * The text that the C parser is given: with a name, which "int (int)" lacks, and without the dots of a
 * variadic call, whose types follow them; *fixed is the text up to the dots then, else NULL.
 */
static int prepare_text(const char *prototype, bool add_name, char **text, char **fixed)
{
	const char *open = strchr(prototype, '('), *dots = strstr(prototype, "..."), *rest;
	struct text t = { 0 }, f = { 0 };
	size_t head;

	text_add(&t, prototype, open ? (size_t)(open - prototype) : 0);
	text_puts(&t, add_name ? " ferry_function" : "");
	open = open ? open : prototype;
	rest = dots ? dots + 3 + strspn(dots + 3, " \t\n") : NULL;
	if (dots && dots > open && *rest == ',') {
		for (head = (size_t)(dots - open); head && strchr(" \t\n,", open[head - 1]);)
			head--;
		text_printf(&f, "%s%.*s)", text_str(&t), (int)head, open);
		text_printf(&t, "%.*s%s", (int)head, open, rest);
	} else {
		text_puts(&t, open);
	}
	*text = t.s;
	*fixed = f.s;
	return t.oom || f.oom ? -ENOMEM : 0;
}

/* Parses one form of the text: the function and, for a variadic call, how many parameters are named. */
static int parse(struct call_sig *g, const char *prototype, bool add_name, u32 *nfixed, struct text *why)
{
	char *text, *fixed;
	const struct ctype *named;
	const char *name;
	int err = prepare_text(prototype, add_name, &text, &fixed);

	if (!err)
		err = ctypes_prototype(g->types, text, &g->func, &name, why);
	*nfixed = err ? 0 : g->func->count;
	if (!err && fixed) {
		err = ctypes_prototype(g->types, fixed, &named, &name, why);
		*nfixed = err ? 0 : named->count;
	}
	base_free(text);
	base_free(fixed);
	return err;
}

int call_sig_new(const char *prototype, const char *types, struct call_sig **out)
{
	struct call_sig *g = base_alloc(sizeof(*g));
	struct text why = { 0 }, again = { 0 };
	int err = g ? ctypes_new(&g->types) : -ENOMEM;
	u32 nfixed = 0;

	if (!err && types)
		err = ctypes_declare(g->types, types, &why);
	if (!err) {
		err = parse(g, prototype, false, &nfixed, &why);
		if (err == -EINVAL)
			err = parse(g, prototype, true, &nfixed, &again);
	}
	if (!err && g->func->variadic) {
		text_puts(&why, "variadic: write the types of one call behind the dots");
		err = -EOPNOTSUPP;
	}
	if (!err) {
		text_reset(&why);
		err = fill_cif(g, nfixed, &why);
	}
	if (err) {
		log_msg(LOG_WARN, "prototype \"%s\": %s", prototype, why.len ? text_str(&why) : strerror(-err));
		call_sig_free(g);
	} else {
		*out = g;
	}
	text_free(&again);
	text_free(&why);
	return err;
}

/* ---- calls ------------------------------------------------------------------------------------- */

struct ferry_call {
	call_thunk thunk;
	struct call_sig *sig;
};

int ferry_call_prepare(const char *prototype, const char *types, struct ferry_call **out)
{
	struct ferry_call *c;
	int err;

	if (!prototype || !out)
		return -EINVAL;
	c = base_alloc(sizeof(*c));
	err = c ? call_sig_new(prototype, types, &c->sig) : -ENOMEM;
	if (err) {
		base_free(c);
		return err;
	}
	c->thunk = call_thunks[c->sig->cif.flags % CALL_MAX_SHAPES];
	*out = c;
	return 0;
}

int call_of_ctype(const struct ctype *func, struct ferry_call **out, struct text *why)
{
	struct ferry_call *c = base_alloc(sizeof(*c));
	int err = -ENOMEM;

	if (!c)
		return err;
	c->sig = base_alloc(sizeof(*c->sig));
	if (c->sig) {
		c->sig->func = func;
		err = fill_cif(c->sig, func->count, why);
		c->sig->func = NULL;
	}
	if (err) {
		ferry_call_free(c);
		return err;
	}
	c->thunk = call_thunks[c->sig->cif.flags % CALL_MAX_SHAPES];
	*out = c;
	return 0;
}

u32 call_shape_number(const struct ferry_call *call)
{
	return call->sig->cif.flags % CALL_MAX_SHAPES;
}

void ferry_call_invoke(const struct ferry_call *call, void (*fn)(void), void *ret, void **args)
{
	call->thunk(&call->sig->cif, fn, ret, args);
}

size_t ferry_call_ret_size(const struct ferry_call *call)
{
	const ffi_type *t = call->sig->cif.rtype;

	return t->type == FFI_TYPE_VOID ? 0 : t->size < sizeof(ffi_arg) ? sizeof(ffi_arg) : t->size;
}

void ferry_call_free(struct ferry_call *call)
{
	if (call)
		call_sig_free(call->sig);
	base_free(call);
}

/* ---- closures ---------------------------------------------------------------------------------- */

struct handler_closure {
	struct ferry_closure c;
	struct call_sig *sig;
	ffi_closure *closure;
	ferry_handler handler;
	void *data;
};

static void run_handler(ffi_cif *cif, void *ret, void **args, void *data)
{
	struct handler_closure *h = data;

	(void)cif;
	h->handler(ret, args, h->data);
}

static void release(struct ferry_closure *c)
{
	struct handler_closure *h = container_of(c, struct handler_closure, c);

	ffi_closure_free(h->closure);
	call_sig_free(h->sig);
	base_free(h);
}

int ferry_closure_new(const char *prototype, const char *types, ferry_handler handler, void *data,
		      struct ferry_closure **out)
{
	struct handler_closure *h;
	int err;

	if (!prototype || !handler || !out)
		return -EINVAL;
	h = base_alloc(sizeof(*h));
	if (!h)
		return -ENOMEM;
	h->c.release = release;
	h->handler = handler;
	h->data = data;
	err = call_sig_new(prototype, types, &h->sig);
	if (!err) {
		h->closure = ffi_closure_alloc(sizeof(*h->closure), &h->c.code);
		err = h->closure ? 0 : -ENOMEM;
	}
	if (!err &&
	    ffi_prep_closure_loc(h->closure, &h->sig->cif, run_handler, h, h->c.code) != FFI_OK)
		err = -EOPNOTSUPP;
	if (err) {
		release(&h->c);
		return err;
	}
	*out = &h->c;
	return 0;
}

void *ferry_closure_code(const struct ferry_closure *closure)
{
	return closure->code;
}

void ferry_closure_free(struct ferry_closure *closure)
{
	if (closure)
		closure->release(closure);
}
