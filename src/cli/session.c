/* SPDX-License-Identifier: MIT */
/* Which session a verb is about, and the way to its processes. */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "broker/broker.h"
#include "cli/cli.h"

#define PATIENCE_MS 500 /* for processes that do not answer */

int cli_session(const char *option, char dir[SESSION_DIR_MAX])
{
	const char *env = getenv("FERRY_SESSION");
	char path[PATH_MAX];
	int err;

	if (option || (env && *env)) {
		option = option ? option : env;
		if (!realpath(option, path) || strlen(path) >= SESSION_DIR_MAX)
			return cli_fail(CLI_INPUT, "%s: %s", option, strerror(errno ? errno : ENAMETOOLONG));
		strcpy(dir, path);
		return CLI_OK;
	}
	err = broker_session(dir);
	return err ? cli_no_session(dir, err) : CLI_OK;
}

int cli_no_session(const char *dir, int err)
{
	struct text why = { 0 };

	broker_explain(dir, err, &why);
	err = cli_fail(CLI_REFUSED, "the session in %s cannot be used: %s", dir, text_str(&why));
	text_free(&why);
	return err;
}

int cli_look_begin(const char *option, char dir[SESSION_DIR_MAX], int *sock)
{
	int code = cli_session(option, dir);
	char tree[PATH_MAX];

	if (code)
		return code;
	snprintf(tree, sizeof(tree), "%s/tree", dir);
	if (option && access(tree, F_OK))
		return cli_fail(CLI_INPUT, "%s: %s", option,
				errno == ENOENT ? "is no session's directory" : strerror(errno));
	*sock = broker_look_begin(dir);
	if (*sock >= 0)
		return CLI_OK;
	if (*sock == -ECONNREFUSED || *sock == -ENOENT) {
		*sock = -1;
		return CLI_OK;
	}
	return cli_fail(CLI_REFUSED, "the broker of %s cannot be reached: %s", dir, strerror(-*sock));
}

int cli_look(const char *option, double stats, struct broker_view *out)
{
	char dir[SESSION_DIR_MAX];
	int sock, err = 0, code = cli_look_begin(option, dir, &sock);

	*out = (struct broker_view){ 0 };
	if (code || sock < 0)
		return code;
	if (stats > 0) {
		err = broker_look(sock, dir, true, PATIENCE_MS, out);
		broker_view_free(out);
		cli_sleep(stats);
	}
	if (!err)
		err = broker_look(sock, dir, stats > 0, PATIENCE_MS, out);
	close(sock);
	return err ? cli_fail(CLI_REFUSED, "the session in %s cannot be looked at: %s", dir, strerror(-err)) : CLI_OK;
}

bool cli_seconds(const char *s, double *out)
{
	char *end;

	*out = strtod(s, &end);
	return end != s && !*end && isfinite(*out) && *out >= 0.05 && *out <= 86400;
}

void cli_sleep(double seconds)
{
	struct timespec ts = { (time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) };

	nanosleep(&ts, NULL);
}
