/* SPDX-License-Identifier: MIT */
/* What a broker does with whatever its user's processes say: messages right, wrong and random. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test.h"

#include "bpf/session/session.h"
#include "bpf/session/share.h"
#include "broker/broker.h"
#include "broker/wire.h"
#include "broker_test.h"

static struct wire_msg m;

static int memfd(const char *text)
{
	int fd = memfd_create("object", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	return fd;
}

static u64 inode(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_ino;
}

static void fresh(u32 op)
{
	memset(&m, 0, sizeof(m));
	m.op = op;
}

static int send_fds(int sock, const int *fd, u32 n)
{
	struct wire_fds fds = { .n = n };

	if (n)
		memcpy(fds.fd, fd, n * sizeof(*fd));
	return wire_send(sock, &m, &fds, 0);
}

/* The answer to `m`: 0 or its error; its descriptors in `got`. */
static int ask(const int *fd, u32 n, struct wire_fds *got)
{
	int sock = wire_connect(dir), err;

	assert_true(sock >= 0);
	err = send_fds(sock, fd, n);
	if (!err)
		err = wire_recv(sock, &m, got, 0);
	close(sock);
	return err ? err : m.err;
}

/* A member: its connection, and its token. */
static int join(u64 *token)
{
	int sock = wire_connect(dir);
	struct wire_fds fds;

	assert_true(sock >= 0);
	fresh(WIRE_HELLO);
	m.kind = WIRE_VERSION;
	wire_add_string(&m, "test");
	wire_add_string(&m, "/bin/test");
	assert_int_equal(wire_send(sock, &m, NULL, 0), 0);
	assert_int_equal(wire_recv(sock, &m, &fds, 0), 0);
	assert_int_equal(m.op, WIRE_WELCOME);
	*token = m.token;
	return sock;
}

/* The next message of an attachment, or 0 after a while. */
static u32 next_op(int sock, struct wire_fds *fds)
{
	struct timeval t = { .tv_usec = 300000 };

	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	do {
		fds->n = 0;
		if (wire_recv(sock, &m, fds, 0))
			return 0;
	} while (m.op == WIRE_READY || m.op == WIRE_LOOK || m.op == WIRE_SYNC);
	return m.op;
}

static void publish(int sock, u32 kind, u32 id, int fd)
{
	fresh(WIRE_PUBLISH);
	m.nitems = 1;
	m.item[0] = (struct wire_item){ kind, id, 0 };
	assert_int_equal(send_fds(sock, &fd, 1), 0);
}

/* The inode of the object with this number, 0 without. */
static u64 by_id(u32 kind, u32 id)
{
	struct wire_fds got;
	u64 ino = 0;

	fresh(WIRE_BY_ID);
	m.kind = kind;
	m.id = id;
	if (!ask(NULL, 0, &got)) {
		assert_true(got.n >= 1);
		ino = inode(got.fd[0]);
		wire_close(&got);
	}
	return ino;
}

static int attach(u64 token, u64 id, s32 pid, int prog)
{
	struct wire_fds got;
	int err;

	fresh(WIRE_ATTACH);
	m.token = token;
	m.attach = id;
	m.kind = SYS_ATTACH_UPROBE;
	m.id = 1; /* without waiting */
	m.what.pid = pid;
	wire_add_string(&m, "/bin/true");
	m.nitems = 1;
	m.item[0] = (struct wire_item){ SYS_PROG, 900, 0 };
	err = ask(&prog, 1, &got);
	if (!err)
		wire_close(&got);
	return err;
}

static int detach(u64 token, u64 id)
{
	struct wire_fds got = { 0 };
	int err;

	fresh(WIRE_DETACH);
	m.token = token;
	m.attach = id;
	err = ask(NULL, 0, &got);
	wire_close(&got);
	return err;
}

/* What a member says to each INSTALL. */
static void report(int sock, u64 id)
{
	fresh(WIRE_REPORT);
	m.attach = id;
	wire_add_string(&m, "");
	assert_int_equal(wire_send(sock, &m, NULL, 0), 0);
}

