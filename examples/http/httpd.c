/* SPDX-License-Identifier: MIT */
/* The server as a command: httpd OBJECT [POLICY [PORT]]. SIGHUP reads the object again. */
#include <ferry/ferry.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "filter.h"

int main(int argc, char **argv)
{
	struct server *server;
	struct filter *filter;
	sigset_t signals;
	int got;

	if (argc < 2) {
		fprintf(stderr, "usage: %s OBJECT [POLICY [PORT]]\n", argv[0]);
		return 2;
	}
	sigemptyset(&signals);
	sigaddset(&signals, SIGHUP);
	sigaddset(&signals, SIGINT);
	sigaddset(&signals, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	if ((argc > 2 && ferry_policy_load(argv[2])) || !(filter = filter_open(argv[1])))
		return 1;
	server = server_start((unsigned short)(argc > 3 ? atoi(argv[3]) : 8080),
			      filter_function(filter));
	if (server)
		printf("http://127.0.0.1:%u/\n", server_port(server));
	while (server && !sigwait(&signals, &got) && got == SIGHUP)
		printf(filter_reload(filter, argv[1]) ? "refused: the filter stays\n"
						      : "reloaded\n");
	server_stop(server);
	filter_close(filter);
	return !server;
}
