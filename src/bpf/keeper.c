/* SPDX-License-Identifier: MIT */
/*
 * The keeper of a session: a socket in its directory, and descriptors of what is pinned. It knows
 * nothing of bpf(2): names are files, objects are memfds, and both are told apart by inode. A pin
 * ends when its file has no name left.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "bpf/session.h"
#include "bpf/sys.h"

#define MAX_CLIENTS 64
#define MAX_PINS    4096

struct pin {
	u32 kind, id, nfds;
	int fds[KEEPER_MAX_FDS]; /* the name's file, the object, what it refers to */
};

struct keeper {
	int listener;
	struct pin **pins;
	size_t npins, cap;
};

union fds_msg {
	struct cmsghdr head;
	char room[CMSG_SPACE(KEEPER_MAX_FDS * sizeof(int))];
};

static void close_all(const int *fds, u32 n)
{
	while (n--)
		close(fds[n]);
}

/* ---- messages ------------------------------------------------------------------------------- */

static int send_msg(int sock, struct keeper_msg *m, const int *fds)
{
	union fds_msg control;
	struct iovec iov = { m, sizeof(*m) };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (m->nfds) {
		memset(&control, 0, sizeof(control));
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(m->nfds * sizeof(int));
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		control.head.cmsg_len = CMSG_LEN(m->nfds * sizeof(int));
		memcpy(CMSG_DATA(&control.head), fds, m->nfds * sizeof(int));
	}
	return sendmsg(sock, &msg, MSG_NOSIGNAL) == sizeof(*m) ? 0 : -errno;
}

/* Takes what came, whatever it claims: m->nfds is what arrived. 0, or -errno with nothing open. */
static int recv_msg(int sock, struct keeper_msg *m, int fds[KEEPER_MAX_FDS])
{
	union fds_msg control;
	struct iovec iov = { m, sizeof(*m) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	ssize_t n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n >= 0 ? CMSG_FIRSTHDR(&msg) : NULL;
	u32 got = 0;

	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
		got = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(c), got * sizeof(int));
	}
	if (n != sizeof(*m) || msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		close_all(fds, got);
		return n < 0 ? -errno : -EPROTO;
	}
	m->nfds = got;
	return 0;
}

/* ---- the client ----------------------------------------------------------------------------- */

int sys_keeper_ask(struct keeper_msg *m, const int *fds, int *got)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	const char *dir = sys_session(false);
	char link[40];
	int sock, dirfd, err;

	if (!dir)
		return -ENOTCONN;
	dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return -errno;
	/* Through the descriptor: the directory's own name may be too long for an address. */
	snprintf(link, sizeof(link), "/proc/self/fd/%d/sock", dirfd);
	strcpy(addr.sun_path, link);
	sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	err = sock < 0 || connect(sock, (struct sockaddr *)&addr, sizeof(addr)) ? -errno : 0;
	if (!err)
		err = send_msg(sock, m, fds);
	if (!err)
		err = recv_msg(sock, m, got);
	if (sock >= 0)
		close(sock);
	close(dirfd);
	if (!err && m->err) {
		close_all(got, m->nfds);
		err = m->err < 0 && m->err > -4096 ? m->err : -EPROTO;
	}
	return err;
}

/* ---- the server ----------------------------------------------------------------------------- */

static bool same_file(int fd, u64 dev, u64 ino)
{
	struct stat st;

	return !fstat(fd, &st) && st.st_dev == dev && st.st_ino == ino;
}

static void sweep(struct keeper *k)
{
	struct stat st;
	size_t i;

	for (i = 0; i < k->npins;) {
		struct pin *p = k->pins[i];

		if (!fstat(p->fds[0], &st) && st.st_nlink) {
			i++;
			continue;
		}
		close_all(p->fds, p->nfds);
		base_free(p);
		k->pins[i] = k->pins[--k->npins];
	}
}

