/* SPDX-License-Identifier: MIT */
/* FNV-1a. */
#include "program.h"

PROGRAM(fnv)
{
	u64 h = 0xcbf29ce484222325;

	for (u32 i = 0; i < 4096; i++) {
		h ^= ctx[i];
		h *= 0x100000001b3;
	}
	return h;
}
