/* SPDX-License-Identifier: MIT */
/*
 * Probes by text: what is written to tracefs's uprobe_events and kprobe_events (kernel's
 * Documentation/trace/uprobetracer.rst, kprobetrace.rst). A line is hostile; what is made of it is bounded.
 */
#ifndef FERRY_PROBE_LINE_H
#define FERRY_PROBE_LINE_H

#include "base/base.h"

#define PROBE_NAME  64   /* of a group, of an event, with the NUL (MAX_EVENT_NAME_LEN) */
#define PROBE_ARGS  128  /* MAX_TRACE_ARGS */
#define PROBE_LINE  4096 /* the most of one write(2) that is one line, with its end (WRITE_BUFSIZE) */

/* One value that a probe is to record. Programs get the registers; these say what `format` shows. */
struct probe_arg {
	char name[33], *text;	 /* text: as it was written, behind the name; owned */
	const char *decl, *size_of; /* type in `format` and how it prints */
	u32 size, count;	 /* bytes of one, how many of an array; 0: no array */
	bool is_signed, is_string;
};

struct probe_line {
	bool user, ret;
	u32 max_active;
	u64 offset, ref_ctr_off;
	char group[PROBE_NAME], event[PROBE_NAME];
	char *target; /* a file, or a function of the kernel; NULL: offset is an address; owned */
	struct probe_arg *args;
	u32 nargs;
};

/* What a line asks for. REMOVE: words of the line that must match, behind group and event ("": any). */
enum probe_order { PROBE_NOTHING, PROBE_ADD, PROBE_REMOVE };

struct probe_words {
	char *buf, *word[2 + PROBE_ARGS + 1];
	u32 n;
};

/*
 * One line without its end, of uprobe_events (`user`) or kprobe_events: an order with *p (ADD) or group and event in
 * *p and *words (REMOVE), or -errno as the kernel has it. probe_line_free() and base_free(words->buf) are the caller's, whatever it is.
 */
int probe_line_parse(const char *line, size_t len, bool user, struct probe_line *p, struct probe_words *words);
void probe_line_free(struct probe_line *p);
void probe_line_print(const struct probe_line *p, struct text *out); /* as the files list it, with its end */
bool probe_line_matches(const struct probe_line *p, const struct probe_line *names, const struct probe_words *words);
bool probe_line_same(const struct probe_line *a, const struct probe_line *b); /* group and event */
void probe_line_fields(const struct probe_line *p, struct text *out); /* of its `format`, from the first field on */

/* probe_arg.c: the i-th argument of `p`, "NAME=FETCH:TYPE". 0 or -errno. */
int probe_arg_parse(const char *text, u32 i, const struct probe_line *p, struct probe_arg *out);
/* Numbers as kstrtoul() and kstrtol() read them: 0, -EINVAL, -ERANGE. */
int probe_number(const char *s, u64 *out);
int probe_signed(const char *s, s64 *out);
bool probe_good_name(const char *s, bool group);

#endif
