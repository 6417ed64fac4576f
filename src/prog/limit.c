/* SPDX-License-Identifier: MIT */
/* Budgets: how a slice is refilled, and when a program has to end. */
#include <time.h>

#include "prog/limit.h"

#define SLICE 2048 /* instructions between looks at the clock */

_Thread_local struct prog_budget prog_budget = { .left = INT64_MAX };

/*
 * After calls that took less than this many ticks of the processor's counter, some microseconds, nobody
 * looks at the clock, which may take a system call.
 */
#define BRIEF 16384

static u64 ticks(void)
{
#if defined(__x86_64__)
	return __builtin_ia32_rdtsc();
#else
	static _Thread_local u64 n;

	return n += BRIEF; /* always look */
#endif
}

static u64 now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (u64)ts.tv_sec * 1000000000u + (u64)ts.tv_nsec;
}

int prog_budget_slow(void)
{
	struct prog_budget *b = &prog_budget;
	u64 want = b->deadline ? SLICE : INT64_MAX / 2;

	if (b->ended)
		return 1;
	if (b->left >= 0 && ticks() - b->looked < BRIEF)
		return 0;
	while (b->left < 0 && b->insns) {
		u64 take = want < b->insns ? want : b->insns;

		b->left += (s64)take;
		b->insns -= b->insns == UINT64_MAX ? 0 : take;
	}
	if (b->left < 0)
		b->ended = PROG_OUT_OF_INSNS;
	else if (b->deadline && now() > b->deadline)
		b->ended = PROG_OUT_OF_TIME;
	b->looked = ticks();
	return b->ended != 0;
}

void prog_budget_begin(const struct prog_limits *l, struct prog_budget *saved)
{
	*saved = prog_budget;
	prog_budget = (struct prog_budget){
		.insns = l->insns ? l->insns : UINT64_MAX,
		.deadline = l->time_ns ? now() + l->time_ns : 0,
		.ended = l->gone ? PROG_GONE : PROG_RUNS,
	};
	/* All at once where only instructions count. */
	if (!l->time_ns)
		prog_budget.left = l->insns && l->insns < INT64_MAX ? (s64)l->insns : INT64_MAX;
	if (!l->time_ns && l->insns)
		prog_budget.insns = 0;
}

u32 prog_budget_finish(const struct prog_budget *saved)
{
	u32 ended = prog_budget.ended;

	prog_budget = *saved;
	return ended;
}
