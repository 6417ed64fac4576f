/* SPDX-License-Identifier: MIT */
/* Starting a broker, from any process of the user's and without that process noticing. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bpf/session/session.h"
#include "broker/broker.h"
#include "broker/wire.h"

/* In the child, which is a copy of some process in any state: system calls only. */
static void run_broker(const char *ferry, char *const argv[])
{
	static char *const env[] = { "PATH=/usr/local/bin:/usr/bin:/bin", NULL };
	sigset_t none;
	int null, sig;

	setsid();
	if (syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0)) /* nobody's child but init's */
		_exit(0);
	for (sig = 1; sig < NSIG; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	null = open("/dev/null", O_RDWR);
	dup2(null, 0);
	dup2(null, 1);
	dup2(null, 2);
	syscall(SYS_close_range, 3, ~0u, 0);
	if (chdir("/") == 0)
		execve(ferry, argv, env);
	_exit(127);
}

/*
 * A child that sends no signal when it ends (clone(2): exit signal 0) is none that the host's wait(2)
 * sees. Its own child is the broker.
 */
static int spawn(const char *dir)
{
	char link[PATH_MAX], ferry[PATH_MAX];
	char *argv[] = { "ferry", "broker", (char *)(uintptr_t)dir, NULL };
	int status;
	long pid;

	/* The command that made the session left its name there. */
	if (snprintf(link, sizeof(link), "%s/ferry", dir) >= (int)sizeof(link) || !realpath(link, ferry))
		return -ENOENT;
	pid = syscall(SYS_clone, 0, 0, 0, 0, 0);
	if (!pid)
		run_broker(ferry, argv);
	if (pid < 0)
		return -errno;
	while (waitpid((pid_t)pid, &status, __WALL) < 0 && errno == EINTR)
		;
	return 0;
}

int broker_start(const char *dir)
{
	char path[PATH_MAX], link[PATH_MAX];
	int tries, sock, lock = -1, err = 0;
	bool mine = false;

	if (snprintf(link, sizeof(link), "%s/ferry", dir) >= (int)sizeof(link))
		return -ENAMETOOLONG;
	for (tries = 0; tries < 200; tries++) {
		sock = wire_connect(dir);
		if (sock >= 0) {
			close(sock);
			break;
		}
		err = sock;
		if (err != -ECONNREFUSED && err != -ENOENT)
			break;
		/* A session of one command has no name in it, and may be about to be removed: nothing is to come into it. */
		if (faccessat(AT_FDCWD, link, F_OK, AT_SYMLINK_NOFOLLOW)) {
			err = -ENOENT;
			break;
		}
		/* One of those who notice starts it; a starter that hangs keeps nobody from trying later. */
		if (lock < 0) {
			snprintf(path, sizeof(path), "%s/starting", dir);
			lock = open(path, O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
		}
		if (lock < 0) { /* no directory, no descriptors, a full disk: no broker could start either */
			err = -errno;
			break;
		}
		if (!mine && (tries == 100 || !flock(lock, LOCK_EX | LOCK_NB))) {
			mine = true;
			err = spawn(dir);
			if (err)
				break;
			err = -ECONNREFUSED;
		}
		usleep(tries < 20 ? 1000 : 20000);
	}
	if (lock >= 0)
		close(lock);
	return sock >= 0 ? 0 : err;
}

/* The name that spawn() looks for: replaced as a whole. */
static int leave_name(const char *dir)
{
	char ferry[PATH_MAX], old[PATH_MAX], link[PATH_MAX], fresh[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", ferry, sizeof(ferry) - 1), m;

	if (n < 0 || snprintf(link, sizeof(link), "%s/ferry", dir) >= (int)sizeof(link) ||
	    snprintf(fresh, sizeof(fresh), "%s/ferry.%d", dir, getpid()) >= (int)sizeof(fresh))
		return -ENAMETOOLONG;
	ferry[n] = '\0';
	m = readlink(link, old, sizeof(old) - 1);
	if (m == n && !memcmp(old, ferry, n))
		return 0;
	unlink(fresh);
	if (symlink(ferry, fresh) || rename(fresh, link))
		return -errno;
	return 0;
}

/* Does it speak as this process does? */
static int check_age(const char *dir)
{
	struct wire_msg *m = base_alloc(sizeof(*m));
	int sock = wire_connect(dir), err = sock < 0 ? sock : m ? 0 : -ENOMEM;
	struct wire_fds got;

	if (!err) {
		m->op = WIRE_NEXT_ID;
		err = wire_send(sock, m, NULL, 0);
	}
	if (!err)
		err = wire_recv(sock, m, &got, 0);
	if (!err)
		wire_close(&got);
	if (!err && m->err == -EINVAL) /* it does not know the question */
		err = -EPROTONOSUPPORT;
	if (sock >= 0)
		close(sock);
	base_free(m);
	return err == -EPROTONOSUPPORT ? err : 0; /* all else shows when it is used */
}

int broker_session(char *dir)
{
	int err = sys_session_user(dir);

	if (!err)
		err = leave_name(dir);
	if (!err)
		err = broker_start(dir);
	return err ? err : check_age(dir);
}

static s32 who_listens(const char *dir)
{
	int sock = wire_connect(dir);
	struct ucred peer = { 0 };
	socklen_t len = sizeof(peer);

	if (sock >= 0) {
		getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len);
		close(sock);
	}
	return peer.pid;
}

void broker_explain(const char *dir, int err, struct text *why)
{
	s32 pid;

	switch (err) {
	case -EPROTO:
	case -EPROTONOSUPPORT:
		pid = who_listens(dir);
		text_printf(why, "its broker (process %d) is of another version of Ferry: end it and what uses it (kill %d), "
			    "or use a session of its own (ferry exec --private)", pid, pid);
		break;
	case -EPERM: text_puts(why, "it, or its socket, is not this user's alone: another one has made it, or its mode is not 0700"); break;
	case -ENOSPC: text_puts(why, "there is no room left on its file system"); break;
	case -EMFILE: text_puts(why, "this process has no descriptors left (RLIMIT_NOFILE)"); break;
	case -ECONNREFUSED: text_puts(why, "its broker does not start: `ferry broker DIR` says why"); break;
	default: text_puts(why, strerror(-err));
	}
}
