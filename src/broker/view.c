/* SPDX-License-Identifier: MIT */
/* What other members show, for bpf(2) of this one: looked at once for a burst of questions. */
#include <pthread.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "bpf/session/session.h"
#include "broker/client_int.h"

#define FRESH_MS    100
#define PATIENCE_MS 150

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct broker_view view;
static u64 looked; /* ms; 0: never */
static int counting = -1; /* a connection for as long as runs are to be counted everywhere */
static u32 counters;

static u64 now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000 + (u64)t.tv_nsec / 1000000;
}

static void look_again(void)
{
	const char *dir = sys_session(false);
	struct broker_view fresh;
	int sock;

	if (looked && now_ms() - looked < FRESH_MS)
		return;
	sock = dir ? broker_look_begin(dir) : -1;
	if (sock >= 0 && !broker_look(sock, dir, false, PATIENCE_MS, &fresh)) {
		broker_view_free(&view);
		view = fresh;
		looked = now_ms();
	}
	if (sock >= 0)
		close(sock);
}

static void stop_counting(void)
{
	if (counting < 0)
		return;
	sys_fd_own(counting, false);
	close(counting);
	counting = -1;
}

/* In the child of fork(2): what runs there counts is its parent's wish. */
static void forked(void)
{
	pthread_mutex_init(&lock, NULL);
	sys_inside++;
	stop_counting();
	sys_inside--;
	counters = 0;
	looked = 0;
}

static void init(void)
{
	pthread_atfork(NULL, NULL, forked);
}

static void enter(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	sys_inside++;
	pthread_once(&once, init);
	pthread_mutex_lock(&lock);
}

static void leave(void)
{
	pthread_mutex_unlock(&lock);
	sys_inside--;
}

bool client_row(s32 whose, u64 ino, struct look_row *out)
{
	const struct look_row *r;
	bool found = false;
	u32 i;

	enter();
	look_again();
	for (i = 0; i < view.n && !found; i++)
		for (r = view.member[i].rows.row; r < view.member[i].rows.row + view.member[i].rows.n && !found; r++)
			if ((!whose || view.member[i].pid == whose) && r->what == LOOK_EVENT && ino &&
			    (r->ino == ino || r->event_ino == ino)) {
				*out = *r;
				found = true;
			}
	leave();
	return found;
}

void client_sum(u32 prog, struct look_row *out)
{
	const struct look_row *r;
	u32 i;

	enter();
	look_again();
	for (i = 0; i < view.n; i++)
		for (r = view.member[i].rows.row; r < view.member[i].rows.row + view.member[i].rows.n; r++)
			if (view.member[i].pid != getpid() && r->what == LOOK_PROG && r->id == prog) {
				out->runs += r->runs;
				out->run_ns += r->run_ns;
				out->missed += r->missed;
			}
	leave();
}

/* The broker sees to it for as long as the connection lives. */
static void start_counting(void)
{
	const char *dir = sys_session(false);
	struct broker_view now;
	int sock = dir ? broker_look_begin(dir) : -1;

	if (sock < 0)
		return;
	if (broker_look(sock, dir, true, 0, &now)) {
		close(sock);
		return;
	}
	broker_view_free(&now);
	counting = sys_fd_move(sock);
	sys_fd_own(counting, true);
}

void client_count(bool on)
{
	enter();
	if (on && !counters++)
		start_counting();
	if (!on && counters && !--counters)
		stop_counting();
	leave();
}

void client_count_again(void)
{
	enter();
	if (counters) {
		stop_counting();
		start_counting();
	}
	leave();
}
