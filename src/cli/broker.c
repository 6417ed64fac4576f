/* SPDX-License-Identifier: MIT */
/* ferry broker: the process that a session's members share things by; started by whoever needs it. */
#include <errno.h>
#include <string.h>
#include <sys/prctl.h>

#include "bpf/session/session.h"
#include "broker/broker.h"
#include "cli/cli.h"

static const char help[] =
	"Usage: ferry broker [DIR]\n\n"
	"Serves the user's session, or that in the directory DIR, until nobody needs it any more: it\n"
	"holds what programs of the session publish and pin, and tells them of one another. 'ferry exec'\n"
	"and members of the session start it by themselves; starting it by hand shows why it cannot.\n\n"
	"Options:\n"
	"  --help          this text\n\n"
	"Exit codes: 0 done, or another one serves already; 1 it cannot serve, 2 usage.\n";

static int broker_main(int argc, char **argv)
{
	static const struct option options[] = { { NULL, 0, NULL, 0 } };
	char dir[SESSION_DIR_MAX] = "";
	struct broker *b;
	int err = 0;

	if (getopt_long(argc, argv, "", options, NULL) >= 0)
		return cli_bad_option(&cli_broker, argv);
	if (argc - optind > 1)
		return cli_usage(&cli_broker, "expected one directory");
	if (optind == argc)
		err = sys_session_user(dir);
	else if (strlen(argv[optind]) >= sizeof(dir))
		return cli_fail(CLI_REFUSED, "%s: %s", argv[optind], strerror(ENAMETOOLONG));
	else
		strcpy(dir, argv[optind]);
	if (!err)
		err = broker_new(dir, true, &b);
	if (err == -EEXIST)
		return CLI_OK;
	if (err)
		return cli_no_session(dir, err);
	prctl(PR_SET_NAME, "ferry-broker");
	broker_run(b, -1);
	broker_free(b);
	return CLI_OK;
}

const struct cli_verb cli_broker = { "broker", "serve a session (starts by itself)", broker_main, help };