static void objects_are_found_until_their_last_publisher_has_gone(void **state)
{
	int map = memfd("map"), sock, again;
	struct wire_fds got;
	u64 token;

	(void)state;
	sock = join(&token);
	publish(sock, SYS_MAP, 7, map);
	assert_int_equal(by_id(SYS_MAP, 7), inode(map));
	assert_int_equal(by_id(SYS_PROG, 7), 0);
	fresh(WIRE_NEXT_ID);
	m.kind = SYS_MAP;
	assert_int_equal(ask(NULL, 0, &got), 0);
	assert_int_equal(m.id, 7);
	/* Two have it: it is there until both have gone. */
	again = join(&token);
	publish(again, SYS_MAP, 7, map);
	close(sock);
	assert_int_equal(by_id(SYS_MAP, 7), inode(map));
	close(again);
	for (int i = 0; i < 1000 && by_id(SYS_MAP, 7); i++)
		usleep(5000);
	assert_int_equal(by_id(SYS_MAP, 7), 0);
	close(map);
}

static void attachments_reach_members_and_end_with_their_owner(void **state)
{
	int prog = memfd("prog"), loader, target, later;
	struct wire_fds fds;
	u64 mine, other;

	(void)state;
	loader = join(&mine);
	target = join(&other);
	assert_int_equal(attach(mine, 0x1234, -1, prog), 0);
	assert_int_equal(next_op(target, &fds), WIRE_INSTALL);
	assert_int_equal(m.attach, 0x1234);
	assert_string_equal(wire_string(&m, 0), "/bin/true");
	assert_int_equal(fds.n, 1);
	assert_int_equal(inode(fds.fd[0]), inode(prog));
	wire_close(&fds);
	later = join(&other);
	assert_int_equal(next_op(later, &fds), WIRE_INSTALL);
	wire_close(&fds);
	assert_int_equal(next_op(loader, &fds), 0); /* it does that by itself */
	close(loader);
	assert_int_equal(next_op(target, &fds), WIRE_REMOVE);
	assert_int_equal(m.attach, 0x1234);
	assert_int_equal(next_op(later, &fds), WIRE_REMOVE);
	close(target);
	close(later);
	close(prog);
}

/* What belongs to another member is not to be had, renumbered, detached or dropped. */
static void what_is_anothers_stays_as_it_is(void **state)
{
	int map = memfd("map"), fake = memfd("fake"), prog = memfd("prog"), victim, thief, target;
	struct wire_fds fds;
	struct stat st;
	u64 mine, theirs, other;

	(void)state;
	victim = join(&mine);
	target = join(&other);
	thief = join(&theirs);
	publish(victim, SYS_MAP, 50, map);
	assert_int_equal(attach(mine, 0x77, -1, prog), 0);
	assert_int_equal(next_op(target, &fds), WIRE_INSTALL);
	wire_close(&fds);
	assert_int_equal(by_id(SYS_MAP, 50), inode(map));
	publish(thief, SYS_MAP, 50, fake); /* a number that is taken */
	assert_int_equal(by_id(SYS_MAP, 50), inode(map));
	publish(thief, SYS_PROG, 51, map); /* another kind of the same file */
	assert_int_equal(by_id(SYS_PROG, 51), 0);
	fstat(map, &st);
	fresh(WIRE_DROP);
	m.dev = st.st_dev;
	m.ino = st.st_ino;
	assert_int_equal(wire_send(thief, &m, NULL, 0), 0);
	assert_int_equal(by_id(SYS_MAP, 50), inode(map));
	assert_int_equal(detach(theirs, 0x77), -ENOENT);
	assert_int_equal(detach(0, 0x77), -EPERM);
	assert_int_equal(detach(mine ^ 2, 0x77), -EPERM);
	assert_int_equal(attach(theirs, 0x77, -1, fake), -EINVAL);
	assert_int_equal(attach(mine ^ 2, 0x78, -1, fake), -EPERM);
	assert_int_equal(next_op(target, &fds), 0);
	assert_int_equal(detach(mine, 0x77), 0);
	assert_int_equal(next_op(target, &fds), WIRE_REMOVE);
	close(victim);
	close(target);
	close(thief);
	close(map);
	close(fake);
	close(prog);
}

