/* SPDX-License-Identifier: MIT */
/* ferry exec: run a command whose bpf(2), and that of its children, Ferry answers. */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bpf/session/remote.h"
#include "bpf/session/session.h"
#include "broker/broker.h"
#include "cli/cli.h"

static const char help[] =
	"Usage: ferry exec [OPTIONS] [--] COMMAND [ARGUMENT...]\n\n"
	"Runs a command, and whatever it starts, in the user's session: bpf(2), perf_event_open(2) and\n"
	"the files that eBPF tools read (/sys/fs/bpf, /sys/kernel/tracing, /sys/kernel/btf...) are\n"
	"answered by Ferry, without privilege. All commands that this user runs so see one another's\n"
	"programs, maps and pins, and may probe one another; the session's broker starts by itself.\n\n"
	"Options:\n"
	"  --private       a session of the command's own, which ends with it: it shares with no other\n"
	"  --raw           answer system calls that bypass libc too (static programs, Go); by itself\n"
	"                  for commands without a dynamic linker. Each costs some microseconds.\n"
	"  --root          the command believes to be user 0, for clients that insist on that\n"
	"                  (bpftrace): no more power over the machine than before\n"
	"  --preload LIB   the library to preload instead of the installed libferry-preload.so\n"
	"  --help          this text\n\n"
	"Exit codes: the command's; 128 + N when signal N ended it; 126 it cannot be run, 127 it is not\n"
	"found; 2 usage, 3 libferry-preload.so is missing.\n";

static bool is_member; /* of the session already, as started by a member */

/* Before what is preloaded already, so that ours answers first. */
static int set_preload(const char *lib)
{
	const char *old = getenv("LD_PRELOAD"), *first = cli_sanitizer();
	char *value;
	int err;

	old = old ? old : "";
	is_member = strstr(old, lib);
	if (is_member)
		return 0;
	if (asprintf(&value, "%s%s%s%s%s", first, *first ? ":" : "", lib, *old ? ":" : "", old) < 0)
		return -1;
	err = setenv("LD_PRELOAD", value, 1);
	free(value);
	return err;
}

static int run_command(char **argv)
{
	char pid[16];

	/* The command's beginning is no execve(2) of the session's: nobody saw that begin. */
	snprintf(pid, sizeof(pid), "%d", getpid());
	if (!is_member)
		setenv("FERRY_STARTED", pid, 1);
	execvp(argv[0], argv);
	return cli_fail(errno == ENOENT ? 127 : 126, "%s: %s", argv[0], strerror(errno));
}

