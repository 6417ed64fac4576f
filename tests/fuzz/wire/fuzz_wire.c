/* SPDX-License-Identifier: MIT */
/*
 * A man in the middle: members talk to their broker through a process that alters what both say, keeps
 * descriptors of what it hands on, and writes into those later. Members and broker live, and the broker
 * answers others at once.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "test.h"

#include "bpf/session/session.h"
#include "bpf/sys.h"
#include "broker/broker.h"
#include "broker/wire.h"
#include "member.h"

#define MEMBERS   3
#define PAIRS     200
#define ANSWER_MS 4000 /* far less on a machine that has nothing else to do */

static u32 seconds = 8;
static u64 seed = 1, state;

/* Shared by all processes here. */
static struct shared {
	_Atomic bool stop;
	_Atomic u64 messages, altered;
	struct member_counts member[MEMBERS];
} *shared;

static u64 rnd(u64 below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % below;
}

static u64 now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000 + (u64)t.tv_nsec / 1000000;
}

/* Numbers that are likely to hurt. */
static u64 number(void)
{
	switch (rnd(6)) {
	case 0: return 0;
	case 1: return ~0ull >> rnd(64);
	case 2: return rnd(300);
	case 3: return 1ull << rnd(64);
	case 4: return -rnd(300);
	default: return state;
	}
}

/* ---- descriptors ---------------------------------------------------------------------------- */

static int kept[64]; /* what went by */

static void keep(int fd)
{
	int *at = &kept[rnd(ARRAY_SIZE(kept))];

	if (*at > 0)
		close(*at);
	*at = dup(fd);
}

/* Pages of maps, programs: whatever the seals allow. */
static void write_into_kept(void)
{
	int fd = kept[rnd(ARRAY_SIZE(kept))];
	struct stat st;
	u64 word;
	int n;

	if (fd <= 0 || fstat(fd, &st))
		return;
	for (n = (int)rnd(20); n; n--) {
		word = number();
		if (st.st_size && pwrite(fd, &word, 1 + rnd(8), (off_t)(rnd(4) ? rnd((u64)st.st_size) : (u64)st.st_size - 4096 + rnd(512))) < 0)
			break;
	}
	if (!rnd(8))
		(void)!ftruncate(fd, (off_t)rnd((u64)st.st_size + 8192));
}

