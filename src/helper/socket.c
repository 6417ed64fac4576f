/* SPDX-License-Identifier: MIT */
/*
 * Helpers on sockets. The verifier holds programs to them in full, references and all; when they run there
 * are none: what they answer is what the kernel does in an empty network namespace, of packets that no
 * socket sent.
 */
#include "helper/helper_int.h"

#define OVERFLOW_UID 65534 /* of nobody: /proc/sys/kernel/overflowuid */

u64 socket_none(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	return 0;
}

u64 socket_uid(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	return OVERFLOW_UID;
}
