/* SPDX-License-Identifier: MIT */
/* ferry attach, ferry detach: bring Ferry into processes that run, and out of them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"
#include "inject/inject.h"

#define WAIT_MS 10000  /* for a moment at which the target can be entered */
#define ENTER_MS 10000 /* for what it then does */

static const char attach_help[] =
	"Usage: ferry attach [OPTIONS] PID...\n\n"
	"Brings Ferry into processes that run: from then on they are part of the session, programs can be\n"
	"put on their functions, and their own bpf(2) is answered. Each goes on with what it does; one of\n"
	"its threads is held for some microseconds. A process that is attached already stays so.\n\n"
	"Options:\n"
	"  --force         also where a seccomp filter may end the process for it\n"
	"  --wait SECONDS  how long to wait for a moment at which a process can be entered (10)\n"
	"  --session DIR   the session, instead of $FERRY_SESSION or the user's\n"
	"  --preload LIB   the library to bring in, instead of the installed libferry-preload.so\n"
	"  --json          what happened, as JSON\n"
	"  --help          this text\n\n"
	"Exit codes: 0 all are attached, 1 some are not (the reason is said), 2 usage,\n"
	"3 libferry-preload.so is missing.\n";

static const char detach_help[] =
	"Usage: ferry detach [OPTIONS] PID...\n\n"
	"Takes Ferry out of processes: probes are gone and the code is as it was, calls go to libc again, and\n"
	"no thread of Ferry's is left. The library stays in memory, unused. A process that is not attached\n"
	"stays so.\n\n"
	"Options:\n"
	"  --force         also where a seccomp filter may end the process for it\n"
	"  --wait SECONDS  how long to wait for a moment at which a process can be entered (10)\n"
	"  --preload LIB   the library that was brought in\n"
	"  --json          what happened, as JSON\n"
	"  --help          this text\n\n"
	"Exit codes: 0 none is attached any more, 1 some are (the reason is said), 2 usage,\n"
	"3 libferry-preload.so is missing.\n";

struct request {
	const struct cli_verb *verb;
	bool leave, json;
	u32 flags, wait_ms;
	char lib[PATH_MAX];
	char session[SESSION_DIR_MAX];
};

/* What one process said. */
struct outcome {
	const char *state;
	double ms;
	s64 kib; /* of its own memory that were added */
	struct text why;
};

/* Memory that is the process's alone, in KiB; -1. */
static s64 own_memory(pid_t pid)
{
	char path[40], line[256];
	s64 kib = -1, n;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps_rollup", pid);
	f = fopen(path, "re");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "Private_Dirty: %ld", &n) == 1)
			kib = n;
	fclose(f);
	return kib;
}

/* What the functions of src/preload/agent.c return. */
static int explain(const struct request *r, pid_t pid, s64 ret, struct outcome *o)
{
	switch (ret) {
	case 0: o->state = r->leave ? "detached" : "attached"; return 0;
	case 1: o->state = r->leave ? "not attached" : "already attached"; return 0;
	case -EXDEV: text_printf(&o->why, "process %d is part of another session", pid); break;
	case -EACCES:
		text_printf(&o->why, "%s is not a directory of this user alone, as process %d sees it", r->session, pid);
		break;
	case -ENOTCONN: text_printf(&o->why, "the session in %s has no broker", r->session); break;
	case -EBUSY:
		text_printf(&o->why, "process %d has maps, programs or links of its own, which would go", pid);
		break;
	default: text_printf(&o->why, "process %d: %s", pid, strerror((int)-ret));
	}
	return (int)ret;
}

static int enter(const struct request *r, pid_t pid, struct outcome *o)
{
	struct timespec begin, end;
	struct inject *in = NULL;
	s64 before = own_memory(pid), after, ret = 0;
	u64 handle;
	int err;

	clock_gettime(CLOCK_MONOTONIC, &begin);
	err = inject_begin(pid, r->flags, r->wait_ms, &in, &o->why);
	if (err)
		return err;
	err = inject_load(in, r->lib, &handle, &o->why);
	if (!err)
		err = inject_call(in, handle, r->leave ? "ferry_agent_detach" : "ferry_agent_attach", r->session, ENTER_MS,
				  &ret, &o->why);
	inject_end(in);
	clock_gettime(CLOCK_MONOTONIC, &end);
	o->ms = (double)(end.tv_sec - begin.tv_sec) * 1e3 + (double)(end.tv_nsec - begin.tv_nsec) / 1e6;
	after = own_memory(pid);
	o->kib = before >= 0 && after >= 0 ? after - before : 0;
	return err ? err : explain(r, pid, ret, o);
}

