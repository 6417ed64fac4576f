/* SPDX-License-Identifier: MIT */
/* ferry top: programs by the time they run, in all processes of a session. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "broker/broker.h"
#include "cli/cli.h"

#define PATIENCE_MS 300

static const char help[] =
	"Usage: ferry top [OPTIONS]\n\n"
	"Shows the programs of a session by the time they take, over all processes that they run in. Runs are\n"
	"counted while this goes on, as with BPF_ENABLE_STATS; a run then costs some tens of nanoseconds more.\n\n"
	"  RUNS/S    how often it ran in a second\n"
	"  NS/RUN    how long a run took, in nanoseconds\n"
	"  CPU %     of one processor\n"
	"  PROCS     processes that it ran in\n\n"
	"Options:\n"
	"  --interval S    seconds between two looks, 1 without it\n"
	"  --once          one interval, then end\n"
	"  --count N       N intervals, then end\n"
	"  --session DIR   the session, instead of $FERRY_SESSION or the user's\n"
	"  --json          an object for each interval, each on a line\n"
	"  --help          this text\n\n"
	"Exit codes: 0 done, 1 the session cannot be looked at, 2 usage, 3 no such session.\n";

/* What a program did since the last look. */
struct line {
	u32 id, type, procs;
	u64 runs, ns, missed;
	char name[32];
};

struct lines {
	struct line *line;
	size_t n, cap;
};

static const struct look_row *row_of(const struct broker_view *v, s32 pid, u32 id)
{
	size_t k;
	u32 i;

	for (i = 0; i < v->n; i++)
		for (k = 0; v->member[i].pid == pid && k < v->member[i].rows.n; k++)
			if (v->member[i].rows.row[k].what == LOOK_PROG && v->member[i].rows.row[k].id == id)
				return &v->member[i].rows.row[k];
	return NULL;
}

static u64 grown(u64 now, u64 before)
{
	return now > before ? now - before : 0;
}

static struct line *line_of(struct lines *l, const struct look_row *r)
{
	struct line *p;
	size_t i;

	for (i = 0; i < l->n; i++)
		if (l->line[i].id == r->id)
			return &l->line[i];
	p = base_grow(l->line, &l->cap, l->n + 1, sizeof(*p));
	if (!p)
		return NULL;
	l->line = p;
	p += l->n++;
	*p = (struct line){ .id = r->id, .type = r->type };
	memcpy(p->name, r->name, sizeof(p->name));
	return p;
}

static int by_time(const void *a, const void *b)
{
	const struct line *x = a, *y = b;

	if (x->ns != y->ns)
		return x->ns < y->ns ? 1 : -1;
	if (x->runs != y->runs)
		return x->runs < y->runs ? 1 : -1;
	return x->id < y->id ? -1 : 1;
}

/* Sums over processes of what grew in each. */
static void sum(const struct broker_view *now, const struct broker_view *before, struct lines *out)
{
	const struct look_row *r, *old;
	struct line *line;
	u32 i;
	u64 runs;

	out->n = 0;
	for (i = 0; i < now->n; i++)
		for (r = now->member[i].rows.row; r < now->member[i].rows.row + now->member[i].rows.n; r++) {
			line = r->what == LOOK_PROG ? line_of(out, r) : NULL;
			if (!line)
				continue;
			old = row_of(before, now->member[i].pid, r->id);
			runs = old ? grown(r->runs, old->runs) : 0;
			line->runs += runs;
			line->ns += old ? grown(r->run_ns, old->run_ns) : 0;
			line->missed += old ? grown(r->missed, old->missed) : 0;
			line->procs += runs > 0;
		}
	if (out->n)
		qsort(out->line, out->n, sizeof(*out->line), by_time);
}

static void show_text(const struct lines *l, double seconds, u32 members, bool clear)
{
	size_t i;

	if (clear)
		fputs("\033[H\033[J", stdout);
	printf("%zu programs in %u processes, over %.1f s\n\n", l->n, members, seconds);
	printf("%s%7s  %-16s %-16s %12s %9s %7s %6s%s\n", cli_bold(), "ID", "NAME", "TYPE", "RUNS/S", "NS/RUN", "CPU %",
	       "PROCS", cli_plain());
	for (i = 0; i < l->n; i++) {
		const struct line *p = &l->line[i];
		const char *type = libbpf_bpf_prog_type_str(p->type);

		printf("%7u  %-16.16s %-16.16s %12.1f %9.0f %7.2f %6u\n", p->id, p->name, type ? type : "?",
		       (double)p->runs / seconds, p->runs ? (double)p->ns / (double)p->runs : 0.0,
		       (double)p->ns / seconds / 1e7, p->procs);
	}
	fflush(stdout);
}

