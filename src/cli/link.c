/* SPDX-License-Identifier: MIT */
/* ferry link list: which program is on what, in which process, and by what means. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/broker.h"
#include "cli/cli.h"

static const char help[] =
	"Usage: ferry link list [OPTIONS]\n\n"
	"Lists what programs of a session are put on: a line for each process that an event is in.\n\n"
	"  LINK      number of the link; - for an event without one (ioctl)\n"
	"  PROG      number of the program\n"
	"  KIND      uprobe, tracepoint, clock...\n"
	"  PID       the process\n"
	"  HOW       jump: the code jumps to the program; trap: by a trap instruction, some hundred times\n"
	"            slower, with the reason; nowhere: the file is not mapped there\n"
	"  HITS      runs of the program in this process, counted while statistics are (--stats, ferry top)\n"
	"  MISSED    hits that the program was not run for: it was running already\n\n"
	"Options:\n"
	"  --stats S       count for S seconds first\n"
	"  --session DIR   the session, instead of $FERRY_SESSION or the user's\n"
	"  --json          as JSON\n"
	"  --help          this text\n\n"
	"Exit codes: 0 done, 1 the session cannot be looked at, 2 usage, 3 no such session.\n";

static const char *kind_name(u32 kind, char buf[32])
{
	static const char *const names[] = {
#define ATTACH(kind, type, name) #kind,
#include "bpf/event/attach.def"
#undef ATTACH
	};
	size_t i;

	if (kind >= ARRAY_SIZE(names))
		return "?";
	for (i = 0; names[kind][i] && i < 31; i++)
		buf[i] = (char)tolower((unsigned char)names[kind][i]);
	buf[i] = '\0';
	return buf;
}

/* The link behind an attachment: its maker has its number. */
static const struct look_row *owner_of(const struct broker_view *v, u64 attachment)
{
	const struct look_row *r;
	u32 i;

	for (i = 0; attachment && i < v->n; i++)
		for (r = v->member[i].rows.row; r < v->member[i].rows.row + v->member[i].rows.n; r++)
			if (r->what == LOOK_EVENT && r->attachment == attachment && r->own)
				return r;
	return NULL;
}

static bool is_elsewhere(const struct look_row *r)
{
	return !strcmp(r->how, "elsewhere");
}

/* Is it in some process? Then its maker's line, when it is not there itself, says nothing. */
static bool is_somewhere(const struct broker_view *v, u64 attachment)
{
	const struct look_row *r;
	u32 i;

	for (i = 0; attachment && i < v->n; i++)
		for (r = v->member[i].rows.row; r < v->member[i].rows.row + v->member[i].rows.n; r++)
			if (r->what == LOOK_EVENT && r->attachment == attachment && !is_elsewhere(r))
				return true;
	return false;
}

struct shown {
	u32 link, prog;
	char kind[32], target[512];
	const char *file, *func; /* of a probe; NULL: no symbol names it */
	u64 into;
};

/* By its function; the file as its maker named it, which may be by a link to what is mapped. */
static void name_probe(const struct look_row *r, const struct look_row *owner, struct shown *s)
{
	s->file = owner && owner->offset == r->offset && owner->target[0] ? owner->target : r->target;
	s->func = cli_symbol(s->file, r->offset, &s->into);
	if (!s->func)
		snprintf(s->target, sizeof(s->target), "%s+0x%llx", s->file, (unsigned long long)r->offset);
	else if (s->into)
		snprintf(s->target, sizeof(s->target), "%s:%.200s+0x%llx", s->file, s->func, (unsigned long long)s->into);
	else
		snprintf(s->target, sizeof(s->target), "%s:%.200s", s->file, s->func);
}

static void prepare(const struct broker_view *v, const struct look_row *r, struct shown *s)
{
	const struct look_row *owner = owner_of(v, r->attachment);
	char buf[32];

	memset(s, 0, sizeof(*s));
	s->link = r->id ? r->id : owner ? owner->id : 0;
	s->prog = owner ? owner->prog : r->prog;
	snprintf(s->kind, sizeof(s->kind), "%s", kind_name(r->type, buf));
	if (!strcmp(s->kind, "clock"))
		snprintf(s->target, sizeof(s->target), "every %llu us", (unsigned long long)r->period / 1000);
	else if (strstr(s->kind, "uprobe") && r->target[0])
		name_probe(r, owner, s);
	else if (strstr(s->kind, "probe") && r->target[0] && r->offset)
		snprintf(s->target, sizeof(s->target), "%s+0x%llx", r->target, (unsigned long long)r->offset);
	else
		snprintf(s->target, sizeof(s->target), "%s", r->target);
}

