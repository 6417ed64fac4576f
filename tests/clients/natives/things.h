/* SPDX-License-Identifier: MIT */
/* The host's types, which its programs know. */
#ifndef THINGS_H
#define THINGS_H

struct header {
	int count;
	int sizes[3];
};
struct req {
	int id;
	const char *uri;
	struct header *headers;
	struct req *next;
};
struct plane {
	double x, y;
};
struct tag {
	char c[3];
};
struct cube {
	long side[5];
};
struct mixed {
	int a;
	double d;
};
enum mode { FAST = 1, SLOW = 4, OFF = 9 };

#endif