static int pin(struct keeper *k, const struct keeper_msg *m, const int *fds)
{
	struct pin *p, **grown;

	if (m->nfds < 2)
		return -EINVAL;
	if (k->npins >= MAX_PINS)
		return -ENOSPC;
	grown = base_grow(k->pins, &k->cap, k->npins + 1, sizeof(struct pin *));
	if (!grown)
		return -ENOMEM;
	k->pins = grown;
	p = base_alloc(sizeof(*p));
	if (!p)
		return -ENOMEM;
	p->kind = m->kind;
	p->id = m->id;
	p->nfds = m->nfds;
	memcpy(p->fds, fds, m->nfds * sizeof(int));
	k->pins[k->npins++] = p;
	return 0;
}

/* The descriptors for an answer: borrowed. */
static int look_up(struct keeper *k, struct keeper_msg *m, const int **fds)
{
	struct pin *p;
	size_t i;
	u32 f;

	m->nfds = 0;
	for (i = 0; i < k->npins; i++) {
		p = k->pins[i];
		if (m->op == KEEPER_LIST ? i == m->index
		    : m->op == KEEPER_GET && same_file(p->fds[0], m->dev, m->ino)) {
			*fds = p->fds + 1;
			m->nfds = p->nfds - 1;
			m->kind = p->kind;
			m->id = p->id;
			return 0;
		}
		for (f = 1; m->op == KEEPER_FIND && f < p->nfds; f++) {
			if (!same_file(p->fds[f], m->dev, m->ino))
				continue;
			*fds = &p->fds[f];
			m->nfds = 1;
			return 0;
		}
	}
	return -ENOENT;
}

/* One request of one client, who may be anybody of this user and may say anything. */
static int serve(struct keeper *k, int sock)
{
	int fds[KEEPER_MAX_FDS];
	const int *out = NULL;
	struct keeper_msg m;
	u32 came;
	int err = recv_msg(sock, &m, fds);

	if (err)
		return err;
	came = m.nfds;
	sweep(k);
	switch (m.op) {
	case KEEPER_PIN: m.err = pin(k, &m, fds); break;
	case KEEPER_GET:
	case KEEPER_LIST:
	case KEEPER_FIND: m.err = look_up(k, &m, &out); break;
	case KEEPER_SWEEP: m.err = 0; break;
	default: m.err = -EINVAL;
	}
	if (m.op != KEEPER_PIN || m.err)
		close_all(fds, came);
	if (!out)
		m.nfds = 0;
	return send_msg(sock, &m, out);
}

int sys_keeper_new(const char *dir, struct keeper **out)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct keeper *k = base_alloc(sizeof(*k));
	int dirfd, err = 0;

	if (!k)
		return -ENOMEM;
	dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/sock", dirfd);
	k->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (dirfd < 0 || k->listener < 0 ||
	    bind(k->listener, (struct sockaddr *)&addr, sizeof(addr)) || listen(k->listener, 64))
		err = -errno;
	if (dirfd >= 0)
		close(dirfd);
	if (err)
		sys_keeper_free(k);
	else
		*out = k;
	return err;
}

void sys_keeper_run(struct keeper *k, int stop_fd)
{
	struct pollfd fds[2 + MAX_CLIENTS] = { { .fd = stop_fd, .events = POLLIN },
					       { .fd = k->listener, .events = POLLIN } };
	nfds_t n = 2, i;
	int sock;

	while (poll(fds, n, -1) >= 0 || errno == EINTR) {
		if (fds[0].revents)
			break;
		for (i = 2; i < n;) {
			if (fds[i].revents && serve(k, fds[i].fd)) {
				close(fds[i].fd);
				fds[i] = fds[--n];
			} else {
				i++;
			}
		}
		if (!(fds[1].revents & POLLIN))
			continue;
		sock = accept4(k->listener, NULL, NULL, SOCK_CLOEXEC);
		if (sock >= 0 && n < ARRAY_SIZE(fds))
			fds[n++] = (struct pollfd){ .fd = sock, .events = POLLIN };
		else if (sock >= 0)
			close(sock);
	}
	for (i = 2; i < n; i++)
		close(fds[i].fd);
}

void sys_keeper_free(struct keeper *k)
{
	size_t i;

	for (i = 0; i < k->npins; i++) {
		close_all(k->pins[i]->fds, k->pins[i]->nfds);
		base_free(k->pins[i]);
	}
	if (k->listener >= 0)
		close(k->listener);
	base_free(k->pins);
	base_free(k);
}