static int exit_code(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* ---- commands that bypass libc -------------------------------------------------------------- */

static bool find_command(const char *name, char out[PATH_MAX])
{
	char *path = getenv("PATH"), *copy, *dir, *save;
	bool found = false;

	if (strchr(name, '/'))
		return snprintf(out, PATH_MAX, "%s", name) < PATH_MAX;
	copy = strdup(path ? path : "/usr/local/bin:/usr/bin:/bin");
	for (dir = copy ? strtok_r(copy, ":", &save) : NULL; dir && !found;
	     dir = strtok_r(NULL, ":", &save))
		found = snprintf(out, PATH_MAX, "%s/%s", dir, name) < PATH_MAX && !access(out, X_OK);
	free(copy);
	return found;
}

/* An ELF file without an interpreter: nothing can be preloaded. */
static bool is_static(const char *name)
{
	char path[PATH_MAX];
	Elf64_Ehdr eh;
	Elf64_Phdr ph;
	bool interp = true;
	int fd, i;

	if (!find_command(name, path))
		return false;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (pread(fd, &eh, sizeof(eh), 0) == sizeof(eh) && !memcmp(eh.e_ident, ELFMAG, SELFMAG) &&
	    eh.e_phentsize == sizeof(ph)) {
		interp = false;
		for (i = 0; i < eh.e_phnum && !interp; i++)
			interp = pread(fd, &ph, sizeof(ph), eh.e_phoff + i * sizeof(ph)) == sizeof(ph) &&
				 ph.p_type == PT_INTERP;
	}
	close(fd);
	return !interp;
}

static void *serve(void *arg)
{
	sys_remote_serve((int)(intptr_t)arg);
	return NULL;
}

/* In the child: the filter, whose listener the parent fetches. `ends` is a pair of sockets. */
static int filter_self(const int ends[2])
{
	int listener = sys_remote_filter(), ok = 0;

	if (write(ends[1], &listener, sizeof(listener)) != sizeof(listener) || listener < 0 ||
	    read(ends[1], &ok, sizeof(ok)) != sizeof(ok) || !ok)
		return cli_fail(CLI_REFUSED, "system calls cannot be taken over: %s",
				listener < 0 ? strerror(-listener) : "the listener does not arrive");
	close(listener);
	return 0;
}

static void fetch_listener(const int ends[2], pid_t child)
{
	int theirs = -1, ok = 0, pidfd, fd = -1;
	pthread_t thread;

	if (read(ends[0], &theirs, sizeof(theirs)) == sizeof(theirs) && theirs >= 0) {
		pidfd = (int)syscall(SYS_pidfd_open, child, 0);
		fd = (int)syscall(SYS_pidfd_getfd, pidfd, theirs, 0);
		close(pidfd);
	}
	ok = fd >= 0 && !pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd);
	if (ok)
		pthread_detach(thread);
	if (write(ends[0], &ok, sizeof(ok)) != sizeof(ok))
		return; /* the child is gone */
}

/* ---- commands that insist on root ----------------------------------------------------------- */

static bool write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	bool ok = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

	if (fd >= 0)
		close(fd);
	return ok;
}

/*
 * What libc says of the user is ours to say (preload/user.c). A command without libc, in the child, becomes number 0 of
 * a namespace that holds nobody else (user_namespaces(7)).
 */
static int become_root(bool raw)
{
	char uids[48], gids[48];

	if (!geteuid())
		return 0;
	if (!raw)
		return setenv("FERRY_ROOT", "1", 1) ? cli_fail(CLI_REFUSED, "out of memory") : 0;
	snprintf(uids, sizeof(uids), "0 %u 1\n", geteuid());
	snprintf(gids, sizeof(gids), "0 %u 1\n", getegid());
	if (unshare(CLONE_NEWUSER) || !write_file("/proc/self/setgroups", "deny") ||
	    !write_file("/proc/self/uid_map", uids) || !write_file("/proc/self/gid_map", gids))
		return cli_fail(CLI_REFUSED, "--root: no user namespace can be made here: %s",
				strerror(errno));
	return 0;
}

/* ---- the parent ----------------------------------------------------------------------------- */

/* Signals meant for the command reach it; those of the terminal it gets by itself. */
static void forward(int sigfd, pid_t child)
{
	struct signalfd_siginfo si;

	while (read(sigfd, &si, sizeof(si)) == sizeof(si))
		if (si.ssi_signo == SIGTERM || si.ssi_signo == SIGHUP)
			kill(child, si.ssi_signo);
}

/* `b`: the broker that this process is meanwhile, or NULL. */
static int wait_for(struct broker *b, pid_t child, const sigset_t *set)
{
	int sigfd = signalfd(-1, set, SFD_CLOEXEC | SFD_NONBLOCK), status = 0;
	struct pollfd p = { .fd = sigfd, .events = POLLIN };

	if (sigfd < 0)
		return cli_fail(CLI_REFUSED, "signalfd: %s", strerror(errno));
	for (;;) {
		if (b)
			broker_run(b, sigfd);
		else
			poll(&p, 1, -1);
		forward(sigfd, child);
		if (waitpid(child, &status, WNOHANG) == child)
			break;
	}
	close(sigfd);
	return exit_code(status);
}

