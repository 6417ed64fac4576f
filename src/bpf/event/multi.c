/* SPDX-License-Identifier: MIT */
/*
 * Links on many functions at once: BPF_TRACE_KPROBE_MULTI and BPF_TRACE_UPROBE_MULTI. The checks are
 * the kernel's, in its order (bpf_kprobe_multi_link_attach(), bpf_uprobe_multi_link_attach()); each
 * function is then attached to as if it were the only one.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bpf/event/multi.h"
#include "bpf/session/remote_int.h"

#define MAX_CNT (1u << 20)
#define MAX_SYM 512 /* KSYM_NAME_LEN */
#define RETURN  1u  /* BPF_F_KPROBE_MULTI_RETURN, BPF_F_UPROBE_MULTI_RETURN */

void multi_free(struct sys_multi *m)
{
	u32 i;

	for (i = 0; m && m->at && i < m->cnt; i++)
		sys_detach(&m->at[i]);
	if (!m)
		return;
	base_free(m->at);
	base_free(m->addrs);
	base_free(m->cookies);
	base_free(m->ref_ctrs);
	base_free(m->path);
	base_free(m);
}

static int words_in(u64 addr, u32 cnt, u64 **out)
{
	void *p;
	int err = addr ? sys_dup(addr, (size_t)cnt * sizeof(u64), &p) : 0;

	if (addr && !err)
		*out = p;
	return err;
}

/* ---- functions of the kernel -------------------------------------------------------------------- */

static int find_symbol(u64 name_addr, u64 *addr)
{
	char name[MAX_SYM];
	s64 n = sys_in_string(name, name_addr, sizeof(name));
	const char *func;
	u64 i;

	if (n < 0)
		return -EFAULT;
	if (name[n - 1])
		return -E2BIG;
	for (i = 0; (func = sys_call_func(i)); i++)
		if (!strcmp(func, name)) {
			*addr = SYS_CALL_ADDR(i);
			return 0;
		}
	log_msg(LOG_INFO, "kprobe.multi: '%s' is no function that can be seen here: those of system calls are, __x64_sys_NAME",
		name);
	return -ESRCH;
}

/* copy_user_syms(): all are read before any is looked for. */
static int find_symbols(struct sys_multi *m, u64 syms)
{
	u64 *names = NULL;
	int err = words_in(syms, m->cnt, &names), found = 0;
	u32 i;

	m->addrs = err ? NULL : base_array(m->cnt, sizeof(u64));
	if (!err && !m->addrs)
		err = -ENOMEM;
	for (i = 0; !err && i < m->cnt; i++) {
		err = find_symbol(names[i], &m->addrs[i]);
		if (err == -ESRCH) {
			found = err;
			err = 0;
		}
	}
	base_free(names);
	return err ? err : found;
}

static const char *name_at(u64 addr)
{
	u64 at = addr - SYS_CALL_ADDR(0);

	return at % 16 ? NULL : sys_call_func(at / 16);
}

