/* SPDX-License-Identifier: MIT */
/*
 * The part of tracefs that is a table: events with their number and format. Files are made in the
 * session's directory when somebody looks, not before: there are thousands.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bpf/event/probe_file.h"
#include "bpf/session/session.h"
#include "bpf/sys_int.h"

/* Numbers below are left to events that clients make themselves. */
#define FIRST_EVENT   32
#define FIRST_SYSCALL 256 /* two a system call: enter, exit */

struct event {
	const char *category, *name, *fields, *print;
};

static const struct event events[] = {
#define EVENT(category, name, fields, print) { #category, #name, fields, print },
#include "bpf/event/events.def"
#undef EVENT
};

struct syscall_row {
	const char *name;
	const char *args[7]; /* NULL-terminated */
};

static const struct syscall_row syscalls[] = {
#define SYSCALL(name, ...) { #name, { __VA_ARGS__ } },
#include "btf/syscalls.def"
#undef SYSCALL
};

/* An event by number: its category and name. False when there is none. */
static bool event_at(u32 id, const char **category, char name[80])
{
	if (id >= FIRST_EVENT && id - FIRST_EVENT < ARRAY_SIZE(events)) {
		*category = events[id - FIRST_EVENT].category;
		snprintf(name, 80, "%s", events[id - FIRST_EVENT].name);
		return true;
	}
	if (id >= FIRST_SYSCALL && (id - FIRST_SYSCALL) / 2 < ARRAY_SIZE(syscalls)) {
		*category = "syscalls";
		snprintf(name, 80, "sys_%s_%s", (id - FIRST_SYSCALL) % 2 ? "exit" : "enter",
			 syscalls[(id - FIRST_SYSCALL) / 2].name);
		return true;
	}
	return false;
}

/* The first number from `id` on that is an event's; 0 at the end. */
static u32 next_event(u32 id)
{
	if (id < FIRST_EVENT)
		id = FIRST_EVENT;
	if (id - FIRST_EVENT < ARRAY_SIZE(events))
		return id;
	if (id < FIRST_SYSCALL)
		id = FIRST_SYSCALL;
	return (id - FIRST_SYSCALL) / 2 < ARRAY_SIZE(syscalls) ? id : 0;
}

bool sys_event_name(u32 id, char out[128])
{
	const char *category;
	char name[80];

	if (!event_at(id, &category, name))
		return false;
	snprintf(out, 128, "%s:%s", category, name);
	return true;
}

static u32 event_named(const char *category, size_t category_len, const char *event, size_t len)
{
	const char *cat;
	char name[80];
	u32 id;

	for (id = next_event(0); id; id = next_event(id + 1))
		if (event_at(id, &cat, name) && strlen(name) == len && !memcmp(name, event, len) &&
		    strlen(cat) == category_len && !memcmp(cat, category, category_len))
			return id;
	return 0;
}

u32 sys_event_numbered(const char *category, const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(events); i++)
		if (!strcmp(events[i].category, category))
			break;
	if (i == ARRAY_SIZE(events) && strcmp(category, "syscalls"))
		return 0;
	return event_named(category, strlen(category), name, strlen(name));
}

/* ---- format --------------------------------------------------------------------------------- */

static void field(struct text *t, const char *decl, size_t len, u32 off, u32 size, u32 is_signed)
{
	text_printf(t, "\tfield:%.*s;\toffset:%u;\tsize:%u;\tsigned:%u;\n", (int)len, decl, off, size,
		    is_signed);
}

static void table_fields(struct text *t, const char *fields, const char *print)
{
	u32 off, size, is_signed;
	const char *semi;

	while ((semi = strchr(fields, ';'))) {
		if (sscanf(semi, ";%u;%u;%u", &off, &size, &is_signed) != 3)
			break;
		field(t, fields, semi - fields, off, size, is_signed);
		fields = strchr(semi, '|');
		if (!fields++)
			break;
	}
	text_printf(t, "\nprint fmt: %s\n", print);
}

/* The last word of a declaration is the argument's name. */
static const char *arg_name(const char *decl)
{
	const char *space = strrchr(decl, ' ');

	return space ? space + 1 : decl;
}

static void syscall_fields(struct text *t, const struct syscall_row *s, bool at_exit)
{
	u32 i;

	field(t, "int __syscall_nr", 16, 8, 4, 1);
	if (at_exit) {
		field(t, "long ret", 8, 16, 8, 1);
		text_puts(t, "\nprint fmt: \"0x%lx\", REC->ret\n");
		return;
	}
	for (i = 0; s->args[i]; i++)
		field(t, s->args[i], strlen(s->args[i]), 16 + 8 * i, 8, 0);
	text_puts(t, "\nprint fmt: \"");
	for (i = 0; s->args[i]; i++)
		text_printf(t, "%s%s: 0x%%08lx", i ? ", " : "", arg_name(s->args[i]));
	text_puts(t, "\"");
	for (i = 0; s->args[i]; i++)
		text_printf(t, ", ((unsigned long)(REC->%s))", arg_name(s->args[i]));
	text_puts(t, "\n");
}

void sys_tracefs_head(struct text *t, u32 id, const char *name)
{
	text_printf(t, "name: %s\nID: %u\nformat:\n", name, id);
	field(t, "unsigned short common_type", 26, 0, 2, 0);
	field(t, "unsigned char common_flags", 26, 2, 1, 0);
	field(t, "unsigned char common_preempt_count", 34, 3, 1, 0);
	field(t, "int common_pid", 14, 4, 4, 1);
	text_puts(t, "\n");
}

