/* SPDX-License-Identifier: MIT */
/* ferry verify: would the verifier accept the programs of object files, and what did it cost? */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/report.h"
#include "ferry/ferry.h"
#include "verify/explain.h"

#define LOG_ROOM (16u << 20)
#define MAX_NAMES 64

/* A row of the table: what one program's verification came to. */
struct row {
	char *file, *prog;
	bool accepted;
	u64 us, insns, states, peak;
};

struct verdict {
	const char *only[MAX_NAMES];
	int nonly;
	struct cli_modules modules;
	u64 level;
	bool json, stats, strict;
	const char *html, *sort;
	char *log;
	int programs, refused, bad_files;
	struct row *rows;
	size_t nrows, rows_cap;
	struct report report;
	struct text out; /* json */
};

static const char help[] =
	"Usage: ferry verify [OPTIONS] FILE.o...\n\n"
	"Verifies each program of the object files and says for each: accepted, or where and why "
	"not,\n"
	"how the path led there, and what would make it acceptable. Nothing is run.\n\n"
	"Options:\n"
	"  --prog NAME     only this program; may be given several times\n"
	"  --log LEVEL     show the verifier's log: 1 the path that failed, 2 every path\n"
	"  --html REPORT   write a page with source, instructions and register states\n"
	"  --stats         a table: verdict, time, instructions processed, states\n"
	"  --sort KEY      of the table: file (default), prog, verdict, duration, insns, states, "
	"peak\n"
	"  --strict        refuse what Linux refuses to those who may not see kernel addresses\n"
	"  --module LIB    load a shared library that exports a module of native functions\n"
	"  --json          print the verdicts, with the whole explanation, as one JSON array\n"
	"  --help          this text\n\n"
	"Exit codes: 0 all accepted, 1 some refused, 2 usage, 3 bad input file.\n";

static const char *const sort_keys[] = { "file",  "prog",   "verdict", "duration",
					 "insns", "states", "peak" };

static int set_option(struct verdict *v, int c, char **argv)
{
	size_t i;

	switch (c) {
	case 'p':
		if (v->nonly == MAX_NAMES)
			return cli_usage(&cli_verify, "more than %d programs named", MAX_NAMES);
		v->only[v->nonly++] = optarg;
		return CLI_OK;
	case 'j': v->json = true; return CLI_OK;
	case 't': v->stats = true; return CLI_OK;
	case 'x': v->strict = true; return CLI_OK;
	case 'h': v->html = optarg; return CLI_OK;
	case 's':
		v->sort = optarg;
		for (i = 0; i < ARRAY_SIZE(sort_keys); i++)
			if (!strcmp(optarg, sort_keys[i]))
				return CLI_OK;
		return cli_usage(&cli_verify,
				 "--sort '%s': expected file, prog, verdict, duration, insns, "
				 "states or peak",
				 optarg);
	case 'l':
		if (!cli_number(optarg, 0, 2, &v->level))
			return cli_usage(&cli_verify, "--log '%s': expected 0, 1 or 2", optarg);
		return CLI_OK;
	case 'm':
		if (!cli_module_add(&v->modules, optarg))
			return cli_usage(&cli_verify, "more than %d modules", CLI_MAX_MODULES);
		return CLI_OK;
	}
	return cli_bad_option(&cli_verify, argv);
}

static int parse(struct verdict *v, int argc, char **argv)
{
	static const struct option options[] = {
		{ "prog", required_argument, NULL, 'p' },
		{ "log", required_argument, NULL, 'l' },
		{ "module", required_argument, NULL, 'm' },
		{ "json", no_argument, NULL, 'j' },
		{ "html", required_argument, NULL, 'h' },
		{ "stats", no_argument, NULL, 't' },
		{ "sort", required_argument, NULL, 's' },
		{ "strict", no_argument, NULL, 'x' },
		{ NULL, 0, NULL, 0 },
	};
	int c, code;

	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		code = set_option(v, c, argv);
		if (code)
			return code;
	}
	if (optind == argc)
		return cli_usage(&cli_verify, "expected object files, got none");
	if (v->stats && v->level)
		return cli_usage(&cli_verify, "--stats prints a table, --log the log: choose one");
	return CLI_OK;
}

