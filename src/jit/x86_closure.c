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

static void set_inside(struct x86_buf *b, const u32 *inside, u32 value)
{
	x86_on_field(b, "\x64\xc7\x04\x25", 4, inside); /* mov dword fs:[inside], value */
	x86_bytes(b, &value, sizeof(value));
}

const void *jit_entry(const struct jit_entry *e)
{
	struct x86_buf b = { 0 };
	size_t within, none;
	const void *code;

	if (e->n > ARRAY_SIZE(regs))
		return NULL;
	x86_bytes(&b, "\xf3\x0f\x1e\xfa", 4); /* endbr64 */
	x86_on_field(&b, "\x64\x83\x3c\x25", 4, e->inside); /* cmp dword fs:[inside], 0 */
	x86_byte(&b, 0);
	within = x86_jcc8(&b, X86_NE);
	set_inside(&b, e->inside, 1);
	/* Only now, so that whoever takes the program away either is seen here or sees that we are inside. */
	x86_mov_ri(&b, X86_RAX, (u64)(uintptr_t)e->target, false);
	x86_load(&b, 8, X86_RAX, x86_at(X86_RAX, 0));
	x86_test_rr(&b, 8, X86_RAX, X86_RAX);
	none = x86_jcc8(&b, X86_E);
	x86_push(&b, X86_RBP);
	x86_mov_rr(&b, 8, X86_RBP, X86_RSP);
	load_args(&b, e->args, e->n);
	x86_call_r(&b, X86_RAX);
	set_inside(&b, e->inside, 0);
	if (e->ret_float)
		x86_xmm_from_gp(&b, (int)e->ret_float, 0, X86_RAX);
	x86_pop(&b, X86_RBP);
	x86_ret(&b);
	x86_land8(&b, none);
	set_inside(&b, e->inside, 0);
	x86_land8(&b, within);
	x86_mov_ri(&b, X86_R11, (u64)(uintptr_t)e->otherwise, false);
	x86_jmp_r(&b, X86_R11);
	code = b.oom ? NULL : code_pool_add(b.data, b.len);
	base_free(b.data);
	return code;
}