/* The same but for some bytes; sealed as it was, or not. */
static int altered_copy(int fd)
{
	static u8 data[1 << 20];
	int copy, seals = fcntl(fd, F_GET_SEALS);
	struct stat st;
	ssize_t n;
	u64 word, i;

	if (seals < 0 || fstat(fd, &st))
		return -1;
	n = pread(fd, data, sizeof(data), 0);
	copy = memfd_create("altered", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (n <= 0 || copy < 0)
		return copy;
	for (i = 1 + rnd(8); i; i--) {
		/* Headers: of programs in front, of maps behind. */
		u64 at = rnd(3) ? rnd((u64)n) : rnd(2) ? rnd(400) : (u64)n - rnd(4096) - 1;

		word = number();
		if (at + 8 <= (u64)n)
			memcpy(data + at, &word, 1 + rnd(8));
	}
	if (!rnd(8))
		n = (ssize_t)rnd((u64)n);
	if (write(copy, data, (size_t)n) != n || ftruncate(copy, n == st.st_size || rnd(2) ? st.st_size : n))
		close(copy), copy = -1;
	else if (rnd(8))
		fcntl(copy, F_ADD_SEALS, seals & ~F_SEAL_SEAL);
	return copy;
}

static int junk(void)
{
	int ends[2];

	switch (rnd(7)) {
	case 0: return open("/dev/zero", O_RDWR);
	case 1: return eventfd(0, rnd(2) ? EFD_NONBLOCK : 0);
	case 2: return open("/", O_PATH);
	case 3: return socket(AF_UNIX, SOCK_STREAM, 0);
	case 4: return memfd_create("empty", MFD_ALLOW_SEALING);
	case 5: return kept[0] > 0 ? dup(kept[rnd(ARRAY_SIZE(kept))]) : open("/dev/null", O_RDONLY);
	default:
		if (pipe(ends))
			return -1;
		close(ends[1]);
		return ends[0];
	}
}

static void replace(struct wire_fds *fds, u32 i, int fd)
{
	if (fd < 0)
		return;
	close(fds->fd[i]);
	fds->fd[i] = fd;
}

static void alter_fds(struct wire_fds *fds)
{
	u32 i = fds->n ? (u32)rnd(fds->n) : 0, k;
	int fd;

	if (!fds->n) {
		fd = rnd(2) ? junk() : -1;
		if (fd >= 0)
			fds->fd[fds->n++] = fd;
		return;
	}
	switch (rnd(7)) {
	case 0: /* one less */
		close(fds->fd[i]);
		fds->fd[i] = fds->fd[--fds->n];
		break;
	case 1: /* twice */
		fd = fds->n < WIRE_FDS ? dup(fds->fd[i]) : -1;
		if (fd >= 0)
			fds->fd[fds->n++] = fd;
		break;
	case 2: /* another order */
		k = (u32)rnd(fds->n);
		fd = fds->fd[i];
		fds->fd[i] = fds->fd[k];
		fds->fd[k] = fd;
		break;
	case 3: replace(fds, i, junk()); break;
	default: replace(fds, i, altered_copy(fds->fd[i]));
	}
}

/* ---- messages ------------------------------------------------------------------------------- */

static void alter_message(struct wire_msg *m)
{
	u64 word = number();
	u32 i, n;

	switch (rnd(8)) {
	case 0: m->op = (u32)rnd(WIRE_OPS + 1); break;
	case 6: m->kind = (u32)rnd(20); break;
	case 7: m->ntext = 0; break;
	case 1:
		m->nitems = (u32)rnd(rnd(2) ? 4 : WIRE_ITEMS);
		for (i = 0; i < m->nitems; i++)
			m->item[i].kind = m->item[i].kind ? m->item[i].kind : (u32)rnd(10);
		break;
	case 2:
		if (m->nitems) {
			i = (u32)rnd(m->nitems);
			memcpy((u8 *)&m->item[i] + 4 * rnd(3), &word, 4);
		}
		break;
	case 3:
		for (n = (u32)rnd(8); n && m->ntext; n--)
			m->text[rnd(m->ntext)] = (char)word;
		break;
	case 4: m->ntext = (u32)rnd(rnd(2) ? 64 : WIRE_TEXT); break;
	default: /* any field but those that say how long it is */
		memcpy((u8 *)m + rnd(offsetof(struct wire_msg, nitems) - 8), &word, rnd(2) ? 4 : 8);
	}
}

/* Sends what is left of it: 0, or -errno. */
static int pass_on(int to, struct wire_msg *m, struct wire_fds *fds)
{
	int err = 0;
	u32 i;

	shared->messages++;
	for (i = 0; i < fds->n; i++)
		keep(fds->fd[i]);
	if (!rnd(5))
		write_into_kept();
	if (rnd(6)) /* most are as they were, so that members get somewhere */
		return wire_send(to, m, fds, MSG_DONTWAIT);
	shared->altered++;
	for (i = 1 + (u32)rnd(3); i; i--)
		rnd(2) ? alter_fds(fds) : alter_message(m);
	switch (rnd(12)) {
	case 0: /* its length is not what it says */
		return send(to, m, rnd(sizeof(*m)), MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -errno : 0;
	case 1: err = wire_send(to, m, fds, MSG_DONTWAIT); break; /* and again */
	case 2: return -EPIPE;                                    /* and nothing more ever */
	}
	return err ? err : wire_send(to, m, fds, MSG_DONTWAIT);
}

static struct pollfd ends[2 * PAIRS + 1];
static u32 npairs;

static void end_pair(u32 i)
{
	close(ends[2 * i].fd);
	close(ends[2 * i + 1].fd);
	npairs--;
	ends[2 * i] = ends[2 * npairs];
	ends[2 * i + 1] = ends[2 * npairs + 1];
}

static void new_pair(int listener, const char *back)
{
	int front = accept4(listener, NULL, NULL, SOCK_CLOEXEC), broker;

	if (front < 0)
		return;
	broker = npairs < PAIRS ? wire_connect(back) : -1;
	if (broker < 0) {
		close(front);
		return;
	}
	ends[2 * npairs] = (struct pollfd){ .fd = front, .events = POLLIN };
	ends[2 * npairs + 1] = (struct pollfd){ .fd = broker, .events = POLLIN };
	npairs++;
}

static void stand_between(int listener, const char *back)
{
	struct wire_msg *m = calloc(1, sizeof(*m));
	struct wire_fds fds;
	struct pollfd l;
	u32 i, k;

	while (!shared->stop) {
		ends[2 * npairs] = (struct pollfd){ .fd = listener, .events = POLLIN };
		if (poll(ends, 2 * npairs + 1, 100) <= 0)
			continue;
		l = ends[2 * npairs];
		for (i = 0; i < 2 * npairs; i++) {
			if (!ends[i].revents)
				continue;
			ends[i].revents = 0;
			k = i ^ 1;
			if (wire_recv(ends[i].fd, m, &fds, MSG_DONTWAIT)) {
				end_pair(i / 2);
				break; /* others have moved */
			}
			if (pass_on(ends[k].fd, m, &fds)) {
				wire_close(&fds);
				end_pair(i / 2);
				break;
			}
			wire_close(&fds);
		}
		if (l.revents)
			new_pair(listener, back);
	}
	free(m);
}

/* ---- the test ------------------------------------------------------------------------------- */

static u64 time_to_answer(const char *dir)
{
	struct wire_msg *m = calloc(1, sizeof(*m));
	u64 began = now_ms();
	struct wire_fds got;
	int sock = wire_connect(dir), err = -1;

	m->op = WIRE_NEXT_ID;
	m->kind = SYS_MAP;
	if (sock >= 0)
		err = wire_send(sock, m, NULL, 0);
	if (!err)
		err = wire_recv(sock, m, &got, 0);
	assert_int_equal(err, 0);
	wire_close(&got);
	close(sock);
	free(m);
	return now_ms() - began;
}

static pid_t start_broker(const char *dir, int stop[2])
{
	struct broker *b;
	pid_t pid;

	assert_int_equal(pipe(stop), 0);
	assert_int_equal(broker_new(dir, false, &b), 0);
	pid = fork();
	if (!pid) {
		close(stop[1]);
		broker_run(b, stop[0]);
		broker_free(b);
		exit(0);
	}
	close(stop[0]);
	broker_free(b);
	return pid;
}

static void a_man_in_the_middle_harms_neither_side(void **unused)
{
	char front[SESSION_DIR_MAX], back[SESSION_DIR_MAX];
	pid_t server, middle, member[MEMBERS];
	int stop[2], status, listener, i, bad = 0;
	u64 t, worst = 0, end;

	(void)unused;
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(shared != MAP_FAILED);
	assert_int_equal(sys_session_make(front), 0);
	assert_int_equal(sys_session_make(back), 0);
	server = start_broker(back, stop);
	listener = wire_listen(front);
	assert_true(listener >= 0);
	state = seed * 0x9e3779b97f4a7c15ull | 1;
	middle = fork();
	if (!middle) {
		stand_between(listener, back);
		_exit(0);
	}
	close(listener);
	for (i = 0; i < MEMBERS; i++) {
		member[i] = fork();
		if (!member[i]) {
			if (!getenv("FERRY_LOG"))
				setenv("FERRY_LOG", "error", 1);
			member_run(front, (seed * MEMBERS + (u64)i + 1) * 0x9e3779b97f4a7c15ull, &shared->stop, &shared->member[i]);
			exit(0);
		}
	}
	for (end = now_ms() + seconds * 1000; now_ms() < end; usleep(100000)) {
		t = time_to_answer(back);
		worst = t > worst ? t : worst;
	}
	shared->stop = true;
	for (i = 0; i < MEMBERS; i++) {
		alarm(60); /* a member that hangs is the end of this test */
		waitpid(member[i], &status, 0);
		printf("# member %d: %llu rounds, %llu attached, %llu with hits, %llu of others' found\n", i,
		       (unsigned long long)shared->member[i].rounds, (unsigned long long)shared->member[i].attached,
		       (unsigned long long)shared->member[i].hits, (unsigned long long)shared->member[i].found);
		if (status) {
			printf("# member %d ended with %#x, seed %llu\n", i, (unsigned)status, (unsigned long long)seed);
			bad++;
		}
		assert_true(shared->member[i].rounds > 0);
	}
	alarm(0);
	waitpid(middle, &status, 0);
	assert_int_equal(status, 0);
	printf("# %llu messages, %llu altered; slowest answer %llu ms\n", (unsigned long long)shared->messages,
	       (unsigned long long)shared->altered, (unsigned long long)worst);
	time_to_answer(back);
	close(stop[1]);
	waitpid(server, &status, 0);
	sys_session_remove(front);
	sys_session_remove(back);
	assert_int_equal(status, 0);
	assert_int_equal(bad, 0);
	assert_true(worst < ANSWER_MS);
	assert_true(shared->altered > 20);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(a_man_in_the_middle_harms_neither_side) };
	int i;

	for (i = 1; i + 1 < argc; i += 2)
		if (!strcmp(argv[i], "--seconds"))
			seconds = (u32)atoi(argv[i + 1]);
		else if (!strcmp(argv[i], "--seed"))
			seed = strtoull(argv[i + 1], NULL, 0);
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