/* ---- what is printed
 * ------------------------------------------------------------------------------ */

struct outcome {
	const char *file;
	const struct bpf_program *prog;
	const char *name, *sec;
	const struct verify_watch *w; /* NULL: it did not come to the verifier */
	const char *log;
	int err;
};

static void print_json(struct verdict *v, const struct outcome *o)
{
	const struct verify_stats none = { 0 }, *s = o->w ? &o->w->stats : &none;

	text_puts(&v->out, v->programs ? ",{\"file\":" : "{\"file\":");
	text_json(&v->out, o->file);
	text_puts(&v->out, ",\"program\":");
	text_json(&v->out, o->name);
	text_puts(&v->out, ",\"section\":");
	text_json(&v->out, o->sec);
	text_printf(
		&v->out,
		",\"accepted\":%s,\"errno\":%d,\"insns\":%zu,\"processed\":%u,\"duration_us\":%llu,"
		"\"states\":%u,\"peak_states\":%u,\"max_states_per_insn\":%u,\"mark_read\":%u,"
		"\"peak_memory\":%zu",
		o->err ? "false" : "true", -o->err, bpf_program__insn_cnt(o->prog), s->processed,
		(unsigned long long)s->time_ns / 1000, s->total_states, s->peak_states,
		s->max_states_per_insn, s->mark_read, s->peak_memory);
	if (o->err && o->w) {
		text_puts(&v->out, ",\"why\":");
		why_json(&o->w->why, &v->out);
	}
	text_puts(&v->out, ",\"log\":");
	text_json(&v->out, o->err || v->level ? o->log : "");
	text_puts(&v->out, "}");
}

static void print_text(const struct verdict *v, const struct outcome *o)
{
	const struct why_paint paint = { cli_bold(), cli_dim(), cli_red(), cli_green(),
					 cli_plain() };
	struct text out = { 0 };

	if (!o->err) {
		text_printf(&out, "%saccepted%s  %s (%s): %zu instructions, %u processed\n",
			    cli_green(), cli_plain(), o->name, o->sec,
			    bpf_program__insn_cnt(o->prog), o->w ? o->w->stats.processed : 0);
	} else {
		text_printf(&out, "%srefused%s   %s (%s): %s\n", cli_red(), cli_plain(), o->name,
			    o->sec, strerror(-o->err));
	}
	if (v->level || (o->err && !o->w)) {
		text_puts(&out, o->log);
		if (*o->log && o->log[strlen(o->log) - 1] != '\n')
			text_puts(&out, "\n");
	} else if (o->err) {
		text_printf(&out, "%s%s%s\n", cli_bold(), o->w->why.message, cli_plain());
		why_print(&o->w->why, &paint, &out);
	}
	fputs(text_str(&out), stdout);
	text_free(&out);
}

/* ---- the table
 * ------------------------------------------------------------------------------------ */

static int keep_row(struct verdict *v, const struct outcome *o)
{
	struct row *rows = base_grow(v->rows, &v->rows_cap, v->nrows + 1, sizeof(*rows)), *r;

	if (!rows)
		return -ENOMEM;
	v->rows = rows;
	r = &rows[v->nrows++];
	r->file = base_strdup(o->file);
	r->prog = base_strdup(o->name);
	r->accepted = !o->err;
	if (o->w) {
		r->us = o->w->stats.time_ns / 1000;
		r->insns = o->w->stats.processed;
		r->states = o->w->stats.total_states;
		r->peak = o->w->stats.peak_states;
	}
	return r->file && r->prog ? 0 : -ENOMEM;
}

static const char *sort_key;

