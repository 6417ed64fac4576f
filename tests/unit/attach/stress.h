/* SPDX-License-Identifier: MIT */
/* Real libraries at work, with results that are known. */
#ifndef FERRY_TEST_STRESS_H
#define FERRY_TEST_STRESS_H

#include <stdbool.h>

struct workload {
	const char *name, *library; /* the start of the file's name */
	unsigned threads;           /* that may run it at once */
	unsigned rounds;            /* with all functions probed, in the end */
	bool (*start)(void);        /* loads it; false: it is not here */
	bool (*run)(void);          /* once; false: a wrong result */
};
extern const struct workload workload_crypto, workload_sqlite, workload_python, workload_python_own;

#endif
