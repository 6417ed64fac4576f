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

struct sc_insn {
	u32 off;
	u8 len;
	bool plain;   /* goes on behind itself, and may be moved in front of the call */
	bool ends;
	bool syscall;
	bool mov_eax; /* mov $number, %eax */
};

/* One function, taken apart. */
struct sc_body {
	u64 start, end;
	struct sc_insn *insns;
	u32 n;
	bool computed; /* branches whose targets are not known, or what is no instruction */
};
bool sc_take_apart(struct sc_body *b); /* false: no memory. The caller frees b->insns */
struct sc_site *sc_new_site(struct sc_text *t, u64 call);

/* Finds the instructions and plans them; the stubs are made. 0 or -ENOMEM. */
int sc_find(struct sc_text *t);
u8 *sc_targets(u64 start, u64 end);
bool sc_is_text(u64 addr);   /* of an object that was looked through */
bool sc_is_loader(u64 addr); /* the dynamic loader's */
bool sc_has_other_code(void);
bool sc_is_own(u64 addr); /* one of Ferry's own instructions */

/* ---- syscall_cancel.c: libc's function for calls that may be cancelled ------------------------------ */

bool sc_is_cancel_point(const struct sc_body *b, u32 call);
/* Its sites: who calls it. 0 or -ENOMEM. */
int sc_plan_point(struct sc_text *t, u64 func, u64 call);
void sc_forget_points(u64 start, u64 end); /* this text has gone */
/* The context of a SIGSYS from there: it is to go on by the stub. False: it is none of these. */
bool sc_begin_anew(void *ucontext);

#endif
