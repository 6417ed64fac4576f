/* SPDX-License-Identifier: MIT */
/*
 * A host application's structs, in two builds of it: LAYOUT 2 has more members, in another order. The
 * program was compiled for the first only. HOST_TYPES is the text that the host registers.
 */
#ifndef HOST_H
#define HOST_H

#ifndef LAYOUT
#define LAYOUT 1
#endif
#ifdef __bpf__
#define HOST_TYPES(...) __VA_ARGS__
#else
#define HOST_TYPES(...) __VA_ARGS__ static const char host_types[] = #__VA_ARGS__;
#endif

#if LAYOUT == 1
HOST_TYPES(
	struct headers { int count; unsigned short flags; };
	struct req {
		unsigned long id; struct headers *headers; const char *path; unsigned state : 3, prio : 5;
		struct { int x, y; } pos[2];
	};
	struct server { struct req *current; int nreqs; };
	struct stats { long hits; };
)
#else
HOST_TYPES(
	struct headers { char *raw; unsigned short flags; long spare[3]; int count; };
	struct req {
		const char *path; unsigned hidden : 7, prio : 5; long gap; unsigned state : 4;
		struct { char tag; int y; int x; } pos[4]; struct headers *headers; unsigned int id;
	};
	struct server { char name[32]; int nreqs; struct req *current; };
	struct stats { char pad[40]; long hits; };
)
#endif

#endif
