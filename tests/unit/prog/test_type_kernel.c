/* SPDX-License-Identifier: MIT */
/* The tables of program types and helpers against the kernel: the same accesses, the same calls. */
#include <linux/bpf_perf_event.h>

#include "test.h"
#include "fuzz/engines/kernel.h"
#include "helper/helper.h"
#include "prog/prog.h"

static char log_buf[4096];

static long load(u32 type, u32 attach_type, const struct bpf_insn *insns, u32 cnt,
		 const char *license)
{
	union bpf_attr attr;
	long fd;

	memset(&attr, 0, sizeof(attr));
	memset(log_buf, 0, sizeof(log_buf));
	attr.prog_type = type;
	attr.expected_attach_type = attach_type;
	attr.insns = (u64)(uintptr_t)insns;
	attr.insn_cnt = cnt;
	attr.license = (u64)(uintptr_t)license;
	attr.log_level = 1;
	attr.log_buf = (u64)(uintptr_t)log_buf;
	attr.log_size = sizeof(log_buf);
	fd = kernel_bpf(BPF_PROG_LOAD, &attr);
	kernel_close(fd);
	return fd;
}

static bool no_kernel(void)
{
	const struct bpf_insn ret0[] = { { .code = BPF_ALU64 | BPF_MOV | BPF_K },
					 { .code = BPF_JMP | BPF_EXIT } };

	return load(BPF_PROG_TYPE_SOCKET_FILTER, 0, ret0, 2, "GPL") < 0;
}

static const struct {
	u32 type, attach_type;
} types[] = {
	{ BPF_PROG_TYPE_SOCKET_FILTER, 0 },
	{ BPF_PROG_TYPE_KPROBE, 0 },
	{ BPF_PROG_TYPE_SCHED_CLS, 0 },
	{ BPF_PROG_TYPE_SCHED_ACT, 0 },
	{ BPF_PROG_TYPE_TRACEPOINT, 0 },
	{ BPF_PROG_TYPE_XDP, 0 },
	{ BPF_PROG_TYPE_XDP, BPF_XDP_DEVMAP },
	{ BPF_PROG_TYPE_PERF_EVENT, 0 },
	{ BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_INGRESS },
	{ BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS },
	{ BPF_PROG_TYPE_RAW_TRACEPOINT, 0 },
	{ BPF_PROG_TYPE_LWT_IN, 0 },
	{ BPF_PROG_TYPE_LWT_OUT, 0 },
	{ BPF_PROG_TYPE_LWT_XMIT, 0 },
	{ BPF_PROG_TYPE_SK_SKB, 0 },
	{ BPF_PROG_TYPE_SK_MSG, 0 },
	{ BPF_PROG_TYPE_SK_LOOKUP, BPF_SK_LOOKUP },
	{ BPF_PROG_TYPE_CGROUP_DEVICE, BPF_CGROUP_DEVICE },
	{ BPF_PROG_TYPE_CGROUP_SYSCTL, BPF_CGROUP_SYSCTL },
	{ BPF_PROG_TYPE_CGROUP_SOCKOPT, BPF_CGROUP_GETSOCKOPT },
	{ BPF_PROG_TYPE_CGROUP_SOCKOPT, BPF_CGROUP_SETSOCKOPT },
	{ BPF_PROG_TYPE_CGROUP_SOCK, BPF_CGROUP_INET_SOCK_CREATE },
	{ BPF_PROG_TYPE_CGROUP_SOCK, BPF_CGROUP_INET_SOCK_RELEASE },
	{ BPF_PROG_TYPE_CGROUP_SOCK, BPF_CGROUP_INET4_POST_BIND },
	{ BPF_PROG_TYPE_CGROUP_SOCK, BPF_CGROUP_INET6_POST_BIND },
	{ BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_BIND },
	{ BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET6_CONNECT },
	{ BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP4_SENDMSG },
	{ BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP6_SENDMSG },
	{ BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_UDP6_RECVMSG },
	{ BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_GETPEERNAME },
};

static bool ours(u32 n, u32 off, u32 size, bool write)
{
	const struct prog_type *t = prog_type_of(types[n].type);

	if (t->fields)
		return prog_type_field(t, types[n].attach_type, off, size, write);
	return off >= t->raw_start && off + size <= t->raw_end && off % size == 0 &&
	       (!write || t->raw_writable);
}

static void context_accesses_are_those_of_the_kernel(void **state)
{
	static const u8 sizes[] = { BPF_B, BPF_H, BPF_W, BPF_DW };
	u32 n, off, s, write, wrong = 0;

	(void)state;
	for (n = 0; n < ARRAY_SIZE(types); n++) {
		for (off = 0; off < 208; off++) {
			for (s = 0; s < 4; s++) {
				for (write = 0; write < 2; write++) {
					struct bpf_insn insns[] = {
						{ .code = BPF_ALU64 | BPF_MOV | BPF_K,
						  .dst_reg = 2 },
						{ .code = (u8)((write ? BPF_STX : BPF_LDX) |
							       BPF_MEM | sizes[s]),
						  .dst_reg = write ? 1 : 3,
						  .src_reg = write ? 2 : 1,
						  .off = (s16)off },
						{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = 1 },
						{ .code = BPF_JMP | BPF_EXIT },
					};
					bool kernel = load(types[n].type, types[n].attach_type,
							   insns, 4, "GPL") >= 0;

					if (kernel == ours(n, off, 1u << s, write))
						continue;
					wrong++;
					print_message(
						"# %s(%u): %s of %u bytes at %u: kernel %d\n",
						prog_type_name(types[n].type), types[n].attach_type,
						write ? "write" : "read", 1u << s, off, kernel);
				}
			}
		}
	}
	assert_int_equal(wrong, 0);
}

