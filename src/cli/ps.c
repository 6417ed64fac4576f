/* SPDX-License-Identifier: MIT */
/* ferry ps: the processes of a session and what each has. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "broker/broker.h"
#include "cli/cli.h"


static const char help[] =
	"Usage: ferry ps [OPTIONS]\n\n"
	"Lists the processes of a session: those started by 'ferry exec' and those attached to.\n\n"
	"  PROBES    events that programs run at in this process, whoever put them there\n"
	"  MAPS      maps that it has, its own and those of programs that run in it\n"
	"  PROGRAMS  the same\n"
	"  MEMORY    what Ferry's libraries and maps take of this process's memory, in KiB\n\n"
	"Options:\n"
	"  --session DIR   the session, instead of $FERRY_SESSION or the user's\n"
	"  --json          all that is known, as JSON\n"
	"  --help          this text\n\n"
	"Exit codes: 0 done, 1 the session cannot be looked at, 2 usage, 3 no such session.\n";

/* Is a mapping of this name there because of Ferry? */
static bool is_ours(const char *name)
{
	static const char *const parts[] = { "libferry", "libbpf.so", "libelf", "libZydis", "memfd:bpf-", "memfd:ferry-" };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(parts); i++)
		if (strstr(name, parts[i]))
			return true;
	return false;
}

/* KiB, of what is shared its part; -1: it may not be looked at. */
static s64 memory_of(s32 pid)
{
	char path[40], line[512], *name;
	bool ours = false;
	s64 sum = 0, n;
	u64 start;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	f = fopen(path, "re");
	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%*x %*s %*s %*s", &start) == 1 && strchr(line, '-') && strchr(line, '-') < strchr(line, ' ')) {
			name = strchr(line, '/');
			ours = name && is_ours(name);
		} else if (ours && sscanf(line, "Pss: %ld", &n) == 1) {
			sum += n;
		}
	}
	fclose(f);
	return sum;
}

static bool is_here(const struct look_row *r)
{
	return r->what == LOOK_EVENT && strcmp(r->how, "elsewhere");
}

static void count(const struct broker_member *m, u32 *probes, u32 *maps, u32 *progs)
{
	size_t i;

	*probes = *maps = *progs = 0;
	for (i = 0; i < m->rows.n; i++) {
		*probes += is_here(&m->rows.row[i]);
		*maps += m->rows.row[i].what == LOOK_MAP;
		*progs += m->rows.row[i].what == LOOK_PROG;
	}
}

static void show_text(const struct broker_view *v)
{
	u32 i, probes, maps, progs;

	printf("%s%7s  %-16s %7s %6s %9s %9s%s\n", cli_bold(), "PID", "COMMAND", "PROBES", "MAPS", "PROGRAMS", "MEMORY",
	       cli_plain());
	for (i = 0; i < v->n; i++) {
		const struct broker_member *m = &v->member[i];
		s64 kib = memory_of(m->pid);

		count(m, &probes, &maps, &progs);
		printf("%7d  %-16s %7u %6u %9u ", m->pid, m->comm, probes, maps, progs);
		if (kib >= 0)
			printf("%9lld", (long long)kib);
		else
			printf("%9s", "-");
		puts(m->answered ? "" : "  (does not answer)");
	}
}

/* ---- JSON ----------------------------------------------------------------------------------- */

static void json_name(struct text *t, const char *key, const char *value)
{
	text_printf(t, ",\"%s\":", key);
	if (value)
		text_json(t, value);
	else
		text_puts(t, "null");
}

static void json_list(const struct broker_member *m, u32 what, const char *key, struct text *t)
{
	const struct look_row *r;
	bool first = true;

	text_printf(t, ",\"%s\":[", key);
	for (r = m->rows.row; r < m->rows.row + m->rows.n; r++) {
		if (r->what != what || (what == LOOK_EVENT && !is_here(r)))
			continue;
		text_printf(t, "%s{\"id\":%u", first ? "" : ",", r->id);
		first = false;
		if (what == LOOK_EVENT) {
			text_printf(t, ",\"program\":%u,\"offset\":%llu,\"missed\":%llu", r->prog,
				    (unsigned long long)r->offset, (unsigned long long)r->missed);
			json_name(t, "target", r->target);
			json_name(t, "how", r->how);
			text_puts(t, "}");
			continue;
		}
		json_name(t, "name", r->name);
		json_name(t, "type", what == LOOK_MAP ? libbpf_bpf_map_type_str(r->type) : libbpf_bpf_prog_type_str(r->type));
		text_printf(t, ",\"bytes\":%llu,\"own\":%s", (unsigned long long)r->memory, r->own ? "true" : "false");
		if (what == LOOK_PROG)
			text_printf(t, ",\"runs\":%llu,\"run_ns\":%llu", (unsigned long long)r->runs,
				    (unsigned long long)r->run_ns);
		text_puts(t, "}");
	}
	text_puts(t, "]");
}

static void show_json(const struct broker_view *v)
{
	struct text t = { 0 };
	u32 i;

	for (i = 0; i < v->n; i++) {
		const struct broker_member *m = &v->member[i];
		s64 kib = memory_of(m->pid);

		text_printf(&t, "%s{\"pid\":%d", i ? ",\n" : "", m->pid);
		json_name(&t, "command", m->comm);
		json_name(&t, "executable", m->exe);
		text_printf(&t, ",\"answers\":%s,\"memory_kib\":", m->answered ? "true" : "false");
		if (kib >= 0)
			text_printf(&t, "%lld", (long long)kib);
		else
			text_puts(&t, "null");
		json_list(m, LOOK_EVENT, "probes", &t);
		json_list(m, LOOK_PROG, "programs", &t);
		json_list(m, LOOK_MAP, "maps", &t);
		text_puts(&t, "}");
	}
	printf("[%s]\n", text_str(&t));
	text_free(&t);
}

static int ps_main(int argc, char **argv)
{
	static const struct option options[] = { { "session", required_argument, NULL, 's' },
						 { "json", no_argument, NULL, 'j' },
						 { NULL, 0, NULL, 0 } };
	const char *session = NULL;
	struct broker_view v;
	bool json = false;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (c == 's')
			session = optarg;
		else if (c == 'j')
			json = true;
		else
			return cli_bad_option(&cli_ps, argv);
	}
	if (optind != argc)
		return cli_usage(&cli_ps, "'%s' is one argument too many", argv[optind]);
	c = cli_look(session, 0, &v);
	if (c)
		return c;
	if (json)
		show_json(&v);
	else
		show_text(&v);
	broker_view_free(&v);
	return CLI_OK;
}

const struct cli_verb cli_ps = { "ps", "the processes of a session, their probes, maps and programs", ps_main, help };
