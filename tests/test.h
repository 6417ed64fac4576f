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

#endif
