/* SPDX-License-Identifier: MIT */
/* What a field of an attr may be spoiled with, by its kind. */
#ifndef FERRY_ATTR_VALUES_H
#define FERRY_ATTR_VALUES_H

#include "attr_probes.h"

enum attr_kind { ATTR_NUM, ATTR_HUGE, ATTR_FD, ATTR_ID, ATTR_PTR, ATTR_OUT };

struct attr_field {
	int cmd;
	const char *name;
	u32 off, size;
	enum attr_kind kind;
};
extern const struct attr_field attr_fields[];
extern const u32 nattr_fields;

struct attr_value {
	const char *name;
	u64 v;
};
#define ATTR_VALUES 40

/* Descriptors of other things and pages of every kind, once for all. */
void attr_values_make(void);
void attr_values_end(void);
/* Values of this kind in the world of one side: the same names in the same order for each. */
u32 attr_values(const struct world *w, enum attr_kind kind, struct attr_value out[ATTR_VALUES]);
void attr_set(union bpf_attr *a, const struct attr_field *f, u64 v);
/* The two pages in front of memory that is not there. */
u8 *attr_edge(void);

#endif
