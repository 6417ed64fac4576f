/* SPDX-License-Identifier: MIT */
/* A member that does what members do, with a broker that may say anything. */
#ifndef FERRY_FUZZ_MEMBER_H
#define FERRY_FUZZ_MEMBER_H

#include "base/base.h"

/* Counts what was done and came out well, for who watches. */
struct member_counts {
	_Atomic u64 rounds, attached, hits, found;
};

/* In a process of its own, of the session in `dir`, until *stop. */
void member_run(const char *dir, u64 seed, _Atomic bool *stop, struct member_counts *counts);

#endif
