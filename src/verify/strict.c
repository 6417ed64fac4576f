/* SPDX-License-Identifier: MIT */
/*
 * The strict policy where it is more than a leak found where memory and calls are checked: helpers
 * that tell what is not the program's, and how far pointers may be computed on. The rules are those
 * of Linux 6.1 for who lacks CAP_PERFMON (allow_ptr_leaks and bypass_spec_v1 are false).
 */
#include <errno.h>

#include "verify/verify_int.h"

int vstrict_helper(struct verifier *v, u32 id)
{
	/* bpf_base_func_proto: those behind its check of CAP_PERFMON. */
	static const u32 telling[] = {
		BPF_FUNC_trace_printk,      BPF_FUNC_trace_vprintk,
		BPF_FUNC_get_current_task,  BPF_FUNC_get_current_task_btf,
		BPF_FUNC_probe_read_user,   BPF_FUNC_probe_read_user_str,
		BPF_FUNC_probe_read_kernel, BPF_FUNC_probe_read_kernel_str,
		BPF_FUNC_probe_read,        BPF_FUNC_probe_read_str,
		BPF_FUNC_snprintf,          BPF_FUNC_snprintf_btf,
		BPF_FUNC_task_pt_regs,      BPF_FUNC_seq_printf,
		BPF_FUNC_seq_printf_btf,
	};
	size_t i;

	for (i = 0; v->o->strict && i < ARRAY_SIZE(telling); i++)
		if (id == telling[i])
			return refuse(v, -EINVAL,
				      "the strict policy keeps addresses and foreign memory from "
				      "programs of others",
				      "program of this type cannot use helper %s#%u",
				      helper_name(id), id);
	return 0;
}

int vstrict_number(struct verifier *v, u32 r, const struct reg *ptr, const struct num *n)
{
	if (!v->o->strict || num_is_const(n))
		return 0;
	if (ptr->type == REG_STACK)
		return refuse(v, -EACCES, "use constant offsets, or a map for the array",
			      "R%u variable stack access prohibited for !root", r);
	if (ptr->type == REG_MAP_VALUE && n->smin < 0 && n->smax >= 0)
		return refuse(v, -EACCES,
			      "make it unsigned and check its upper bound before it is added",
			      "R%u has unknown scalar with mixed signed bounds, pointer arithmetic "
			      "with it "
			      "prohibited for !root",
			      r);
	return 0;
}

int vstrict_pointer(struct verifier *v, u32 r, const struct reg *ptr)
{
	const struct map *m;
	s64 lo, hi;

	if (!v->o->strict)
		return 0;
	lo = ptr->off + ptr->n.smin;
	hi = ptr->off + ptr->n.smax;
	if (ptr->type == REG_STACK && (lo < -ISA_STACK_SIZE || hi > 0))
		return refuse(
			v, -EACCES, "a frame has 512 bytes of stack",
			"R%u stack pointer arithmetic goes out of range, prohibited for !root", r);
	if (ptr->type != REG_MAP_VALUE)
		return 0;
	m = v->p->maps[ptr->what];
	/* One byte of it is to be accessible, as the kernel has it. */
	if (lo < 0 || hi >= m->attr.value_size)
		return refuse(
			v, -EACCES,
			"keep the pointer inside the value: check the number before it is added",
			"R%u pointer arithmetic of map value goes out of range, prohibited for "
			"!root",
			r);
	return 0;
}
