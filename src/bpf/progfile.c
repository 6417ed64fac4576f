/* SPDX-License-Identifier: MIT */
/*
 * What the memfd of a program holds: all that another process needs to verify and compile it again
 * (adopt.c). Maps and BTF are named by the inodes of their memfds, native functions by name.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "bpf/sys_int.h"

static void *put(u8 **at, const void *data, size_t n, size_t item)
{
	void *to = *at;

	if (n && data)
		memcpy(to, data, n * item);
	*at += n * item;
	return to;
}

static struct prog_file_ref ref(const struct sys_obj *o)
{
	return (struct prog_file_ref){ o->dev, o->ino };
}

int sys_prog_record(struct sys_prog *sp)
{
	const struct prog *p = sp->p;
	struct prog_file head = { .magic = SYS_PROG_MAGIC,
				  .type = p->type,
				  .attach_type = p->attach_type,
				  .flags = p->flags,
				  .gpl = p->gpl,
				  .insn_cnt = p->insn_cnt,
				  .nfuncs = sp->nfunc_info,
				  .nlines = sp->nline_info,
				  .nmaps = sp->nmaps,
				  .nnatives = p->nnatives };
	struct prog_file_native *natives;
	struct prog_file_ref *maps;
	u8 *at;
	u32 i;

	if (!sp->want_id)
		sp->want_id = sys_obj_number(SYS_PROG);
	head.id = sp->want_id;
	memcpy(head.name, p->name, sizeof(head.name));
	memcpy(head.tag, sp->tag, sizeof(head.tag));
	if (sp->btf)
		head.btf = ref(&sp->btf->o);
	if (sp->attach_btf) {
		snprintf(head.target_module, sizeof(head.target_module), "%s", sp->attach_btf->o.name);
		snprintf(head.target_func, sizeof(head.target_func), "%s", p->args.name);
	}
	sp->file_size = sizeof(head) + (size_t)p->insn_cnt * sizeof(struct bpf_insn) +
			(size_t)sp->nfunc_info * sizeof(struct bpf_func_info) +
			(size_t)sp->nline_info * sizeof(struct bpf_line_info) +
			sp->nmaps * sizeof(*maps) + p->nnatives * sizeof(*natives);
	sp->file = base_alloc(sp->file_size);
	if (!sp->file)
		return -ENOMEM;
	at = sp->file;
	put(&at, &head, 1, sizeof(head));
	put(&at, p->insns, p->insn_cnt, sizeof(struct bpf_insn));
	put(&at, sp->func_info, sp->nfunc_info, sizeof(struct bpf_func_info));
	put(&at, sp->line_info, sp->nline_info, sizeof(struct bpf_line_info));
	maps = put(&at, NULL, sp->nmaps, sizeof(*maps));
	natives = put(&at, NULL, p->nnatives, sizeof(*natives));
	for (i = 0; i < sp->nmaps; i++)
		maps[i] = ref(&sp->maps[i]->o);
	for (i = 0; i < p->nnatives; i++) {
		snprintf(natives[i].module, sizeof(natives[i].module), "%s", p->natives[i]->mod->name);
		snprintf(natives[i].func, sizeof(natives[i].func), "%s", p->natives[i]->name);
	}
	return 0;
}