int multi_kprobe(struct sys_call *c, struct sys_prog *sp, struct sys_multi **out)
{
	u32 flags = c->attr.link_create.kprobe_multi.flags, cnt = c->attr.link_create.kprobe_multi.cnt, i;
	u64 addrs = c->attr.link_create.kprobe_multi.addrs, syms = c->attr.link_create.kprobe_multi.syms;
	struct sys_attach a = { .p = sp->p, .pid = -1, .cpu = -1 };
	struct sys_multi *m;
	int err;

	if (c->attr.link_create.flags || sp->p->attach_type != BPF_TRACE_KPROBE_MULTI || flags & ~RETURN ||
	    !addrs == !syms || !cnt)
		return -EINVAL;
	if (cnt > MAX_CNT)
		return -E2BIG;
	m = base_alloc(sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->cnt = cnt;
	m->flags = flags;
	err = words_in(c->attr.link_create.kprobe_multi.cookies, cnt, &m->cookies);
	if (!err)
		err = addrs ? words_in(addrs, cnt, &m->addrs) : find_symbols(m, syms);
	for (i = 0; !err && i < cnt; i++)
		if (!name_at(m->addrs[i]))
			err = -EINVAL; /* ftrace_set_filter_ips(): no function begins there */
	if (!err && !(m->at = base_array(cnt, sizeof(*m->at))))
		err = -ENOMEM;
	for (i = 0; !err && i < cnt; i++) {
		a.name = name_at(m->addrs[i]);
		a.cookie = m->cookies ? m->cookies[i] : 0;
		err = sys_attach(flags & RETURN ? SYS_ATTACH_KRETPROBE : SYS_ATTACH_KPROBE, &a, &m->at[i]);
	}
	if (err)
		multi_free(m);
	else
		*out = m;
	return err;
}

/* ---- functions of processes ----------------------------------------------------------------------- */

static int path_in(u64 addr, char **out)
{
	char path[PATH_MAX], real[PATH_MAX];
	s64 n = sys_in_string(path, addr, sizeof(path));
	struct stat st;

	if (n < 0)
		return -EFAULT;
	if (path[n - 1])
		return -EINVAL;
	if (!realpath(path, real) || stat(real, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EBADF;
	*out = base_strdup(real);
	return *out ? 0 : -ENOMEM;
}

static int find_process(s32 pid, struct sys_multi *m)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d", pid);
	if (pid && access(path, F_OK))
		return -ESRCH;
	m->pid = pid;
	return 0;
}

static int attach_user(struct sys_multi *m, const struct prog *p)
{
	struct sys_attach a = { .p = p, .name = m->path, .pid = m->pid ? m->pid : -1, .cpu = -1 };
	int err = 0;
	u32 i;

	m->at = base_array(m->cnt, sizeof(*m->at));
	if (!m->at)
		return -ENOMEM;
	for (i = 0; !err && i < m->cnt; i++) {
		a.offset = m->addrs[i];
		a.cookie = m->cookies ? m->cookies[i] : 0;
		a.ref_ctr_off = m->ref_ctrs ? m->ref_ctrs[i] : 0;
		err = sys_attach(m->flags & RETURN ? SYS_ATTACH_URETPROBE : SYS_ATTACH_UPROBE, &a, &m->at[i]);
	}
	return err;
}

int multi_uprobe(struct sys_call *c, struct sys_prog *sp, struct sys_multi **out)
{
	struct uprobe_multi_attr attr;
	struct sys_multi *m;
	int err;
	u32 i;

	memcpy(&attr, (const u8 *)&c->attr + UPROBE_MULTI_AT, sizeof(attr));
	if (c->attr.link_create.flags || sp->p->attach_type != SYS_TRACE_UPROBE_MULTI || attr.flags & ~RETURN ||
	    !attr.path || !attr.offsets || !attr.cnt || attr.pid < 0)
		return -EINVAL;
	if (attr.cnt > MAX_CNT)
		return -E2BIG;
	m = base_alloc(sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->cnt = attr.cnt;
	m->flags = attr.flags;
	err = path_in(attr.path, &m->path);
	if (!err)
		err = find_process(attr.pid, m);
	if (!err)
		err = words_in(attr.cookies, attr.cnt, &m->cookies);
	if (!err)
		err = words_in(attr.ref_ctrs, attr.cnt, &m->ref_ctrs);
	if (!err)
		err = words_in(attr.offsets, attr.cnt, &m->addrs);
	for (i = 0; !err && i < m->cnt; i++)
		if (m->addrs[i] >> 63)
			err = -EINVAL;
	if (!err)
		err = attach_user(m, sp->p);
	if (err)
		multi_free(m);
	else
		*out = m;
	return err;
}

/* ---- what is told of them --------------------------------------------------------------------------- */

/* An array that the caller may have left out: what is not there is zeros. */
static int words_out(u64 to, const u64 *words, u32 n)
{
	static const u64 zeros[64];
	u32 i, some;
	int err = 0;

	if (!to)
		return 0;
	for (i = 0; !err && i < n; i += some) {
		some = n - i < ARRAY_SIZE(zeros) ? n - i : (u32)ARRAY_SIZE(zeros);
		err = sys_out(to + i * 8ull, words ? words + i : zeros, some * 8ull);
	}
	return err ? -EFAULT : 0;
}

/* bpf_kprobe_multi_link_fill_link_info() */
static int kprobe_info(const struct sys_multi *m, const struct kprobe_multi_info *in, struct kprobe_multi_info *out)
{
	u32 n = in->count < m->cnt ? in->count : m->cnt;

	if (!in->addrs != !in->count || (in->cookies && !in->count))
		return -EINVAL;
	out->addrs = in->addrs;
	out->cookies = in->cookies;
	out->count = m->cnt;
	out->flags = m->flags;
	if (!in->addrs)
		return 0;
	if (words_out(in->cookies, m->cookies, n) || words_out(in->addrs, m->addrs, n))
		return -EFAULT;
	return in->count < m->cnt ? -ENOSPC : 0;
}

/* bpf_uprobe_multi_link_fill_link_info(): the path is put at the end of a buffer of that size, as d_path() does. */
static int uprobe_info(const struct sys_multi *m, const struct uprobe_multi_info *in, struct uprobe_multi_info *out)
{
	u32 n = in->count < m->cnt ? in->count : m->cnt, len = (u32)strlen(m->path) + 1;
	bool arrays = in->offsets || in->ref_ctrs || in->cookies;

	if (!in->path != !in->path_size || (arrays && !in->count))
		return -EINVAL;
	*out = *in;
	out->count = m->cnt;
	out->flags = m->flags;
	out->pid = (u32)m->pid;
	if ((in->path_size && in->path_size < len) || len > PATH_MAX)
		return -ENAMETOOLONG;
	if (in->path && sys_out(in->path, m->path, len))
		return -EFAULT;
	out->path_size = len;
	if (!arrays)
		return 0;
	if (words_out(in->offsets, m->addrs, n) || words_out(in->cookies, m->cookies, n) ||
	    words_out(in->ref_ctrs, m->ref_ctrs, n))
		return -EFAULT;
	return in->count < m->cnt ? -ENOSPC : 0;
}

int multi_info(const struct sys_multi *m, const union multi_info *in, union multi_info *out)
{
	return m->path ? uprobe_info(m, &in->uprobe, &out->uprobe) : kprobe_info(m, &in->kprobe, &out->kprobe);
}

/* ---- in the link's file --------------------------------------------------------------------------------- */

struct multi_file {
	u32 cnt, flags;
	s32 pid;
	u32 has_cookies, has_ref_ctrs, path; /* path: bytes with its NUL; 0: kprobes */
};

static void put_words(struct text *t, const u64 *words, u32 n)
{
	if (words)
		text_add(t, (const char *)words, n * sizeof(u64));
}

void multi_save(const struct sys_multi *m, struct text *t)
{
	struct multi_file f = { m->cnt, m->flags, m->pid, m->cookies != NULL, m->ref_ctrs != NULL,
				m->path ? (u32)strlen(m->path) + 1 : 0 };

	text_add(t, (const char *)&f, sizeof(f));
	put_words(t, m->addrs, m->cnt);
	put_words(t, m->cookies, m->cnt);
	put_words(t, m->ref_ctrs, m->cnt);
	if (m->path)
		text_add(t, m->path, f.path);
}

/* Advances over n words: false when the data ends before them. */
static bool take_words(const u8 **data, size_t *size, u32 n, bool there, u64 **out)
{
	size_t bytes = (size_t)n * sizeof(u64);

	if (!there)
		return true;
	if (*size < bytes || !(*out = base_memdup(*data, bytes)))
		return false;
	*data += bytes;
	*size -= bytes;
	return true;
}

int multi_load(const void *data, size_t size, bool user, struct sys_multi **out)
{
	const u8 *at = (const u8 *)data + sizeof(struct multi_file);
	struct multi_file f;
	struct sys_multi *m;

	if (size < sizeof(f))
		return -EINVAL;
	memcpy(&f, data, sizeof(f));
	size -= sizeof(f);
	if (!f.cnt || f.cnt > MAX_CNT || f.flags & ~RETURN || f.pid < 0 || f.path > PATH_MAX || !f.path == user)
		return -EINVAL;
	m = base_alloc(sizeof(*m));
	if (!m)
		return -ENOMEM;
	m->cnt = f.cnt;
	m->flags = f.flags;
	m->pid = f.pid;
	if (!take_words(&at, &size, f.cnt, true, &m->addrs) ||
	    !take_words(&at, &size, f.cnt, f.has_cookies, &m->cookies) ||
	    !take_words(&at, &size, f.cnt, f.has_ref_ctrs, &m->ref_ctrs) || size != f.path ||
	    (user && (at[size - 1] || !(m->path = base_strdup((const char *)at))))) {
		multi_free(m);
		return -EINVAL;
	}
	*out = m;
	return 0;
}
