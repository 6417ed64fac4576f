/* SPDX-License-Identifier: MIT */
/* C++ exceptions and backtraces through frames that return probes watch. */
#include <execinfo.h>
#include <stdexcept>
#include <cstdio>
#include <cstring>

#define _Static_assert static_assert
#define _Thread_local thread_local
#define _Atomic volatile
extern "C" {
#include "attach/attach.h"
}

static int failed, number;
static unsigned long entries, returns;

static void check(bool ok, const char *name)
{
	std::printf("%sok %d - %s\n", ok ? "" : "not ", ++number, name);
	failed += !ok;
}

static void on_entry(struct pt_regs *, void *)
{
	entries++;
}

static void on_return(struct pt_regs *, void *)
{
	returns++;
}

struct Counted {
	int *n;
	~Counted() { ++*n; }
};

extern "C" __attribute__((noinline)) int thrower(int n, int *destroyed)
{
	Counted c = { destroyed };

	if (!n)
		throw std::runtime_error("deep");
	return thrower(n - 1, destroyed) + 1;
}

extern "C" __attribute__((noinline)) int depth(int n)
{
	void *frames[64];

	if (n)
		return depth(n - 1) + (*(volatile int *)&n & 0);
	return backtrace(frames, 64);
}

/* A probe's own frames are walked over as well. */
static int from_hook;
static void trace_hook(struct pt_regs *, void *)
{
	void *frames[64];

	from_hook = backtrace(frames, 64);
}

int main()
{
	struct probe_spec specs[] = {
		{ (void *)thrower, PROBE_ENTRY, 0, on_entry, NULL },
		{ (void *)thrower, PROBE_RETURN, 0, on_return, NULL },
		{ (void *)depth, PROBE_RETURN, 0, on_return, NULL },
	};
	struct probe_spec hook = { (void *)depth, PROBE_ENTRY, 0, trace_hook, NULL };
	struct probe *probes[3], *p;
	bool caught = true;
	int plain = depth(10), destroyed = 0, i;

	std::printf("1..6\n");
	check(!probe_add(specs, 3, probes, NULL), "probes are added");
	for (i = 0; i < 1000; i++)
		try {
			thrower(i % 20, &destroyed);
			caught = false;
		} catch (const std::runtime_error &e) {
			caught &= !std::strcmp(e.what(), "deep");
		}
	check(caught, "exceptions_pass_frames_with_return_probes");
	check(entries == 10500 && destroyed == 10500 && !returns, "each_frame_is_entered_and_unwound_once");
	/* Each watched frame shows a slot as well. */
	check(depth(10) >= plain && returns == 11, "backtrace_passes_slots");
	probe_remove(probes, 3);
	check(depth(10) == plain, "backtrace_is_as_before_after_removal");
	check(!probe_add(&hook, 1, &p, NULL) && depth(0) && from_hook > 3,
	      "backtrace_from_a_hook_reaches_the_caller");
	probe_remove(&p, 1);
	return failed != 0;
}
