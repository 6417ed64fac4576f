/* SPDX-License-Identifier: MIT */
/*
 * The short way into a closure: from C's arguments, whose upper bytes may be anything and of which float and double are in
 * registers of their own (SysV ABI 3.2.3), to eBPF's of 64 bits.
 */
#include "code/pool.h"
#include "jit/x86_int.h"

static const u8 regs[] = { X86_RDI, X86_RSI, X86_RDX, X86_RCX, X86_R8 };

/* The last one first: an integer stands in its own place or one in front of it, which nobody has written to then. */
static void load_args(struct x86_buf *b, const struct jit_arg *args, u32 n)
{
	u32 floats = 0, k;
	u8 from;

	for (k = 0; k < n; k++)
		floats += args[k].is_float;
	for (k = n; k-- > 0;) {
		if (args[k].is_float) {
			x86_gp_from_xmm(b, args[k].width, regs[k], (u8)--floats);
			continue;
		}
		from = regs[k - floats];
		if (args[k].width >= 8) {
			if (from != regs[k])
				x86_mov_rr(b, 8, regs[k], from);
		} else if (args[k].is_signed) {
			x86_movsx_rr(b, 8, args[k].width, regs[k], from);
		} else {
			x86_movzx_rr(b, args[k].width, regs[k], from);
		}
	}
}

/* The other way round: what load_args() took integers from is as it was, but for bytes that do not count. */
static void unload_args(struct x86_buf *b, const struct jit_arg *args, u32 n)
{
	u32 floats = 0, k;

	for (k = 0; k < n; k++) {
		if (args[k].is_float)
			floats++;
		else if (floats)
			x86_mov_rr(b, 8, regs[k - floats], regs[k]);
	}
}

static void set_inside(struct x86_buf *b, const u32 *inside, u32 value)
{
	x86_on_field(b, "\x64\xc7\x04\x25", 4, inside); /* mov dword fs:[inside], value */
	x86_bytes(b, &value, sizeof(value));
}

static const void *add(struct x86_buf *b)
{
	const void *code = b->oom ? NULL : code_pool_add_beside_main(b->data, b->len);

	base_free(b->data);
	return code;
}

static size_t unless_inside(struct x86_buf *b, const u32 *inside)
{
	x86_on_field(b, "\x64\x83\x3c\x25", 4, inside); /* cmp dword fs:[inside], 0 */
	x86_byte(b, 0);
	return x86_jcc8(b, X86_NE);
}

/*
 * Stands in for the program: calls what is behind the function, with its arguments. The frame is the function's. If it
 * is another thread that comes back (of a host that moves stacks), what that is inside of is not changed.
 */
static const void *no_program(const struct jit_entry *e)
{
	struct x86_buf b = { 0 };
	size_t other;

	set_inside(&b, e->inside, 0);
	unload_args(&b, e->args, e->n);
	x86_mov_ri(&b, X86_R11, (u64)(uintptr_t)e->otherwise, false);
	x86_alu_ri(&b, X86_SUB, 8, X86_RSP, 8);
	x86_call_r(&b, X86_R11);
	x86_alu_ri(&b, X86_ADD, 8, X86_RSP, 8);
	if (e->ret_float)
		x86_gp_from_xmm(&b, (int)e->ret_float, X86_RAX, 0);
	other = unless_inside(&b, e->inside);
	x86_ret(&b);
	x86_land8(&b, other);
	x86_pop(&b, X86_RCX); /* the way back into the function */
	x86_pop(&b, X86_RBP);
	x86_ret(&b);
	return add(&b);
}

const void *jit_entry(const struct jit_entry *e)
{
	struct x86_buf b = { 0 };
	const void *none;
	size_t within;

	if (e->n > ARRAY_SIZE(regs))
		return NULL;
	none = no_program(e);
	if (!none)
		return NULL;
	*e->target = none;
	x86_bytes(&b, "\xf3\x0f\x1e\xfa", 4); /* endbr64 */
	within = unless_inside(&b, e->inside);
	set_inside(&b, e->inside, 1);
	/* Only now, so that whoever takes the program away either is seen here or sees that we are inside. */
	x86_mov_ri(&b, X86_RAX, (u64)(uintptr_t)e->target, false);
	x86_push(&b, X86_RBP);
	x86_mov_rr(&b, 8, X86_RBP, X86_RSP);
	load_args(&b, e->args, e->n);
	x86_bytes(&b, "\xff\x10", 2); /* call [rax] */
	set_inside(&b, e->inside, 0);
	if (e->ret_float)
		x86_xmm_from_gp(&b, (int)e->ret_float, 0, X86_RAX);
	x86_pop(&b, X86_RBP);
	x86_ret(&b);
	x86_land8(&b, within);
	x86_mov_ri(&b, X86_R11, (u64)(uintptr_t)e->otherwise, false);
	x86_jmp_r(&b, X86_R11);
	return add(&b);
}
