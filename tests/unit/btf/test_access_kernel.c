/* SPDX-License-Identifier: MIT */
/*
 * Which loads from a struct its BTF allows, and which give pointers: the kernel's own structs, by the
 * kernel's own BTF, against the kernel's verifier.
 */
#include <bpf/libbpf.h>
#include <fcntl.h>
#include <unistd.h>

#include "test.h"

#include "btf/fbtf.h"
#include "isa/isa.h"
#include "kernel_bpf.h"

static struct btf *kernel;
static u32 task;

/* By system call: in this process, the file of this name is Ferry's. */
static struct btf *read_kernel(void)
{
	const size_t most = 64u << 20;
	int fd = (int)syscall(SYS_openat, AT_FDCWD, "/sys/kernel/btf/vmlinux", O_RDONLY | O_CLOEXEC);
	u8 *data = fd < 0 ? NULL : malloc(most);
	struct btf *btf = NULL;
	ssize_t got = 1;
	size_t n = 0;

	while (data && got > 0 && n < most) {
		got = read(fd, data + n, most - n);
		n += got > 0 ? (size_t)got : 0;
	}
	if (n)
		btf = btf__new(data, (u32)n);
	free(data);
	if (fd >= 0)
		close(fd);
	return libbpf_get_error(btf) ? NULL : btf;
}

static bool loads(const struct bpf_insn *insns, u32 cnt)
{
	union bpf_attr attr;
	long fd;

	memset(&attr, 0, sizeof(attr));
	attr.prog_type = BPF_PROG_TYPE_TRACEPOINT;
	attr.insns = (u64)(uintptr_t)insns;
	attr.insn_cnt = cnt;
	attr.license = (u64)(uintptr_t) "GPL";
	fd = raw_bpf(BPF_PROG_LOAD, &attr, sizeof(attr));
	if (fd >= 0)
		close((int)fd);
	return fd >= 0;
}

static struct bpf_insn load_insn(u8 size, u8 dst, u8 src, u32 off)
{
	return (struct bpf_insn){ .code = (u8)(BPF_LDX | BPF_MEM | size), .dst_reg = dst,
				  .src_reg = src, .off = (s16)off };
}

/*
 * r0 = the task, then along the pointers at `path`, then the load in question; with `follow`, its
 * result is read through.
 */
static bool kernel_allows(const u32 *path, u32 npath, u8 size, u32 off, bool follow)
{
	const struct bpf_insn zero = { .code = BPF_ALU64 | BPF_MOV | BPF_K };
	const struct bpf_insn out = { .code = BPF_JMP | BPF_EXIT };
	struct bpf_insn p[32];
	u32 n = 0, i;

	p[n++] = (struct bpf_insn){ .code = BPF_JMP | BPF_CALL,
				    .imm = BPF_FUNC_get_current_task_btf };
	for (i = 0; i < npath; i++) {
		p[n++] = load_insn(BPF_DW, 0, 0, path[i]);
		/* Some may be NULL: if r0 != 0 goto +2; r0 = 0; exit */
		p[n++] = (struct bpf_insn){ .code = BPF_JMP | BPF_JNE | BPF_K, .off = 2 };
		p[n++] = zero;
		p[n++] = out;
	}
	p[n++] = load_insn(size, 1, 0, off);
	if (follow) {
		p[n++] = (struct bpf_insn){ .code = BPF_JMP | BPF_JNE | BPF_K, .dst_reg = 1,
					    .off = 2 };
		p[n++] = zero;
		p[n++] = out;
		p[n++] = load_insn(BPF_B, 2, 1, 0);
	}
	p[n++] = zero;
	p[n++] = out;
	return loads(p, n);
}

static u32 compare(const u32 *path, u32 npath, u32 id, u32 off, u32 bits)
{
	static const u8 sizes[] = { BPF_B, BPF_H, BPF_W, BPF_DW };
	const struct btf_type *t = btf__type_by_id(kernel, id);
	struct fbtf_access a, first;
	u32 wrong = 0;
	bool allowed = !fbtf_access(kernel, id, off, 1u << bits, &a, NULL);

	if (allowed != kernel_allows(path, npath, sizes[bits], off, false)) {
		print_message("# %s: load of %u bytes at %u: kernel %d\n",
			      fbtf_name(kernel, t->name_off), 1u << bits, off, !allowed);
		wrong++;
	}
	/* What has no byte that could be read, or no type here, cannot be followed to see. */
	if (!allowed || (a.is_ptr && (a.tag || fbtf_access(kernel, a.type, 0, 1, &first, NULL))))
		return wrong;
	if (bits == 3 && a.points != kernel_allows(path, npath, BPF_DW, off, true)) {
		print_message("# %s: pointer at %u (%s): kernel %d\n",
			      fbtf_name(kernel, t->name_off), off, a.name ? a.name : "", !a.points);
		wrong++;
	}
	return wrong;
}

static void loads_from_the_task_are_those_of_the_kernel(void **state)
{
	u32 size = (u32)fbtf_size(kernel, task), off, wrong = 0;

	(void)state;
	assert_true(size > 1000 && size < INT16_MAX);
	for (off = 0; off < size + 16; off += off % 3 ? 2 : 1) {
		if (off % 8 == 0)
			wrong += compare(NULL, 0, task, off, 3);
		/* All four sizes at all places would take long: each size meets each alignment. */
		wrong += compare(NULL, 0, task, off, off * 5 / 7 % 4);
	}
	assert_int_equal(wrong, 0);
}

/* The structs that the task points to. */
static void loads_from_what_it_points_to_are_those_of_the_kernel(void **state)
{
	u32 size = (u32)fbtf_size(kernel, task), off, in, wrong = 0, structs = 0;
	struct fbtf_access a;

	(void)state;
	for (off = 0; off < size; off += 8) {
		s64 inner;

		if (fbtf_access(kernel, task, off, 8, &a, NULL) || !a.is_ptr || a.tag)
			continue;
		inner = fbtf_size(kernel, a.type);
		if (inner < 16 || inner > INT16_MAX)
			continue;
		structs++;
		for (in = 0; in < (u32)inner + 8 && in < 200; in += structs % 3 ? 8 : 7)
			wrong += compare(&off, 1, a.type, in, in * 3 / 5 % 4);
	}
	assert_true(structs > 10);
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loads_from_the_task_are_those_of_the_kernel),
		cmocka_unit_test(loads_from_what_it_points_to_are_those_of_the_kernel),
	};
	const u32 no_path[1] = { 0 };
	int ret;

	kernel = read_kernel();
	if (!kernel || !kernel_allows(no_path, 0, BPF_DW, 0, false))
		return skip_all("this machine's kernel has no bpf(2) or no BTF");
	task = (u32)btf__find_by_name_kind(kernel, "task_struct", BTF_KIND_STRUCT);
	ret = cmocka_run_group_tests(tests, NULL, NULL);
	btf__free(kernel);
	return ret;
}