static int compare(const void *x, const void *y)
{
	const struct row *a = x, *b = y;
	u64 m = 0, n = 0;
	int by = 0;

	if (!strcmp(sort_key, "prog"))
		by = strcmp(a->prog, b->prog);
	else if (!strcmp(sort_key, "verdict"))
		by = a->accepted - b->accepted;
	else if (!strcmp(sort_key, "duration"))
		m = a->us, n = b->us;
	else if (!strcmp(sort_key, "insns"))
		m = a->insns, n = b->insns;
	else if (!strcmp(sort_key, "states"))
		m = a->states, n = b->states;
	else if (!strcmp(sort_key, "peak"))
		m = a->peak, n = b->peak;
	/* Figures: the largest first. */
	by = by ? by : (m < n) - (m > n);
	by = by ? by : strcmp(a->file, b->file);
	return by ? by : strcmp(a->prog, b->prog);
}

static void print_table(const struct verdict *v)
{
	struct text out = { 0 };
	int file = 4, prog = 7;
	size_t i;

	sort_key = v->sort ? v->sort : "file";
	if (v->nrows)
		qsort(v->rows, v->nrows, sizeof(*v->rows), compare);
	for (i = 0; i < v->nrows; i++) {
		text_clean(v->rows[i].file);
		text_clean(v->rows[i].prog);
		file = (int)strlen(v->rows[i].file) > file ? (int)strlen(v->rows[i].file) : file;
		prog = (int)strlen(v->rows[i].prog) > prog ? (int)strlen(v->rows[i].prog) : prog;
	}
	text_printf(&out, "%s%-*s  %-*s  %-8s  %13s  %9s  %8s  %11s%s\n", cli_bold(), file, "File",
		    prog, "Program", "Verdict", "Duration (us)", "Insns", "States", "Peak states",
		    cli_plain());
	for (i = 0; i < v->nrows; i++) {
		const struct row *r = &v->rows[i];

		text_printf(&out, "%-*s  %-*s  %s%-8s%s  %13llu  %9llu  %8llu  %11llu\n", file,
			    r->file, prog, r->prog, r->accepted ? cli_green() : cli_red(),
			    r->accepted ? "accepted" : "refused", cli_plain(),
			    (unsigned long long)r->us, (unsigned long long)r->insns,
			    (unsigned long long)r->states, (unsigned long long)r->peak);
	}
	fputs(text_str(&out), stdout);
	text_free(&out);
}

static void json_table(const struct verdict *v)
{
	struct text out = { 0 };
	size_t i;

	sort_key = v->sort ? v->sort : "file";
	if (v->nrows)
		qsort(v->rows, v->nrows, sizeof(*v->rows), compare);
	for (i = 0; i < v->nrows; i++) {
		const struct row *r = &v->rows[i];

		text_puts(&out, i ? ",\n{\"file\":" : "{\"file\":");
		text_json(&out, r->file);
		text_puts(&out, ",\"program\":");
		text_json(&out, r->prog);
		text_printf(&out,
			    ",\"accepted\":%s,\"duration_us\":%llu,\"insns\":%llu,\"states\":%llu,"
			    "\"peak_states\":%llu}",
			    r->accepted ? "true" : "false", (unsigned long long)r->us,
			    (unsigned long long)r->insns, (unsigned long long)r->states,
			    (unsigned long long)r->peak);
	}
	printf("[%s]\n", text_str(&out));
	text_free(&out);
}

/* ---- verifying
 * ------------------------------------------------------------------------------------ */

static bool wanted(const struct verdict *v, const char *name)
{
	int i;

	for (i = 0; i < v->nonly; i++)
		if (!strcmp(v->only[i], name))
			return true;
	return !v->nonly;
}

static int load(struct verdict *v, const struct cli_object *o, struct bpf_program *prog,
		struct verify_watch *w)
{
	int err;

	v->log[0] = '\0';
	bpf_program__set_log_buf(prog, v->log, LOG_ROOM);
	bpf_program__set_log_level(prog, (u32)(v->level | 4));
	verify_watch(w);
	ferry_strict(v->strict);
	cli_progress_on(o->path, bpf_program__name(prog));
	err = bpf_object__load(o->obj);
	cli_progress_off();
	verify_watch(NULL);
	ferry_strict(0);
	return err;
}

