// SPDX-License-Identifier: MIT
// Many short processes, each of whose ends is told once and with its code: ends OBJECT COUNT. TAP.
#include <bpf/libbpf.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "life.h"

#define MAX 5000

/* What waitpid(2) said of a child is the oracle. */
struct child {
	pid_t pid;
	int status;
	int told[2]; /* as tracepoint, as raw tracepoint */
	int wrong;   /* with another code */
};
static struct child children[MAX];
static int nchildren, threads; /* threads: ends of such, of which the children have none */

static int keep(void *ctx, void *data, size_t size)
{
	const struct life *l = data;
	int i;

	if (size < sizeof(*l) || l->ppid != *(pid_t *)ctx)
		return 0; /* numbers are used again */
	threads += l->tid != l->pid;
	for (i = 0; i < nchildren; i++)
		if (children[i].pid == l->pid && l->tid == l->pid) {
			children[i].told[l->what == RAW_EXIT]++;
			children[i].wrong += l->a != children[i].status;
		}
	return 0;
}

/* In the runner, which is a member of its own: a child that ends in the i-th way. */
static pid_t begin(int i)
{
	const volatile int code = i % 100; /* children of vfork() have this frame */
	char text[16];
	pid_t pid;

	switch (i % 6) {
	case 0: /* as soon as it can */
		pid = fork();
		if (!pid)
			_exit(code);
		break;
	case 1:
		pid = vfork();
		if (!pid)
			_exit(code);
		break;
	case 2:
		pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
		if (!pid)
			syscall(SYS_exit_group, code);
		break;
	case 3: /* it cannot tell of that itself */
		pid = fork();
		if (!pid)
			kill(getpid(), SIGKILL);
		break;
	case 4: /* another program, that ends as soon as it begins */
		snprintf(text, sizeof(text), "-%d", code);
		pid = fork();
		if (!pid) {
			execl("/proc/self/exe", "life_ends", text, NULL);
			_exit(127);
		}
		break;
	default:
		pid = fork();
		if (!pid)
			exit(code);
	}
	return pid;
}

/* Several at a time. */
static int run(int n, int out)
{
	struct child c = { 0 };
	int i, running = 0;

	for (i = 0; i < n || running;) {
		if (i < n && running < 4) {
			if (begin(i++) < 0)
				return 1;
			running++;
			continue;
		}
		c.pid = waitpid(-1, &c.status, 0);
		if (c.pid < 0 || write(out, &c, sizeof(c)) != sizeof(c))
			return 1;
		running--;
	}
	return 0;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int untold(void)
{
	int i, n = 0;

	for (i = 0; i < nchildren; i++)
		n += !children[i].told[0] || !children[i].told[1];
	return n;
}

static int check(const char *name, int nth, int bad)
{
	printf("%sok %d - %s\n", bad ? "not " : "", nth, name);
	return bad;
}

int main(int argc, char **argv)
{
	struct bpf_object *obj = argc > 2 ? bpf_object__open_file(argv[1], NULL) : NULL;
	int ends[2], status = 0, i, missed = 0, twice = 0, wrong = 0;
	struct ring_buffer *rb;
	struct bpf_program *p;
	double end;
	pid_t pid;

	if (argc == 2 && argv[1][0] == '-')
		return atoi(argv[1] + 1);
	if (argc == 2)
		return run(atoi(argv[1]), STDOUT_FILENO);
	if (!obj || bpf_object__load(obj) || pipe(ends))
		return 1;
	rb = ring_buffer__new(bpf_object__find_map_fd_by_name(obj, "rb"), keep, &pid, NULL);
	bpf_object__for_each_program(p, obj)
		if (strstr("on_exit on_raw_exit", bpf_program__name(p)) && !bpf_program__attach(p))
			return 1;
	pid = fork();
	if (!pid) {
		dup2(ends[1], STDOUT_FILENO);
		close(ends[0]);
		close(ends[1]);
		execl("/proc/self/exe", argv[0], argv[2], NULL);
		_exit(127);
	}
	close(ends[1]);
	while (nchildren < MAX && read(ends[0], &children[nchildren], sizeof(*children)) == sizeof(*children))
		nchildren++;
	waitpid(pid, &status, 0);
	for (end = now() + 30; now() < end; usleep(1000)) {
		ring_buffer__consume(rb);
		if (!untold() && end > now() + 0.5)
			end = now() + 0.5; /* for what is one too many */
	}
	for (i = 0; i < nchildren; i++) {
		const struct child *c = &children[i];

		missed += !c->told[0] || !c->told[1];
		twice += c->told[0] > 1 || c->told[1] > 1;
		wrong += c->wrong;
		if (c->told[0] != 1 || c->told[1] != 1 || c->wrong)
			printf("# %d of status %#x: told %d, raw %d, wrong %d\n", c->pid, c->status, c->told[0], c->told[1],
			       c->wrong);
	}
	printf("1..4\n");
	i = check("all_processes_ran", 1, status || nchildren != atoi(argv[2]));
	i |= check("each_end_is_told_once", 2, missed || twice);
	i |= check("each_end_has_its_code", 3, wrong);
	i |= check("no_thread_of_theirs_ends", 4, threads);
	return i;
}
