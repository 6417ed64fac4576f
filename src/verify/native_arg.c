/* SPDX-License-Identifier: MIT */
/* Arguments of native functions: each is proved to be what the prototype and its annotations say. */
#include <errno.h>

#include "verify/native_int.h"

#define SIZE_HINT "bound the size by that of the memory"

int native_error(struct verifier *v, const struct native *c, u32 i, const char *hint, const char *what)
{
	const struct module_arg *a = &c->f->args[i];

	return refuse(v, -EINVAL, hint, "arg#%u of %s() (%c%u, %s%s%s): %s", i, c->f->name, a->reg ? 'R' : '+',
		      a->reg ? a->reg : a->off, reg_type_name(&c->args[i]), a->name[0] ? ", " : "", a->name,
		      what);
}

static bool is_null(struct verifier *v, const struct reg *reg)
{
	if (!reg_is_const(reg) || reg->n.bits.value)
		return false;
	vprecise_reg(v, reg);
	return true;
}

static bool at_start(const struct reg *reg)
{
	return !reg->off && num_is_const(&reg->n) && !reg->n.bits.value;
}

/* ---- fetching ---------------------------------------------------------------------------------- */

/* Members of the argument block, which has to be where nobody else writes. */
static int fetch_block(struct verifier *v, struct native *c)
{
	const struct module_func *f = c->f;
	u32 r = f->block_reg, i;
	int err = vcall_read_ok(v, r);

	if (err)
		return err;
	if (cur_reg(v, r)->type != REG_STACK || !num_is_const(&cur_reg(v, r)->n) ||
	    (cur_reg(v, r)->off + (s64)cur_reg(v, r)->n.bits.value) % 8)
		return refuse(v, -EINVAL, "declare the struct as a local variable and pass its address",
			      "the arguments of %s(), struct %s_args, have to be on the stack (R%u is %s)",
			      f->name, f->name, r, reg_type_name(cur_reg(v, r)));
	for (i = 0; i < f->nargs && !err; i++) {
		const struct module_arg *a = &f->args[i];

		if (a->kind == MODULE_ARG_VALUE) {
			c->args[i] = *cur_reg(v, r);
			c->args[i].off += (s32)a->off;
		} else {
			err = vstack_read(v, r, a->off, a->width, a->is_signed, &c->args[i]);
		}
		if (err)
			vlog_note(v, "reading arg#%u of %s() (+%u, %s) in struct %s_args", i, f->name, a->off,
				  a->name, f->name);
	}
	return err;
}

/* The size that a pointer argument points to. */
static int fetch_size(struct verifier *v, struct native *c, u32 i)
{
	u32 at = c->f->args[i].size_arg - 1u, width = c->f->args[at].size;
	struct reg saved = *cur_reg(v, 1);
	int err;

	if (c->args[at].type != REG_STACK || c->args[at].flags & REG_NULLABLE || width > 8)
		return native_error(v, c, at, "give the address of a local variable",
				    "a size is read from the stack, where nobody else can change it");
	*cur_reg(v, 1) = c->args[at];
	err = vstack_read(v, 1, 0, width, false, &c->sizes[i]);
	*cur_reg(v, 1) = saved;
	if (!err && c->sizes[i].type != REG_SCALAR)
		err = native_error(v, c, at, "store a number there first", "the size is no number");
	return err;
}

int native_fetch(struct verifier *v, struct native *c)
{
	const struct module_func *f = c->f;
	u32 i;
	int err = f->block_reg ? fetch_block(v, c) : 0;

	for (i = 0; !f->block_reg && i < f->nargs && !err; i++) {
		if (f->args[i].kind != MODULE_ARG_IGNORE)
			err = vcall_read_ok(v, f->args[i].reg);
		c->args[i] = *cur_reg(v, f->args[i].reg);
	}
	for (i = 0; i < f->nargs && !err; i++) {
		if (!f->args[i].size_arg)
			continue;
		if (f->args[i].size_deref)
			err = fetch_size(v, c, i);
		else
			c->sizes[i] = c->args[f->args[i].size_arg - 1];
	}
	return err;
}

/* ---- numbers ----------------------------------------------------------------------------------- */

static bool is_value(const struct module_arg *a, s64 x)
{
	u32 i;

	for (i = 0; i < a->nvalues; i++)
		if (a->values[i] == x)
			return true;
	return false;
}

