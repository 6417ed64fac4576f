/* SPDX-License-Identifier: MIT */
/* How long objects live: by descriptor and its duplicates, program, link, other maps; over fork and exec. */
#include <fcntl.h>
#include <sys/wait.h>

#include "descriptors.h"

static void duplicates(void)
{
	int fd = make_map(BPF_MAP_TYPE_HASH, 4, 8, 4, 0), null = open("/dev/null", O_RDONLY), more[5];
	uint32_t id = id_of(fd);
	uint64_t v;
	int i;

	say("F_GETFD", fcntl(fd, F_GETFD));
	say("F_GETFL, access", fcntl(fd, F_GETFL) & O_ACCMODE);
	more[0] = dup(fd);
	more[1] = fcntl(fd, F_DUPFD, 50);
	more[2] = fcntl(fd, F_DUPFD_CLOEXEC, 60);
	more[3] = dup2(fd, 70);
	more[4] = dup3(fd, 71, O_CLOEXEC);
	for (i = 0; i < 5; i++)
		say("duplicate's F_GETFD", fcntl(more[i], F_GETFD));
	update(more[0], 1, 10);
	close(fd);
	for (i = 0; i < 5; i++) {
		say("duplicate, look-up", lookup(more[i], 1, &v));
		say("there", exists(MAP, id));
		if (i == 1)
			dup2(null, more[i]);
		if (i == 2)
			dup3(null, more[i], 0);
		close(more[i]);
	}
	say("the last is closed", exists(MAP, id));
	say("closed", lookup(more[0], 1, &v));
	say("of another kind", lookup(null, 1, &v));
	fd = make_map(BPF_MAP_TYPE_HASH, 4, 8, 4, 0);
	id = id_of(fd);
	say("dup2 to itself", dup2(fd, fd) == fd && exists(MAP, id));
	errno = 0;
	say("dup3 to itself", dup3(fd, fd, 0) < 0 ? -errno : 0);
	dup2(null, fd);
	say("dup2 over the last", exists(MAP, id));
	close(fd);
	fd = make_map(BPF_MAP_TYPE_HASH, 4, 8, 4, 0);
	id = id_of(fd);
	close_range((unsigned)fd, (unsigned)fd, 0);
	say("close_range over the last", exists(MAP, id));
	fd = make_map(BPF_MAP_TYPE_HASH, 4, 8, 4, 0);
	fcntl(fd, F_SETFD, 0);
	close_range((unsigned)fd, (unsigned)fd, CLOSE_RANGE_CLOEXEC);
	say("CLOSE_RANGE_CLOEXEC", fcntl(fd, F_GETFD));
	close(fd);
	close(null);
}

static void references(void)
{
	int map = make_map(BPF_MAP_TYPE_ARRAY, 4, 8, 4, 0), array = make_map(BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 4, 0), prog, link;
	uint32_t id = id_of(map), prog_id, link_id, inner_id, fd;
	struct bpf_insn insns[] = { MAP_FD(1, map), MOV(0, 2), EXIT() };
	union bpf_attr a = { 0 };

	prog = load(BPF_PROG_TYPE_XDP, insns, 4);
	prog_id = id_of(prog);
	close(map);
	say("a program has its map", exists(MAP, id));
	update(array, 0, (uint32_t)prog);
	close(prog);
	say("an array has its program", exists(PROG, prog_id));
	close(array);
	usleep(100000); /* the kernel frees behind a grace period */
	say("nobody has the program", exists(PROG, prog_id));
	say("nobody has the map", exists(MAP, id));

	map = make_map(BPF_MAP_TYPE_ARRAY, 4, 8, 4, 0);
	inner_id = id_of(map);
	a.map_type = BPF_MAP_TYPE_ARRAY_OF_MAPS;
	a.key_size = a.value_size = 4;
	a.max_entries = 1;
	a.inner_map_fd = (uint32_t)map;
	array = (int)bpf(BPF_MAP_CREATE, &a);
	fd = (uint32_t)map;
	memset(&a, 0, sizeof(a));
	a.map_fd = (uint32_t)array;
	a.key = PTR(&(uint32_t){ 0 });
	a.value = PTR(&fd);
	say("inner map", bpf(BPF_MAP_UPDATE_ELEM, &a));
	close(map);
	say("an outer map has it", exists(MAP, inner_id));
	a.value = 0;
	bpf(BPF_MAP_DELETE_ELEM, &a);
	close(array);
	usleep(100000);
	say("the outer map is gone, and", exists(MAP, inner_id));

	link = make_link(&prog);
	say("link", link < 0 ? link : 0);
	prog_id = id_of(prog);
	link_id = id_of(link);
	close(prog);
	say("a link has its program", exists(PROG, prog_id));
	close(link);
	usleep(100000);
	say("nobody has the link", exists(LINK, link_id));
	say("nor its program", exists(PROG, prog_id));
}

static void say_status(const char *what, pid_t pid)
{
	int status = 0;

	waitpid(pid, &status, 0);
	say(what, status);
}

static pid_t start(int fd, int flag, char **argv)
{
	pid_t pid;

	fcntl(fd, F_SETFD, flag);
	pid = fork();
	if (!pid) {
		execv("/proc/self/exe", argv);
		_exit(9);
	}
	return pid;
}

static void processes(char **argv_of_use)
{
	int fd = make_map(BPF_MAP_TYPE_HASH, 4, 8, 4, 0), mine;
	uint32_t id = id_of(fd);
	uint64_t v = 0;
	char number[16];
	pid_t pid;

	update(fd, 1, 41);
	pid = fork();
	if (!pid) {
		mine = make_map(BPF_MAP_TYPE_HASH, 4, 8, 4, 0);
		_exit(mine < 0 || lookup(fd, 1, &v) || v != 41 || update(fd, 1, 42) || close(fd) || exists(MAP, id) != 1);
	}
	say_status("child of fork", pid);
	say("look-up", lookup(fd, 1, &v));
	say("the child's value", (long)v);
	pid = vfork();
	if (!pid) {
		close(fd);
		_exit(0);
	}
	say_status("child of vfork", pid);
	say("open here", lookup(fd, 1, &v));
	snprintf(number, sizeof(number), "%d", fd);
	argv_of_use[2] = number;
	fflush(stdout);
	say_status("exec without it", start(fd, FD_CLOEXEC, argv_of_use));
	say_status("exec with it", start(fd, 0, argv_of_use));
	close(fd);
	say("closed by all", exists(MAP, id));
}

void lifetimes(void)
{
	char *use[] = { "descriptors", "use", NULL, NULL };

	duplicates();
	references();
	processes(use);
}
