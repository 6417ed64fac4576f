/* SPDX-License-Identifier: MIT */
/* Where bpf_trace_printk's lines go: the host's function, or a buffer that drops its oldest lines.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "helper/helper_int.h"

#define BUFFER (256 * 1024)

static struct {
	pthread_mutex_t lock;
	pthread_cond_t filled;
	helper_trace_fn fn;
	void *arg;
	u64 head, tail; /* bytes ever taken and put; lines end with a newline */
	u64 lost;       /* lines dropped since the last read */
	char bytes[BUFFER];
} trace = { .lock = PTHREAD_MUTEX_INITIALIZER, .filled = PTHREAD_COND_INITIALIZER };

/*
 * A program may run in a signal handler that interrupted this very code, and the host's function
 * may run programs: then the line is dropped rather than waited for.
 */
static _Thread_local volatile int busy;

void helper_trace_to(helper_trace_fn fn, void *arg)
{
	busy++;
	pthread_mutex_lock(&trace.lock);
	trace.fn = fn;
	trace.arg = arg;
	pthread_mutex_unlock(&trace.lock);
	busy--;
}

/* Takes up to a newline, at most `size` bytes, into buf (NULL: drops the line). */
static size_t take_line(char *buf, size_t size)
{
	size_t n = 0;
	char c = 0;

	while (trace.head < trace.tail && n < size && c != '\n') {
		c = trace.bytes[trace.head++ % BUFFER];
		if (buf)
			buf[n] = c;
		n++;
	}
	return n;
}

static size_t line_length(void)
{
	u64 at = trace.head;

	while (at < trace.tail && trace.bytes[at % BUFFER] != '\n')
		at++;
	return (size_t)(at - trace.head) + 1;
}

static void keep_line(const char *line, size_t len)
{
	size_t i;

	while (trace.tail - trace.head + len + 1 > BUFFER) {
		take_line(NULL, SIZE_MAX);
		trace.lost++;
	}
	for (i = 0; i < len; i++)
		trace.bytes[trace.tail++ % BUFFER] = line[i];
	trace.bytes[trace.tail++ % BUFFER] = '\n';
	pthread_cond_signal(&trace.filled);
}

s64 helper_trace_read(char *buf, size_t size, bool wait)
{
	size_t n = 0;
	int len;

	if (!size)
		return 0;
	busy++;
	pthread_mutex_lock(&trace.lock);
	while (wait && trace.head == trace.tail)
		pthread_cond_wait(&trace.filled, &trace.lock);
	if (trace.lost && size > 64) {
		len = snprintf(buf, size, "CPU:0 [LOST %llu EVENTS]\n",
			       (unsigned long long)trace.lost);
		n = (size_t)len;
		trace.lost = 0;
	}
	while (trace.head < trace.tail && (!n || line_length() <= size - n))
		n += take_line(buf + n, size - n);
	pthread_mutex_unlock(&trace.lock);
	busy--;
	return n ? (s64)n : -EAGAIN;
}

/* "comm-pid [cpu] flags seconds: bpf_trace_printk: msg", as /sys/kernel/tracing/trace_pipe. */
void helper_trace_line(const char *msg)
{
	char line[HELPER_LINE + 128], comm[16] = "";
	struct timespec t = { 0 };
	helper_trace_fn fn;
	void *arg;
	int len;

	if (busy)
		return;
	busy++;
	prctl(PR_GET_NAME, comm, 0, 0, 0);
	clock_gettime(CLOCK_MONOTONIC, &t);
	len = snprintf(line, sizeof(line),
		       "%16s-%-7d [%03u] ..... %5llu.%06lu: bpf_trace_printk: %s", comm,
		       (int)gettid(), map_this_cpu(), (unsigned long long)t.tv_sec,
		       (unsigned long)t.tv_nsec / 1000, msg);
	if (len >= (int)sizeof(line))
		len = sizeof(line) - 1;
	pthread_mutex_lock(&trace.lock);
	fn = trace.fn;
	arg = trace.arg;
	if (!fn)
		keep_line(line, (size_t)len);
	pthread_mutex_unlock(&trace.lock);
	if (fn)
		fn(arg, line, (size_t)len);
	busy--;
}