static int verify_one(struct verdict *v, const struct cli_object *obj, struct bpf_program *prog)
{
	struct verify_watch w = { .want_states = v->html != NULL };
	struct outcome o = { .file = obj->path,
			     .prog = prog,
			     .name = bpf_program__name(prog),
			     .sec = bpf_program__section_name(prog) };
	int code = CLI_OK;

	o.err = load(v, obj, prog, &w);
	/* libbpf tries small programs of its own first; names are cut by the system call. */
	if (w.ended && !w.verdict == !o.err && !strncmp(w.name, o.name, sizeof(w.name) - 1))
		o.w = &w;
	o.log = *v->log ? v->log : cli_messages();
	if (v->stats)
		code = keep_row(v, &o) ? cli_fail(CLI_REFUSED, "out of memory") : CLI_OK;
	else if (v->json)
		print_json(v, &o);
	else
		print_text(v, &o);
	if (v->html)
		report_prog(&v->report,
			    &(struct report_prog){ o.file, o.name, o.sec, o.log, o.err, o.w });
	v->programs++;
	v->refused += o.err != 0;
	verify_watch_free(&w);
	return code;
}

/* The program number `index` of a file, loaded alone; *end after the last. */
static int verify_nth(struct verdict *v, const char *file, int index, bool *end)
{
	struct bpf_program *prog, *mine = NULL;
	struct cli_object o;
	int i = 0, code = cli_open(&o, file);

	if (code)
		return code;
	bpf_object__for_each_program(prog, o.obj)
	{
		bpf_program__set_autoload(prog, i == index);
		if (i++ == index)
			mine = prog;
	}
	*end = index + 1 >= i;
	if (mine && wanted(v, bpf_program__name(mine)))
		code = verify_one(v, &o, mine);
	cli_close(&o);
	return code;
}

static int verify_file(struct verdict *v, const char *file, bool only_one)
{
	bool end = false;
	int before = v->programs, code = CLI_OK, i;

	for (i = 0; !code && !end; i++)
		code = verify_nth(v, file, i, &end);
	if (code || v->programs > before)
		return code;
	if (!v->nonly)
		return cli_fail(CLI_INPUT, "%s: holds no program", file);
	/* Among several files it need not be in each. */
	return only_one ? cli_fail(CLI_INPUT, "%s: has no program '%s'", file, v->only[0]) : CLI_OK;
}

static int finish(struct verdict *v)
{
	int code = CLI_OK;

	if (v->stats && v->json)
		json_table(v);
	else if (v->stats)
		print_table(v);
	else if (v->json)
		printf("[%s]\n", text_str(&v->out));
	if (v->html)
		code = report_write(&v->report, v->html);
	if (!code && !v->programs && !v->bad_files)
		code = cli_fail(CLI_INPUT, "none of the files has a program '%s'",
				v->nonly ? v->only[0] : "");
	if (code)
		return code;
	return v->bad_files ? CLI_INPUT : v->refused ? CLI_REFUSED : CLI_OK;
}

static int verify_main(int argc, char **argv)
{
	struct verdict v = { 0 };
	int code = parse(&v, argc, argv), i;

	if (code)
		return code;
	v.log = base_alloc(LOG_ROOM);
	if (!v.log)
		return cli_fail(CLI_REFUSED, "out of memory");
	code = cli_modules_load(&v.modules);
	for (i = optind; !code && i < argc; i++) {
		code = verify_file(&v, argv[i], optind + 1 == argc);
		/* The other files may be fine. */
		v.bad_files += code == CLI_INPUT;
		if (code == CLI_INPUT && optind + 1 < argc)
			code = CLI_OK;
	}
	if (!code)
		code = finish(&v);
	for (size_t r = 0; r < v.nrows; r++) {
		base_free(v.rows[r].file);
		base_free(v.rows[r].prog);
	}
	base_free(v.rows);
	report_free(&v.report);
	text_free(&v.out);
	base_free(v.log);
	return code;
}

const struct cli_verb cli_verify = { "verify", "say whether programs are safe, and why not", verify_main,
				     help };
