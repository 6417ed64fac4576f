/* SPDX-License-Identifier: MIT */
/* Directories of sessions that others prepared, and files in them that are not what they were. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

#include "bpf/session/session.h"
#include "bpf/sys.h"

static char base[64];

static int setup(void **state)
{
	(void)state;
	strcpy(base, "/tmp/ferry-test-XXXXXX");
	return mkdtemp(base) ? setenv("XDG_RUNTIME_DIR", base, 1) : -1;
}

static int teardown(void **state)
{
	(void)state;
	sys_session_remove(base);
	return 0;
}

static const char *below(const char *name)
{
	static char path[4][512];
	static int n;

	snprintf(path[n %= 4], sizeof(path[0]), "%s/%s", base, name);
	return path[n++];
}

static u32 entries(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return (u32)st.st_nlink; /* of a directory: two, and its directories */
}

/* Somebody's link that leads to a private directory of ours is not followed, and nothing made there. */
static void a_link_is_no_session(void **state)
{
	char dir[SESSION_DIR_MAX], name[64], made[SESSION_DIR_MAX];

	(void)state;
	snprintf(name, sizeof(name), "ferry-%u", geteuid());
	assert_int_equal(mkdir(below("private"), 0700), 0);
	assert_int_equal(symlink(below("private"), below(name)), 0);
	assert_int_equal(sys_session_user(dir), -EPERM);
	assert_int_equal(entries(below("private")), 2);
	assert_int_equal(unlink(below(name)), 0);
	assert_int_equal(symlink(below("nowhere"), below(name)), 0); /* one that dangles */
	assert_int_equal(sys_session_user(dir), -EPERM);
	assert_int_equal(access(below("nowhere"), F_OK), -1);
	assert_int_equal(unlink(below(name)), 0);
	assert_int_equal(sys_session_user(dir), 0);
	assert_string_equal(dir, below(name));
	/* Nor is a link to a true one, for who is told where it is. */
	assert_int_equal(sys_session_make(made), 0);
	assert_int_equal(symlink(made, below("link")), 0);
	assert_int_equal(sys_session_join(below("link")), -EACCES);
	setenv("FERRY_SESSION", below("link"), 1);
	sys_session_enter(below("link"));
	assert_false(sys_session_joined());
	sys_session_enter(made);
	assert_true(sys_session_joined());
	sys_session_join(NULL);
}

/* Where others may rename what is ours they could put something else in its place. */
static void a_folder_of_others_is_not_used(void **state)
{
	char dir[SESSION_DIR_MAX];

	(void)state;
	assert_int_equal(mkdir(below("open"), 0700), 0);
	assert_int_equal(chmod(below("open"), 0777), 0);
	setenv("XDG_RUNTIME_DIR", below("open"), 1);
	setenv("TMPDIR", base, 1);
	assert_int_equal(sys_session_make(dir), 0);
	assert_memory_equal(dir, base, strlen(base));
	assert_int_equal(entries(below("open")), 2);
	assert_int_equal(chmod(below("open"), 01777), 0); /* as /tmp */
	assert_int_equal(sys_session_make(dir), 0);
	assert_memory_equal(dir, below("open"), strlen(below("open")));
	unsetenv("TMPDIR");
}

static int make_map(u32 *id)
{
	union bpf_attr attr = { .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = 8, .max_entries = 1 };
	struct bpf_map_info info = { 0 };
	int fd = (int)sys_bpf(BPF_MAP_CREATE, &attr, sizeof(attr));

	if (fd < 0)
		return fd;
	memset(&attr, 0, sizeof(attr));
	attr.info.bpf_fd = (u32)fd;
	attr.info.info_len = sizeof(info);
	attr.info.info = (uintptr_t)&info;
	assert_int_equal(sys_bpf(BPF_OBJ_GET_INFO_BY_FD, &attr, sizeof(attr)), 0);
	*id = info.id;
	return fd;
}

/* Cut, locked, filled with noise, replaced by a pipe, removed: maps are made all the same. */
static void numbers_of_objects_do_not_depend_on_their_file(void **state)
{
	char dir[SESSION_DIR_MAX], ids[SESSION_DIR_MAX + 8];
	u32 first = 0, id = 0;
	int i, fd, maps[200];
	pid_t pid;

	(void)state;
	assert_int_equal(sys_session_make(dir), 0);
	snprintf(ids, sizeof(ids), "%s/ids", dir);
	sys_session_enter(dir);
	assert_true(make_map(&first) >= 0);
	assert_true(make_map(&id) >= 0);
	assert_int_equal(id, first + 1);
	pid = fork();
	if (!pid)
		for (i = 0;; i++) {
			fd = open(ids, O_RDWR);
			if (i % 5 == 0)
				truncate(ids, 0);
			else if (fd >= 0 && i % 5 == 1 && write(fd, "\xff\xff\xff\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 12) < 0)
				_exit(1);
			close(fd);
		}
	for (i = 0; i < 200; i++) {
		maps[i] = make_map(&id);
		assert_true(maps[i] >= 0 && id && id <= INT32_MAX);
	}
	for (i = 0; i < 200; i++)
		close(maps[i]);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(unlink(ids), 0);
	assert_int_equal(mkfifo(ids, 0600), 0);
	assert_true(make_map(&id) >= 0);
	assert_int_equal(unlink(ids), 0);
	assert_true(make_map(&id) >= 0);
	sys_session_join(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_link_is_no_session, setup, teardown),
		cmocka_unit_test_setup_teardown(a_folder_of_others_is_not_used, setup, teardown),
		cmocka_unit_test_setup_teardown(numbers_of_objects_do_not_depend_on_their_file, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
