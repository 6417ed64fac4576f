/* SPDX-License-Identifier: MIT */
/* Hooks of writing: lines for uprobe_events and kprobe_events (sys_probe_write()). */
#include <errno.h>

#include "bpf/session/session.h"
#include "bpf/sys.h"
#include "preload/preload_int.h"

#define real preload_real

/* Where neither file was ever opened to be written, which is nearly everywhere, a load and a comparison. */
static bool to_probes(int fd, const void *buf, size_t n, ssize_t *ret)
{
	int saved = errno;
	s64 put;

	if (__builtin_expect(!sys_probe_writers, 1) || sys_inside || !sys_probe_write(fd, buf, n, &put))
		return false;
	errno = put < 0 ? (int)-put : saved;
	*ret = put < 0 ? -1 : (ssize_t)put;
	return true;
}

ssize_t hook_write(int fd, const void *buf, size_t n)
{
	ssize_t ret;

	return to_probes(fd, buf, n, &ret) ? ret : real.write(fd, buf, n);
}

/* libbpf's way to add a line. What cannot be a line of these files is left to libc. */
int hook_vdprintf(int fd, const char *fmt, va_list ap)
{
	char line[4096];
	va_list copy;
	ssize_t ret;
	int n;

	if (__builtin_expect(!sys_probe_writers, 1) || sys_inside)
		return real.vdprintf(fd, fmt, ap);
	va_copy(copy, ap);
	n = vsnprintf(line, sizeof(line), fmt, copy);
	va_end(copy);
	if (n < 0 || n >= (int)sizeof(line) || !to_probes(fd, line, (size_t)n, &ret))
		return real.vdprintf(fd, fmt, ap);
	return (int)ret;
}

int hook___vdprintf_chk(int fd, int flag, const char *fmt, va_list ap)
{
	if (__builtin_expect(!sys_probe_writers, 1) || sys_inside)
		return real.__vdprintf_chk(fd, flag, fmt, ap);
	return hook_vdprintf(fd, fmt, ap);
}
