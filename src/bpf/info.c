/* SPDX-License-Identifier: MIT */
/* BPF_OBJ_GET_INFO_BY_FD: what is known of a program, map or BTF. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "bpf/event/link.h"
#include "bpf/session/look.h"
#include "bpf/sys_int.h"
#include "jit/jit.h"

/*
 * An array that the caller may want: `have` items, room for *count at `addr`. As many as fit are
 * written; *count becomes the number there are. 0 or -EFAULT.
 */
static int put_array(u64 addr, u32 *count, const void *items, u32 have, u32 item)
{
	u32 n = *count < have ? *count : have;

	*count = have;
	return sys_out(addr, items, (size_t)n * item);
}

static int finish(struct sys_call *c, const void *info, u32 known)
{
	u32 len = c->attr.info.info_len < known ? c->attr.info.info_len : known;

	if (sys_out(c->attr.info.info, info, len) || SYS_PUT(c, info.info_len, len))
		return -EFAULT;
	return 0;
}

static int map_info(struct sys_call *c, struct sys_map *sm)
{
	const struct map *m = sm->map;
	struct bpf_map_info info = {
		.type = m->attr.type,
		.id = sm->o.id,
		.key_size = m->attr.key_size,
		.value_size = m->attr.value_size,
		.max_entries = m->attr.max_entries,
		.map_flags = m->attr.flags,
		.map_extra = m->attr.extra,
		.btf_id = m->btf_fd_id,
		.btf_key_type_id = m->btf_key_id,
		.btf_value_type_id = m->btf_value_id,
	};
	struct bpf_map_info ignored;
	int err =
		sys_in_struct(&ignored, sizeof(ignored), c->attr.info.info, c->attr.info.info_len);

	if (err)
		return err;
	memcpy(info.name, m->attr.name, sizeof(info.name));
	return finish(c, &info, sizeof(info));
}

static int btf_info(struct sys_call *c, struct sys_btf *sb)
{
	struct bpf_btf_info in, out = { 0 };
	u32 copy, name_len = strlen(sb->o.name), room;
	int err = sys_in_struct(&in, sizeof(in), c->attr.info.info, c->attr.info.info_len);

	if (err)
		return err;
	out.id = sb->o.id;
	out.kernel_btf = sb->kernel;
	out.btf = in.btf;
	out.btf_size = sb->raw_size;
	out.name = in.name;
	out.name_len = name_len;
	copy = in.btf_size < sb->raw_size ? in.btf_size : sb->raw_size;
	if (in.btf && copy && sys_out(in.btf, sb->raw, copy))
		return -EFAULT;
	if (!in.name != !in.name_len)
		return -EINVAL;
	room = in.name_len;
	if (room > name_len) {
		err = sys_out(in.name, sb->o.name, name_len + 1) ? -EFAULT : 0;
	} else if (room) {
		/* As much as fits, terminated. */
		if (sys_out(in.name, sb->o.name, room - 1) || sys_out(in.name + room - 1, "", 1))
			return -EFAULT;
		err = -ENOSPC;
	}
	if (err == -EFAULT || finish(c, &out, sizeof(out)))
		return -EFAULT;
	return err;
}

/* ---- programs ------------------------------------------------------------------------------- */

/* The instructions as a client may read them: indices of maps become ids (bpf_insn_prepare_dump).
 */
static int put_xlated(const struct sys_prog *sp, u64 addr, u32 *len)
{
	const struct prog *p = sp->p;
	u32 size = p->insn_cnt * sizeof(struct bpf_insn), want = *len < size ? *len : size, i;
	struct bpf_insn *copy;
	int err;

	*len = size;
	if (!want)
		return 0;
	copy = base_memdup(p->insns, size);
	if (!copy)
		return -ENOMEM;
	for (i = 0; i < p->insn_cnt; i += isa_slots(&copy[i])) {
		struct bpf_insn *in = &copy[i];

		if (isa_is_ldimm64(in) &&
		    (in->src_reg == BPF_PSEUDO_MAP_FD || in->src_reg == BPF_PSEUDO_MAP_VALUE) &&
		    (u32)in->imm < p->nmaps)
			in->imm = p->maps[in->imm]->id;
		else if (isa_is_call(in, BPF_PSEUDO_KFUNC_CALL) && (u32)in->imm < p->nnatives)
			in->imm = p->natives[in->imm]->btf_id;
	}
	err = sys_out(addr, copy, want);
	base_free(copy);
	return err;
}