/* What is no memfd is not kept: opening it could block, and its size change. */
static void files_that_are_no_memfds_are_not_kept(void **state)
{
	int fds[] = { open("/dev/zero", O_RDWR), open(dir, O_RDONLY | O_DIRECTORY), eventfd(0, 0),
		      open("/proc/self/exe", O_RDONLY) };
	int sock;
	u64 token;
	size_t i;

	(void)state;
	sock = join(&token);
	for (i = 0; i < ARRAY_SIZE(fds); i++) {
		publish(sock, SYS_MAP, 60 + i, fds[i]);
		assert_int_equal(by_id(SYS_MAP, 60 + i), 0);
		close(fds[i]);
	}
	close(sock);
}

static u64 rnd(u64 below)
{
	static u64 x = 88172645463325252ull;

	x ^= x << 13;
	x ^= x >> 7;
	x ^= x << 17;
	return x % below;
}

/* Any op, numbers that mean something and numbers that do not, and bytes that are no message at all. */
static int random_message(int sock, u64 token, const int *some, u32 nsome)
{
	struct wire_fds fds = { 0 };
	u32 i, n;

	fresh((u32)rnd(WIRE_OPS + 2));
	m.err = (s32)rnd(3) - 1;
	m.kind = rnd(2) ? (u32)rnd(10) : (u32)rnd(1ull << 32);
	m.id = rnd(2) ? (u32)rnd(60) : (u32)rnd(1ull << 32);
	m.token = rnd(2) ? token : rnd(~0ull);
	m.attach = rnd(2) ? 0x5555 : rnd(4);
	m.dev = rnd(3);
	m.ino = rnd(100);
	m.what.pid = (s32)rnd(5) - 2;
	n = (u32)rnd(5);
	for (i = 0; i < n; i++)
		m.item[m.nitems++] = (struct wire_item){ (u32)rnd(10), (u32)rnd(60), (u32)rnd(2) };
	for (n = (u32)rnd(8); n; n--)
		fds.fd[fds.n++] = some[rnd(nsome)];
	for (n = (u32)rnd(200); n; n--)
		m.text[m.ntext++] = (char)rnd(256);
	if (!rnd(4)) { /* what it says of its size is not true */
		m.nitems = (u32)rnd(200);
		if (m.nitems > WIRE_ITEMS || rnd(2))
			m.nitems = 0;
		m.ntext = (u32)rnd(WIRE_TEXT);
	}
	if (rnd(8))
		return wire_send(sock, &m, &fds, 0);
	return send(sock, &m, rnd(sizeof(m)), MSG_NOSIGNAL) < 0;
}

static void random_messages_change_nothing_of_others(void **state)
{
	int some[] = { memfd("a"), memfd("b"), memfd("c"), open("/dev/null", O_RDWR), eventfd(0, EFD_NONBLOCK),
		       open("/", O_PATH) };
	int map = memfd("map"), prog = memfd("prog"), loader, target, sock = -1, i, taken = 0;
	struct wire_fds fds;
	u64 mine, other, token = 0;

	(void)state;
	loader = join(&mine);
	target = join(&other);
	publish(loader, SYS_MAP, 1000, map);
	assert_int_equal(attach(mine, 0x5555, -1, prog), 0);
	assert_int_equal(next_op(target, &fds), WIRE_INSTALL);
	wire_close(&fds);
	for (i = 0; i < 20000; i++) {
		if (sock < 0 || !rnd(20)) {
			if (sock >= 0)
				close(sock);
			sock = rnd(2) ? join(&token) : wire_connect(dir);
			assert_true(sock >= 0);
		}
		if (random_message(sock, token, some, ARRAY_SIZE(some))) {
			close(sock);
			sock = -1;
		} else {
			taken++;
		}
	}
	close(sock);
	assert_true(taken > 10000);
	/* It lives, and what is others' is as it was. */
	assert_int_equal(by_id(SYS_MAP, 1000), inode(map));
	while (next_op(target, &fds)) {
		assert_true(m.op == WIRE_INSTALL || m.op == WIRE_REMOVE);
		assert_false(m.op == WIRE_REMOVE && m.attach == 0x5555);
		wire_close(&fds);
	}
	assert_int_equal(detach(mine, 0x5555), 0);
	assert_int_equal(next_op(target, &fds), WIRE_REMOVE);
	assert_int_equal(m.attach, 0x5555);
	close(loader);
	close(target);
	for (i = 0; i < (int)ARRAY_SIZE(some); i++)
		close(some[i]);
	close(map);
	close(prog);
}

