/* SPDX-License-Identifier: MIT */
/* BPF_PROG_LOAD: what the attr says is checked, references are resolved, then verify and compile.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpf/ops.h"
#include "bpf/policy.h"
#include "bpf/sys_int.h"
#include "code/code.h"
#include "jit/jit.h"
#include "verify/verify.h"
#include "vm/vm.h"

#define KNOWN_FLAGS                                                                                \
	(BPF_F_STRICT_ALIGNMENT | BPF_F_ANY_ALIGNMENT | BPF_F_TEST_RND_HI32 |                      \
	 BPF_F_TEST_STATE_FREQ | BPF_F_SLEEPABLE | BPF_F_XDP_HAS_FRAGS)

void sys_prog_free(struct sys_obj *o)
{
	struct sys_prog *sp = container_of(o, struct sys_prog, o);
	u32 i;

	if (o->id) {
		/* A tail call may have read its address. */
		if (sys_run_defer(o))
			return;
		sys_run_wait();
		close(o->fd);
	}
	if (sp->p && sp->p->run) {
		if (sp->jited)
			jit_remove(sp->p);
		else
			vm_remove(sp->p);
	}
	prog_free(sp->p);
	for (i = 0; i < sp->nmaps; i++)
		sys_put(&sp->maps[i]->o);
	if (sp->btf)
		sys_put(&sp->btf->o);
	if (sp->attach_btf)
		sys_put(&sp->attach_btf->o);
	base_free(sp->maps);
	base_free(sp->file);
	base_free(sp->func_info);
	base_free(sp->line_info);
	base_free(sp);
}

