/* SPDX-License-Identifier: MIT */
/*
 * What a program may use up, and what happens when a native function that it calls fails. A limited
 * program is compiled with checks; without limits nothing is paid.
 *
 * Instructions are counted in stretches: a jump backwards counts those between it and its target, a call
 * of a function (a callback too) those of the function; the engines may differ by a stretch. Time is
 * looked at every 2,048 instructions and after each native call, which is not interrupted itself. A
 * program is ended only where it holds no reference and no lock, which releases nothing that is still
 * needed; the verifier bounds what lies between. Inside a callback of a helper (bpf_loop), the helper is
 * told to stop first. A timer's callback is a run of its own under the program's limits; programs reached by
 * tail call are checked by their own code.
 */
#ifndef FERRY_LIMITS_H
#define FERRY_LIMITS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef FERRY_API
#define FERRY_API __attribute__((visibility("default")))
#endif

/*
 * What a fault (SIGSEGV, SIGBUS, SIGFPE, SIGILL) of a native function is. Calls of functions
 * whose module was unregistered fail as those that fault, END without a choice (ferry_module_unregister).
 *
 * What cannot be recovered: locks that the function held stay held, memory that it allocated stays
 * allocated, and what it was changing stays half changed. A stack overflow is recovered only where the
 * thread has an alternate signal stack. Faults in programs or closures that the function called in turn
 * are theirs, by their own limits.
 */
enum ferry_on_fault {
	FERRY_FAULT_HOST,  /* the host's: the process's handler, or its end */
	FERRY_FAULT_END,   /* the program ends and returns `value`; with references held, as ERROR */
	FERRY_FAULT_ERROR, /* the call returns -EFAULT, or NULL where that is possible */
};

struct ferry_limits {
	size_t sz;        /* sizeof(struct ferry_limits): room to grow */
	uint64_t insns;   /* instructions of one run; 0: any number */
	uint64_t time_ns; /* nanoseconds of one run; 0: any */
	uint64_t value;   /* what a program that was ended returns (of closures: their on_error) */
	int on_fault;     /* enum ferry_on_fault */
};

/* For programs loaded from now on by this process; NULL: no limits. -EINVAL. */
FERRY_API int ferry_limits_default(const struct ferry_limits *limits);
/*
 * For a loaded program, which is compiled again; runs that have begun end under the old ones. NULL: none.
 * -EBADF, -EINVAL (a value, or a call that could not be ended safely: logged), -EBUSY (from inside a
 * program, or closures were made of it already), -ENOMEM.
 */
FERRY_API int ferry_prog_limit(int prog_fd, const struct ferry_limits *limits);

#ifdef __cplusplus
}
#endif
#endif
