/* SPDX-License-Identifier: MIT */
/* What the verifier's tests share: a program from text, with maps, put to the verifier. */
#ifndef VERIFY_CORE_H
#define VERIFY_CORE_H

#include "test.h"

#include "helper/helper.h"
#include "verify/verify.h"

/* References in the text: map[CORE_HASH] and so on. */
enum core_map {
	CORE_ARRAY,  /* key 4, value 48, 4 elements */
	CORE_HASH,   /* key 8, value 16 */
	CORE_PROGS,  /* prog array */
	CORE_RINGBUF,
	CORE_RODATA, /* one element of 32 bytes, frozen and read-only: 1 0 0 0 2 0 0 0 "text\0" ... */
	CORE_DATA,   /* one element of 64 bytes */
	CORE_MAPS,
};

struct core {
	struct prog *p;
	struct text log;
	struct verify_opts opts;
	struct verify_stats stats;
	int err;
};

/* Assembles; fails the test when that does not work. Set c->opts in between to change them. */
void core_open(struct core *c, u32 type, const char *source);
int core_verify(struct core *c);
void core_close(struct core *c);

/* The whole at once: 0 or -errno, and the log in a static buffer. */
int core_verdict(u32 type, const char *source, const char **log);

#define core_accepts(type, source)                                                                 \
	do {                                                                                       \
		const char *core_log;                                                              \
		if (core_verdict(type, source, &core_log))                                         \
			fail_msg("refused: %s", core_log);                                         \
	} while (0)

#define core_refuses(type, source, error, text)                                                    \
	do {                                                                                       \
		const char *core_log;                                                              \
		int core_err = core_verdict(type, source, &core_log);                              \
		if (core_err != (error) || !strstr(core_log, text))                                \
			fail_msg("wanted %d and '%s', got %d: %s", error, text, core_err,          \
				 core_log);                                                        \
	} while (0)

#endif
