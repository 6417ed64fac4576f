/* SPDX-License-Identifier: MIT */
/* A broker in a process of its own, for a group of tests: setup and teardown, and where it is. */
#ifndef FERRY_BROKER_TEST_H
#define FERRY_BROKER_TEST_H

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bpf/session/session.h"
#include "broker/broker.h"

static char dir[SESSION_DIR_MAX];
static pid_t server;
static int stop[2];

static int setup(void **state)
{
	struct broker *b;

	(void)state;
	if (sys_session_make(dir) || pipe(stop) || broker_new(dir, false, &b))
		return -1;
	server = fork();
	if (!server) {
		close(stop[1]);
		broker_run(b, stop[0]);
		broker_free(b);
		exit(0); /* a sanitizer may have something to say */
	}
	close(stop[0]);
	broker_free(b); /* here */
	return server > 0 ? 0 : -1;
}

static int teardown(void **state)
{
	int status = -1;

	(void)state;
	close(stop[1]);
	waitpid(server, &status, 0);
	sys_session_remove(dir);
	return status;
}

#endif
