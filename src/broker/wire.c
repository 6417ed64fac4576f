/* SPDX-License-Identifier: MIT */
/* Sending and receiving messages, and the session's socket. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "broker/wire.h"
#include "code/code.h"

union control {
	struct cmsghdr head;
	char room[CMSG_SPACE(WIRE_FDS * sizeof(int))];
};

void wire_close(struct wire_fds *fds)
{
	while (fds->n)
		close(fds->fd[--fds->n]);
}

/*
 * ETOOMANYREFS (unix(7)): descriptors that this user's processes, anybody's, have on the way are more than this
 * process may have open. Those are read sooner or later: true when there is more patience (as for a full socket),
 * which `tries` counts.
 */
static bool wait_for_others(int *tries, int flags)
{
	if (++*tries > (flags & MSG_DONTWAIT ? 20 : 10000))
		return false;
	usleep(1000);
	return true;
}

int wire_send(int sock, const struct wire_msg *m, const struct wire_fds *fds, int flags)
{
	u32 op = WIRE_TAG | (m->op & 0xffff);
	struct iovec iov[3] = {
		{ &op, sizeof(op) },
		{ (u8 *)(uintptr_t)m + sizeof(op),
		  offsetof(struct wire_msg, item) + m->nitems * sizeof(m->item[0]) - sizeof(op) },
		{ (void *)(uintptr_t)m->text, m->ntext },
	};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 3 };
	union control c;
	int tries = 0;
	ssize_t n;

	if (fds && fds->n) {
		memset(&c, 0, sizeof(c.head));
		msg.msg_control = &c;
		msg.msg_controllen = CMSG_SPACE(fds->n * sizeof(int));
		c.head.cmsg_level = SOL_SOCKET;
		c.head.cmsg_type = SCM_RIGHTS;
		c.head.cmsg_len = CMSG_LEN(fds->n * sizeof(int));
		memcpy(CMSG_DATA(&c.head), fds->fd, fds->n * sizeof(int));
	}
	do
		n = sendmsg(sock, &msg, MSG_NOSIGNAL | flags);
	while (n < 0 && (errno == EINTR || (errno == ETOOMANYREFS && wait_for_others(&tries, flags))));
	if (n < 0 && errno == ETOOMANYREFS && flags & MSG_DONTWAIT)
		return -EAGAIN;
	return n < 0 ? -errno : 0;
}

/* The pieces of a message stand behind one another: each where the struct has it, if all add up. */
static bool spread(struct wire_msg *m, size_t n)
{
	const size_t head = offsetof(struct wire_msg, item);
	size_t items;

	if (n < head || m->nitems > WIRE_ITEMS || m->ntext >= WIRE_TEXT)
		return false;
	items = m->nitems * sizeof(m->item[0]);
	if (n != head + items + m->ntext)
		return false;
	memmove(m->text, (char *)m + head + items, m->ntext);
	m->text[m->ntext] = '\0';
	return true;
}

int wire_recv(int sock, struct wire_msg *m, struct wire_fds *fds, int flags)
{
	struct iovec iov = { m, sizeof(*m) };
	union control c;
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c)
	};
	struct cmsghdr *head;
	ssize_t n;

	fds->n = 0;
	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC | flags);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	head = CMSG_FIRSTHDR(&msg); /* even of a message of no bytes, which looks like the end */
	if (head && head->cmsg_level == SOL_SOCKET && head->cmsg_type == SCM_RIGHTS) {
		fds->n = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds->fd, CMSG_DATA(head), fds->n * sizeof(int));
	}
	if (n >= (ssize_t)sizeof(m->op) && (m->op & ~0xffffu) != WIRE_TAG) {
		wire_close(fds);
		return -EPROTONOSUPPORT;
	}
	m->op &= 0xffff;
	if (msg.msg_flags & MSG_TRUNC || !spread(m, n)) {
		wire_close(fds);
		return n ? -EPROTO : -EPIPE;
	}
	if (msg.msg_flags & MSG_CTRUNC) {
		wire_close(fds);
		return -EMFILE;
	}
	return 0;
}

const char *wire_string(const struct wire_msg *m, u32 n)
{
	const char *at = m->text, *end = m->text + m->ntext;

	for (; at < end; n--) {
		if (!n)
			return at;
		at += strlen(at) + 1;
	}
	return NULL;
}

bool wire_add_string(struct wire_msg *m, const char *s)
{
	size_t n = strlen(s) + 1;

	if (n >= WIRE_TEXT - m->ntext)
		return false;
	memcpy(m->text + m->ntext, s, n);
	m->ntext += n;
	return true;
}

/* Through a descriptor of the directory: its own name may be too long for an address. */
static int address(const char *dir, struct sockaddr_un *addr)
{
	int dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);

	memset(addr, 0, sizeof(*addr));
	addr->sun_family = AF_UNIX;
	snprintf(addr->sun_path, sizeof(addr->sun_path), "/proc/self/fd/%d/sock", dirfd);
	return dirfd < 0 ? -errno : dirfd;
}

int wire_listen(const char *dir)
{
	struct sockaddr_un addr;
	int dirfd = address(dir, &addr), sock, err = 0;

	if (dirfd < 0)
		return dirfd;
	sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (sock >= 0)
		unlinkat(dirfd, "sock", 0);
	if (sock < 0 || bind(sock, (struct sockaddr *)&addr, sizeof(addr)) || listen(sock, 64))
		err = -errno;
	close(dirfd);
	if (err && sock >= 0)
		close(sock);
	return err ? err : sock;
}

int wire_connect(const char *dir)
{
	struct timeval patience = { .tv_sec = 10 };
	struct sockaddr_un addr;
	struct ucred peer;
	socklen_t len = sizeof(peer);
	int dirfd = address(dir, &addr), sock, err = 0;

	if (dirfd < 0)
		return dirfd;
	sock = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (sock >= 0) { /* a stopped broker's backlog may be full */
		setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
		setsockopt(sock, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	}
	if (sock < 0 || connect(sock, (struct sockaddr *)&addr, sizeof(addr)))
		err = -errno;
	close(dirfd);
	/* Whoever listens there is handed descriptors: it must be this user. */
	if (!err && (getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len) || peer.uid != code_euid()))
		err = -EPERM;
	if (err && sock >= 0)
		close(sock);
	return err ? err : sock;
}
