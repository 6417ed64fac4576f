// SPDX-License-Identifier: MIT
// Writes down what processes of a command do, process by process: loader OBJECT COMMAND...
// Numbers of processes are told by when they came, so that two runs can be compared.
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "life.h"

#define MAX 4000
#define ENDS 30 /* that there are to be (life.expected): each is told of by two programs */

static struct life seen[MAX];
static int nseen, tids[MAX], ntids;
static const char *const names[] = { "exec", "fork", "new", "exit", "raw_exec", "raw_fork", "raw_new", "raw_exit",
				     "execve_done" };

static int keep(void *ctx, void *data, size_t size)
{
	(void)ctx;
	if (size >= sizeof(seen[0]) && nseen < MAX)
		seen[nseen++] = *(struct life *)data;
	return 0;
}

/* 1: the loader. 0: none of ours. */
static int known(int tid)
{
	int i;

	for (i = 0; i < ntids && tids[i] != tid; i++)
		;
	return i < ntids ? i + 1 : 0;
}

static void learn(const struct life *l)
{
	if ((l->what == FORK || l->what == RAW_FORK || l->what == NEW || l->what == RAW_NEW) && known(l->tid) &&
	    !known(l->b) && ntids < MAX)
		tids[ntids++] = l->b;
}

static void show(const struct life *l)
{
	printf("%s in %d/%d of %d '%s'", names[l->what], known(l->tid), known(l->pid), known(l->ppid), l->comm);
	switch (l->what) {
	case EXEC:
	case RAW_EXEC: printf(" %d %d %s %llu", known(l->a), known(l->b), l->name, l->flags); break;
	case EXECVE_DONE: break;
	case EXIT: printf(" code %#x prio %d own %llu '%s'", l->a, l->b, l->flags, l->name); break;
	case RAW_EXIT: printf(" code %#x '%s'", l->a, l->name); break;
	default: printf(" %d to %d '%s' %#llx", known(l->a), known(l->b), l->name, l->flags);
	}
	printf("%s\n", l->age > 20000000000ull ? " of a strange age" : "");
}

static int count_ends(void)
{
	int i, n = 0;

	for (i = 0; i < nseen; i++)
		learn(&seen[i]);
	for (i = 0; i < nseen; i++)
		n += (seen[i].what == EXIT || seen[i].what == RAW_EXIT) && known(seen[i].tid);
	return n;
}

int main(int argc, char **argv)
{
	struct bpf_object *obj = argc > 2 ? bpf_object__open_file(argv[1], NULL) : NULL;
	const char *only = getenv("LIFE_ONLY");
	struct ring_buffer *rb;
	struct bpf_program *p;
	int status, i, t, ends;
	pid_t pid;

	if (!obj || bpf_object__load(obj))
		return 1;
	rb = ring_buffer__new(bpf_object__find_map_fd_by_name(obj, "rb"), keep, NULL, NULL);
	bpf_object__for_each_program(p, obj)
		if ((!only || strstr(only, bpf_program__name(p))) && !bpf_program__attach(p)) {
			fprintf(stderr, "%s: %s\n", bpf_program__name(p), strerror(errno));
			return 1;
		}
	tids[ntids++] = getpid();
	pid = fork();
	if (!pid) {
		execv(argv[2], argv + 2);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	/* Ends that others tell of come when they come; then a moment for what would be one too many. */
	for (i = 0; i < 3000 && count_ends() < ENDS; i++) {
		usleep(10000);
		ring_buffer__consume(rb);
	}
	usleep(300000);
	ring_buffer__consume(rb);
	count_ends();
	for (t = 2, ends = 0; t <= ntids; t++)
		for (i = 0; i < nseen; i++)
			if (known(seen[i].tid) == t || (t == 2 && known(seen[i].tid) == 1)) {
				ends += seen[i].what == EXIT;
				show(&seen[i]);
			}
	printf("status %#x ends %d\n", status, ends);
	return 0;
}
