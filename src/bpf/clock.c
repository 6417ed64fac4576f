/* SPDX-License-Identifier: MIT */
/* Software clocks as a source of events: a thread of its own runs the program once a period. */
#include <errno.h>
#include <linux/bpf_perf_event.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bpf/link.h"
#include "bpf/sys_int.h"
#include "code/code.h"

#define SHORTEST 100000ull /* ns: what a thread can keep up with on a busy machine */

struct clock {
	struct sys_attach what;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;
	pid_t pid; /* whose thread it is: a child of fork(2) has none */
};

static void add_ns(struct timespec *t, u64 ns)
{
	ns += t->tv_nsec;
	t->tv_sec += ns / 1000000000ull;
	t->tv_nsec = ns % 1000000000ull;
}

static void *tick(void *arg)
{
	struct clock *c = arg;
	struct bpf_perf_event_data data;
	struct timespec next, now;

	sys_inside++;
	clock_gettime(CLOCK_MONOTONIC, &next);
	pthread_mutex_lock(&c->lock);
	while (!c->stop) {
		add_ns(&next, c->what.period);
		while (!c->stop &&
		       pthread_cond_timedwait(&c->wake, &c->lock, &next) != ETIMEDOUT)
			;
		if (c->stop)
			break;
		pthread_mutex_unlock(&c->lock);
		memset(&data, 0, sizeof(data));
		data.sample_period = c->what.period;
		sys_prog_run(c->what.p, &data, c->what.cookie);
		pthread_mutex_lock(&c->lock);
		/* What was missed, by a stopped process for one, is not made up for. */
		clock_gettime(CLOCK_MONOTONIC, &now);
		if (now.tv_sec > next.tv_sec + 1)
			next = now;
	}
	pthread_mutex_unlock(&c->lock);
	sys_inside--;
	return NULL;
}

static int start(const struct sys_attach *a, void **event, struct text *why)
{
	struct clock *c = base_alloc(sizeof(*c));
	pthread_condattr_t attr;
	sigset_t all, old;
	int err;

	if (!c)
		return -ENOMEM;
	c->what = *a;
	c->pid = getpid();
	if (c->what.period < SHORTEST)
		c->what.period = SHORTEST;
	pthread_mutex_init(&c->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&c->wake, &attr);
	code_signals_sent(&all); /* signals are the host's threads', but for what the program itself does */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = -pthread_create(&c->thread, NULL, tick, c);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err) {
		text_puts(why, "no thread can be made for the clock");
		base_free(c);
		return err;
	}
	*event = c;
	return 0;
}

/* A program may end its own event: then its thread ends by itself. */
static void stop(void *event)
{
	struct clock *c = event;
	bool own;

	if (c->pid != getpid()) {
		base_free(c);
		return;
	}
	own = pthread_equal(c->thread, pthread_self());

	pthread_mutex_lock(&c->lock);
	c->stop = true;
	pthread_cond_signal(&c->wake);
	pthread_mutex_unlock(&c->lock);
	if (own) {
		pthread_detach(c->thread);
		return; /* its memory is still in use, and too little to care about */
	}
	pthread_join(c->thread, NULL);
	base_free(c);
}

void sys_clock_init(void)
{
	static const struct sys_attach_ops ops = { start, stop };

	sys_attach_source(SYS_ATTACH_CLOCK, &ops);
}
