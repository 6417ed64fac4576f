/* SPDX-License-Identifier: MIT */
/* bpf_spin_lock, and pointers to objects. The verifier knows that the words are such in a map's value. */
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

u64 lock_kptr_xchg(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	return __atomic_exchange_n((u64 *)ptr(a1), a2, __ATOMIC_ACQ_REL);
}