/* Are all values that the callee may see, of the argument's type, in the range or enum? */
static bool in_range(const struct module_arg *a, const struct reg *reg)
{
	struct num n = reg->n;
	u64 x;

	if (a->width < 8 && a->is_signed)
		num_sext(&n, a->width * 8u);
	else if (a->width < 8)
		num_zext(&n, a->width * 8u);
	if (a->ranged && a->is_signed)
		return n.smin >= a->min && n.smax <= a->max;
	if (a->ranged)
		return n.umin >= (u64)a->min && n.umax <= (u64)a->max;
	if (n.umax - n.umin > 64)
		return false;
	/* The last may be the largest number there is. */
	for (x = n.umin;; x++) {
		if (num_has(&n, x) && !is_value(a, (s64)x))
			return false;
		if (x == n.umax)
			return true;
	}
}

static int scalar(struct verifier *v, struct native *c, u32 i)
{
	const struct module_arg *a = &c->f->args[i];
	const struct reg *reg = &c->args[i];
	struct text rule = { 0 };

	if (reg->type != REG_SCALAR)
		return native_error(v, c, i,
				    "the function takes a number here; a pointer goes with another prototype",
				    "is not a scalar");
	if ((!a->ranged && !a->nvalues) || a->check)
		return 0;
	vprecise_reg(v, reg);
	if (in_range(a, reg))
		return 0;
	if (a->ranged)
		text_printf(&rule, "not proved to be in [%lld, %lld]", (long long)a->min, (long long)a->max);
	else
		text_printf(&rule, "not proved to be one of the %u values of its enum", a->nvalues);
	native_error(v, c, i, "compare it with the limits before the call", text_str(&rule));
	text_free(&rule);
	return -EINVAL;
}

static int constant(struct verifier *v, struct native *c, u32 i)
{
	int err = scalar(v, c, i);

	if (err)
		return err;
	if (!reg_is_const(&c->args[i]))
		return refuse(v, -EINVAL, "give a constant", "%s%u must be a known constant",
			      c->f->args[i].reg ? "R" : "the argument at +",
			      c->f->args[i].reg ? c->f->args[i].reg : c->f->args[i].off);
	vprecise_reg(v, &c->args[i]);
	return 0;
}

/* ---- memory ------------------------------------------------------------------------------------ */

/* The largest number of bytes that the size may say; the register is named r in messages. */
static int size_bytes(struct verifier *v, const struct module_arg *a, const struct module_arg *from,
		      const struct reg *reg, u64 *bytes)
{
	u32 r = from->reg, limit = MAX_VAR_SIZE / a->elem;
	struct num n = reg->n;

	if (reg->type != REG_SCALAR)
		return refuse(v, -EACCES, "pass a number there: the size of the memory",
			      "R%u type=%s expected=scalar", r, reg_type_name(reg));
	vprecise_reg(v, reg);
	if (n.smin < 0)
		return refuse(v, -EACCES, "make the size unsigned, or compare it with 0 first",
			      "R%u min value is negative, either use unsigned or 'var &= const'", r);
	/* Above, a count times the size of an element could wrap around. */
	if (n.umax >= limit)
		return refuse(v, -EACCES, SIZE_HINT,
			      "R%u unbounded memory access, use 'var &= const' or 'if (var < const)'", r);
	*bytes = n.umax * a->elem;
	return 0;
}

/* `r` holds the pointer: the argument's register, or one lent to it. */
static int access(struct verifier *v, struct native *c, u32 i, u32 r)
{
	const struct module_arg *a = &c->f->args[i];
	bool exact = true;
	u64 bytes = a->size;
	int err = 0;

	if (a->size_arg) {
		err = size_bytes(v, a, &c->f->args[a->size_arg - 1], &c->sizes[i], &bytes);
		exact = num_is_const(&c->sizes[i].n) && !a->size_deref;
	}
	c->bytes[i] = bytes;
	/* Less than all may be written: then all has to be initialised before. */
	if (!err && !(a->uninit && exact))
		err = vmem_arg(v, r, bytes, ACCESS_READ, false);
	if (!err && (a->writable || a->uninit))
		err = vmem_arg(v, r, bytes, ACCESS_WRITE, a->uninit && exact);
	return err;
}

