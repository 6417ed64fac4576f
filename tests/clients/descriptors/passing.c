/* SPDX-License-Identifier: MIT */
/* Descriptors over a Unix socket between two processes that nobody forked from one another: `serve` and `call`. */
#include <sys/socket.h>
#include <sys/un.h>

#include "descriptors.h"

#define COUNT 4

static int address(const char *path, struct sockaddr_un *a)
{
	a->sun_family = AF_UNIX;
	snprintf(a->sun_path, sizeof(a->sun_path), "%s", path);
	return socket(AF_UNIX, SOCK_STREAM, 0);
}

static void send_fds(int sock, const int *fds)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(COUNT * sizeof(int))];
	} control = { .head = { CMSG_LEN(COUNT * sizeof(int)), SOL_SOCKET, SCM_RIGHTS } };
	struct iovec iov = { "x", 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };

	memcpy(CMSG_DATA(&control.head), fds, COUNT * sizeof(int));
	if (sendmsg(sock, &msg, 0) != 1)
		perror("sendmsg");
}

static void receive_fds(int sock, int *fds)
{
	union {
		struct cmsghdr head;
		char room[CMSG_SPACE(COUNT * sizeof(int))];
	} control;
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control) };

	if (recvmsg(sock, &msg, 0) != 1 || !CMSG_FIRSTHDR(&msg))
		exit(3);
	memcpy(fds, CMSG_DATA(&control.head), COUNT * sizeof(int));
}

/* A map, a program that counts in it, BTF, a link; what they are is the same number to both. */
static void make(int *fds, long seed)
{
	struct bpf_insn insns[] = {
		INSN(BPF_ST | BPF_MEM | BPF_W, 10, 0, -4, 1),
		MAP_FD(1, fds[0] = make_map(BPF_MAP_TYPE_HASH, 4, 8, 4, 0)),
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 2, 10, 0, 0),
		INSN(BPF_ALU64 | BPF_ADD | BPF_K, 2, 0, 0, -4),
		CALL(BPF_FUNC_map_lookup_elem),
		INSN(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 2, 0),
		MOV(1, 1),
		INSN(BPF_STX | BPF_ATOMIC | BPF_DW, 0, 1, 0, BPF_ADD),
		MOV(0, 2),
		EXIT(),
	};
	int prog;

	update(fds[0], 1, (uint64_t)seed);
	fds[1] = load(BPF_PROG_TYPE_XDP, insns, sizeof(insns) / sizeof(insns[0]));
	fds[2] = make_btf();
	fds[3] = make_link(&prog);
	close(prog);
}

/* Used as the other side's, which has closed them already. */
static void use(const char *who, int *fds)
{
	union bpf_attr a = { 0 };
	uint64_t v = 0;
	char what[64];
	long results[6] = { lookup(fds[0], 1, &v), (long)v, run(fds[1]) };
	static const char *const names[] = { "look-up", "value", "run", "value after it", "BTF is there", "link is there" };

	lookup(fds[0], 1, &v);
	results[3] = (long)v;
	results[4] = exists(BTF, id_of(fds[2]));
	results[5] = exists(LINK, id_of(fds[3]));
	for (int i = 0; i < 6; i++) {
		snprintf(what, sizeof(what), "%s, %s", who, names[i]);
		say(what, results[i]);
	}
	a.link_detach.link_fd = (uint32_t)fds[3];
	snprintf(what, sizeof(what), "%s, detach", who);
	say(what, bpf(BPF_LINK_DETACH, &a));
	for (int i = 0; i < COUNT; i++)
		close(fds[i]);
}

static int serve(const char *path)
{
	struct sockaddr_un a = { 0 };
	int sock = address(path, &a), peer, fds[COUNT];

	if (bind(sock, (void *)&a, sizeof(a)) || listen(sock, 1))
		return 4;
	peer = accept(sock, NULL, NULL);
	make(fds, 100);
	send_fds(peer, fds);
	for (int i = 0; i < COUNT; i++)
		close(fds[i]);
	receive_fds(peer, fds);
	use("from the caller", fds);
	return 0;
}

static int call(const char *path)
{
	struct sockaddr_un a = { 0 };
	int sock = address(path, &a), fds[COUNT], tries;

	for (tries = 0; tries < 500 && connect(sock, (void *)&a, sizeof(a)); tries++)
		usleep(10000);
	receive_fds(sock, fds);
	use("from the server", fds);
	make(fds, 200);
	send_fds(sock, fds);
	for (int i = 0; i < COUNT; i++)
		close(fds[i]);
	return read(sock, &(char){ 0 }, 1) != 0; /* until the other is through */
}

int passing(int argc, char **argv)
{
	(void)argc;
	return !strcmp(argv[1], "serve") ? serve(argv[2]) : call(argv[2]);
}
