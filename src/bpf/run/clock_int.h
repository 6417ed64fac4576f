/* SPDX-License-Identifier: MIT */
/*
 * Inside src/bpf: software clocks. A clock of a processor (perf_event_open(2) with pid -1) ticks at fixed
 * times, once a period: the process that opened it has a thread for that (clock.c). Whoever runs on the
 * processor is to be interrupted, and which thread that is only the threads know: each gets a signal
 * once in a while that it spends running, its beat (beat.c), leaves the time there, and takes the ticks
 * that are owed. With no beat for some time the processor idles, as far as Ferry's processes are concerned,
 * and the thread that counts runs the program in the name of the idle task, as the kernel does.
 *
 * A clock of a task counts the time that the task runs, and needs no more than the beats.
 */
#ifndef FERRY_CLOCK_INT_H
#define FERRY_CLOCK_INT_H

#include <stdatomic.h>

#include "bpf/event/attach.h"
#include "bpf/sys_int.h"

#define CLOCK_MAX  512       /* clocks of a process at once */
#define CLOCK_BEAT 10000000u /* ns that a thread runs between two beats, at most */
#define CLOCK_MOST 1000u     /* ticks that one beat makes up for, at most */

/* Of a processor's clock, in memory of all processes that it concerns. Numbers only. */
struct clock_slot {
	_Atomic u64 beat; /* CLOCK_MONOTONIC, ns: when some thread was seen running there */
	_Atomic u32 owed; /* ticks for the next thread that is */
	_Atomic u32 lent; /* ticks that threads took before they were there: the next ones are those */
	u32 unused[12];
};

struct clock {
	struct sys_attach what;
	struct clock_slot *slot; /* NULL: of a task */
	struct clock_slot alone; /* the slot when no other process has to know */
	void *mapped;            /* memory of the process that opened it; NULL: this one */
	bool own;                /* the ticks are made here */
	s32 tid;                 /* of a task's: the thread; 0 with all threads of the process */
	u32 generation;          /* tells clocks in the same place of the table apart */
	u64 next;                /* CLOCK_MONOTONIC, ns: of the next tick */
	struct sys_deferred deferred;
};

/* Read by handlers of signals; what is taken out is freed after clock_wait(). */
extern struct clock *_Atomic clock_table[CLOCK_MAX];

u64 clock_now(void); /* CLOCK_MONOTONIC, ns */
/* How long after a beat its processor counts as busy. */
u64 clock_busy(u64 interval);
/* Takes ticks that are owed, at most so many, and leaves so many: how many it took. */
u32 clock_take(struct clock_slot *s, u32 keep, u32 most);
/* Takes so many ticks of those to come. */
void clock_borrow(struct clock_slot *s, u32 n);

/* ---- beat.c ------------------------------------------------------------------------------------- */

int beat_init(void); /* 0, or -errno: no signal is free */
/* Gives every thread of the process its beat, but the one that calls; those that ended lose it. */
void beat_scan(u64 interval);
void beat_stop(void);
void beat_wait(void); /* until no other thread is in a beat that it began before */
void beat_forked(void);

#endif