static int put_map_ids(const struct sys_prog *sp, u64 addr, u32 *count)
{
	u32 ids[SYS_MAX_MAPS * 4], n = 0;

	sys_slow_lock(); /* maps may be bound meanwhile */
	for (; n < sp->nmaps && n < ARRAY_SIZE(ids); n++)
		ids[n] = sp->maps[n]->o.id;
	sys_slow_unlock();
	return put_array(addr, count, ids, n, sizeof(ids[0]));
}

/* One a function, or the program's when it has only one. */
static int put_tags(const struct sys_prog *sp, u64 addr, u32 *count)
{
	const struct prog *p = sp->p;
	u8 (*tags)[BPF_TAG_SIZE];
	u32 i;
	int err;

	if (p->nfuncs <= 1)
		return put_array(addr, count, sp->tag, 1, sizeof(sp->tag));
	tags = base_array(p->nfuncs, sizeof(*tags));
	if (!tags)
		return -ENOMEM;
	for (i = 0; i < p->nfuncs; i++)
		sys_prog_tag(p->insns + p->funcs[i].start, p->funcs[i].end - p->funcs[i].start,
			     tags[i]);
	err = put_array(addr, count, tags, p->nfuncs, sizeof(*tags));
	base_free(tags);
	return err;
}

/* Offset of an instruction's code; the image has an entry for each and one for the end. */
static u64 code_of(const struct jit_image *img, u32 insn)
{
	return (uintptr_t)img->code + img->insn_off[insn];
}

/* That of a function's first line is the function's, in front of what sets up its frame. */
static u64 line_code(const struct prog *p, const struct jit_image *img, u32 insn)
{
	u32 i;

	for (i = 0; i < p->nfuncs; i++)
		if (p->funcs[i].start == insn)
			return (uintptr_t)img->code + img->func_off[i];
	return insn ? code_of(img, insn) : (uintptr_t)img->code;
}

/* What only compiled programs have: code, addresses and lengths of functions, lines' addresses. */
static int put_jited(const struct sys_prog *sp, const struct bpf_prog_info *in,
		     struct bpf_prog_info *out)
{
	const struct prog *p = sp->p;
	const struct bpf_line_info *li = sp->line_info;
	struct jit_image img;
	u32 n = p->nfuncs ? p->nfuncs : 1, i;
	u64 *addrs;
	u32 *lens;
	int err;

	out->jited_prog_len = out->nr_jited_ksyms = out->nr_jited_func_lens = 0;
	out->nr_jited_line_info = 0;
	if (!sp->jited || jit_image(p, &img))
		return 0;
	addrs = base_array(n > sp->nline_info ? n : sp->nline_info, sizeof(*addrs));
	lens = base_array(n, sizeof(*lens));
	if (!addrs || !lens) {
		err = -ENOMEM;
		goto out;
	}
	for (i = 0; i < n; i++) {
		u32 start = p->nfuncs ? img.func_off[i] : 0;

		addrs[i] = (uintptr_t)img.code + start;
		lens[i] = (i + 1 < n ? img.func_off[i + 1] : img.size) - start;
	}
	out->jited_prog_len = in->jited_prog_len;
	out->nr_jited_ksyms = in->nr_jited_ksyms;
	out->nr_jited_func_lens = in->nr_jited_func_lens;
	out->nr_jited_line_info = in->nr_jited_line_info;
	err = put_array(in->jited_prog_insns, &out->jited_prog_len, img.code, img.size, 1);
	if (!err)
		err = put_array(in->jited_ksyms, &out->nr_jited_ksyms, addrs, n, sizeof(*addrs));
	if (!err)
		err = put_array(in->jited_func_lens, &out->nr_jited_func_lens, lens, n,
				sizeof(*lens));
	for (i = 0; i < sp->nline_info; i++)
		addrs[i] = line_code(p, &img, li[i].insn_off);
	if (!err)
		err = put_array(in->jited_line_info, &out->nr_jited_line_info, addrs,
				sp->nline_info, sizeof(*addrs));
out:
	base_free(addrs);
	base_free(lens);
	return err;
}