/* Who does not read is written to when there is room again, and keeps nobody waiting. */
static void who_does_not_read_hears_everything_later(void **state)
{
	int prog = memfd("prog"), loader, deaf, i, n;
	struct wire_fds fds;
	u64 mine, other;

	(void)state;
	loader = join(&mine);
	deaf = join(&other);
	for (i = 1; i <= 2000; i++)
		assert_int_equal(attach(mine, i, -1, prog), 0);
	for (n = 0; next_op(deaf, &fds) == WIRE_INSTALL; n++) {
		wire_close(&fds);
		report(deaf, m.attach);
	}
	assert_int_equal(n, 2000);
	close(loader);
	for (n = 0; next_op(deaf, &fds) == WIRE_REMOVE; n++)
		;
	assert_int_equal(n, 2000);
	close(deaf);
	close(prog);
}

/* The next message that is not READY within 300 ms: its op, 0 without. */
static u32 next_message(int sock)
{
	struct timeval t = { .tv_usec = 300000 };
	struct wire_fds fds;

	setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	do {
		if (wire_recv(sock, &m, &fds, 0))
			return 0;
		wire_close(&fds);
	} while (m.op == WIRE_READY || m.op == WIRE_LOOK);
	return m.op;
}

static void a_change_is_answered_when_those_who_have_the_map_have_looked(void **state)
{
	int by, has, other, asks = wire_connect(dir);
	u64 token, theirs, number;

	(void)state;
	by = join(&token);
	has = join(&theirs);
	other = join(&theirs);
	fresh(WIRE_HAVE);
	m.dev = 5;
	m.ino = 77;
	assert_int_equal(send_fds(has, NULL, 0), 0);
	fresh(WIRE_CHANGED);
	m.token = token;
	m.kind = 1;
	m.dev = 5;
	m.ino = 77;
	assert_int_equal(send_fds(asks, NULL, 0), 0);
	assert_int_equal(next_message(has), WIRE_SYNC);
	assert_int_equal(m.ino, 77);
	number = m.attach;
	assert_int_equal(next_message(asks), 0);
	assert_int_equal(next_message(other), 0);
	fresh(WIRE_SYNCED);
	m.attach = number;
	assert_int_equal(send_fds(has, NULL, 0), 0);
	assert_int_equal(next_message(asks), WIRE_CHANGED);
	assert_int_equal(m.err, 0);
	close(asks);
	close(by);
	close(has);
	close(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(objects_are_found_until_their_last_publisher_has_gone, setup, teardown),
		cmocka_unit_test_setup_teardown(attachments_reach_members_and_end_with_their_owner, setup, teardown),
		cmocka_unit_test_setup_teardown(what_is_anothers_stays_as_it_is, setup, teardown),
		cmocka_unit_test_setup_teardown(files_that_are_no_memfds_are_not_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(random_messages_change_nothing_of_others, setup, teardown),
		cmocka_unit_test_setup_teardown(who_does_not_read_hears_everything_later, setup, teardown),
		cmocka_unit_test_setup_teardown(a_change_is_answered_when_those_who_have_the_map_have_looked, setup, teardown),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("broker", tests, NULL, NULL);
}
