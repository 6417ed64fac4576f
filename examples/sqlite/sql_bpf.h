/* SPDX-License-Identifier: MIT */
/* For programs: what they may call of SQLite, and of the application (sql.c). */
#ifndef SQL_BPF_H
#define SQL_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* Handles: they come as parameters or from calls, and are of no use but in calls. */
struct sqlite3_context; /* where a function's result goes */
struct sqlite3_value;   /* an argument */
struct sql_args;        /* all arguments of a call */
struct sql_group;       /* the rows that an aggregate runs over */

struct sql_access {
	int action;
	char object[64], detail[64], database[32];
};

extern struct sqlite3_value *sql_arg(const struct sql_args *args,
				     int n) __ksym; /* NULL: there are fewer */
extern long long sqlite3_value_int64(struct sqlite3_value *value) __ksym;
extern int sqlite3_value_type(struct sqlite3_value *value) __ksym;
/* Copies at most `size' bytes, with zeros behind: how many bytes of text there are. */
extern int sql_text(struct sqlite3_value *value, char *text__uninit, unsigned int text__sz) __ksym;
extern unsigned int sql_root(unsigned long long square) __ksym; /* rounded down */
/* 64 bytes for each group, zeros in the beginning; NULL: out of memory. */
extern void *sql_state(struct sql_group *group) __ksym;

extern void sqlite3_result_int64(struct sqlite3_context *ctx, long long n) __ksym;
extern void sqlite3_result_null(struct sqlite3_context *ctx) __ksym;
extern void sql_result_text(struct sqlite3_context *ctx, const char *text,
			    unsigned int text__sz) __ksym;

#endif
