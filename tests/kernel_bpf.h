/* SPDX-License-Identifier: MIT */
/* bpf(2) of the machine's kernel, below whatever answers for it in this process. */
#ifndef FERRY_KERNEL_BPF_H
#define FERRY_KERNEL_BPF_H

#include <errno.h>
#include <linux/bpf.h>
#include <sys/syscall.h>

/* By the instruction itself: libc's syscall() may be answered by Ferry. -errno on failure. */
static inline long raw_bpf(long cmd, const union bpf_attr *attr, long size)
{
#if defined(__x86_64__)
	long ret;

	__asm__ volatile("syscall"
			 : "=a"(ret)
			 : "a"((long)SYS_bpf), "D"(cmd), "S"(attr), "d"(size)
			 : "rcx", "r11", "memory");
	return ret;
#elif defined(__aarch64__)
	register long x8 __asm__("x8") = SYS_bpf;
	register long x0 __asm__("x0") = cmd;
	register const void *x1 __asm__("x1") = attr;
	register long x2 __asm__("x2") = size;

	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
	return x0;
#else
	(void)cmd, (void)attr, (void)size;
	return -ENOSYS;
#endif
}

#endif
