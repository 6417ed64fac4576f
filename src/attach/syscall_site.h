/* SPDX-License-Identifier: MIT */
/* Private to src/attach: `syscall` instructions of a piece of code, and what is written there. */
#ifndef FERRY_SYSCALL_SITE_H
#define FERRY_SYSCALL_SITE_H

#include "attach/syscall_int.h"

#define SC_STUB 320
#define SC_WAYS 8

/* Bytes that are replaced. Of an instruction that cannot be reached by a jump: len is 0. */
struct sc_site {
	u64 call; /* the instruction; 0: these bytes belong to the site before */
	u64 addr;
	u8 len;
	u8 orig[MAX_STOLEN], now[MAX_STOLEN];
	/* A thread that stands there goes on here. */
	const u8 *from[SC_WAYS], *to[SC_WAYS];
	u8 nways;
	bool written;
};

/* Executable memory that was mapped at once. */
struct sc_text {
	u64 start, end;
	struct sc_site *sites;
	size_t nsites, cap;
	u32 unknown;   /* bytes that look like `syscall` where no function is known to be */
	u64 pads[64];  /* padding in use */
	u32 npads;
	u64 taken;     /* addresses below are taken by sites before */
	u8 *targets;   /* while it is looked through: a bit a byte that may be branched to */
};

/* Finds the instructions and plans them; the stubs are made. 0 or -ENOMEM. */
int sc_find(struct sc_text *t);
u8 *sc_targets(u64 start, u64 end);
bool sc_is_text(u64 addr);   /* of an object that was looked through */
bool sc_is_loader(u64 addr); /* the dynamic loader's */
bool sc_has_other_code(void);
bool sc_is_own(u64 addr); /* one of Ferry's own instructions */

#endif
