/* SPDX-License-Identifier: MIT */
/* What the verbs of the `ferry` command share. */
#ifndef FERRY_CLI_H
#define FERRY_CLI_H

#include <bpf/libbpf.h>
#include <getopt.h>
#include <limits.h>

#include "base/base.h"
#include "bpf/session/session.h"

#ifndef FERRY_LIBDIR
#define FERRY_LIBDIR "/usr/local/lib"
#endif

/* Exit codes, the same for all verbs (ferry(1)). */
enum {
	CLI_OK = 0,
	CLI_REFUSED = 1, /* the verifier refused, or the run failed */
	CLI_USAGE = 2,
	CLI_INPUT = 3,   /* a file is missing or is not what it should be */
};

struct cli_verb {
	const char *name;
	const char *brief;
	int (*run)(int argc, char **argv); /* argv[0] is the verb */
	const char *help;
};
extern const struct cli_verb cli_run, cli_verify, cli_disasm, cli_exec, cli_trace, cli_module, cli_attach, cli_detach, cli_ps, cli_top, cli_link, cli_broker;

/* One line on stderr: "ferry VERB: ...". Returns `code`. */
int cli_fail(int code, const char *fmt, ...) PRINTF_LIKE(2, 3);
int cli_usage(const struct cli_verb *verb, const char *fmt, ...) PRINTF_LIKE(2, 3);

/* What getopt_long(3) did not take: names it. */
int cli_bad_option(const struct cli_verb *verb, char **argv);

/* Escape sequences, empty when stdout is no terminal or NO_COLOR is set. */
const char *cli_bold(void);
const char *cli_dim(void);
const char *cli_red(void);
const char *cli_green(void);
const char *cli_plain(void);

/* An object file as the verbs use it. */
struct cli_object {
	struct bpf_object *obj;
	const char *path;
};
/*
 * Opens an object file with libbpf after checking what libbpf is brief about: it exists, is ELF, for
 * BPF, little-endian. 0, or a CLI_ code with the reason printed.
 */
int cli_open(struct cli_object *o, const char *path);
void cli_close(struct cli_object *o);
/*
 * Loads it. 0, or a CLI_ code with the reason printed: names of native functions that are not
 * registered, or what the verifier said.
 */
int cli_load(struct cli_object *o);
/* The program to use: by name, or the only one. NULL with the choice printed. */
struct bpf_program *cli_pick(const struct cli_object *o, const char *name);
/* What libbpf and Ferry said since the last call: warnings and, with all, everything. Borrowed. */
const char *cli_messages(void);
/* cli_fail() about `what`, for the reason that was said or, without one, `err`; the reason may begin with `what`. */
int cli_fail_said(int code, const char *what, int err);
void cli_messages_reset(void);
const char *cli_tail(const char *log, int lines); /* its last lines, where the reason is */
/* The modules named on the command line, registered before the object is opened. */
#define CLI_MAX_MODULES 32
struct cli_modules {
	char *paths[CLI_MAX_MODULES];
	int n;
};
bool cli_module_add(struct cli_modules *m, char *path); /* false when there are too many */
int cli_modules_load(const struct cli_modules *m);      /* 0, or a CLI_ code with the reason printed */

/* While this goes on for over two seconds, a terminal on stderr says so. */
void cli_progress_on(const char *file, const char *name);
void cli_progress_off(void);

/* The session that a verb is about: `option` when given, else FERRY_SESSION, else the user's. 0 or a CLI_ code. */
int cli_session(const char *option, char dir[SESSION_DIR_MAX]);
int cli_no_session(const char *dir, int err); /* says why a session cannot be used, and what to do: the exit code */
/*
 * A connection to look at its processes through (broker.h): 0 with *sock, which is -1 when nobody is in the
 * session, or a CLI_ code with the reason printed.
 */
int cli_look_begin(const char *option, char dir[SESSION_DIR_MAX], int *sock);
/*
 * What its processes say, nothing where nobody is; counts runs for `stats` seconds first (0: does not count). 0, or a
 * CLI_ code with the reason printed. broker_view_free() ends it.
 */
struct broker_view;
int cli_look(const char *option, double stats, struct broker_view *out);
/*
 * The function that a probe at this offset of the file is in, and how far; NULL when no symbol says, or the
 * name is not printable. Valid until the next call.
 */
const char *cli_symbol(const char *path, u64 offset, u64 *into);
/* Seconds, maybe with a fraction, within [0.05, 86400]; false when it is none. */
bool cli_seconds(const char *s, double *out);
void cli_sleep(double seconds);

/* libferry-preload.so: false when there is none (library.c). */
bool cli_find_library(char out[PATH_MAX]);
const char *cli_sanitizer(void); /* what is preloaded before it, "" mostly */

/* Maps, as text for people or JSON; entries in the map's own order. */
void cli_maps_text(const struct cli_object *o, struct text *out);
void cli_maps_json(const struct cli_object *o, struct text *out);

/* Reads a whole file ("-" is stdin) up to `limit` bytes: malloc'ed by base_alloc; -errno. */
int cli_read_file(const char *path, size_t limit, void **data, size_t *size);
/* A number with an optional unit-free suffix k or m, within [min, max]; false when it is none. */
bool cli_number(const char *s, u64 min, u64 max, u64 *out);

#endif
