/* SPDX-License-Identifier: MIT */
/*
 * A process to be attached to: `target idle|busy|threads`. The busy ones watch the clock; at the end of stdin the
 * longest time for which their first thread stood still is printed, in microseconds.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static _Atomic int stop;
static double longest;

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void *watch(void *arg)
{
	double last = now(), t;

	(void)arg;
	while (!stop) {
		t = now();
		if (t - last > longest)
			longest = t - last;
		last = t;
	}
	return NULL;
}

static void *sleeper(void *arg)
{
	(void)arg;
	while (!stop)
		usleep(1000);
	return NULL;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "idle";
	pthread_t t;
	char c;
	int i;

	if (!strcmp(mode, "busy"))
		pthread_create(&t, NULL, watch, NULL);
	for (i = 0; !strcmp(mode, "threads") && i < 64; i++)
		pthread_create(&t, NULL, sleeper, NULL);
	puts("ready");
	fflush(stdout);
	while (read(0, &c, 1) > 0)
		;
	stop = 1;
	if (!strcmp(mode, "busy"))
		pthread_join(t, NULL);
	printf("%.0f\n", longest);
	return 0;
}
