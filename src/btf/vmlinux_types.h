/* SPDX-License-Identifier: MIT */
/*
 * C text of the types that Ferry shows as the kernel's: each TYPES(...) is one text, parsed by
 * ctypes_declare() when first needed. Only an #include of vmlinux.c.
 */

/* Contexts of program types (linux/bpf.h, linux/bpf_perf_event.h). */
TYPES(
	struct xdp_md {
		__u32 data, data_end, data_meta;
		__u32 ingress_ifindex, rx_queue_index, egress_ifindex;
	};
	struct task_struct {
		int pid, tgid;
		char comm[16];
	};
),