/* An object that the host gave as const lies perhaps where nothing can be written; to release it is no writing. */
static int may_write(struct verifier *v, const struct native *c, u32 i)
{
	if (!(c->args[i].flags & REG_CONST) || !c->f->args[i].writable || c->f->flags & FERRY_RELEASE)
		return 0;
	return native_error(v, c, i, "call a function that takes a pointer to const",
			    "the object was given as const, and the function may write");
}

static int memory(struct verifier *v, struct native *c, u32 i, u32 r)
{
	const struct module_arg *a = &c->f->args[i];
	struct reg *reg = cur_reg(v, r);
	bool maybe = reg->flags & REG_NULLABLE;
	int err;

	if (a->size_arg && !a->size_deref && c->f->args[a->size_arg - 1].width < 4)
		return native_error(v, c, a->size_arg - 1u, "declare the size as u32 or u64",
				    "sizes of less than 32 bits are not supported");
	if (a->nullable && is_null(v, reg))
		return 0;
	if (maybe && !a->nullable && !a->check)
		return native_error(v, c, i, "compare it with NULL first", "possibly NULL pointer");
	if (!a->size_arg && native_is_object(v, c, i))
		return may_write(v, c, i);
	/* If it is there, it has to be good. */
	reg->flags &= (u8)~REG_NULLABLE;
	err = access(v, c, i, r);
	if (maybe)
		reg->flags |= REG_NULLABLE;
	return err;
}

/* ---- objects ----------------------------------------------------------------------------------- */

bool native_is_object(const struct verifier *v, const struct native *c, u32 i)
{
	const struct btf *btf = c->f->mod ? c->f->mod->btf : NULL;
	const struct btf_type *t = btf ? fbtf_strip(btf, c->f->args[i].btf_id, NULL) : NULL;
	const struct reg *reg = &c->args[i];

	return t && btf_is_ptr(t) && reg->type == REG_BTF && reg->flags & REG_TRUSTED && at_start(reg) &&
	       vtyped_is(v, reg, btf, t->type);
}

/* What the C caller of the program gave as such a struct. */
static bool is_callers(struct verifier *v, const struct native *c, u32 i)
{
	const struct btf *btf = c->f->mod ? c->f->mod->btf : NULL;
	const struct btf_type *t = btf ? fbtf_strip(btf, c->f->args[i].btf_id, NULL) : NULL;

	return t && btf_is_ptr(t) &&
	       ventry_object(v, &c->args[i], btf, t->type, c->f->args[i].writable ? ACCESS_WRITE : ACCESS_READ);
}

static int object(struct verifier *v, struct native *c, u32 i)
{
	const struct module_arg *a = &c->f->args[i];
	const struct reg *reg = &c->args[i];

	if (a->nullable && is_null(v, reg))
		return 0;
	if (reg->flags & REG_NULLABLE && !a->nullable && !a->check)
		return native_error(v, c, i, "compare it with NULL first", "possibly NULL pointer");
	if (native_is_object(v, c, i))
		return may_write(v, c, i);
	if (is_callers(v, c, i))
		return !(reg->flags & REG_RDONLY) || !a->writable ? 0 :
			       native_error(v, c, i, "declare the program's parameter as the C prototype has it",
					    "the caller gave it as const, and the function may write");
	if (reg->type == REG_BTF && !(reg->flags & REG_TRUSTED))
		return native_error(v, c, i, "call the function that returns the object",
				    "it was read from memory, so the object may be gone");
	return native_error(v, c, i, "pass the pointer as a function of the module or the caller gave it",
			    "expects an object of the host's, which a program cannot make");
}

/* ---- strings ----------------------------------------------------------------------------------- */

/* Bytes readable from the pointer on, wherever it is in its range. */
static u32 readable(struct verifier *v, const struct reg *reg)
{
	s64 off = reg->off + reg->n.smax, size = 0;

	if (reg->n.smin < 0 || reg->n.smax >= MAX_VAR_OFF || reg->flags & REG_NULLABLE)
		return 0;
	if (reg->type == REG_MAP_VALUE && !(v->p->maps[reg->what]->attr.flags & BPF_F_WRONLY_PROG))
		size = v->p->maps[reg->what]->attr.value_size;
	else if (reg->type == REG_MEM)
		size = reg->size;
	else if (reg->type == REG_STACK && num_is_const(&reg->n))
		return vstack_written(v, reg);
	return reg->off + reg->n.smin >= 0 && off < size ? (u32)(size - off) : 0;
}

