/* SPDX-License-Identifier: MIT */
/*
 * A client made of a skeleton: attaches all that attaches by itself, reads samples as they come, and writes counts where
 * stdin asks for them ("count PID").
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "across.skel.h"

struct command {
	unsigned int pid, uid;
	char comm[16], path[32];
};

static void command(void *ctx, int cpu, void *data, __u32 size)
{
	const struct command *c = data;

	(void)ctx;
	(void)cpu;
	if (size >= sizeof(*c))
		printf("ran %u %u %.16s %.32s\n", c->pid, c->uid, c->comm, c->path);
}

static unsigned long long at(const struct bpf_map *m, unsigned int pid)
{
	unsigned long long n = 0;

	bpf_map__lookup_elem(m, &pid, sizeof(pid), &n, sizeof(n), 0);
	return n;
}

int main(void)
{
	struct across *s = across__open_and_load();
	struct perf_buffer *pb;
	struct pollfd in = { .fd = 0, .events = POLLIN };
	unsigned int pid;
	char line[64];
	int err;

	if (!s)
		return 1;
	pb = perf_buffer__new(bpf_map__fd(s->maps.samples), 16, command, NULL, NULL, NULL);
	err = across__attach(s);
	printf("attached %d %d\n", err, pb != NULL);
	fflush(stdout);
	while (pb && poll(&in, 1, 0) >= 0) {
		perf_buffer__poll(pb, 20);
		if (in.revents && (!fgets(line, sizeof(line), stdin) || sscanf(line, "count %u", &pid) != 1))
			break;
		if (in.revents)
			printf("count %llu %llu %llu\n", at(s->maps.execs, pid), at(s->maps.asked, pid),
			       at(s->maps.entered, pid));
		fflush(stdout);
	}
	perf_buffer__free(pb);
	across__destroy(s);
	return 0;
}
