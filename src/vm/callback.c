/* SPDX-License-Identifier: MIT */
/*
 * Subprograms as C functions: what LD_IMM64 of a function gives (prog.h, prog_callback). They are
 * closures: the address that native code calls has to say by itself which subprogram it is.
 */
#include <errno.h>

#include "ffi/call.h"
#include "vm/vm_int.h"

struct callback {
	ffi_closure *closure;
	void *entry;    /* the C function */
	const struct vm_code *code;
	u32 start;      /* the subprogram's first instruction */
};

struct vm_callbacks {
	ffi_cif cif;    /* of prog_callback */
	u32 n;
	struct callback all[];
};

static void enter(ffi_cif *cif, void *ret, void **args, void *data)
{
	const struct callback *cb = data;
	u32 tail_calls = 0, n;
	u64 regs[5];

	(void)cif;
	for (n = 0; n < ARRAY_SIZE(regs); n++)
		regs[n] = *(const u64 *)args[n];
	*(u64 *)ret = vm_exec(cb->code, cb->start, regs, &tail_calls, NULL);
}

static bool is_func_ref(const struct bpf_insn *in)
{
	return isa_is_ldimm64(in) && in->src_reg == BPF_PSEUDO_FUNC;
}

static const struct callback *find(const struct vm_callbacks *cbs, u32 start)
{
	u32 n;

	for (n = 0; n < cbs->n; n++)
		if (cbs->all[n].start == start)
			return &cbs->all[n];
	return NULL;
}

static int add(struct vm_callbacks *cbs, const struct vm_code *c, u32 start)
{
	struct callback *cb = &cbs->all[cbs->n];

	cb->closure = ffi_closure_alloc(sizeof(*cb->closure), &cb->entry);
	if (!cb->closure)
		return -ENOMEM;
	cb->code = c;
	cb->start = start;
	cbs->n++;
	return ffi_prep_closure_loc(cb->closure, &cbs->cif, enter, cb, cb->entry) == FFI_OK ? 0 : -EINVAL;
}

int vm_callbacks_make(const struct prog *p, const u8 *second, struct vm_code *c)
{
	static ffi_type *args[5] = { &ffi_type_uint64, &ffi_type_uint64, &ffi_type_uint64,
				     &ffi_type_uint64, &ffi_type_uint64 };
	struct vm_callbacks *cbs;
	u32 refs = 0, at;
	int err = 0;

	for (at = 0; at < p->insn_cnt; at += isa_slots(&p->insns[at]))
		refs += is_func_ref(&p->insns[at]);
	if (!refs)
		return 0;
	cbs = base_alloc(sizeof(*cbs) + refs * sizeof(cbs->all[0]));
	if (!cbs)
		return -ENOMEM;
	c->callbacks = cbs;
	if (ffi_prep_cif(&cbs->cif, FFI_DEFAULT_ABI, ARRAY_SIZE(args), &ffi_type_uint64, args) != FFI_OK)
		return -EINVAL;
	for (at = 0; at < p->insn_cnt && !err; at += isa_slots(&p->insns[at])) {
		s64 start = (s64)at + 1 + p->insns[at].imm;

		if (is_func_ref(&p->insns[at]) && start >= 0 && start < p->insn_cnt &&
		    !second[start] && !find(cbs, (u32)start))
			err = add(cbs, c, (u32)start);
	}
	return err;
}

u64 vm_callback_entry(const struct vm_code *c, s64 start)
{
	const struct callback *cb = NULL;

	if (c->callbacks && start >= 0 && start < c->cnt)
		cb = find(c->callbacks, (u32)start);
	return (u64)(uintptr_t)(cb ? cb->entry : NULL);
}

void vm_callbacks_free(struct vm_callbacks *cbs)
{
	u32 n;

	for (n = 0; cbs && n < cbs->n; n++)
		ffi_closure_free(cbs->all[n].closure);
	base_free(cbs);
}
