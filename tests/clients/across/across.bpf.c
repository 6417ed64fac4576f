/* SPDX-License-Identifier: MIT */
/* Programs on several kinds of events of other processes: who ran which command, and a record of each call of work(). */
#include <linux/bpf.h>

/* As vmlinux.h has it: fields by the kernel's names, found where the running one's BTF says. */
#define __VMLINUX_H__
struct pt_regs {
	unsigned long r15, r14, r13, r12, bp, bx, r11, r10, r9, r8, ax, cx, dx, si, di, orig_ax, ip, cs, flags, sp, ss;
} __attribute__((preserve_access_index));

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} execs SEC(".maps"), asked SEC(".maps"), entered SEC(".maps"); /* by process */

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 24);
} records SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, 4);
	__uint(value_size, 4);
} samples SEC(".maps");

struct record {
	__u32 pid, pad;
	__u64 n, check;
};

struct command {
	__u32 pid, uid;
	char comm[16], path[32];
};

static __always_inline __u32 count(void *map)
{
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	__u64 *n, zero = 0;

	bpf_map_update_elem(map, &pid, &zero, BPF_NOEXIST);
	n = bpf_map_lookup_elem(map, &pid);
	if (n)
		__sync_fetch_and_add(n, 1);
	return pid;
}

SEC("ksyscall/execve")
int BPF_KSYSCALL(on_execve, const char *path)
{
	struct command c = {};

	c.pid = count(&execs);
	c.uid = bpf_get_current_uid_gid();
	bpf_get_current_comm(c.comm, sizeof(c.comm));
	bpf_probe_read_user_str(c.path, sizeof(c.path), path);
	bpf_perf_event_output(ctx, &samples, BPF_F_CURRENT_CPU, &c, sizeof(c));
	return 0;
}

SEC("tracepoint/syscalls/sys_enter_getppid")
int on_getppid(void *ctx)
{
	count(&asked);
	return 0;
}

SEC("raw_tp/sys_enter")
int on_enter(void *ctx)
{
	count(&entered);
	return 0;
}

SEC("uprobe")
int recorded(struct pt_regs *ctx)
{
	struct record *r = bpf_ringbuf_reserve(&records, sizeof(*r), 0);

	if (!r)
		return 0;
	r->pid = bpf_get_current_pid_tgid() >> 32;
	r->pad = 0;
	r->n = PT_REGS_PARM1(ctx);
	r->check = ~r->n;
	bpf_ringbuf_submit(r, 0);
	return 0;
}
