/* SPDX-License-Identifier: MIT */
/* What the programs of life.bpf.c write down. */
#ifndef LIFE_H
#define LIFE_H

enum { EXEC, FORK, NEW, EXIT, RAW_EXEC, RAW_FORK, RAW_NEW, RAW_EXIT, EXECVE_DONE };

struct life {
	int what;
	int pid, tid, ppid;     /* current, and current->real_parent */
	int a, b;               /* of the event: two process numbers; of an end, the exit code and the priority */
	unsigned long long flags;
	unsigned long long age; /* ns since the thread began */
	char comm[16];          /* current */
	char name[64];          /* of the event: file, child's name */
};

#endif
