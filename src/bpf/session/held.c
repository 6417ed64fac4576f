/* SPDX-License-Identifier: MIT */
/*
 * Links live in the process that made them, their descriptors anywhere: in children, in other processes, in sockets on
 * the way. Each descriptor of a link is an open file description that has a shared lock (flock(2)), which goes with its
 * last duplicate wherever that is; the maker, by a description of its own, sees whether there is one. The same is done with events of processes that are served (remote.h).
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/file.h>
#include <unistd.h>

#include "bpf/event/link.h"

void sys_link_given(int fd)
{
	/* A thread below may have it for a moment. */
	while (flock(fd, LOCK_SH) && errno == EINTR)
		;
}

static void *wait_for_last(void *arg)
{
	int fd = (int)(intptr_t)arg;

	sys_inside++;
	base_thread_own(true);
	if (!flock(fd, LOCK_EX))
		flock(fd, LOCK_UN);
	close(fd);
	sys_fd_sweep();
	base_thread_own(false);
	sys_inside--;
	return NULL;
}

bool sys_link_await(int link)
{
	int fd = dup(link), err;
	pthread_attr_t attr;
	pthread_t thread;
	sigset_t all, old;

	if (fd < 0)
		return false;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, 128 << 10);
	err = pthread_create(&thread, &attr, wait_for_last, (void *)(intptr_t)fd);
	pthread_attr_destroy(&attr);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		close(fd);
	return !err;
}

bool sys_file_held(int fd)
{
	if (flock(fd, LOCK_EX | LOCK_NB))
		return true;
	flock(fd, LOCK_UN);
	return false;
}

bool sys_link_held(struct sys_link *l)
{
	if (l->foreign || !sys_file_held(l->o.fd))
		return false;
	if (!l->awaited)
		l->awaited = sys_link_await(l->o.fd);
	return l->awaited;
}
