/* SPDX-License-Identifier: MIT */
/*
 * Native functions for tour.bpf.c, as a shared library that exports a module:
 *   cc -shared -fPIC -Iinclude -o tour_module.so tour_module.c
 */
#include <ferry/module.h>
#include <stdlib.h>

struct point {
	int x, y;
};

static long norm1(const struct point *p)
{
	return labs((long)p->x) + labs((long)p->y);
}

/* Adler-32 (RFC 1950). */
static unsigned int checksum(const void *mem, unsigned int size)
{
	const unsigned char *c = mem;
	unsigned int a = 1, b = 0, i;

	for (i = 0; i < size; i++) {
		a = (a + c[i]) % 65521;
		b = (b + a) % 65521;
	}
	return b << 16 | a;
}

FERRY_MODULE(tour, "struct point { int x, y; };",
	     FERRY_FUNC("long norm1(const struct point *p)", norm1),
	     FERRY_FUNC("unsigned int checksum(const void *mem, unsigned int mem__sz)", checksum));