static void show_json(const struct lines *l, double seconds, u32 members)
{
	struct text t = { 0 };
	size_t i;

	text_printf(&t, "{\"seconds\":%.3f,\"processes\":%u,\"programs\":[", seconds, members);
	for (i = 0; i < l->n; i++) {
		const struct line *p = &l->line[i];
		const char *type = libbpf_bpf_prog_type_str(p->type);

		text_printf(&t, "%s{\"id\":%u,\"name\":", i ? "," : "", p->id);
		text_json(&t, p->name);
		text_puts(&t, ",\"type\":");
		text_json(&t, type ? type : "?");
		text_printf(&t,
			    ",\"runs\":%llu,\"run_ns\":%llu,\"recursion_misses\":%llu,\"runs_per_second\":%.3f,"
			    "\"cpu_percent\":%.4f,\"processes\":%u}",
			    (unsigned long long)p->runs, (unsigned long long)p->ns, (unsigned long long)p->missed,
			    (double)p->runs / seconds, (double)p->ns / seconds / 1e7, p->procs);
	}
	text_puts(&t, "]}");
	puts(text_str(&t));
	fflush(stdout);
	text_free(&t);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

struct request {
	const char *session;
	double interval;
	u64 count; /* 0: without end */
	bool json;
};

/* Each look is compared with the one before; a broker that was restarted is found again. */
static int watch(const struct request *r, int sock, const char *dir)
{
	struct broker_view before = { 0 }, view = { 0 };
	bool clear = !r->json && r->count != 1 && isatty(STDOUT_FILENO);
	double last = now(), t;
	struct lines lines = { 0 };
	u64 done = 0;
	int err = sock >= 0 ? broker_look(sock, dir, true, PATIENCE_MS, &before) : 0;

	while (!err && (!r->count || done < r->count)) {
		cli_sleep(r->interval);
		if (sock < 0)
			sock = broker_look_begin(dir);
		if (sock >= 0 && broker_look(sock, dir, true, PATIENCE_MS, &view)) {
			close(sock);
			sock = -1;
		}
		t = now();
		sum(&view, &before, &lines);
		if (r->json)
			show_json(&lines, t - last, view.n);
		else
			show_text(&lines, t - last, view.n, clear);
		last = t;
		broker_view_free(&before);
		before = view;
		memset(&view, 0, sizeof(view));
		done++;
		if (ferror(stdout))
			break;
	}
	broker_view_free(&before);
	base_free(lines.line);
	if (sock >= 0)
		close(sock);
	return err ? cli_fail(CLI_REFUSED, "the session in %s cannot be looked at: %s", dir, strerror(-err)) : CLI_OK;
}

static int top_main(int argc, char **argv)
{
	static const struct option options[] = { { "interval", required_argument, NULL, 'i' },
						 { "once", no_argument, NULL, '1' },
						 { "count", required_argument, NULL, 'n' },
						 { "session", required_argument, NULL, 's' },
						 { "json", no_argument, NULL, 'j' },
						 { NULL, 0, NULL, 0 } };
	struct request r = { .interval = 1 };
	char dir[SESSION_DIR_MAX];
	int c, sock;

	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (c) {
		case 'i':
			if (!cli_seconds(optarg, &r.interval))
				return cli_usage(&cli_top, "--interval: '%s' is not within 0.05 and 86400 seconds", optarg);
			break;
		case '1': r.count = 1; break;
		case 'n':
			if (!cli_number(optarg, 1, UINT32_MAX, &r.count))
				return cli_usage(&cli_top, "--count: '%s' is no number above 0", optarg);
			break;
		case 's': r.session = optarg; break;
		case 'j': r.json = true; break;
		default: return cli_bad_option(&cli_top, argv);
		}
	}
	if (optind != argc)
		return cli_usage(&cli_top, "'%s' is one argument too many", argv[optind]);
	c = cli_look_begin(r.session, dir, &sock);
	return c ? c : watch(&r, sock, dir);
}

const struct cli_verb cli_top = { "top", "programs by run time and events a second, live", top_main, help };
