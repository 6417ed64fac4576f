/* SPDX-License-Identifier: MIT */
/* The machine's kernel as the oracle, through the system call instruction: nothing is interposed. */
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <bpf/btf.h>

#include "kernel_bpf.h"
#include "verdicts.h"

#define LOG_SIZE (1 << 20)

static int kernel_btf(const struct btf *btf)
{
	union bpf_attr attr = { 0 };
	u32 size;

	attr.btf = (u64)(uintptr_t)btf__raw_data(btf, &size);
	attr.btf_size = size;
	return (int)raw_bpf(BPF_BTF_LOAD, &attr, sizeof(attr));
}

/* Without, the kernel has pointers kept secret; CAP_SYS_ADMIN would stand in for it. */
static void see_addresses(bool may)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2] = { 0 };
	u32 bit = 1u << (CAP_PERFMON - 32);

	syscall(SYS_capget, &head, caps);
	if (may) {
		caps[0].effective |= caps[0].permitted & 1u << CAP_SYS_ADMIN;
		caps[1].effective |= caps[1].permitted & bit;
	} else {
		caps[0].effective &= ~(1u << CAP_SYS_ADMIN);
		caps[1].effective &= ~bit;
	}
	syscall(SYS_capset, &head, caps);
}

static int kernel_map(const struct verdict_map *m)
{
	union bpf_attr attr = { 0 };
	u32 zero = 0;
	u8 value[4096] = { 0 };
	u32 key_id, value_id;
	struct btf *btf = verdict_map_btf(m, &key_id, &value_id);
	int btf_fd = -1;
	long fd;

	attr.map_type = m->attr.type;
	attr.key_size = m->attr.key_size;
	attr.value_size = m->attr.value_size;
	attr.max_entries = m->attr.max_entries;
	attr.map_flags = m->attr.flags;
	if (btf) {
		attr.btf_fd = (u32)(btf_fd = kernel_btf(btf));
		attr.btf_key_type_id = key_id;
		attr.btf_value_type_id = value_id;
		btf__free(btf);
	}
	fd = raw_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));
	if (btf_fd >= 0)
		close(btf_fd);
	if (fd < 0)
		return (int)fd;
	if (m->value_len) {
		memcpy(value, m->value, m->value_len);
		memset(&attr, 0, sizeof(attr));
		attr.map_fd = (u32)fd;
		attr.key = (u64)(uintptr_t)&zero;
		attr.value = (u64)(uintptr_t)value;
		raw_bpf(BPF_MAP_UPDATE_ELEM, &attr, sizeof(attr));
	}
	if (m->frozen) {
		memset(&attr, 0, sizeof(attr));
		attr.map_fd = (u32)fd;
		raw_bpf(BPF_MAP_FREEZE, &attr, sizeof(attr));
	}
	return (int)fd;
}

/*
 * Maps are made once for all programs that have the same; those that remember what used them first
 * (arrays of programs) are not.
 */
static int shared_map(const struct verdict_map *m, bool *owned)
{
	static struct {
		struct verdict_map map;
		int fd;
	} made[64];
	static unsigned n;
	int fd;

	*owned = m->attr.type == BPF_MAP_TYPE_PROG_ARRAY;
	for (unsigned i = 0; i < n && !*owned; i++) {
		if (!memcmp(&made[i].map, m, sizeof(*m)))
			return made[i].fd;
	}
	fd = kernel_map(m);
	if (fd < 0 || *owned)
		return fd;
	*owned = n == ARRAY_SIZE(made);
	if (!*owned) {
		made[n].map = *m;
		made[n++].fd = fd;
	}
	return fd;
}

