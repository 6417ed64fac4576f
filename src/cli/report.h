/* SPDX-License-Identifier: MIT */
/* The page that `ferry verify --html` writes: one file, nothing from outside, whatever the input.
 */
#ifndef FERRY_REPORT_H
#define FERRY_REPORT_H

#include "base/base.h"
#include "verify/explain.h"

#define REPORT_MAX (10u << 20) /* bytes of a page, about: what does not fit is left out and said   \
				*/

struct report {
	struct text body, index;
	u32 programs, refused,
		bare; /* bare: programs for which there was no room but for the verdict */
};

struct report_prog {
	const char *file, *name, *section, *log;
	int err;
	const struct verify_watch *w; /* NULL: it did not come to the verifier */
};
void report_prog(struct report *r, const struct report_prog *p);
int report_write(const struct report *r,
		 const char *path); /* 0, or a CLI_ code with the reason printed */
void report_free(struct report *r);

#endif
