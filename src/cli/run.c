/* SPDX-License-Identifier: MIT */
/* ferry run: load one object file and run one of its programs. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "cli/cli.h"
#include "ferry/ferry.h"

#define MAX_DATA (16u << 20)

struct run {
	const char *file, *prog, *data_path;
	struct cli_modules modules;
	const char *policy;
	u64 repeat;
	bool json;
	/* results */
	void *data;
	size_t data_size;
	u64 ret, ns; /* ns: of one run, on average */
	struct text trace;
	u32 trace_lines;
};

static const char help[] =
	"Usage: ferry run [OPTIONS] FILE.o\n\n"
	"Loads an object file, runs one of its programs, and prints the return value, what it\n"
	"wrote with bpf_trace_printk, and its maps.\n\n"
	"Options:\n"
	"  --prog NAME     the program to run; needed when the file has several\n"
	"  --data FILE     the packet, or the context of other program types; '-' is stdin\n"
	"  --repeat N      run it N times (1 to 1000000000; 10k, 5m); prints the mean time\n"
	"  --module LIB    load a shared library that exports a module of native functions; may "
	"be\n"
	"                  given several times\n"
	"  --policy FILE   what the program may use (ferry/policy.h)\n"
	"  --strict        refuse what a program from others must not do (ferry-verify(1))\n"
	"  --json          print the result as one JSON object\n"
	"  --help          this text\n\n"
	"Exit codes: 0 it ran, 1 it was refused or failed to run, 2 usage, 3 bad input file.\n";

static void keep_trace(void *arg, const char *line, size_t len)
{
	struct run *r = arg;

	text_puts(&r->trace, r->json ? (r->trace_lines ? "," : "") : "  ");
	if (r->json) {
		char copy[1024];
		size_t n = len < sizeof(copy) - 1 ? len : sizeof(copy) - 1;

		memcpy(copy, line, n);
		copy[n] = '\0';
		text_json(&r->trace, copy);
	} else {
		text_add(&r->trace, line, len);
		text_puts(&r->trace, "\n");
	}
	r->trace_lines++;
}

static int parse(struct run *r, int argc, char **argv)
{
	static const struct option options[] = {
		{ "prog", required_argument, NULL, 'p' },
		{ "data", required_argument, NULL, 'd' },
		{ "repeat", required_argument, NULL, 'r' },
		{ "module", required_argument, NULL, 'm' },
		{ "policy", required_argument, NULL, 'P' },
		{ "json", no_argument, NULL, 'j' },
		{ "strict", no_argument, NULL, 'x' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		switch (c) {
		case 'p': r->prog = optarg; break;
		case 'd': r->data_path = optarg; break;
		case 'j': r->json = true; break;
		case 'P': r->policy = optarg; break;
		case 'x': ferry_strict(1); break;
		case 'r':
			if (!cli_number(optarg, 1, 1000000000, &r->repeat))
				return cli_usage(&cli_run, "--repeat '%s': expected 1 to 1000000000", optarg);
			break;
		case 'm':
			if (!cli_module_add(&r->modules, optarg))
				return cli_usage(&cli_run, "more than %d modules", CLI_MAX_MODULES);
			break;
		default: return cli_bad_option(&cli_run, argv);
		}
	}
	if (optind + 1 != argc)
		return cli_usage(&cli_run, "expected one object file, got %d", argc - optind);
	r->file = argv[optind];
	return CLI_OK;
}

static bool has_raw_context(enum bpf_prog_type type)
{
	return type == BPF_PROG_TYPE_SYSCALL || type == BPF_PROG_TYPE_RAW_TRACEPOINT;
}

/* Types that the system call runs; the others run on a context of ours. */
static bool has_test_run(enum bpf_prog_type type)
{
	switch (type) {
	case BPF_PROG_TYPE_SOCKET_FILTER:
	case BPF_PROG_TYPE_SCHED_CLS:
	case BPF_PROG_TYPE_SCHED_ACT:
	case BPF_PROG_TYPE_XDP:
	case BPF_PROG_TYPE_CGROUP_SKB:
	case BPF_PROG_TYPE_SYSCALL:
	case BPF_PROG_TYPE_RAW_TRACEPOINT: return true;
	default: return false;
	}
}

static int run_on_packet(struct run *r, int fd, enum bpf_prog_type type)
{
	bool raw = has_raw_context(type);
	/*
	 * Without --data: the smallest frame that every packet type accepts, or a context of zeros: as much
	 * as a raw tracepoint may have (twelve words), or what other programs will hardly exceed.
	 */
	u8 blank[4096] = { 0 };
	u32 room = !raw ? 64 : type == BPF_PROG_TYPE_RAW_TRACEPOINT ? 96 : sizeof(blank);
	LIBBPF_OPTS(bpf_test_run_opts, opts);

	if (raw) {
		opts.ctx_in = r->data_size ? r->data : blank;
		opts.ctx_size_in = r->data_size ? (u32)r->data_size : room;
	} else {
		opts.data_in = r->data_size ? r->data : blank;
		opts.data_size_in = r->data_size ? (u32)r->data_size : room;
		opts.repeat = (int)r->repeat;
	}
	if (bpf_prog_test_run_opts(fd, &opts))
		return cli_fail(CLI_REFUSED, "cannot run the program: %s\n%s", strerror(errno),
				cli_messages());
	r->ret = (u64)(s64)(s32)opts.retval; /* programs return an int */
	r->ns = opts.duration;
	return CLI_OK;
}

static u64 now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (u64)t.tv_sec * 1000000000u + (u64)t.tv_nsec;
}

