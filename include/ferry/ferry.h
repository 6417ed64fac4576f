/* SPDX-License-Identifier: MIT */
/*
 * Ferry: eBPF programs inside ordinary processes. Load and use programs with libbpf as for the
 * kernel; this is only what libbpf lacks. Link with -lferry -lbpf.
 *
 * Functions return 0 or a value on success and a negative errno on failure; the reason goes to the
 * log (ferry_log_to). All are thread-safe unless they say otherwise.
 */
#ifndef FERRY_H
#define FERRY_H

#include <stddef.h>
#include <stdint.h>

#include <ferry/call.h>
#include <ferry/closure.h>
#include <ferry/limits.h>
#include <ferry/module.h>
#include <ferry/ops.h>
#include <ferry/policy.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef FERRY_API
#define FERRY_API __attribute__((visibility("default")))
#endif

#define FERRY_VERSION_MAJOR 0
#define FERRY_VERSION_MINOR 1
FERRY_API const char *ferry_version(void); /* "0.1.0" */

/*
 * Answers bpf(2) in this process from now on, for all objects loaded now: called at start when
 * libferry is linked or preloaded, to be called again after a dlopen() of something that uses
 * libbpf. Does nothing with FERRY=off in the environment. 0, or a negative errno.
 */
FERRY_API int ferry_hook(void);

/* bpf(2) answered by Ferry whether hooked or not; -1 and errno as the system call. */
FERRY_API long ferry_bpf(int cmd, void *attr, unsigned int size);

/*
 * Programs that this thread loads from now on are held to the strict policy, for programs from others:
 * they may neither learn addresses nor compute on pointers in ways that could reveal them, as Linux has
 * it for those without CAP_PERFMON (docs/verifier.md). FERRY_STRICT=1 in the environment does it for all.
 * Returns what was set before: 0 or 1.
 */
FERRY_API int ferry_strict(int on);

/* Where messages for people go; `msg` has no newline. NULL restores stderr (warnings and errors). */
enum ferry_log_level { FERRY_LOG_ERROR, FERRY_LOG_WARN, FERRY_LOG_INFO, FERRY_LOG_DEBUG };
typedef void (*ferry_log_fn)(void *arg, int level, const char *msg);
FERRY_API void ferry_log_to(ferry_log_fn fn, void *arg);

/* Where bpf_trace_printk's lines go; NULL restores the buffer behind trace_pipe. */
typedef void (*ferry_trace_fn)(void *arg, const char *line, size_t len);
FERRY_API void ferry_trace_to(ferry_trace_fn fn, void *arg);

/*
 * Registers a module: programs loaded afterwards may call its functions. The descriptor is copied;
 * the functions stay the caller's and must outlive the module and every program that uses it.
 * -EINVAL (bad prototype: the log says where), -EEXIST, -ENOMEM.
 */
FERRY_API int ferry_module_register(const struct ferry_module *mod);
/*
 * Takes a module away. Loaded programs that use it go on, end where they would call a function of it (with the
 * value of their limits, or 0; closures with on_error; FERRY_FAULT_ERROR: the call returns -EFAULT), and if
 * they could not end there or use a variable of it, before they begin. That is logged. Waits until no thread
 * is inside a program that used the module: after that its functions may be unloaded. -ENOENT, -EBUSY (called
 * from inside a program: nothing has changed).
 */
FERRY_API int ferry_module_unregister(const char *name);
/*
 * dlopen()s a library and registers the module that it exports (FERRY_MODULE). -ENOENT (no library),
 * -EINVAL (it exports no module, or a bad one), -EEXIST, -ENOMEM. The library stays loaded.
 */
FERRY_API int ferry_module_load(const char *path);

/*
 * Why a program that declares `name` as a __ksym does not load, and the nearest registered names, as
 * one line in `buf` (cut to `size` bytes with its NUL). Returns whether a function `name` is
 * registered: 1 or 0; -EINVAL.
 */
FERRY_API int ferry_explain_ksym(const char *name, char *buf, size_t size);
/*
 * The same for every extern over which loading `obj`, libbpf's struct bpf_object, failed just now in
 * this thread, a line each: how many there are. (It is also logged as an error by itself.)
 */
struct bpf_object;
FERRY_API int ferry_explain_object(const struct bpf_object *obj, char *buf, size_t size);

/*
 * Runs a loaded program once on `ctx`, which must be what its type expects: `size` bytes, for raw
 * contexts (syscall, kprobe, tracepoint) as they are. The program's return value is in *ret. -EBADF,
 * -EINVAL (context too small or of a packet type: use bpf_prog_test_run_opts), -ENOMEM.
 */
FERRY_API int ferry_prog_run(int prog_fd, void *ctx, size_t size, uint64_t *ret);

/*
 * A program prepared for many runs: no look-up of the descriptor each time. It holds a reference on
 * the program until freed, by the caller. ferry_runner_run() does not check ctx: the size in bytes
 * was given once and holds for every call. A program with tail calls needs the whole context of its
 * type, however little it reads itself. -EBADF, -EINVAL as above, -ENOMEM.
 */
struct ferry_runner;
FERRY_API int ferry_runner_new(int prog_fd, size_t ctx_size, struct ferry_runner **out);
FERRY_API uint64_t ferry_runner_run(const struct ferry_runner *r, void *ctx);
FERRY_API void ferry_runner_free(struct ferry_runner *r);

/*
 * Loads through pointers typed by BTF that found a bad address and gave 0, since the program was
 * loaded: fills in, in order, instructions that had any (at most `n`), by their number in the program
 * as verified. Returns how many there are, which may be more than n. -EBADF, -EINVAL.
 */
struct ferry_fault {
	uint32_t insn;
	uint64_t count;
};
FERRY_API int ferry_prog_faults(int prog_fd, struct ferry_fault *out, size_t n);

#ifdef __cplusplus
}
#endif
#endif
