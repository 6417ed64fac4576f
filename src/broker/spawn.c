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
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bpf/session.h"
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
	char path[PATH_MAX];
	int tries, sock, lock = -1, err = 0;
	bool mine = false;

	for (tries = 0; tries < 200; tries++) {
		sock = wire_connect(dir);
		if (sock >= 0) {
			close(sock);
			break;
		}
		err = sock;
		if (err != -ECONNREFUSED && err != -ENOENT)
			break;
		/* One of those who notice starts it; a starter that hangs keeps nobody from trying later. */
		if (lock < 0) {
			snprintf(path, sizeof(path), "%s/starting", dir);
			lock = open(path, O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
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

int broker_session(char *dir)
{
	int err = sys_session_user(dir);

	if (!err)
		err = leave_name(dir);
	return err ? err : broker_start(dir);
}
