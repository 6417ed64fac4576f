/* SPDX-License-Identifier: MIT */
/* A sign of life on the terminal for what takes over two seconds. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cli/cli.h"

static struct {
	pthread_mutex_t lock;
	pthread_cond_t stop;
	pthread_t thread;
	bool on, stopping, shown;
	char what[160];
} progress = { .lock = PTHREAD_MUTEX_INITIALIZER, .stop = PTHREAD_COND_INITIALIZER };

static void *tick(void *arg)
{
	struct timespec until;
	int seconds = 1;

	(void)arg;
	clock_gettime(CLOCK_REALTIME, &until);
	pthread_mutex_lock(&progress.lock);
	while (!progress.stopping) {
		until.tv_sec++;
		while (!progress.stopping &&
		       pthread_cond_timedwait(&progress.stop, &progress.lock, &until) == 0)
			;
		if (!progress.stopping && ++seconds > 2) {
			fprintf(stderr, "\r%s: %d s", progress.what, seconds - 1);
			progress.shown = true;
		}
	}
	pthread_mutex_unlock(&progress.lock);
	return NULL;
}

void cli_progress_on(const char *file, const char *name)
{
	if (progress.on || !isatty(STDERR_FILENO))
		return;
	snprintf(progress.what, sizeof(progress.what), "%.80s: %.60s", file, name);
	text_clean(progress.what);
	progress.stopping = progress.shown = false;
	progress.on = pthread_create(&progress.thread, NULL, tick, NULL) == 0;
}

void cli_progress_off(void)
{
	if (!progress.on)
		return;
	pthread_mutex_lock(&progress.lock);
	progress.stopping = true;
	pthread_cond_signal(&progress.stop);
	pthread_mutex_unlock(&progress.lock);
	pthread_join(progress.thread, NULL);
	progress.on = false;
	if (progress.shown)
		fprintf(stderr, "\r%*s\r", (int)strlen(progress.what) + 12, "");
}