/* The kernel's own; NULL. By the system call, for this project answers for the path. */
static struct btf *vmlinux_btf(void)
{
	size_t size = 0, cap = 64u << 20;
	u8 *buf = base_alloc(cap);
	int fd = (int)syscall(SYS_openat, AT_FDCWD, "/sys/kernel/btf/vmlinux", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0;
	struct btf *btf;

	while (buf && n > 0) {
		n = read(fd, buf + size, cap - size);
		size += n > 0 ? (size_t)n : 0;
	}
	if (fd >= 0)
		close(fd);
	btf = size ? btf__new(buf, (u32)size) : NULL;
	base_free(buf);
	return btf;
}

/* `call kfunc N`, as the numbers in the kernel's BTF; -1 leaves what the kernel does not have. */
static s32 kernel_func(s32 n)
{
	static s32 ids[VERDICT_KFUNCS];
	struct btf *btf;

	if (n < VERDICT_KFUNC || n >= VERDICT_KFUNC + VERDICT_KFUNCS)
		return -1;
	if (!ids[0]) {
		btf = vmlinux_btf();
		for (u32 i = 0; i < VERDICT_KFUNCS; i++)
			ids[i] = btf ? btf__find_by_name_kind(btf, verdict_kfuncs[i], BTF_KIND_FUNC) : -1;
		btf__free(btf);
	}
	return ids[n - VERDICT_KFUNC];
}

int kernel_load(const struct verdict_prog *p, struct text *log)
{
	static char buf[LOG_SIZE];
	struct bpf_insn *insns = base_memdup(p->insns, p->cnt * sizeof(*insns));
	union bpf_attr attr = { 0 };
	bool owned[VERDICT_MAPS] = { 0 };
	int fds[VERDICT_MAPS], err = 0, btf_fd = -1;
	struct bpf_func_info info[VERDICT_FUNCS];
	u32 nfds = 0, ninfo = 0;
	struct btf *btf = verdict_prog_btf(p, info, &ninfo);

	assert_non_null(insns);
	for (; nfds < p->nmaps && err >= 0; nfds++)
		err = fds[nfds] = shared_map(&p->maps[nfds], &owned[nfds]);
	for (u32 i = 0; i < p->cnt && err >= 0; i++) {
		if (isa_is_ldimm64(&insns[i]) && (insns[i].src_reg == BPF_PSEUDO_MAP_FD ||
						  insns[i].src_reg == BPF_PSEUDO_MAP_VALUE))
			insns[i].imm = (u32)insns[i].imm < p->nmaps ? fds[insns[i].imm] : -1;
		if (isa_is_call(&insns[i], BPF_PSEUDO_KFUNC_CALL)) {
			insns[i].imm = kernel_func(insns[i].imm);
			insns[i].off = 0; /* the kernel's own BTF */
		}
	}
	if (err >= 0) {
		attr.prog_type = p->type;
		attr.insn_cnt = p->cnt;
		attr.insns = (u64)(uintptr_t)insns;
		attr.license = (u64)(uintptr_t)(p->gpl ? "GPL" : "proprietary");
		attr.prog_flags = p->flags;
		if (p->type == BPF_PROG_TYPE_CGROUP_SKB)
			attr.expected_attach_type = BPF_CGROUP_INET_INGRESS;
		if (btf) {
			attr.prog_btf_fd = (u32)(btf_fd = kernel_btf(btf));
			attr.func_info = (u64)(uintptr_t)info;
			attr.func_info_cnt = ninfo;
			attr.func_info_rec_size = sizeof(info[0]);
		}
		if (log) {
			attr.log_buf = (u64)(uintptr_t)buf;
			attr.log_size = LOG_SIZE;
			attr.log_level = 1;
		}
		buf[0] = 0;
		if (p->strict)
			see_addresses(false);
		err = (int)raw_bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
		if (err == -ENOSPC) { /* the log was too small, which says nothing of the program */
			attr.log_buf = attr.log_size = attr.log_level = 0;
			err = (int)raw_bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
		}
		if (p->strict)
			see_addresses(true);
		if (log)
			text_puts(log, buf);
	} else if (log) {
		text_printf(log, "map %u: %s\n", nfds - 1, strerror(-err));
	}
	for (u32 i = 0; i < nfds; i++) {
		if (owned[i] && fds[i] >= 0)
			close(fds[i]);
	}
	if (btf_fd >= 0)
		close(btf_fd);
	btf__free(btf);
	base_free(insns);
	return err;
}

int verdict_kernel(const struct verdict_prog *p, struct text *log)
{
	int fd = kernel_load(p, log);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

bool kernel_here(void)
{
	struct bpf_insn insns[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	struct verdict_prog p = { .type = BPF_PROG_TYPE_XDP, .gpl = true, .insns = insns, .cnt = 2 };

	return verdict_kernel(&p, NULL) == 0;
}
