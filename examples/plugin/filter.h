/* SPDX-License-Identifier: MIT */
/* The plug-in table that host and plug-ins share. */
struct query {
	unsigned int size, port;
	char path[32];
};

struct filter_ops {
	int (*accept)(const struct query *r, int level);
	void (*count)(struct query *r);
	unsigned int version;
	char name[16];
};
