/* SPDX-License-Identifier: MIT */
/*
 * Which program may use what. Without a policy, programs may call every function that the process
 * registered, except FERRY_DESTRUCTIVE ones. With one, nothing is allowed that a line does not grant.
 * It is text, a statement a line:
 *
 *	default allow                       what no line speaks of is allowed (not destructive functions)
 *	allow PROGRAM type NAME             to be of a type: xdp, syscall, ext (closures)
 *	allow PROGRAM call MODULE.FUNC [N/s]     to call a native function, N times a second
 *	allow PROGRAM destructive MODULE.FUNC    the same, needed besides for FERRY_DESTRUCTIVE
 *	allow PROGRAM helper NAME [N/s]     to call a helper: map_lookup_elem
 *	allow PROGRAM map TYPE [BYTES]      to use maps of a type, of so many bytes together: hash 64K
 *	limit PROGRAM insns N               as ferry/limits.h
 *	limit PROGRAM time N[us|ms|s]
 *	limit PROGRAM return N
 *	limit PROGRAM fault host|end|error
 *	# and comments
 *
 * PROGRAM is the program's name, OBJECT/NAME (see ferry_policy_object), or tag:HEX, the tag that bpftool
 * shows. All names are patterns of glob(7). docs/policy.md has more.
 */
#ifndef FERRY_POLICY_H
#define FERRY_POLICY_H

#ifdef __cplusplus
extern "C" {
#endif

#ifndef FERRY_API
#define FERRY_API __attribute__((visibility("default")))
#endif

/*
 * The policy of programs loaded from now on by this process; those loaded before keep what they were
 * granted. A load that lacks a grant fails with -EACCES; the log, and the verifier's log, has the line to
 * be added. NULL: no policy. -EINVAL (the log says which line and what was expected; the old policy
 * stays), -ENOMEM.
 */
FERRY_API int ferry_policy_set(const char *text);
FERRY_API int ferry_policy_load(const char *path); /* the same from a file; also -errno of open(2) */
FERRY_API int ferry_policy_add(const char *lines); /* behind those there are */
/* The object that this thread loads from now on, for OBJECT/NAME; NULL: none. -ENAMETOOLONG. */
FERRY_API int ferry_policy_object(const char *name);

#ifdef __cplusplus
}
#endif
#endif
