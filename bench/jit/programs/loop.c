/* SPDX-License-Identifier: MIT */
/* A loop of plain arithmetic with a branch. */
#include "program.h"

PROGRAM(loop)
{
	u64 sum = *(u64 *)ctx;

	for (u32 i = 1; i <= 2000; i++) {
		sum += (u64)i * i;
		if (sum & 4)
			sum ^= sum >> 7;
		else
			sum -= i;
	}
	return sum;
}
