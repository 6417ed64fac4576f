/* SPDX-License-Identifier: MIT */
/* The table of test_ops.c and its plug-ins. */
struct pair {
	int a, b;
};

struct test_ops {
	int (*score)(const struct pair *p, int by);
	_Bool (*is_big)(unsigned char x);
	void (*reset)(struct pair *p);
	long number;
};