/* Where else it runs. */
static void add_others(const struct sys_prog *sp, struct bpf_prog_info *out)
{
	struct look_row r = { 0 };

	sys_shared()->sum(sp->o.id, &r);
	out->run_time_ns += r.run_ns;
	out->run_cnt += r.runs;
	out->recursion_misses += r.missed;
}

static int prog_info(struct sys_call *c, struct sys_prog *sp)
{
	const struct prog *p = sp->p;
	struct bpf_prog_info in, out;
	int err = sys_in_struct(&in, sizeof(in), c->attr.info.info, c->attr.info.info_len);

	if (err)
		return err;
	if ((in.nr_func_info && in.func_info_rec_size != sizeof(struct bpf_func_info)) ||
	    (in.nr_line_info && in.line_info_rec_size != sizeof(struct bpf_line_info)) ||
	    (in.nr_jited_line_info && in.jited_line_info_rec_size != sizeof(u64)))
		return -EINVAL;
	out = in;
	out.type = p->type;
	out.id = sp->o.id;
	out.load_time = sp->o.load_time;
	out.created_by_uid = sp->o.uid;
	out.gpl_compatible = p->gpl;
	out.btf_id = sp->btf ? sp->btf->o.id : 0;
	out.run_time_ns = p->run_ns;
	out.run_cnt = p->run_cnt;
	out.recursion_misses = p->recursion_misses;
	if (sys_shared())
		add_others(sp, &out);
	out.verified_insns = p->verified_insns;
	out.ifindex = 0;
	out.netns_dev = out.netns_ino = 0;
	out.attach_btf_obj_id = sp->attach_btf ? sp->attach_btf->o.id : 0;
	out.attach_btf_id = sp->attach_btf_id;
	out.func_info_rec_size = sizeof(struct bpf_func_info);
	out.line_info_rec_size = sizeof(struct bpf_line_info);
	out.jited_line_info_rec_size = sizeof(u64);
	memcpy(out.tag, sp->tag, sizeof(out.tag));
	memcpy(out.name, p->name, sizeof(out.name));
	err = put_map_ids(sp, in.map_ids, &out.nr_map_ids);
	if (!err)
		err = put_xlated(sp, in.xlated_prog_insns, &out.xlated_prog_len);
	if (!err)
		err = put_array(in.func_info, &out.nr_func_info, sp->func_info, sp->nfunc_info,
				sizeof(struct bpf_func_info));
	if (!err)
		err = put_array(in.line_info, &out.nr_line_info, sp->line_info, sp->nline_info,
				sizeof(struct bpf_line_info));
	if (!err)
		err = put_tags(sp, in.prog_tags, &out.nr_prog_tags);
	if (!err)
		err = put_jited(sp, &in, &out);
	return err ? err : finish(c, &out, sizeof(out));
}

static int link_info(struct sys_call *c, struct sys_link *l)
{
	union sys_link_info in, out;
	int err = sys_in_struct(&in, sizeof(in), c->attr.info.info, c->attr.info.info_len), later;

	if (err)
		return err;
	err = sys_link_info(l, &in, &out);
	if (err && (err != -ENOSPC || l->type == BPF_LINK_TYPE_PERF_EVENT))
		return err;
	later = finish(c, &out, sizeof(out));
	return later ? later : err;
}

long sys_cmd_info(struct sys_call *c)
{
	struct sys_obj *o = sys_fd_get(c->attr.info.bpf_fd, 0);
	int err = -EINVAL;

	if (!o)
		return sys_fd_error(c->attr.info.bpf_fd) == -EBADF ? -EBADFD : -EINVAL;
	switch (o->kind) {
	case SYS_MAP: err = map_info(c, container_of(o, struct sys_map, o)); break;
	case SYS_PROG: err = prog_info(c, container_of(o, struct sys_prog, o)); break;
	case SYS_BTF: err = btf_info(c, container_of(o, struct sys_btf, o)); break;
	case SYS_LINK: err = link_info(c, container_of(o, struct sys_link, o)); break;
	}
	sys_put(o);
	return err;
}