static void show(const struct request *r, pid_t pid, const struct outcome *o, struct text *json)
{
	if (!r->json) {
		if (!o->state)
			cli_fail(CLI_REFUSED, "%s", text_str(&o->why));
		return;
	}
	text_printf(json, "%s{\"pid\":%d,\"state\":", json->len ? ",\n" : "", pid);
	text_json(json, o->state ? o->state : "failed");
	if (o->state)
		text_printf(json, ",\"milliseconds\":%.3f,\"private_kib\":%lld}", o->ms, (long long)o->kib);
	else {
		text_puts(json, ",\"reason\":");
		text_json(json, text_str(&o->why));
		text_puts(json, "}");
	}
}

static int run(const struct request *r, char **pids, int n)
{
	struct text json = { 0 };
	int i, failed = 0;
	u64 pid;

	for (i = 0; i < n; i++)
		if (!cli_number(pids[i], 1, INT32_MAX, &pid))
			return cli_usage(r->verb, "'%s' is no process number", pids[i]);
	for (i = 0; i < n; i++) {
		struct outcome o = { 0 };

		cli_number(pids[i], 1, INT32_MAX, &pid);
		cli_progress_on("process", pids[i]);
		failed |= enter(r, (pid_t)pid, &o) != 0;
		cli_progress_off();
		show(r, (pid_t)pid, &o, &json);
		text_free(&o.why);
	}
	if (r->json)
		printf("[%s]\n", text_str(&json));
	text_free(&json);
	return failed ? CLI_REFUSED : CLI_OK;
}

static int attach_or_detach(struct request *r, int argc, char **argv)
{
	static const struct option options[] = { { "force", no_argument, NULL, 'f' },
						 { "session", required_argument, NULL, 's' },
						 { "preload", required_argument, NULL, 'p' },
						 { "wait", required_argument, NULL, 'w' },
						 { "json", no_argument, NULL, 'j' },
						 { NULL, 0, NULL, 0 } };
	const char *session = NULL;
	u64 seconds;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (c) {
		case 'f': r->flags |= INJECT_FORCE; break;
		case 'j': r->json = true; break;
		case 'w':
			if (!cli_number(optarg, 0, 86400, &seconds))
				return cli_usage(r->verb, "--wait: '%s' is no number of seconds up to 86400", optarg);
			r->wait_ms = (u32)seconds * 1000;
			break;
		case 'p':
			if (!realpath(optarg, r->lib))
				return cli_fail(CLI_INPUT, "%s: %s", optarg, strerror(errno));
			break;
		case 's':
			if (r->leave)
				return cli_usage(r->verb, "a process is in one session: --session says nothing");
			session = optarg;
			break;
		default: return cli_bad_option(r->verb, argv);
		}
	}
	if (optind == argc)
		return cli_usage(r->verb, "expected the number of a process");
	if (!r->lib[0] && !cli_find_library(r->lib))
		return cli_fail(CLI_INPUT, "libferry-preload.so is neither beside this command nor in %s; --preload names "
					   "another",
				FERRY_LIBDIR);
	c = r->leave ? CLI_OK : cli_session(session, r->session);
	return c ? c : run(r, argv + optind, argc - optind);
}

static int attach_main(int argc, char **argv)
{
	struct request r = { .verb = &cli_attach, .wait_ms = WAIT_MS };

	return attach_or_detach(&r, argc, argv);
}

static int detach_main(int argc, char **argv)
{
	struct request r = { .verb = &cli_detach, .wait_ms = WAIT_MS, .leave = true };

	return attach_or_detach(&r, argc, argv);
}

const struct cli_verb cli_attach = { "attach", "bring Ferry into processes that run", attach_main, attach_help };
const struct cli_verb cli_detach = { "detach", "take Ferry out of processes", detach_main, detach_help };
