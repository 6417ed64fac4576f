/* SPDX-License-Identifier: MIT */
/*
 * What `ferry attach` and `ferry detach` call in a process that runs: libferry-preload.so was brought
 * in by dlopen(3), on a thread of the command's that ends when these return.
 *
 * The library stays when the process is left: threads may be inside a hook for as long as a call takes
 * (poll), return addresses on stacks may be a return probe's, and handlers of SIGSEGV, SIGBUS and
 * SIGTRAP stay behind the host's. It is dormant then: no import table names it, no probe leads to it, it
 * has no thread.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "bpf/session/session.h"
#include "bpf/session/share.h"
#include "broker/broker.h"
#include "preload/preload.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/*
 * The process becomes part of the session in `dir`; `visitor` is the code that calls. 1: it is already; -EXDEV: it is in another one;
 * -EACCES: that directory is not this user's alone; -ENOTCONN: there is no broker.
 */
__attribute__((visibility("default"))) long ferry_agent_attach(const char *dir, u64 visitor);
/* It leaves its session. 1: it was in none; -EBUSY: it has maps, programs or links of its own. */
__attribute__((visibility("default"))) long ferry_agent_detach(const char *unused, u64 visitor);

static long leave(void)
{
	long err;

	broker_leave();
	err = preload_unhook();
	sys_session_join(NULL);
	return err;
}

static long join(void)
{
	preload_hook_again();
	broker_join();
	if (broker_joined())
		return 0;
	leave();
	return -ENOTCONN;
}

static void count(struct sys_obj *o, void *arg)
{
	*(u32 *)arg += o->has_fd;
}

/* Not what others attached here brought along: that has no descriptors. */
static bool has_own(void)
{
	u32 n = 0;

	sys_obj_each(count, &n);
	return n;
}

long ferry_agent_attach(const char *dir, u64 visitor)
{
	const char *now;
	long err;

	pthread_mutex_lock(&lock);
	sys_visitor = visitor;
	now = sys_session(false);
	if (now && sys_session_joined()) {
		err = strcmp(now, dir) ? -EXDEV : 1;
	} else {
		err = sys_session_join(dir);
		if (!err)
			err = join();
	}
	sys_visitor = 0;
	pthread_mutex_unlock(&lock);
	return err;
}

long ferry_agent_detach(const char *unused, u64 visitor)
{
	long err;

	(void)unused;
	pthread_mutex_lock(&lock);
	sys_visitor = visitor;
	if (!sys_session_joined())
		err = 1;
	else if (has_own())
		err = -EBUSY;
	else
		err = leave();
	sys_visitor = 0;
	pthread_mutex_unlock(&lock);
	return err;
}
