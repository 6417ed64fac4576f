/* SPDX-License-Identifier: MIT */
/* The `ferry` command: one verb a file, listed here. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "ferry/ferry.h"

static const struct cli_verb *const verbs[] = { &cli_run, &cli_verify, &cli_disasm, &cli_exec, &cli_trace,
					     &cli_module, &cli_attach, &cli_detach, &cli_ps, &cli_top, &cli_link, &cli_broker };

static const char *current = "";

int cli_fail(int code, const char *fmt, ...)
{
	struct text t = { 0 };
	const char *s;
	size_t n;
	va_list ap;

	fflush(stdout);
	va_start(ap, fmt);
	text_vprintf(&t, fmt, ap);
	va_end(ap);
	s = text_str(&t);
	for (n = strlen(s); n && s[n - 1] == '\n'; n--) /* messages of others end with one */
		;
	fprintf(stderr, "ferry%s%s: %.*s\n", *current ? " " : "", current, (int)n, s);
	text_free(&t);
	return code;
}

int cli_usage(const struct cli_verb *verb, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "ferry %s: ", verb->name);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "\nTry 'ferry %s --help'.\n", verb->name);
	return CLI_USAGE;
}

int cli_bad_option(const struct cli_verb *verb, char **argv)
{
	return cli_usage(verb, "%s: there is no such option, or it lacks its argument", argv[optind - 1]);
}

static const char *paint(const char *seq)
{
	static int on = -1;

	if (on < 0) {
		const char *no = getenv("NO_COLOR");

		on = isatty(STDOUT_FILENO) && !(no && *no);
	}
	return on ? seq : "";
}

const char *cli_bold(void) { return paint("\033[1m"); }
const char *cli_dim(void) { return paint("\033[2m"); }
const char *cli_red(void) { return paint("\033[31m"); }
const char *cli_green(void) { return paint("\033[32m"); }
const char *cli_plain(void) { return paint("\033[0m"); }

static void help(FILE *to)
{
	size_t i;

	fprintf(to, "Usage: ferry VERB [OPTIONS] [ARGUMENTS]\n\n"
		    "eBPF programs in user space: verified, compiled, calling native functions.\n\n"
		    "Verbs:\n");
	for (i = 0; i < ARRAY_SIZE(verbs); i++)
		fprintf(to, "  %-8s %s\n", verbs[i]->name, verbs[i]->brief);
	fprintf(to, "\n'ferry VERB --help' explains a verb. 'ferry --version' prints the version.\n"
		    "Exit codes: 0 done, 1 refused or failed, 2 usage, 3 bad input file.\n");
}

static const struct cli_verb *find(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(verbs); i++)
		if (!strcmp(verbs[i]->name, name))
			return verbs[i];
	return NULL;
}

static int unknown(const char *name)
{
	const struct cli_verb *near = NULL;
	unsigned best = 3;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(verbs); i++) {
		unsigned d = text_distance(verbs[i]->name, name);

		if (d < best) {
			best = d;
			near = verbs[i];
		}
	}
	if (near)
		return cli_fail(CLI_USAGE, "no verb '%s'; did you mean '%s'?", name, near->name);
	return cli_fail(CLI_USAGE, "no verb '%s'; 'ferry --help' lists them", name);
}

/* Also behind other words, unless those are a command for ferry exec, which has a --help of its own. */
static bool asks_for_help(const struct cli_verb *verb, int argc, char **argv)
{
	int i;

	for (i = 2; i < argc && strcmp(argv[i], "--"); i++) {
		if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h"))
			return true;
		if (verb == &cli_exec && *argv[i] != '-' && strcmp(argv[i - 1], "--preload"))
			return false;
	}
	return false;
}

int main(int argc, char **argv)
{
	const struct cli_verb *verb;
	int code;

	if (argc < 2) {
		help(stderr);
		return CLI_USAGE;
	}
	if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
		if (argc > 2 && (verb = find(argv[2])))
			fputs(verb->help, stdout);
		else
			help(stdout);
		return CLI_OK;
	}
	if (!strcmp(argv[1], "--version") || !strcmp(argv[1], "-V")) {
		printf("ferry %s\n", ferry_version());
		return CLI_OK;
	}
	verb = find(argv[1]);
	if (!verb)
		return unknown(argv[1]);
	if (asks_for_help(verb, argc, argv)) {
		fputs(verb->help, stdout);
		return CLI_OK;
	}
	current = verb->name;
	opterr = 0; /* cli_bad_option() says it */
	code = verb->run(argc - 1, argv + 1);
	/* A full disk or a closed pipe must not look like success. */
	if (fflush(stdout) || ferror(stdout))
		return cli_fail(code ? code : CLI_REFUSED, "cannot write the output: %s", strerror(errno));
	return code;
}