/* Behind ctx->sk of an address, which is a socket for sure. */
static void fields_of_sockets_are_those_of_the_kernel(void **state)
{
	static const u8 sizes[] = { BPF_B, BPF_H, BPF_W, BPF_DW };
	u32 off, s, wrong = 0;

	(void)state;
	for (off = 0; off < 96; off++) {
		for (s = 0; s < 4; s++) {
			struct bpf_insn insns[] = {
				{ .code = BPF_LDX | BPF_MEM | BPF_DW, .dst_reg = 1, .src_reg = 1,
				  .off = offsetof(struct bpf_sock_addr, sk) },
				{ .code = (u8)(BPF_LDX | BPF_MEM | sizes[s]), .dst_reg = 3,
				  .src_reg = 1, .off = (s16)off },
				{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = 1 },
				{ .code = BPF_JMP | BPF_EXIT },
			};
			bool kernel = load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
					   BPF_CGROUP_INET4_CONNECT, insns, 4, "GPL") >= 0;

			if (kernel == prog_sock_field(PROG_SOCK_FULL, off, 1u << s))
				continue;
			wrong++;
			print_message("# sock: %u bytes at %u: kernel %d\n", 1u << s, off, kernel);
		}
	}
	/* Of any socket: skb->sk, after a check for NULL. */
	for (off = 0; off < 96; off++) {
		for (s = 0; s < 4; s++) {
			struct bpf_insn insns[] = {
				{ .code = BPF_LDX | BPF_MEM | BPF_DW, .dst_reg = 1, .src_reg = 1,
				  .off = offsetof(struct __sk_buff, sk) },
				{ .code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = 1, .off = 1 },
				{ .code = (u8)(BPF_LDX | BPF_MEM | sizes[s]), .dst_reg = 3,
				  .src_reg = 1, .off = (s16)off },
				{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = 1 },
				{ .code = BPF_JMP | BPF_EXIT },
			};
			bool kernel = load(BPF_PROG_TYPE_SCHED_CLS, 0, insns, 5, "GPL") >= 0;

			if (kernel == prog_sock_field(PROG_SOCK_COMMON, off, 1u << s))
				continue;
			wrong++;
			print_message("# sock_common: %u bytes at %u: kernel %d\n", 1u << s, off,
				      kernel);
		}
	}
	assert_int_equal(wrong, 0);
}

static void results_are_bounded_as_in_the_kernel(void **state)
{
	u32 n, wrong = 0;
	s32 value, min, max;

	(void)state;
	for (n = 0; n < ARRAY_SIZE(types); n++) {
		for (value = -2; value < 6; value++) {
			const struct bpf_insn insns[] = {
				{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = value },
				{ .code = BPF_JMP | BPF_EXIT },
			};
			bool kernel = load(types[n].type, types[n].attach_type, insns, 2, "GPL") >= 0;
			bool here = !prog_type_ret(prog_type_of(types[n].type), types[n].attach_type,
						   &min, &max) || (value >= min && value <= max);

			if (kernel == here)
				continue;
			wrong++;
			print_message("# %s(%u) returns %d: kernel %d\n", prog_type_name(types[n].type),
				      types[n].attach_type, value, kernel);
		}
	}
	assert_int_equal(wrong, 0);
}

/* Whether the kernel lets the type call it at all; what it is given is wrong on purpose. */
static bool kernel_knows(u32 n, u32 id, const char *license)
{
	const struct bpf_insn insns[] = { { .code = BPF_JMP | BPF_CALL, .imm = (s32)id },
					  { .code = BPF_ALU64 | BPF_MOV | BPF_K },
					  { .code = BPF_JMP | BPF_EXIT } };

	load(types[n].type, types[n].attach_type, insns, 3, license);
	return !strstr(log_buf, "cannot use helper") && !strstr(log_buf, "unknown func") &&
	       !strstr(log_buf, "GPL");
}

static void helpers_are_allowed_as_in_the_kernel(void **state)
{
	const struct helper_proto *h;
	u32 n, id, wrong = 0;

	(void)state;
	for (id = 1; helper_name(id); id++) {
		h = helper_of(id);
		if (!h)
			continue;
		for (n = 0; n < ARRAY_SIZE(types); n++) {
			bool here = h->groups & prog_type_of(types[n].type)->helpers;
			bool gpl_only = h->flags & HELPER_GPL;
			bool there = kernel_knows(n, id, "GPL");

			/* Many kernels are built without error injection. */
			if (id == BPF_FUNC_override_return && !there)
				continue;
			if (here != there) {
				wrong++;
				print_message("# %s from %s: kernel %d\n", h->name,
					      prog_type_name(types[n].type), there);
			}
			/* Only perf_event's prototype of it is for all licences. */
			if (id == BPF_FUNC_get_stackid && types[n].type == BPF_PROG_TYPE_PERF_EVENT)
				continue;
			if (there && gpl_only == kernel_knows(n, id, "MIT")) {
				wrong++;
				print_message("# %s from %s: GPL only %d\n", h->name,
					      prog_type_name(types[n].type), !gpl_only);
			}
		}
	}
	assert_int_equal(wrong, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(context_accesses_are_those_of_the_kernel),
		cmocka_unit_test(fields_of_sockets_are_those_of_the_kernel),
		cmocka_unit_test(results_are_bounded_as_in_the_kernel),
		cmocka_unit_test(helpers_are_allowed_as_in_the_kernel),
	};

	if (no_kernel())
		return skip_all("this machine's kernel has no bpf(2)");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
