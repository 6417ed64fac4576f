/* SPDX-License-Identifier: MIT */
/* Helpers that read clocks. */
#include <time.h>
#include <unistd.h>

#include "helper/helper_int.h"

static u64 clock_ns(clockid_t clock)
{
	struct timespec t;

	if (clock_gettime(clock, &t))
		return 0;
	return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}

u64 ktime_ns(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	return clock_ns(CLOCK_MONOTONIC);
}

u64 ktime_boot_ns(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	return clock_ns(CLOCK_BOOTTIME);
}

u64 ktime_coarse_ns(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	return clock_ns(CLOCK_MONOTONIC_COARSE);
}

u64 ktime_tai_ns(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	return clock_ns(CLOCK_TAI);
}

/* Ticks of the clock that user space knows, from the kernel's start value of five minutes before 0.
 */
u64 time_jiffies(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	u64 hz = 250;

	return clock_ns(CLOCK_MONOTONIC) / (1000000000u / hz) + (u32)(-300 * (s32)hz);
}
