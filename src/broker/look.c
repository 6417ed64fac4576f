/* SPDX-License-Identifier: MIT */
/*
 * Looking at the members of a session: the broker tells them that somebody does, each writes its rows
 * to a file, and those are read here. A member that is stopped or hangs holds nobody up for long.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "broker/broker.h"
#include "broker/wire.h"
#include "code/code.h"

int broker_look_begin(const char *dir)
{
	return wire_connect(dir);
}

static int ask(int sock, struct wire_msg *m)
{
	struct wire_fds got;
	int err = wire_send(sock, m, NULL, 0);

	if (!err)
		err = wire_recv(sock, m, &got, 0);
	if (!err) {
		wire_close(&got);
		err = m->err;
	}
	return err;
}

static int add_member(struct broker_view *v, const char *pid, const char *comm, const char *exe)
{
	struct broker_member *grown = base_grow(v->member, &v->cap, v->n + 1, sizeof(*grown)), *m;

	if (!grown)
		return -ENOMEM;
	v->member = grown;
	m = &grown[v->n];
	memset(m, 0, sizeof(*m));
	m->pid = atoi(pid);
	snprintf(m->comm, sizeof(m->comm), "%s", comm);
	m->exe = base_strdup(exe);
	if (!m->exe)
		return -ENOMEM;
	text_clean(m->comm);
	text_clean(m->exe);
	v->n += m->pid > 0;
	if (m->pid <= 0)
		base_free(m->exe);
	return 0;
}

static int list_members(int sock, struct wire_msg *m, struct broker_view *v)
{
	u32 next = 0, i;
	int err = 0;

	do {
		memset(m, 0, offsetof(struct wire_msg, item));
		m->op = WIRE_MEMBERS;
		m->id = next;
		err = ask(sock, m);
		for (i = 0; !err && wire_string(m, i + 2); i += 3)
			err = add_member(v, wire_string(m, i), wire_string(m, i + 1), wire_string(m, i + 2));
		if (!err && m->id && m->id <= next)
			err = -EPROTO;
		next = m->id;
	} while (!err && next);
	return err;
}

/* ---- one member's file ---------------------------------------------------------------------- */

static void end_string(char *s, size_t size)
{
	s[size - 1] = '\0';
	text_clean(s);
}

static int read_rows(int fd, u64 number, struct broker_member *m)
{
	struct look_head head;
	struct look_row *rows;
	size_t size, have = 0;
	ssize_t n = 1;
	u32 i;

	if (read(fd, &head, sizeof(head)) != sizeof(head) || memcmp(head.magic, LOOK_MAGIC, sizeof(head.magic)) ||
	    head.row_size != sizeof(*rows) || head.nrows > LOOK_MAX)
		return -EPROTO;
	size = head.nrows * sizeof(*rows);
	rows = base_alloc(size ? size : 1);
	if (!rows)
		return -ENOMEM;
	while (have < size && (n = read(fd, (char *)rows + have, size - have)) > 0)
		have += (size_t)n;
	for (i = 0; i < have / sizeof(*rows); i++) {
		end_string(rows[i].how, sizeof(rows[i].how));
		end_string(rows[i].why, sizeof(rows[i].why));
		end_string(rows[i].name, sizeof(rows[i].name));
		end_string(rows[i].target, sizeof(rows[i].target));
	}
	base_free(m->rows.row);
	m->rows = (struct look_rows){ rows, have / sizeof(*rows), head.nrows };
	m->answered = head.number >= number;
	return 0;
}

static void read_member(const char *dir, u64 number, struct broker_member *m)
{
	char path[PATH_MAX];
	struct stat st;
	int fd;

	if (snprintf(path, sizeof(path), "%s/members/%d", dir, m->pid) >= (int)sizeof(path))
		return;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (fd < 0)
		return;
	if (!fstat(fd, &st) && S_ISREG(st.st_mode) && st.st_uid == code_euid())
		read_rows(fd, number, m);
	close(fd);
}

/* ---- all of them ---------------------------------------------------------------------------- */

static u64 now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000 + (u64)t.tv_nsec / 1000000;
}

static void read_all(const char *dir, u64 number, u32 timeout_ms, struct broker_view *v)
{
	const struct timespec pause = { 0, 500000 };
	u64 until = now_ms() + timeout_ms;
	bool open = true;
	u32 i;

	while (open) {
		bool last = now_ms() >= until;

		open = false;
		for (i = 0; i < v->n; i++) {
			if (!v->member[i].answered)
				read_member(dir, number, &v->member[i]);
			open |= !v->member[i].answered;
		}
		if (last)
			break;
		if (open)
			nanosleep(&pause, NULL);
	}
}

int broker_look(int sock, const char *dir, bool count, u32 timeout_ms, struct broker_view *out)
{
	struct wire_msg *m = base_alloc(sizeof(*m));
	u64 number = 0;
	int err = m ? 0 : -ENOMEM;

	memset(out, 0, sizeof(*out));
	if (m) {
		m->op = WIRE_LOOK;
		m->kind = count;
		err = ask(sock, m);
		number = m->attach;
	}
	if (!err)
		err = list_members(sock, m, out);
	if (!err)
		read_all(dir, number, timeout_ms, out);
	else
		broker_view_free(out);
	base_free(m);
	return err;
}

void broker_view_free(struct broker_view *v)
{
	u32 i;

	for (i = 0; i < v->n; i++) {
		base_free(v->member[i].exe);
		base_free(v->member[i].rows.row);
	}
	base_free(v->member);
	memset(v, 0, sizeof(*v));
}
