/* SPDX-License-Identifier: MIT */
/* What Ferry and libbpf say, kept to be looked into; libbpf's messages have the verifier's log. */
#ifndef SAID_H
#define SAID_H

#include <bpf/libbpf.h>
#include <ferry/ferry.h>

#include "test.h"

static char said[1 << 19];

static inline void said_log(void *arg, int level, const char *msg)
{
	size_t n = strlen(said);

	(void)arg, (void)level;
	snprintf(said + n, sizeof(said) - n, "%s\n", msg);
}

static inline int said_print(enum libbpf_print_level level, const char *format, va_list ap)
{
	size_t n = strlen(said);

	return level == LIBBPF_WARN ? vsnprintf(said + n, sizeof(said) - n, format, ap) : 0;
}

static inline void keep_what_is_said(void)
{
	ferry_log_to(said_log, NULL);
	libbpf_set_print(said_print);
}

#endif
