/* SPDX-License-Identifier: MIT */
/* The policy in force (ferry/policy.h), as loading a program asks it. */
#ifndef FERRY_BPF_POLICY_H
#define FERRY_BPF_POLICY_H

#include "base/base.h"
#include "prog/limit.h"

/* May p be loaded, its references resolved? 0, or -EACCES: `log` has the lines that are missing. */
int policy_check(const struct prog *p, struct text *log);
/* Calls a second that the call at `insn` may be made; 0: any number. */
u64 policy_rate(const struct prog *p, u32 insn);
/* Changes what the policy's lines say. */
void policy_limits(const struct prog *p, struct prog_limits *l);

/* ---- the text (policy_text.c) ------------------------------------------------------------------- */

enum policy_what {
	POLICY_TYPE, POLICY_CALL, POLICY_DESTRUCTIVE, POLICY_HELPER, POLICY_MAP, /* allow */
	POLICY_INSNS, POLICY_TIME, POLICY_RETURN, POLICY_FAULT,                  /* limit */
	POLICY_DEFAULT_ALLOW, POLICY_DEFAULT_DENY,
};

struct policy_rule {
	u8 what;         /* enum policy_what */
	char who[64];    /* a pattern of programs */
	char name[128];  /* of what is granted */
	u64 n;           /* calls a second, bytes, instructions, ns, value, enum prog_on_fault; 0: any */
};

/* Adds the statements of `text` to the rules: 0, -ENOMEM, or -EINVAL and `why` says where. */
int policy_parse(const char *text, struct policy_rule **rules, size_t *n, size_t *cap, struct text *why);

#endif
