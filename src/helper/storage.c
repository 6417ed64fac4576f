/* SPDX-License-Identifier: MIT */
/* Helpers on task-local storage. */
#include <errno.h>

#include "helper/helper_int.h"

u64 storage_task_get(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	static const u8 zeros[UINT16_MAX];
	struct map *m = ptr(a1);
	u32 tid = helper_task_pid(a2);
	void *value;

	if (a4 & ~(u64)BPF_LOCAL_STORAGE_GET_F_CREATE || !tid)
		return 0;
	value = map_task_lookup(m, tid);
	if (value || !(a4 & BPF_LOCAL_STORAGE_GET_F_CREATE))
		return (u64)(uintptr_t)value;
	map_task_update(m, tid, a3 ? ptr(a3) : zeros, BPF_NOEXIST);
	return (u64)(uintptr_t)map_task_lookup(m, tid);
}

u64 storage_task_delete(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	u32 tid = helper_task_pid(a2);

	return tid ? (u64)(s64)map_task_delete(ptr(a1), tid) : (u64)-EINVAL;
}
