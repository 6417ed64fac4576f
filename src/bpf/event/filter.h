/* SPDX-License-Identifier: MIT */
/* Filters of events, as PERF_EVENT_IOC_SET_FILTER takes them (Documentation/trace/events.rst, 5). */
#ifndef FERRY_BPF_FILTER_H
#define FERRY_BPF_FILTER_H

#include "base/base.h"

#define FILTER_MOST 4096 /* bytes of an expression, with its end: strndup_user() of a page */

/*
 * Is it an expression on the fields of an event, whose file "format" has this text? 0, or -errno as the kernel has it. What it
 * says is of no effect on programs: the kernel runs them before it looks at filters, which are for counts and samples.
 */
int filter_check(const char *expression, const char *format);

#endif
