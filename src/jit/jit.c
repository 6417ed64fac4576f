/* SPDX-License-Identifier: MIT */
/* The driver: a program in, its compiled form installed. */
#include <errno.h>
#include <string.h>

#include "helper/helper.h"
#include "jit/jit_int.h"

const struct helper_proto *jit_helper(s32 id)
{
	return helper_of((u32)id);
}

static const struct jit_target *target(void)
{
#if defined(__x86_64__)
	return &jit_x86_64;
#else
	return NULL;
#endif
}

static void free_code(struct jit_code *code)
{
	code_free(code->region);
	base_free(code->insn_off);
	base_free(code->func_off);
	base_free(code->callback_off);
	base_free(code->faults);
	base_free(code->probes);
	memset(code, 0, sizeof(*code));
}

/*
 * Where most calls go: this library, where the helpers are, or the host's native functions, which may
 * lie further away than a 32-bit displacement reaches. A C function that makes no calls (prog/sig.c) is beside those
 * that call it.
 */
static const void *neighbour(const struct prog *p)
{
	bool arrays = true; /* look-ups are in line */
	u32 helpers = 0, natives = 0;

	for (u32 n = 0; n < p->nmaps; n++)
		arrays = arrays && p->maps[n]->ops->inline_kind == MAP_INLINE_ARRAY;
	for (u32 n = 0; n < p->insn_cnt; n += isa_slots(&p->insns[n])) {
		helpers += isa_is_call(&p->insns[n], 0) && !(arrays && p->insns[n].imm == BPF_FUNC_map_lookup_elem);
		natives += isa_is_call(&p->insns[n], BPF_PSEUDO_KFUNC_CALL);
	}
	if (p->type == BPF_PROG_TYPE_EXT && !helpers && !natives && !p->limits)
		return code_main();
	return natives > helpers && p->nnatives ? p->natives[0]->addr : (const void *)jit_install;
}

static bool has_tail_calls(const struct prog *p)
{
	for (u32 n = 0; n < p->insn_cnt; n += isa_slots(&p->insns[n]))
		if (isa_is_call(&p->insns[n], 0) && p->insns[n].imm == BPF_FUNC_tail_call)
			return true;
	return false;
}

/*
 * Programs that trace run in the middle of other code, and are compiled so that they change no vector
 * register: none of what they do themselves needs one. Not where native functions take what they like, nor
 * where another program may go on that calls those.
 */
static bool is_plain(const struct prog *p)
{
	switch (p->type) {
	case BPF_PROG_TYPE_KPROBE:
	case BPF_PROG_TYPE_TRACEPOINT:
	case BPF_PROG_TYPE_PERF_EVENT:
	case BPF_PROG_TYPE_RAW_TRACEPOINT:
	case BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE:
		return !p->nnatives && !p->limits && !has_tail_calls(p);
	default:
		return false;
	}
}

static int compile_once(const struct prog *p, const struct jit_target *t, bool far,
			struct jit_code *out)
{
	struct jit_unit u = { .prog = p, .near = neighbour(p), .plain = is_plain(p), .far = far };
	int err = jit_scan(&u, t);

	if (!err)
		err = t->compile(&u, out);
	jit_unit_free(&u);
	if (err)
		free_code(out);
	return err;
}

/* Loads that may fault leave 0 in their register (kernel: exception tables). */
static int add_faults(struct jit_code *code)
{
	for (u32 n = 0; n < code->nfaults; n++)
		code->faults[n].on_fault = target()->on_fault;
	return code_fault_add(code->faults, code->nfaults);
}

/* Typed programs make no tail calls: their code is a C function. */
static u64 call_code(const struct prog *p, const u64 *args)
{
	prog_callback code = (prog_callback)(uintptr_t)__atomic_load_n(&p->tail, __ATOMIC_ACQUIRE);

	return code(args[0], args[1], args[2], args[3], args[4]);
}

int jit_install(struct prog *p)
{
	const struct jit_target *t = target();
	struct jit_code *code;
	const u8 *base;
	int err;

	if (!t)
		return -EOPNOTSUPP;
	if (!code_allowed())
		return -EPERM;
	if (!p->insn_cnt || p->insn_cnt > ISA_MAX_INSNS)
		return -E2BIG;
	code = base_alloc(sizeof(*code));
	if (!code)
		return -ENOMEM;
	err = compile_once(p, t, false, code);
	if (err == -EAGAIN)
		err = compile_once(p, t, true, code);
	if (!err) {
		err = add_faults(code);
		if (err)
			free_code(code);
	}
	if (err) {
		base_free(code);
		return err;
	}
	base = code_addr(code->region);
	p->code = code;
	p->plain = is_plain(p);
	p->tail = base + code->tail_off;
	p->call = call_code;
	p->run = (u64(*)(const struct prog *, void *))(uintptr_t)(base + code->run_off);
	return 0;
}

void jit_remove(struct prog *p)
{
	struct jit_code *code = p->code;
	const u8 *base;

	if (!code)
		return;
	p->code = NULL;
	p->plain = false;
	p->tail = NULL;
	p->run = NULL;
	p->call = NULL;
	base = code_addr(code->region);
	code_fault_remove(base, base + code->size);
	free_code(code);
	base_free(code);
}

int jit_image(const struct prog *p, struct jit_image *out)
{
	const struct jit_code *code = p->code;

	if (!code)
		return -ENOENT;
	out->code = code_addr(code->region);
	out->size = code->size;
	out->insn_off = code->insn_off;
	out->func_off = code->func_off;
	return 0;
}

prog_callback jit_callback(const struct prog *p, u32 func)
{
	const struct jit_code *code = p->code;

	if (!code || func >= p->nfuncs)
		return NULL;
	return (prog_callback)(uintptr_t)((const u8 *)code_addr(code->region) + code->callback_off[func]);
}