/* The child runs the command, this process waits and answers for it. */
static int run_child(char **argv, struct broker *b, bool raw, bool root)
{
	sigset_t set, old;
	int code, ends[2];
	pid_t child;

	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGQUIT);
	sigprocmask(SIG_BLOCK, &set, &old);
	if (raw && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends))
		raw = false;
	child = fork();
	if (!child) {
		sigprocmask(SIG_SETMASK, &old, NULL);
		if (root && (code = become_root(raw)))
			_exit(code);
		if (raw && (code = filter_self(ends)))
			_exit(code);
		_exit(run_command(argv));
	}
	if (raw && child > 0)
		fetch_listener(ends, child);
	return child < 0 ? cli_fail(CLI_REFUSED, "fork: %s", strerror(errno)) : wait_for(b, child, &set);
}

/* A session of the command's own: this process is its broker. */
static int run_private(char **argv, bool raw, bool root)
{
	char dir[SESSION_DIR_MAX];
	struct broker *b = NULL;
	int err = sys_session_make(dir), code;

	if (err)
		return cli_fail(CLI_REFUSED, "cannot make the session's directory: %s", strerror(-err));
	err = broker_new(dir, false, &b);
	if (err) {
		code = cli_fail(CLI_REFUSED, "cannot keep the session in %s: %s", dir, strerror(-err));
	} else {
		sys_session_enter(dir);
		code = run_child(argv, b, raw, root);
		broker_free(b);
	}
	sys_session_remove(dir);
	return code;
}

/* The user's: its broker is another process, so that this one can become the command. */
static int run_shared(char **argv, bool raw, bool root)
{
	char dir[SESSION_DIR_MAX];
	int err = broker_session(dir);

	if (err)
		return cli_no_session(dir, err);
	sys_session_enter(dir);
	if (raw)
		return run_child(argv, NULL, raw, root);
	err = root ? become_root(raw) : 0;
	return err ? err : run_command(argv);
}

/* ---- the verb ------------------------------------------------------------------------------- */

static int exec_main(int argc, char **argv)
{
	static const struct option options[] = { { "preload", required_argument, NULL, 'p' },
						 { "raw", no_argument, NULL, 'r' },
						 { "root", no_argument, NULL, '0' },
						 { "private", no_argument, NULL, 'P' },
						 { NULL, 0, NULL, 0 } };
	char lib[PATH_MAX] = "";
	struct stat st;
	const char *session;
	bool raw = false, root = false, private = false;
	int c;

	while ((c = getopt_long(argc, argv, "+", options, NULL)) >= 0) {
		if (c == 'r') {
			raw = true;
			continue;
		}
		if (c == '0') {
			root = true;
			continue;
		}
		if (c == 'P') {
			private = true;
			continue;
		}
		if (c != 'p')
			return cli_bad_option(&cli_exec, argv);
		if (!realpath(optarg, lib))
			return cli_fail(CLI_INPUT, "%s: %s", optarg, strerror(errno));
	}
	if (optind == argc)
		return cli_usage(&cli_exec, "expected a command");
	if (!lib[0] && !cli_find_library(lib))
		return cli_fail(CLI_INPUT, "libferry-preload.so is neither beside this command nor in "
					   "%s; --preload names another", FERRY_LIBDIR);
	if (set_preload(lib))
		return cli_fail(CLI_REFUSED, "out of memory");
	unsetenv("FERRY");
	session = getenv("FERRY_SESSION");
	if (!private && session && !stat(session, &st)) { /* started by one that is kept already */
		c = root ? become_root(raw) : 0;
		return c ? c : run_command(argv + optind);
	}
	raw |= is_static(argv[optind]);
	return (private ? run_private : run_shared)(argv + optind, raw, root);
}

const struct cli_verb cli_exec = { "exec", "run a command whose bpf(2) Ferry answers", exec_main, help };
