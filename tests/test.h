/* SPDX-License-Identifier: MIT */
/* What every test includes: cmocka with the headers it needs first. */
#ifndef FERRY_TEST_H
#define FERRY_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>

#include <cmocka.h>

#include "crash.h"

/*
 * For a whole test program that lacks what it needs: `return skip_all("why")` from main. Not cmocka's
 * skip(), which prints 'not ok' and so counts as a failure.
 */
static inline int skip_all(const char *why)
{
	printf("1..0 # SKIP %s\n", why);
	return 0;
}

#endif
