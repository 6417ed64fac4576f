/* SPDX-License-Identifier: MIT */
/* ferry verify: would the verifier accept the programs of an object file? */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

#define LOG_ROOM (16u << 20)
#define TAIL 16 /* lines shown of a refusal: the last instructions and the reason */

struct verdict {
	const char *file, *only;
	struct cli_modules modules;
	u64 level;
	bool json;
	char *log;
	int programs, refused;
	struct text out; /* json */
};

static const char help[] =
	"Usage: ferry verify [OPTIONS] FILE.o\n\n"
	"Verifies each program of an object file and says for each: accepted, or where and why not.\n"
	"Nothing is run.\n\n"
	"Options:\n"
	"  --prog NAME     only this program\n"
	"  --log LEVEL     show the verifier's log: 1 on branches, 2 every instruction\n"
	"  --module LIB    load a shared library that exports a module of native functions\n"
	"  --json          print the verdicts as one JSON array\n"
	"  --help          this text\n\n"
	"Exit codes: 0 all accepted, 1 some refused, 2 usage, 3 bad input file.\n";

static int parse(struct verdict *v, int argc, char **argv)
{
	static const struct option options[] = {
		{ "prog", required_argument, NULL, 'p' },   { "log", required_argument, NULL, 'l' },
		{ "module", required_argument, NULL, 'm' }, { "json", no_argument, NULL, 'j' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (c) {
		case 'p': v->only = optarg; break;
		case 'j': v->json = true; break;
		case 'l':
			if (!cli_number(optarg, 0, 2, &v->level))
				return cli_usage(&cli_verify, "--log '%s': expected 0, 1 or 2", optarg);
			break;
		case 'm':
			if (!cli_module_add(&v->modules, optarg))
				return cli_usage(&cli_verify, "more than %d modules", CLI_MAX_MODULES);
			break;
		default: return cli_usage(&cli_verify, "unknown or incomplete option");
		}
	}
	if (optind + 1 != argc)
		return cli_usage(&cli_verify, "expected one object file, got %d", argc - optind);
	v->file = argv[optind];
	return CLI_OK;
}

/* The statistics line that ends the log: "processed N insns (limit ...) ...". */
static u64 processed(const char *log)
{
	const char *p, *last = NULL;
	unsigned long long n = 0;

	for (p = log; (p = strstr(p, "processed ")); p++)
		last = p;
	if (last)
		sscanf(last, "processed %llu insns", &n);
	return n;
}

static void print_one(struct verdict *v, const struct bpf_program *prog, int err)
{
	const char *name = bpf_program__name(prog), *sec = bpf_program__section_name(prog);
	/* The program may have got no log when its maps or names could not be resolved. */
	const char *all = *v->log ? v->log : cli_messages(), *log = v->level ? all : cli_tail(all, TAIL);
	size_t n = bpf_program__insn_cnt(prog);

	if (v->json) {
		text_puts(&v->out, v->programs ? ",{\"program\":" : "{\"program\":");
		text_json(&v->out, name);
		text_puts(&v->out, ",\"section\":");
		text_json(&v->out, sec);
		text_printf(&v->out, ",\"accepted\":%s,\"errno\":%d,\"insns\":%zu,\"processed\":%llu,\"log\":",
			    err ? "false" : "true", -err, n, (unsigned long long)processed(v->log));
		text_json(&v->out, err || v->level ? log : "");
		text_puts(&v->out, "}");
		return;
	}
	if (err)
		printf("%srefused%s   %s (%s): %s\n%s%s", cli_red(), cli_plain(), name, sec, strerror(-err), log,
		       *log && log[strlen(log) - 1] != '\n' ? "\n" : "");
	else
		printf("%saccepted%s  %s (%s): %zu instructions, %llu processed\n%s", cli_green(), cli_plain(),
		       name, sec, n, (unsigned long long)processed(v->log), v->level ? log : "");
}

/* Opens the object with only the program number `index` to be loaded; *end after the last. */
static int open_nth(struct verdict *v, int index, struct cli_object *o, struct bpf_program **mine, bool *end)
{
	struct bpf_program *prog;
	int i = 0, code = cli_open(o, v->file);

	*mine = NULL;
	if (code)
		return code;
	bpf_object__for_each_program(prog, o->obj) {
		bpf_program__set_autoload(prog, i == index);
		if (i++ == index)
			*mine = prog;
	}
	*end = index + 1 >= i;
	return CLI_OK;
}

static int load_with_log(struct verdict *v, const struct cli_object *o, struct bpf_program *prog, u32 level)
{
	v->log[0] = '\0';
	bpf_program__set_log_buf(prog, v->log, LOG_ROOM);
	bpf_program__set_log_level(prog, level);
	return bpf_object__load(o->obj);
}

static int verify_nth(struct verdict *v, int index, bool *end)
{
	struct bpf_program *mine;
	struct cli_object o;
	int code = open_nth(v, index, &o, &mine, end), err;

	if (code)
		return code;
	if (mine && (!v->only || !strcmp(v->only, bpf_program__name(mine)))) {
		err = load_with_log(v, &o, mine, (u32)(v->level | 4));
		if (err && !v->level && *v->log) {
			/* Statistics alone do not say where: once more, for the way that led there. */
			cli_close(&o);
			code = open_nth(v, index, &o, &mine, end);
			if (code)
				return code;
			load_with_log(v, &o, mine, 1);
		}
		print_one(v, mine, err);
		v->programs++;
		v->refused += err != 0;
	}
	cli_close(&o);
	return CLI_OK;
}

static int verify_main(int argc, char **argv)
{
	struct verdict v = { 0 };
	int code = parse(&v, argc, argv), i;
	bool end = false;

	if (code)
		return code;
	v.log = base_alloc(LOG_ROOM);
	if (!v.log)
		return cli_fail(CLI_REFUSED, "out of memory");
	code = cli_modules_load(&v.modules);
	for (i = 0; !code && !end; i++)
		code = verify_nth(&v, i, &end);
	if (!code && v.json)
		printf("[%s]\n", text_str(&v.out));
	if (!code && !v.programs)
		code = v.only ? cli_fail(CLI_INPUT, "%s: has no program '%s'", v.file, v.only) :
				cli_fail(CLI_INPUT, "%s: holds no program", v.file);
	text_free(&v.out);
	base_free(v.log);
	return code ? code : v.refused ? CLI_REFUSED : CLI_OK;
}

const struct cli_verb cli_verify = { "verify", "say whether programs are safe, and why not", verify_main,
				     help };
