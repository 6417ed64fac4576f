/* SPDX-License-Identifier: MIT */
/* Small objects for tests of bpf(2), made by Ferry or by the kernel. */
#include <bpf/btf.h>
#include <dirent.h>
#include <dlfcn.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "sys_test.h"

long kernel_bpf(int cmd, void *attr, unsigned int size)
{
	/* libc's own function: this program's import of it is hooked. */
	static long (*real)(long nr, ...);
	long ret;

	if (!real)
		real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	ret = real(SYS_bpf, cmd, attr, size);
	return ret < 0 ? -errno : ret;
}

bool kernel_works(void)
{
	int fd = make_map(kernel_bpf, BPF_MAP_TYPE_ARRAY, 4, 4, 1, 0);

	if (fd >= 0)
		close(fd);
	return fd >= 0;
}

int make_map(bpf_fn bpf, u32 type, u32 key, u32 value, u32 max, u32 flags)
{
	union bpf_attr a = { .map_type = type,
			     .key_size = key,
			     .value_size = value,
			     .max_entries = max,
			     .map_flags = flags };

	return bpf(BPF_MAP_CREATE, &a, sizeof(a));
}

int load_insns(bpf_fn bpf, u32 type, const struct bpf_insn *insns, u32 cnt)
{
	union bpf_attr a = {
		.prog_type = type, .insns = PTR(insns), .insn_cnt = cnt, .license = PTR("GPL")
	};

	if (type == BPF_PROG_TYPE_SYSCALL)
		a.prog_flags = BPF_F_SLEEPABLE;
	return bpf(BPF_PROG_LOAD, &a, sizeof(a));
}

int make_prog(bpf_fn bpf, u32 type)
{
	struct bpf_insn insns[] = { MOV(0, 2), EXIT() };

	return load_insns(bpf, type, insns, 2);
}

int make_btf(bpf_fn bpf)
{
	struct btf *btf = btf__new_empty();
	union bpf_attr a = { 0 };
	const void *raw;
	u32 size;
	int fd;

	btf__add_int(btf, "int", 4, BTF_INT_SIGNED);
	btf__add_func_proto(btf, 1);
	btf__add_func(btf, "main", BTF_FUNC_GLOBAL, 2);
	btf__add_struct(btf, "value", 8);
	btf__add_field(btf, "a", 1, 0, 0);
	btf__add_field(btf, "b", 1, 32, 0);
	raw = btf__raw_data(btf, &size);
	a.btf = PTR(raw);
	a.btf_size = size;
	fd = bpf(BPF_BTF_LOAD, &a, sizeof(a));
	btf__free(btf);
	return fd;
}

u32 count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	u32 n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}
