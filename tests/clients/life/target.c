// SPDX-License-Identifier: MIT
// Begins and ends processes and threads in all ways, each when the one before is over: target SCRIPT.
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static void wait_for(pid_t pid)
{
	while (waitpid(pid, NULL, 0) < 0)
		;
}

static void *named(void *arg)
{
	prctl(PR_SET_NAME, "a thread");
	return arg;
}

static void *ender(void *arg)
{
	prctl(PR_SET_NAME, "ender");
	exit(*(int *)arg);
}

static void *last(void *arg)
{
	pthread_t *first = arg;

	prctl(PR_SET_NAME, "last");
	pthread_join(*first, NULL);
	syscall(SYS_exit, 9);
	return NULL;
}

static int in_clone(void *arg)
{
	return *(int *)arg;
}

static void spawn(const char *path, char *const argv[])
{
	pid_t pid;

	if (!posix_spawn(&pid, path, NULL, NULL, argv, environ))
		wait_for(pid);
}

/* As the arguments say: what one process is for. */
static int act(const char *what, char **argv)
{
	int code = 11;
	pthread_t t;

	if (!strcmp(what, "exit"))
		return atoi(argv[2]);
	if (!strcmp(what, "thread-exits")) {
		pthread_create(&t, NULL, ender, &code);
		pthread_join(t, NULL);
	}
	if (!strcmp(what, "leader-first")) {
		t = pthread_self();
		pthread_create(&(pthread_t){ 0 }, NULL, last, &t);
		syscall(SYS_exit, 5); /* without the C library, which would keep the leader */
	}
	if (!strcmp(what, "nice")) {
		setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + 5);
		return 0;
	}
	if (!strcmp(what, "killed"))
		for (raise(SIGSTOP);;)
			pause();
	signal(SIGABRT, SIG_DFL);
	return 1;
}

/* Ends by a signal, in a program that is dumped nowhere. */
static void killed_by(int sig, const char *self)
{
	char *argv[] = { (char *)self, "killed", NULL };
	pid_t pid;

	if (posix_spawn(&pid, self, NULL, NULL, argv, environ))
		return;
	waitpid(pid, NULL, WUNTRACED);
	kill(pid, sig);
	kill(pid, SIGCONT);
	wait_for(pid);
}

int main(int argc, char **argv)
{
	static char stack[1 << 16];
	static struct rlimit no_core;
	char *self = argv[0];
	pthread_t t;
	pid_t pid;
	int code = 21;

	setrlimit(RLIMIT_CORE, &no_core);
	if (argc > 2 || (argc == 2 && argv[1][0] != '.'))
		return act(argv[1], argv);
	pid = fork();
	if (!pid)
		_exit(3);
	wait_for(pid);
	pid = vfork();
	if (!pid)
		_exit(4);
	wait_for(pid);
	pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	if (!pid)
		_exit(6);
	wait_for(pid);
	pid = clone(in_clone, stack + sizeof(stack), SIGCHLD, &code);
	wait_for(pid);
	spawn(self, (char *[]){ self, "exit", "7", NULL });
	spawn(argv[1], (char *[]){ argv[1], NULL });
	spawn("/nowhere", (char *[]){ "/nowhere", NULL });
	pthread_create(&t, NULL, named, NULL);
	pthread_join(t, NULL);
	spawn(self, (char *[]){ self, "thread-exits", NULL });
	spawn(self, (char *[]){ self, "nice", NULL });
	killed_by(SIGTERM, self);
	killed_by(SIGSEGV, self);
	killed_by(SIGKILL, self);
	return 2;
}