bool sys_event_format(struct text *t, u32 id)
{
	const char *category;
	char name[80];

	if (!event_at(id, &category, name))
		return false;
	sys_tracefs_head(t, id, name);
	if (id < FIRST_SYSCALL)
		table_fields(t, events[id - FIRST_EVENT].fields, events[id - FIRST_EVENT].print);
	else
		syscall_fields(t, &syscalls[(id - FIRST_SYSCALL) / 2], (id - FIRST_SYSCALL) % 2);
	return true;
}

/* ---- files ---------------------------------------------------------------------------------- */

PRINTF_LIKE(2, 3) static bool name_file(char out[PATH_MAX], const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(out, PATH_MAX, fmt, ap);
	va_end(ap);
	return n < PATH_MAX;
}

static bool put(const char *dir, const char *name, const char *text, size_t len)
{
	char path[PATH_MAX];
	bool ok;
	int fd;

	if (!name_file(path, "%s/%s", dir, name))
		return false;
	fd = open(path, O_CREAT | O_WRONLY | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0)
		return false;
	ok = write(fd, text, len) == (ssize_t)len;
	close(fd);
	return ok;
}

/* Made aside and moved into place, so that nobody meets half of it. */
void sys_tracefs_make(const char *session, const char *category, const char *name, u32 id, const struct text *format)
{
	char final[PATH_MAX], dir[PATH_MAX], number[16];
	bool made;

	name_file(final, "%s/tracing/events", session);
	mkdir(final, 0700);
	name_file(final, "%s/tracing/events/%s", session, category);
	mkdir(final, 0700);
	if (!name_file(final, "%s/tracing/events/%s/%s", session, category, name) || !access(final, F_OK))
		return;
	if (!name_file(dir, "%s.%d", final, (int)gettid()) || (mkdir(dir, 0700) && errno != EEXIST))
		return;
	made = put(dir, "format", text_str(format), format->len) &&
	       put(dir, "id", number, snprintf(number, sizeof(number), "%u\n", id)) &&
	       put(dir, "enable", "0\n", 2) && put(dir, "filter", "none\n", 5);
	if (!made || rename(dir, final))
		sys_session_remove(dir); /* the next look tries again, or another process was first */
}

static void make_event(const char *session, u32 id)
{
	const char *category;
	char path[PATH_MAX], name[80];
	struct text t = { 0 };

	if (!event_at(id, &category, name) ||
	    !name_file(path, "%s/tracing/events/%s/%s", session, category, name) || !access(path, F_OK))
		return;
	sys_event_format(&t, id);
	sys_tracefs_make(session, category, name, id, &t);
	text_free(&t);
}

/* Again when there are events that come and go: `changing`, a line each. */
static void make_available(const char *session, const struct text *changing)
{
	char path[PATH_MAX], aside[PATH_MAX], root[PATH_MAX], name[128];
	struct text t = { 0 };
	u32 id;

	if (!name_file(root, "%s/tracing", session) || !name_file(path, "%s/available_events", root) ||
	    !name_file(aside, "%s.%d", path, (int)gettid()) || (!changing->len && !access(path, F_OK)))
		return;
	for (id = next_event(0); id; id = next_event(id + 1))
		if (sys_event_name(id, name))
			text_printf(&t, "%s\n", name);
	text_puts(&t, text_str(changing));
	if (t.oom || !put(root, strrchr(aside, '/') + 1, text_str(&t), t.len) || rename(aside, path))
		unlink(aside);
	text_free(&t);
}

/* The directories of categories, and of one category all events. `len` 0: no category. */
static void make_category(const char *session, const char *category, size_t len)
{
	char path[PATH_MAX], name[80];
	const char *cat;
	u32 id;

	for (id = next_event(0); id; id = next_event(id + 1)) {
		event_at(id, &cat, name);
		if (len && strlen(cat) == len && !memcmp(cat, category, len)) {
			make_event(session, id);
		} else if (!len && (id == FIRST_SYSCALL || id < FIRST_SYSCALL)) {
			if (name_file(path, "%s/tracing/events/%s", session, cat))
				mkdir(path, 0700);
		}
	}
}

void sys_tracefs_fill(const char *session, const char *rest)
{
	const char *cat, *slash, *event, *end;
	struct text probes = { 0 };
	int saved = errno;
	u32 id;

	sys_inside++;
	if (!strncmp(rest, "/events", 7) || !strcmp(rest, "/available_events"))
		sys_probe_files(session, &probes);
	if (!strcmp(rest, "/available_events")) {
		make_available(session, &probes);
	} else if (!strcmp(rest, "/events")) {
		make_category(session, "", 0);
	} else if (!strncmp(rest, "/events/", 8)) {
		cat = rest + 8;
		slash = strchr(cat, '/');
		event = slash ? slash + 1 : NULL;
		end = event ? strchr(event, '/') : NULL;
		id = event ? event_named(cat, slash - cat, event,
					 end ? (size_t)(end - event) : strlen(event))
			   : 0;
		if (id)
			make_event(session, id);
		else if (!event)
			make_category(session, cat, strlen(cat));
	}
	text_free(&probes);
	sys_inside--;
	errno = saved;
}
