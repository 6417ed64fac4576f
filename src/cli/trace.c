/* SPDX-License-Identifier: MIT */
/* ferry trace: print what programs of a session print, as trace_pipe shows it. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bpf/session/session.h"
#include "cli/cli.h"

static const char help[] =
	"Usage: ferry trace [OPTIONS]\n\n"
	"Prints the lines that programs of a session write with bpf_trace_printk, in the kernel's\n"
	"format, and waits for more.\n\n"
	"Options:\n"
	"  --session DIR   the session, instead of $FERRY_SESSION or the user's\n"
	"  --drain         print what is there and end\n"
	"  --json          one JSON object a line\n"
	"  --help          this text\n\n"
	"Exit codes: 0 done, 1 it cannot be read, 2 usage, 3 there is no such session.\n";

static void print_json(const char *line)
{
	struct text out = { 0 };

	text_puts(&out, "{\"line\":");
	text_json(&out, line);
	text_puts(&out, "}");
	puts(text_str(&out));
	text_free(&out);
}

static int copy(int fd, bool drain, bool json)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char buf[65536];
	size_t have = 0;
	bool tty = isatty(STDOUT_FILENO);
	ssize_t n;

	for (;;) {
		char *line = buf, *end;

		if (poll(&p, 1, drain ? 0 : -1) <= 0 || !(p.revents & POLLIN))
			break;
		n = read(fd, buf + have, sizeof(buf) - have - 1);
		if (n <= 0)
			break;
		have += n;
		buf[have] = '\0';
		while ((end = memchr(line, '\n', (size_t)(buf + have - line)))) {
			*end = '\0';
			if (tty)
				text_clean(line); /* programs print what others gave them */
			if (json)
				print_json(line);
			else
				puts(line);
			line = end + 1;
		}
		have -= line - buf;
		memmove(buf, line, have);
		if (have == sizeof(buf) - 1)
			have = 0; /* no line is as long: somebody else wrote here */
		fflush(stdout);
	}
	return CLI_OK;
}

static int trace_main(int argc, char **argv)
{
	static const struct option options[] = { { "session", required_argument, NULL, 's' },
						 { "drain", no_argument, NULL, 'd' },
						 { "json", no_argument, NULL, 'j' },
						 { NULL, 0, NULL, 0 } };
	char dir[SESSION_DIR_MAX], path[PATH_MAX];
	bool drain = false, json = false;
	const char *session = NULL;
	int c, fd;

	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (c) {
		case 's': session = optarg; break;
		case 'd': drain = true; break;
		case 'j': json = true; break;
		default: return cli_bad_option(&cli_trace, argv);
		}
	}
	if (optind != argc)
		return cli_usage(&cli_trace, "it takes no argument");
	c = cli_session(session, dir);
	if (c)
		return c;
	snprintf(path, sizeof(path), "%s/tracing/trace_pipe", dir);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return cli_fail(CLI_INPUT, "%s: %s", path, strerror(errno));
	c = copy(fd, drain, json);
	close(fd);
	return c;
}

const struct cli_verb cli_trace = { "trace", "print what programs of a session print", trace_main,
				    help };