static int run_on_context(struct run *r, int fd)
{
	u8 blank[4096] = { 0 };
	void *ctx = r->data_size ? r->data : blank;
	size_t size = r->data_size ? r->data_size : sizeof(blank);
	u64 start = now_ns(), i;
	int err = 0;

	for (i = 0; i < r->repeat && !err; i++)
		err = ferry_prog_run(fd, ctx, size, &r->ret);
	if (err < 0)
		return cli_fail(CLI_REFUSED, "cannot run the program: %s\n%s", strerror(-err),
				cli_messages());
	r->ret = (u64)(s64)(s32)r->ret;
	r->ns = (now_ns() - start) / r->repeat;
	return CLI_OK;
}

static void print_text(const struct run *r, const struct cli_object *o, const char *name)
{
	struct text out = { 0 };

	text_printf(&out, "%s%s%s returned %s%lld%s", cli_bold(), name, cli_plain(), cli_bold(),
		    (long long)(s64)r->ret, cli_plain());
	if (r->repeat > 1)
		text_printf(&out, " %s(%llu runs, %llu ns each)%s", cli_dim(),
			    (unsigned long long)r->repeat, (unsigned long long)r->ns, cli_plain());
	text_puts(&out, "\n");
	if (r->trace_lines)
		text_printf(&out, "%strace%s\n%s", cli_bold(), cli_plain(), text_str(&r->trace));
	cli_maps_text(o, &out);
	fputs(text_str(&out), stdout);
	text_free(&out);
}

static void print_json(const struct run *r, const struct cli_object *o, const char *name)
{
	struct text out = { 0 };

	text_puts(&out, "{\"program\":");
	text_json(&out, name);
	text_printf(&out, ",\"return\":%lld,\"runs\":%llu,\"ns\":%llu,\"trace\":[%s],\"maps\":",
		    (long long)(s64)r->ret, (unsigned long long)r->repeat, (unsigned long long)r->ns,
		    text_str(&r->trace));
	cli_maps_json(o, &out);
	text_puts(&out, "}\n");
	fputs(text_str(&out), stdout);
	text_free(&out);
}

/*
 * All programs of the file, as one may jump to another. When that fails and one was asked for, it is opened again and
 * that one loaded alone. 0 with *prog, or a CLI_ code with the reason printed.
 */
static int load(const struct run *r, struct cli_object *o, struct bpf_program **prog)
{
	struct bpf_program *other;
	int code;

	*prog = cli_pick(o, r->prog);
	if (!*prog)
		return r->prog ? CLI_INPUT : CLI_USAGE;
	if (!r->prog || !strcmp(o->path, "-"))
		return cli_load(o);
	if (!bpf_object__load(o->obj))
		return CLI_OK;
	cli_close(o);
	code = cli_open(o, r->file);
	if (code)
		return code;
	bpf_object__for_each_program(other, o->obj) {
		bpf_program__set_autoload(other, !strcmp(bpf_program__name(other), r->prog));
	}
	*prog = cli_pick(o, r->prog);
	return *prog ? cli_load(o) : CLI_INPUT;
}

static int load_and_run(struct run *r, struct cli_object *o)
{
	struct bpf_program *prog;
	enum bpf_prog_type type;
	int code;

	cli_progress_on(o->path, r->prog ? r->prog : "loading");
	code = load(r, o, &prog);
	cli_progress_off();
	if (code)
		return code;
	cli_messages_reset();
	ferry_trace_to(keep_trace, r);
	/* BPF_PROG_TEST_RUN repeats only what has a packet. */
	type = bpf_program__type(prog);
	cli_progress_on(o->path, bpf_program__name(prog));
	code = has_test_run(type) && !(has_raw_context(type) && r->repeat > 1) ?
		       run_on_packet(r, bpf_program__fd(prog), type) :
		       run_on_context(r, bpf_program__fd(prog));
	cli_progress_off();
	ferry_trace_to(NULL, NULL);
	if (code)
		return code;
	(r->json ? print_json : print_text)(r, o, bpf_program__name(prog));
	return CLI_OK;
}

/* The object is known to the policy by its file's name up to the first dot. */
static int set_policy(const struct run *r)
{
	const char *base = strrchr(r->file, '/');
	char name[48];
	int err;

	if (!r->policy)
		return CLI_OK;
	base = base ? base + 1 : r->file;
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(base, "."), base);
	ferry_policy_object(name);
	cli_messages_reset();
	err = ferry_policy_load(r->policy);
	return err ? cli_fail_said(CLI_INPUT, r->policy, err) : CLI_OK;
}

static int run_main(int argc, char **argv)
{
	struct run r = { .repeat = 1, .trace = { .limit = 1 << 20 } };
	struct cli_object o = { 0 };
	int code = parse(&r, argc, argv), err;

	if (code)
		return code;
	if (r.data_path) {
		err = cli_read_file(r.data_path, MAX_DATA, &r.data, &r.data_size);
		if (err < 0)
			return cli_fail(CLI_INPUT, "%s: %s", r.data_path, strerror(-err));
	}
	code = cli_modules_load(&r.modules);
	if (!code)
		code = set_policy(&r);
	if (!code)
		code = cli_open(&o, r.file);
	if (!code)
		code = load_and_run(&r, &o);
	if (o.obj)
		cli_close(&o);
	base_free(r.data);
	text_free(&r.trace);
	return code;
}

const struct cli_verb cli_run = { "run", "load an object file and run a program", run_main, help };