static bool gpl_compatible(const char *license)
{
	/* include/linux/license.h */
	static const char *const names[] = {
		"GPL",          "GPL v2",       "GPL and additional rights",
		"Dual BSD/GPL", "Dual MIT/GPL", "Dual MPL/GPL"
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (!strcmp(license, names[i]))
			return true;
	return false;
}

static u32 bit(u32 n)
{
	return n < 64 ? n : 63;
}

/* Attach types that a program type may be loaded for (bpf_prog_load_check_attach); 0: any. */
static bool attach_type_ok(u32 type, u32 attach)
{
	static const u64 allowed[] = {
		[BPF_PROG_TYPE_CGROUP_SOCK] =
			1ull << BPF_CGROUP_INET_SOCK_CREATE | 1ull << BPF_CGROUP_INET_SOCK_RELEASE |
			1ull << BPF_CGROUP_INET4_POST_BIND | 1ull << BPF_CGROUP_INET6_POST_BIND,
		[BPF_PROG_TYPE_CGROUP_SKB] =
			1ull << BPF_CGROUP_INET_INGRESS | 1ull << BPF_CGROUP_INET_EGRESS,
		[BPF_PROG_TYPE_CGROUP_SOCKOPT] =
			1ull << BPF_CGROUP_SETSOCKOPT | 1ull << BPF_CGROUP_GETSOCKOPT,
		[BPF_PROG_TYPE_CGROUP_SOCK_ADDR] =
			1ull << BPF_CGROUP_INET4_BIND | 1ull << BPF_CGROUP_INET6_BIND |
			1ull << BPF_CGROUP_INET4_CONNECT | 1ull << BPF_CGROUP_INET6_CONNECT |
			1ull << BPF_CGROUP_UDP4_SENDMSG | 1ull << BPF_CGROUP_UDP6_SENDMSG |
			1ull << BPF_CGROUP_UDP4_RECVMSG | 1ull << BPF_CGROUP_UDP6_RECVMSG |
			1ull << BPF_CGROUP_INET4_GETPEERNAME | 1ull << BPF_CGROUP_INET6_GETPEERNAME |
			1ull << BPF_CGROUP_INET4_GETSOCKNAME | 1ull << BPF_CGROUP_INET6_GETSOCKNAME,
		[BPF_PROG_TYPE_SK_LOOKUP] = 1ull << BPF_SK_LOOKUP,
		[BPF_PROG_TYPE_SYSCALL] = 1ull << 0,
		[BPF_PROG_TYPE_EXT] = 1ull << 0,
	};

	if (type >= ARRAY_SIZE(allowed) || !allowed[type])
		return true;
	return allowed[type] >> bit(attach) & 1;
}

/* What the attr asks for beyond the instructions. The reason goes to `why`. */
static int check_attr(const union bpf_attr *attr, struct sys_prog *sp, struct text *why)
{
	struct prog *p = sp->p;

	if (attr->prog_ifindex) {
		text_puts(why, "no device runs programs here (prog_ifindex)");
		return -EINVAL;
	}
	if (!prog_type_of(p->type)) {
		text_printf(why, "programs of type %s are not run here", prog_type_name(p->type));
		return -EINVAL;
	}
	if (p->type == BPF_PROG_TYPE_STRUCT_OPS)
		return ops_prog(attr, p, why);
	if (p->type == BPF_PROG_TYPE_TRACING)
		return sys_target(sp, attr, why);
	if (attr->attach_prog_fd || attr->attach_btf_id) {
		text_puts(why, "attaching to functions by BTF (attach_btf_id, attach_prog_fd) is "
			       "not here");
		return -EINVAL;
	}
	if (p->type == BPF_PROG_TYPE_CGROUP_SOCK && !p->attach_type)
		p->attach_type = BPF_CGROUP_INET_SOCK_CREATE;
	if (!attach_type_ok(p->type, p->attach_type)) {
		text_printf(why, "expected_attach_type %u is not one of %s", p->attach_type,
			    prog_type_name(p->type));
		return -EINVAL;
	}
	return 0;
}

/* The kernel says this in the log, after the instructions were looked at. */
static int check_sleepable(const struct prog *p, struct text *log)
{
	bool sleepable = p->flags & BPF_F_SLEEPABLE;

	if (p->type == BPF_PROG_TYPE_SYSCALL && !sleepable) {
		text_puts(log, "Syscall programs can only be sleepable\n");
		return -EINVAL;
	}
	if (sleepable && p->type != BPF_PROG_TYPE_SYSCALL && p->type != BPF_PROG_TYPE_KPROBE &&
	    p->type != BPF_PROG_TYPE_TRACING) {
		text_puts(
			log,
			"Only fentry/fexit/fmod_ret, lsm, and uprobe programs can be sleepable\n");
		return -EINVAL;
	}
	return 0;
}

static int read_insns(const union bpf_attr *attr, struct prog **out)
{
	void *insns;
	int err;

	if (!attr->insn_cnt || attr->insn_cnt > ISA_MAX_INSNS)
		return -E2BIG;
	err = sys_dup(attr->insns, (size_t)attr->insn_cnt * sizeof(struct bpf_insn), &insns);
	if (err)
		return err;
	*out = prog_new(insns, attr->insn_cnt);
	base_free(insns);
	return *out ? 0 : -ENOMEM;
}

/* Relocation by the kernel, which only light skeletons ask for; without BTF nobody looks. */
static int check_core_relos(const union bpf_attr *attr, struct text *log)
{
	u32 rec = attr->core_relo_rec_size;

	if (!attr->core_relo_cnt)
		return 0;
	if (attr->core_relo_cnt > INT32_MAX / sizeof(struct bpf_core_relo) ||
	    rec < sizeof(struct bpf_core_relo) || rec > 252 || rec % 4)
		return -EINVAL;
	text_puts(log, "CO-RE relocation is left to the loader: core_relos is not supported\n");
	return -EOPNOTSUPP;
}

/* BTF of the program and what it says about functions and lines. */
static int load_btf(struct sys_prog *sp, const struct sys_call *c, struct text *log)
{
	const union bpf_attr *attr = &c->attr;
	struct sys_obj *o;
	int err;

	if (!attr->func_info_cnt && !attr->line_info_cnt)
		return 0;
	o = sys_fd_get(attr->prog_btf_fd, SYS_BTF);
	if (!o)
		return sys_fd_error(attr->prog_btf_fd);
	sp->btf = container_of(o, struct sys_btf, o);
	if (sp->btf->kernel)
		return -EACCES;
	sp->p->btf = sp->btf->btf;
	err = sys_func_info(sp, attr, c->uattr, log);
	if (!err)
		err = sys_line_info(sp, attr, c->uattr, log);
	return err ? err : check_core_relos(attr, log);
}

/* Prog arrays that it uses hold programs like it, so that a tail call finds the context it expects.
 */
static int own_prog_arrays(struct sys_prog *sp)
{
	u32 i;

	for (i = 0; i < sp->nmaps; i++)
		if (sp->maps[i]->map->attr.type == BPF_MAP_TYPE_PROG_ARRAY &&
		    !sys_map_owner(sp->maps[i], sp->p, sp->jited))
			return -EINVAL;
	return 0;
}

static int install(struct sys_prog *sp)
{
	int err = code_allowed() ? jit_install(sp->p) : -EPERM;

	sp->jited = !err;
	if (err == -EPERM || err == -EOPNOTSUPP)
		err = vm_install(sp->p);
	return err ? err : own_prog_arrays(sp);
}

static _Thread_local bool strict;

bool sys_strict(bool on)
{
	bool was = strict;

	strict = on;
	return was;
}

static bool is_strict(void)
{
	const char *env = secure_getenv("FERRY_STRICT");

	return strict || (env && *env && strcmp(env, "0"));
}

static int verify(struct sys_prog *sp, const struct sys_call *c, struct sys_log *log)
{
	struct verify_opts opts = {
		.log_level = log->level,
		.log = log->level ? &log->text : NULL,
		.strict = is_strict(),
		.strict_align = c->attr.prog_flags & BPF_F_STRICT_ALIGNMENT,
	};
	struct verify_stats stats = { 0 };
	struct text *text = &log->text, why = { 0 };
	int err = isa_validate(sp->p->insns, sp->p->insn_cnt, ISA_ALL, &why);

	if (err)
		text_printf(text, "%s\n", text_str(&why));
	text_free(&why);
	if (!err)
		err = prog_find_funcs(sp->p);
	if (!err)
		err = load_btf(sp, c, text);
	if (!err)
		err = check_sleepable(sp->p, text);
	if (!err)
		err = sys_resolve(sp->p, sp, c->attr.fd_array, text);
	if (!err)
		err = policy_check(sp->p, text);
	if (!err)
		err = sys_prog_record(sp); /* the verifier's last pass rewrites instructions */
	if (!err)
		err = verify_prog(sp->p, &opts, &stats);
	return err ? err : sys_limit_apply(sp, text);
}

/* Into the tables; `fd` is its memfd when another process made it, else -1. */
static int enter(struct sys_prog *sp, int fd)
{
	bool made = fd < 0;
	int err;

	if (made) {
		fd = sys_memfd("bpf-prog", sp->file, sp->file_size, NULL, 0);
		if (fd < 0)
			return fd;
		fd = sys_fd_move(fd);
	}
	base_free(sp->file);
	sp->file = NULL;
	sp->o.id = sp->want_id;
	err = sys_obj_add(&sp->o, SYS_PROG, fd);
	if (err)
		sp->o.id = 0;
	if (err && made)
		close(fd);
	else if (made)
		sys_seal(fd);
	/* Unregistered while it was loading: whoever did that may not have seen it. */
	return err ? err : sys_limit_gone(sp->p) ? -ENOENT : 0;
}

static int load(struct sys_prog *sp, struct sys_call *c, int fd, struct text *why)
{
	const union bpf_attr *attr = &c->attr;
	struct sys_log log;
	char license[128];
	s64 n = sys_in_string(license, attr->license, sizeof(license) - 1);
	int err;

	if (n < 0)
		return -EFAULT;
	license[sizeof(license) - 1] = '\0';
	err = read_insns(attr, &sp->p);
	if (err)
		return err;
	sp->p->owner = &sp->o;
	sp->p->type = attr->prog_type;
	sp->p->attach_type = attr->expected_attach_type;
	sp->p->flags = attr->prog_flags;
	sp->p->gpl = gpl_compatible(license);
	err = sys_name_copy(sp->p->name, attr->prog_name);
	if (err < 0)
		return err;
	memcpy(sp->o.name, sp->p->name, sizeof(sp->p->name));
	err = check_attr(attr, sp, why);
	if (!err)
		err = sys_log_begin(&log, attr->log_level, attr->log_buf, attr->log_size);
	if (err)
		return err;
	sys_prog_tag(sp->p->insns, sp->p->insn_cnt, sp->tag);
	memcpy(sp->p->tag, sp->tag, sizeof(sp->tag));
	err = verify(sp, c, &log);
	err = sys_log_end(&log, err, sys_log_field(c->uattr, c->size, SYS_PROG_TRUE_SIZE));
	if (!err)
		err = install(sp);
	return err ? err : enter(sp, fd);
}

int sys_prog_load_from(struct sys_call *c, int fd, u32 id, struct sys_obj **out)
{
	struct sys_prog *sp;
	struct text why = { 0 };
	int err;

	if (c->attr.prog_flags & ~(u32)KNOWN_FLAGS)
		return -EINVAL;
	sp = base_alloc(sizeof(*sp));
	if (!sp)
		return -ENOMEM;
	sp->o.kind = SYS_PROG;
	sp->want_id = id;
	err = load(sp, c, fd, &why);
	if (err) {
		log_msg(LOG_INFO, "BPF_PROG_LOAD of %s '%.15s': %s (%s)",
			prog_type_name(c->attr.prog_type), c->attr.prog_name,
			why.len ? text_str(&why) : "refused, see the verifier's log",
			strerror(-err));
		if (sp->o.id)
			sys_put(&sp->o); /* in the tables already */
		else
			sys_prog_free(&sp->o);
	} else {
		*out = &sp->o;
	}
	text_free(&why);
	return err;
}

long sys_cmd_prog_load(struct sys_call *c)
{
	struct sys_obj *o;
	int fd = sys_prog_load_from(c, -1, 0, &o);

	if (fd)
		return fd;
	fd = sys_fd_new(o, 0);
	sys_put(o);
	return fd;
}

long sys_cmd_prog_bind_map(struct sys_call *c)
{
	struct sys_obj *o;
	struct sys_prog *sp;
	struct sys_map *sm, **grown;
	int err = 0;
	u32 i;

	if (c->attr.prog_bind_map.flags)
		return -EINVAL;
	o = sys_fd_get(c->attr.prog_bind_map.prog_fd, SYS_PROG);
	if (!o)
		return sys_fd_error(c->attr.prog_bind_map.prog_fd);
	sp = container_of(o, struct sys_prog, o);
	sm = sys_map_of(c->attr.prog_bind_map.map_fd, &err);
	if (!sm)
		goto out;
	sys_slow_lock();
	for (i = 0; i < sp->nmaps && sp->maps[i] != sm; i++)
		;
	if (i == sp->nmaps) {
		grown = base_array(sp->nmaps + 1, sizeof(struct sys_map *));
		if (grown) {
			if (sp->nmaps)
				memcpy(grown, sp->maps, sp->nmaps * sizeof(struct sys_map *));
			grown[sp->nmaps] = sm;
			base_free(sp->maps);
			sp->maps = grown;
			sp->nmaps++;
			sm = NULL; /* the program has the reference */
		} else {
			err = -ENOMEM;
		}
	}
	sys_slow_unlock();
	if (sm)
		sys_put(&sm->o);
out:
	sys_put(o);
	return err;
}
