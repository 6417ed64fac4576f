/* SPDX-License-Identifier: MIT */
/* Function and line information of a program: the kernel's checks (check_btf_info). */
#include <errno.h>
#include <string.h>

#include "bpf/sys_int.h"

#define MAX_REC_SIZE 252 /* the kernel's MAX_FUNCINFO_REC_SIZE, MAX_LINEINFO_REC_SIZE */

/* Copies records of a size that may differ from ours; unknown bytes must be zero. */
static int read_records(u64 addr, u32 cnt, u32 rec, u32 known, u32 size_field, u64 uattr,
			const char *what, void **out, struct text *log)
{
	u32 take = rec < known ? rec : known, i;
	u8 *to;
	int err = 0;

	if ((u64)cnt > (256u << 20) / known)
		return -ENOMEM;
	/* Before memory is given: is there as much to read at all? */
	if (cnt && sys_in(&(u8){ 0 }, addr + (u64)cnt * rec - 1, 1))
		return -EFAULT;
	to = base_array(cnt, known);
	if (!to)
		return -ENOMEM;
	for (i = 0; i < cnt && !err; i++, addr += rec) {
		err = sys_tail_zero(addr, known, rec);
		if (err == -E2BIG) {
			text_printf(log, "nonzero tailing record in %s", what);
			/* Tells the caller the size that is known here. */
			if (sys_out(uattr + size_field, &known, sizeof(known)))
				err = -EFAULT;
		}
		if (!err)
			err = sys_in(to + (size_t)i * known, addr, take);
	}
	if (err) {
		base_free(to);
		return err;
	}
	*out = to;
	return 0;
}

static bool record_size_ok(u32 rec, u32 min)
{
	return rec >= min && rec <= MAX_REC_SIZE && rec % 4 == 0;
}

static int check_func(struct sys_prog *sp, u32 i, struct text *log)
{
	const struct bpf_func_info *fi = sp->func_info;
	const struct btf_type *t, *proto;
	struct prog_func *f = &sp->p->funcs[i];

	if (!i && fi[i].insn_off) {
		text_printf(log, "nonzero insn_off %u for the first func info record",
			    fi[i].insn_off);
		return -EINVAL;
	}
	if (i && fi[i].insn_off <= fi[i - 1].insn_off) {
		text_printf(log,
			    "same or smaller insn offset (%u) than previous func info record (%u)",
			    fi[i].insn_off, fi[i - 1].insn_off);
		return -EINVAL;
	}
	if (f->start != fi[i].insn_off) {
		text_puts(log,
			  "func_info BTF section doesn't match subprog layout in BPF program\n");
		return -EINVAL;
	}
	t = btf__type_by_id(sp->p->btf, fi[i].type_id);
	if (!fi[i].type_id || !t || !btf_is_func(t)) {
		text_printf(log, "invalid type id %d in func info", fi[i].type_id);
		return -EINVAL;
	}
	proto = btf__type_by_id(sp->p->btf, t->type);
	if (!proto || !btf_is_func_proto(proto))
		return -EINVAL;
	f->btf_id = fi[i].type_id;
	return 0;
}

int sys_func_info(struct sys_prog *sp, const union bpf_attr *attr, u64 uattr, struct text *log)
{
	u32 cnt = attr->func_info_cnt, i;
	int err;

	if (!cnt)
		return 0;
	if (cnt != sp->p->nfuncs) {
		text_puts(log, "number of funcs in func_info doesn't match number of subprogs\n");
		return -EINVAL;
	}
	if (!record_size_ok(attr->func_info_rec_size, sizeof(struct bpf_func_info))) {
		text_printf(log, "invalid func info rec size %u\n", attr->func_info_rec_size);
		return -EINVAL;
	}
	err = read_records(attr->func_info, cnt, attr->func_info_rec_size,
			   sizeof(struct bpf_func_info),
			   offsetof(union bpf_attr, func_info_rec_size), uattr, "func info",
			   &sp->func_info, log);
	for (i = 0; !err && i < cnt; i++)
		err = check_func(sp, i, log);
	if (!err)
		sp->nfunc_info = cnt;
	return err;
}

static int check_line(struct sys_prog *sp, u32 i, u32 *func, struct text *log)
{
	const struct bpf_line_info *li = sp->line_info;
	const struct prog *p = sp->p;
	const char *file, *text;

	if ((i && li[i].insn_off <= li[i - 1].insn_off) || li[i].insn_off >= p->insn_cnt) {
		text_printf(log,
			    "Invalid line_info[%u].insn_off:%u (prev_offset:%u prog->len:%u)\n", i,
			    li[i].insn_off, i ? li[i - 1].insn_off : 0, p->insn_cnt);
		return -EINVAL;
	}
	if (!p->insns[li[i].insn_off].code) {
		text_printf(log, "Invalid insn code at line_info[%u].insn_off\n", i);
		return -EINVAL;
	}
	file = btf__name_by_offset(p->btf, li[i].file_name_off);
	text = btf__name_by_offset(p->btf, li[i].line_off);
	if (!file || !text) {
		text_printf(log, "Invalid line_info[%u].line_off or .file_name_off\n", i);
		return -EINVAL;
	}
	if (*func < p->nfuncs && li[i].insn_off == p->funcs[*func].start) {
		++*func;
	} else if (*func < p->nfuncs && p->funcs[*func].start < li[i].insn_off) {
		text_printf(log, "missing bpf_line_info for func#%u\n", *func);
		return -EINVAL;
	}
	p->lines[i] = (struct prog_line){ li[i].insn_off, file, text,
					  BPF_LINE_INFO_LINE_NUM(li[i].line_col),
					  BPF_LINE_INFO_LINE_COL(li[i].line_col) };
	return 0;
}

int sys_line_info(struct sys_prog *sp, const union bpf_attr *attr, u64 uattr, struct text *log)
{
	u32 cnt = attr->line_info_cnt, rec = attr->line_info_rec_size, i, func = 0;
	int err;

	if (!cnt)
		return 0;
	if (cnt > INT32_MAX / sizeof(struct bpf_line_info) ||
	    !record_size_ok(rec, offsetof(struct bpf_line_info, line_col) + sizeof(u32)))
		return -EINVAL;
	err = read_records(attr->line_info, cnt, rec, sizeof(struct bpf_line_info),
			   offsetof(union bpf_attr, line_info_rec_size), uattr, "line_info",
			   &sp->line_info, log);
	if (err)
		return err;
	sp->p->lines = base_array(cnt, sizeof(*sp->p->lines));
	if (!sp->p->lines)
		return -ENOMEM;
	for (i = 0; !err && i < cnt; i++)
		err = check_line(sp, i, &func, log);
	if (!err && func != sp->p->nfuncs) {
		text_printf(log, "missing bpf_line_info for %u funcs starting from func#%u\n",
			    sp->p->nfuncs - func, func);
		err = -EINVAL;
	}
	if (!err) {
		sp->nline_info = cnt;
		sp->p->nlines = cnt;
	}
	return err;
}
