/* SPDX-License-Identifier: MIT */
/* bpf_spin_lock. The verifier knows that the word is one in a map's value. */
#include "helper/helper_int.h"

u64 lock_spin(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	map_spin_lock(ptr(a1));
	return 0;
}

u64 lock_spin_unlock(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	map_spin_unlock(ptr(a1));
	return 0;
}