static bool host_string(const struct verifier *v, const struct reg *reg)
{
	return reg->type == REG_MEM && reg->flags & REG_NATIVE &&
	       !(reg->flags & REG_NULLABLE) && at_start(reg) &&
	       (reg->what == REG_HOST_STRING ||
		(reg->what < v->p->nnatives && v->p->natives[reg->what]->ret_kind == MODULE_RET_STRING));
}

static int string(struct verifier *v, struct native *c, u32 i, u32 r)
{
	const struct module_arg *a = &c->f->args[i];
	struct reg reg = c->args[i];
	u32 n;

	if (a->nullable && is_null(v, &reg))
		return 0;
	if (host_string(v, &reg)) {
		n = UINT32_MAX;
		goto found;
	}
	if (!a->check) {
		if (reg.type == REG_STACK)
			c->bytes[i] = vstack_string_size(v, &reg);
		return vcall_string(v, r);
	}
	/* NULL is found at the call too. */
	reg.flags &= (u8)~REG_NULLABLE;
	n = readable(v, &reg);
	if (!n)
		return native_error(v, c, i, "pass an initialised array on the stack or in a map value",
				    "no memory where the end of a string could be looked for");
found:
	if (!c->site.str_len || n < c->site.str_len)
		c->site.str_len = n;
	return 0;
}

/* ---- all --------------------------------------------------------------------------------------- */

static int context(struct verifier *v, struct native *c, u32 i)
{
	const struct module_arg *a = &c->f->args[i];

	if (c->args[i].type != REG_CTX || !at_start(&c->args[i]))
		return native_error(v, c, i, "pass the context as it was given", "is not the context");
	if (v->type->fields)
		return native_error(v, c, i, "pass packet data and the fields that the function needs",
				    "the context of this program type is not what programs see");
	if (a->size > v->type->raw_end)
		return native_error(v, c, i, "the program type's context is smaller than the struct",
				    "is too small");
	if (a->size > v->p->max_ctx_off)
		v->p->max_ctx_off = a->size;
	return 0;
}

/* It is verified by the prototype of the function pointer, and called while the native function runs. */
static int callback(struct verifier *v, struct native *c, u32 i)
{
	const struct module_arg *a = &c->f->args[i];

	if (a->nullable && is_null(v, &c->args[i]))
		return 0;
	if (c->args[i].type != REG_FUNC)
		return native_error(v, c, i, "pass the name of a static function of the program",
				    "is not a function of the program");
	return vcallback_native(v, c->args[i].what, a->callback, c->f->mod->btf);
}

static int arg(struct verifier *v, struct native *c, u32 i, u32 r)
{
	const struct module_arg *a = &c->f->args[i];

	switch (a->kind) {
	case MODULE_ARG_IGNORE: return 0;
	case MODULE_ARG_SCALAR:
	case MODULE_ARG_SIZE: return scalar(v, c, i);
	case MODULE_ARG_CONST:
	case MODULE_ARG_CONST_SIZE: return constant(v, c, i);
	case MODULE_ARG_MEM: return memory(v, c, i, r);
	case MODULE_ARG_OBJECT: return object(v, c, i);
	case MODULE_ARG_STRING: return string(v, c, i, r);
	case MODULE_ARG_CTX: return context(v, c, i);
	case MODULE_ARG_VALUE:
		c->bytes[i] = a->size;
		return vmem_arg(v, r, a->size, ACCESS_READ, false);
	case MODULE_ARG_FORMAT: return native_format(v, c, i);
	case MODULE_ARG_CALLBACK: return callback(v, c, i);
	}
	return native_error(v, c, i, "give what the prototype says", "this kind of argument is not supported yet");
}

/* Arguments from the block are looked at through r1, which is given back. */
int native_args(struct verifier *v, struct native *c)
{
	const struct module_func *f = c->f;
	struct reg saved = *cur_reg(v, 1);
	u32 i;
	int err = 0;

	for (i = 0; i < f->nargs && !err; i++) {
		u32 r = f->args[i].reg ? f->args[i].reg : 1;

		if (!f->args[i].reg)
			*cur_reg(v, 1) = c->args[i];
		err = arg(v, c, i, r);
		if (err && v->explained)
			vlog_note(v, "in the call of %s(), argument %u%s%s", f->name, i + 1,
				  *f->args[i].name ? ", " : "", f->args[i].name);
		if (f->block_reg)
			*cur_reg(v, 1) = saved;
	}
	return err;
}
