/* SPDX-License-Identifier: MIT */
/*
 * tracefs's uprobe_events and kprobe_events of a session. Each is a list of what was written to it, to which is added
 * and nothing else, so that writers that Ferry does not see (static programs, other programs' streams) count as well:
 * the probes are what the lines come to. Whom Ferry sees (sys_probe_write()) is told what is wrong with a line.
 */
#ifndef FERRY_PROBE_FILE_H
#define FERRY_PROBE_FILE_H

#include "bpf/event/probe_line.h"

#define PROBE_FIRST 4096 /* numbers of these events in tracefs; 16 bits in the kernel's records */
#define PROBE_LAST  65535

/*
 * The event of this number into *out, which the caller frees: a descriptor that holds it, so that it cannot be
 * deleted until sys_probe_let_go(), or -ENOENT.
 */
int sys_probe_take(u32 id, struct probe_line *out);
void sys_probe_let_go(int held);

/* Makes the files of all events that there are; their names, a line each, into `names`, which may be NULL. */
void sys_probe_files(const char *session, struct text *names);

#endif
