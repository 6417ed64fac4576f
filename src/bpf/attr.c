/* SPDX-License-Identifier: MIT */
/* bpf(2)'s entry: the attr is copied and checked once, then the command's handler is called. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "bpf/session/remote.h"
#include "bpf/sys_int.h"
#include "code/code.h"

struct command {
	long (*handler)(struct sys_call *c);
	const char *name;
	u32 end; /* bytes of the attr that the command knows */
};

#define FIELD_END(field) (offsetof(union bpf_attr, field) + sizeof(((union bpf_attr *)0)->field))
static const struct command commands[] = {
#define CMD(number, handler_, last) [number] = { sys_cmd_##handler_, #number, FIELD_END(last) },
#include "bpf/cmd.def"
#undef CMD
};

int sys_in(void *dst, u64 addr, size_t n)
{
	if (__builtin_expect(sys_remote != NULL, 0))
		return n ? sys_remote_copy(dst, addr, n, false) : 0;
	return n ? code_copy_safe(dst, (const void *)(uintptr_t)addr, n) : 0;
}

int sys_out(u64 addr, const void *src, size_t n)
{
	if (__builtin_expect(sys_remote != NULL, 0))
		return n ? sys_remote_copy((void *)src, addr, n, true) : 0;
	return n ? code_copy_safe((void *)(uintptr_t)addr, src, n) : 0;
}

s64 sys_in_string(char *dst, u64 addr, size_t n)
{
	if (sys_remote)
		return sys_remote_string(dst, addr, n);
	return code_copy_string_safe(dst, (const char *)(uintptr_t)addr, n);
}

/*
 * Read in pieces that grow as they arrive: a size that is a lie fails at the first bad page before
 * gigabytes are asked for.
 */
int sys_dup(u64 addr, size_t n, void **out)
{
	size_t have = 0, cap = 0;
	u8 *buf = NULL;
	int err = 0;

	*out = NULL;
	while (have < n && !err) {
		size_t want = have ? have : 65536;
		void *p;

		if (want > n - have)
			want = n - have;
		p = base_grow(buf, &cap, have + want, 1);
		if (!p) {
			err = -ENOMEM;
			break;
		}
		buf = p;
		err = sys_in(buf + have, addr + have, want);
		have += want;
	}
	if (err) {
		base_free(buf);
		return err;
	}
	*out = buf;
	return 0;
}

int sys_tail_zero(u64 addr, size_t known, size_t size)
{
	u8 buf[256];

	if (size > 4096) /* PAGE_SIZE: whoever passes more does not mean this structure */
		return -E2BIG;
	while (known < size) {
		size_t n = size - known < sizeof(buf) ? size - known : sizeof(buf), i;

		if (sys_in(buf, addr + known, n))
			return -EFAULT;
		for (i = 0; i < n; i++)
			if (buf[i])
				return -E2BIG;
		known += n;
	}
	return 0;
}

int sys_in_struct(void *dst, size_t known, u64 addr, u32 size)
{
	int err = sys_tail_zero(addr, known, size);

	if (err)
		return err;
	memset(dst, 0, known);
	return sys_in(dst, addr, size < known ? size : known);
}

int sys_log_begin(struct sys_log *log, u32 level, u64 buf, u32 size)
{
	memset(log, 0, sizeof(*log));
	if (!buf != !size || (buf && !level) || level & ~(7u | SYS_LOG_FIXED) || size > UINT32_MAX >> 2)
		return -EINVAL;
	log->level = level & 7u;
	log->buf = buf;
	log->size = size;
	/* Room for the 0 behind it; without a buffer only the size counts. */
	if (level & SYS_LOG_FIXED && size > 1)
		log->text.limit = size - 1;
	else
		log->text.keep = size > 64 ? size : 64;
	return 0;
}

int sys_log_end(struct sys_log *log, int err, u64 true_size)
{
	const struct text *t = &log->text;
	size_t n = t->len < log->size ? t->len : log->size - 1;
	u32 size = log->level ? (u32)(t->most + 1) : 0;

	if (log->buf && log->level && size > log->size)
		err = -ENOSPC;
	/* The end of the log, which with BPF_LOG_FIXED is its start. */
	if (log->buf && t->len && sys_out(log->buf, t->s + t->len - n, n + 1))
		err = -EFAULT;
	if (true_size && sys_out(true_size, &size, sizeof(size)))
		err = -EFAULT;
	text_free(&log->text);
	return err;
}

static bool all_zero(const u8 *p, size_t n)
{
	for (; n; p++, n--)
		if (*p)
			return false;
	return true;
}

static long dispatch(int cmd, void *attr, unsigned int size)
{
	struct sys_call c = { .cmd = cmd, .uattr = (uintptr_t)attr, .size = size };
	const struct command *command;
	int err = sys_in_struct(&c.attr, sizeof(c.attr), c.uattr, size);

	if (err)
		return err;
	if (cmd < 0 || (size_t)cmd >= ARRAY_SIZE(commands) || !commands[cmd].handler) {
		log_msg(LOG_INFO, "bpf(2): there is no command %d here", cmd);
		return -EINVAL;
	}
	command = &commands[cmd];
	/* A result, whatever was there. */
	if (cmd == BPF_PROG_LOAD)
		memset((u8 *)&c.attr + SYS_PROG_TRUE_SIZE, 0, sizeof(u32));
	else if (cmd == BPF_BTF_LOAD)
		memset((u8 *)&c.attr + SYS_BTF_TRUE_SIZE, 0, sizeof(u32));
	if (!all_zero((u8 *)&c.attr + command->end, sizeof(c.attr) - command->end)) {
		log_msg(LOG_INFO, "%s: fields behind the known ones are not zero", command->name);
		return -EINVAL;
	}
	return command->handler(&c);
}

long sys_bpf(int cmd, void *attr, unsigned int size)
{
	long ret;

	if (!sys_remote && sys_bpf_fast(cmd, attr, size, &ret))
		return ret;
	sys_inside++;
	ret = dispatch(cmd, attr, size);
	sys_inside--;
	return ret;
}