static void show_text(const struct broker_view *v)
{
	const struct look_row *r;
	struct shown s;
	char link[12];
	u32 i;

	printf("%s%6s %6s  %-14s %7s  %-8s %10s %8s  %s%s\n", cli_bold(), "LINK", "PROG", "KIND", "PID", "HOW", "HITS", "MISSED",
	       "TARGET", cli_plain());
	for (i = 0; i < v->n; i++)
		for (r = v->member[i].rows.row; r < v->member[i].rows.row + v->member[i].rows.n; r++) {
			if (r->what != LOOK_EVENT || (is_elsewhere(r) && is_somewhere(v, r->attachment)))
				continue;
			prepare(v, r, &s);
			snprintf(link, sizeof(link), s.link ? "%u" : "-", s.link);
			printf("%6s %6u  %-14s %7d  %-8s %10llu %8llu  %s", link, s.prog, s.kind, v->member[i].pid,
			       r->how[0] ? r->how : "-", (unsigned long long)r->runs, (unsigned long long)r->missed, s.target);
			if (r->why[0])
				printf("  (%s)", r->why);
			putchar('\n');
		}
}

static void json_row(const struct broker_view *v, u32 member, const struct look_row *r, struct text *t)
{
	struct shown s;

	prepare(v, r, &s);
	text_printf(t, "%s{\"link\":", t->len ? ",\n" : "");
	if (s.link)
		text_printf(t, "%u", s.link);
	else
		text_puts(t, "null");
	text_printf(t, ",\"program\":%u,\"pid\":%d,\"kind\":", s.prog, v->member[member].pid);
	text_json(t, s.kind);
	text_puts(t, ",\"target\":");
	text_json(t, s.file ? s.file : r->target);
	if (s.func) {
		text_puts(t, ",\"function\":");
		text_json(t, s.func);
		text_printf(t, ",\"function_offset\":%llu", (unsigned long long)s.into);
	}
	text_printf(t, ",\"offset\":%llu,\"places\":%u,\"how\":", (unsigned long long)r->offset, r->places);
	text_json(t, r->how);
	text_puts(t, ",\"why\":");
	text_json(t, r->why);
	text_printf(t, ",\"hits\":%llu,\"missed\":%llu}", (unsigned long long)r->runs, (unsigned long long)r->missed);
}

static void show_json(const struct broker_view *v)
{
	const struct look_row *r;
	struct text t = { 0 };
	u32 i;

	for (i = 0; i < v->n; i++)
		for (r = v->member[i].rows.row; r < v->member[i].rows.row + v->member[i].rows.n; r++)
			if (r->what == LOOK_EVENT && !(is_elsewhere(r) && is_somewhere(v, r->attachment)))
				json_row(v, i, r, &t);
	printf("[%s]\n", text_str(&t));
	text_free(&t);
}

static int list(const char *session, double stats, bool json)
{
	struct broker_view v;
	int code = cli_look(session, stats, &v);

	if (code)
		return code;
	if (json)
		show_json(&v);
	else
		show_text(&v);
	broker_view_free(&v);
	return CLI_OK;
}

static int link_main(int argc, char **argv)
{
	static const struct option options[] = { { "stats", required_argument, NULL, 't' },
						 { "session", required_argument, NULL, 's' },
						 { "json", no_argument, NULL, 'j' },
						 { NULL, 0, NULL, 0 } };
	const char *session = NULL;
	bool json = false;
	double stats = 0;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (c) {
		case 't':
			if (!cli_seconds(optarg, &stats))
				return cli_usage(&cli_link, "--stats: '%s' is not within 0.05 and 86400 seconds", optarg);
			break;
		case 's': session = optarg; break;
		case 'j': json = true; break;
		default: return cli_bad_option(&cli_link, argv);
		}
	}
	if (optind + 1 != argc || strcmp(argv[optind], "list"))
		return cli_usage(&cli_link, "expected 'list'");
	return list(session, stats, json);
}

const struct cli_verb cli_link = { "link", "what programs are put on, where and how", link_main, help };
