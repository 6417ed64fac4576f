/* SPDX-License-Identifier: MIT */
/* ferry module: what libraries offer to programs, and making modules from headers (module_build.c). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "btf/fbtf.h"
#include "cli/cli.h"
#include "cli/module_build.h"
#include "ferry/ferry.h"
#include "module/module.h"

static const char help[] =
	"Usage: ferry module list|show|check|header [--json] LIB...\n"
	"       ferry module build -o OUT.so --header FILE.h --lib LIB.so [--annotate FILE]\n"
	"                          [--name NAME] [--keep FILE.c] [--include DIR]...\n\n"
	"A module is a shared library whose functions programs may call (--module LIB of the other\n"
	"verbs).\n\n"
	"  list       the modules and how many functions each has\n"
	"  show       every prototype with its annotations, and what it asks of a program\n"
	"  check      are the modules well-formed? Says what is wrong and where\n"
	"  header     C declarations of the functions, for programs to include\n"
	"  build      makes a module of a library's header: integers, floating point, enums and\n"
	"             structs by value need nothing said; a prototype with pointers is left out, with\n"
	"             the reason, unless the file of --annotate has it with annotations\n\n"
	"Options:\n"
	"  --json           list and show: as a JSON array; build: what was left out\n"
	"  -o OUT.so        the module to make\n"
	"  --header FILE.h  the header; may be given several times\n"
	"  --lib LIB.so     the library: its path, or a name that the dynamic linker finds\n"
	"  --annotate FILE  prototypes with annotations, as C, which replace those of the header\n"
	"  --name NAME      of the module; by default from OUT.so\n"
	"  --include DIR    where headers are looked for\n"
	"  --keep FILE.c    keep the C source of the module\n"
	"  --help           this text\n\n"
	"Exit codes: 0 done, 1 failed, 2 usage, 3 bad input file.\n";

static const struct {
	u32 flag;
	const char *name;
} flags[] = {
	{ FERRY_ACQUIRE, "acquire" }, { FERRY_RELEASE, "release" }, { FERRY_RET_NULL, "nullable" },
	{ FERRY_TRUSTED_ARGS, "trusted" }, { FERRY_SLEEPABLE, "sleepable" },
	{ FERRY_DESTRUCTIVE, "destructive" },
};

/* "permission": who may call it beside being granted the module. */
static const char *permission(const struct module_func *f)
{
	return f->flags & FERRY_DESTRUCTIVE ? "needs a grant of its own" :
	       f->flags & FERRY_SLEEPABLE ? "sleepable programs" : "all programs";
}

static void func_text(const struct module_func *f, struct text *out)
{
	size_t i, n = 0;

	text_printf(out, "  %s\n", f->prototype);
	if (strcmp(f->prototype, f->extern_proto))
		text_printf(out, "      programs declare: %s%s%s\n", f->decls, *f->decls ? " " : "", f->extern_proto);
	for (i = 0; i < ARRAY_SIZE(flags); i++)
		if (f->flags & flags[i].flag)
			text_printf(out, "%s%s", n++ ? ", " : "      flags: ", flags[i].name);
	text_puts(out, n ? "\n" : "");
	if (f->flags & (FERRY_DESTRUCTIVE | FERRY_SLEEPABLE))
		text_printf(out, "      may be called by: %s\n", permission(f));
}

static void json_field(struct text *out, const char *name, const char *value, bool last)
{
	text_printf(out, "\"%s\":", name);
	text_json(out, value);
	text_puts(out, last ? "" : ",");
}

static void func_json(const struct module_func *f, struct text *out)
{
	size_t i, n = 0;

	text_puts(out, "{");
	json_field(out, "name", f->name, false);
	json_field(out, "prototype", f->prototype, false);
	json_field(out, "declaration", f->extern_proto, false);
	json_field(out, "types", f->decls, false);
	json_field(out, "permission", permission(f), false);
	text_puts(out, "\"flags\":[");
	for (i = 0; i < ARRAY_SIZE(flags); i++)
		if (f->flags & flags[i].flag) {
			text_puts(out, n++ ? "," : "");
			text_json(out, flags[i].name);
		}
	text_puts(out, "]}");
}

static void module_text(const struct module *m, bool all, struct text *out)
{
	u32 i;

	text_printf(out, "%s%s%s: %u function%s\n", cli_bold(), m->name, cli_plain(), m->nfuncs,
		    m->nfuncs == 1 ? "" : "s");
	for (i = 0; all && i < m->nfuncs; i++)
		func_text(&m->funcs[i], out);
}

static void module_json(const struct module *m, bool all, struct text *out)
{
	u32 i;

	text_puts(out, "{");
	json_field(out, "name", m->name, false);
	text_printf(out, "\"count\":%u", m->nfuncs);
	text_puts(out, all ? ",\"functions\":[" : "");
	for (i = 0; all && i < m->nfuncs; i++) {
		text_puts(out, i ? "," : "");
		func_json(&m->funcs[i], out);
	}
	text_puts(out, all ? "]}" : "}");
}

/* ---- header ------------------------------------------------------------------------------------ */

static void dump_line(void *arg, const char *fmt, va_list ap)
{
	text_vprintf(arg, fmt, ap);
}

/* Types that the module shares with what stands for the kernel. */
static int params_header(struct btf_dump *d, const struct btf_type *proto)
{
	int err = proto->type ? btf_dump__dump_type(d, proto->type) : 0;
	u32 i;

	for (i = 0; !err && i < btf_vlen(proto); i++)
		if (btf_params(proto)[i].type)
			err = btf_dump__dump_type(d, btf_params(proto)[i].type);
	return err;
}

/* The types that the functions use and that are the module's own, each after those it needs. */
static int types_header(const struct module *m, struct text *out)
{
	struct btf_dump *d = btf_dump__new(m->btf, dump_line, out, NULL);
	u32 base = btf__type_cnt(btf__base_btf(m->btf)), id;
	int err = libbpf_get_error(d) ? -ENOMEM : 0;

	for (id = base; !err && id < btf__type_cnt(m->btf); id++) {
		const struct btf_type *t = btf__type_by_id(m->btf, id);

		if (btf_is_composite(t) || btf_is_any_enum(t) || btf_is_fwd(t) || btf_is_typedef(t))
			err = btf_dump__dump_type(d, id);
		else if (btf_is_func_proto(t))
			err = params_header(d, t);
	}
	if (!libbpf_get_error(d))
		btf_dump__free(d);
	return err;
}

static int module_header(const struct module *m, struct text *out)
{
	u32 i;
	int err;

	text_printf(out, "/* Functions of the module %s, for programs (made by `ferry module header'). */\n"
			 "#ifndef FERRY_MODULE_%s_H\n#define FERRY_MODULE_%s_H\n#ifndef __ksym\n"
			 "#define __ksym __attribute__((section(\".ksyms\")))\n#endif\n\n", m->name, m->name, m->name);
	err = types_header(m, out);
	for (i = 0; !err && i < m->nfuncs; i++) {
		const struct module_func *f = &m->funcs[i];

		text_printf(out, "/* %s */\nextern %s __ksym;\n", f->prototype, f->extern_proto);
		/* One that hides the block: C's own way to write a call. */
		if (f->block_reg == 1)
			text_printf(out, "#define %s(...) %s(&(struct %s_args){ __VA_ARGS__ })\n", f->name, f->name,
				    f->name);
	}
	text_puts(out, "\n#endif\n");
	return err ? cli_fail(CLI_REFUSED, "types of module %s: %s", m->name, strerror(-err)) : CLI_OK;
}

/* ---- the verb ---------------------------------------------------------------------------------- */

static int print_all(const char *what, bool json, struct text *out)
{
	bool all = strcmp(what, "list") != 0;
	struct module *m;
	int code = CLI_OK;
	u32 i;

	text_puts(out, json ? "[" : "");
	for (i = 0; !code && (m = module_nth_get(i)); i++) {
		if (!strcmp(what, "header"))
			code = module_header(m, out);
		else if (json) {
			text_puts(out, i ? ",\n " : "");
			module_json(m, all, out);
		} else {
			module_text(m, all, out);
		}
		module_put(m);
	}
	text_puts(out, json ? "]\n" : "");
	return code;
}

static int inspect(int argc, char **argv)
{
	struct cli_modules libs = { .n = 0 };
	struct text out = { 0 };
	bool json = false, check = !strcmp(argv[0], "check");
	int i, code;

	for (i = 1; i < argc; i++) {
		if (!strcmp(argv[i], "--json"))
			json = true;
		else if (argv[i][0] == '-')
			return cli_usage(&cli_module, "%s: unknown option '%s'", argv[0], argv[i]);
		else if (!cli_module_add(&libs, argv[i]))
			return cli_usage(&cli_module, "more than %d modules", CLI_MAX_MODULES);
	}
	if (!libs.n)
		return cli_usage(&cli_module, "%s: name a library", argv[0]);
	code = cli_modules_load(&libs);
	if (!code)
		code = print_all(check ? "list" : argv[0], json, &out);
	fputs(text_str(&out), stdout);
	text_free(&out);
	return code;
}

static int run(int argc, char **argv)
{
	static const char *const views[] = { "list", "show", "check", "header" };
	size_t i;

	if (argc < 2)
		return cli_usage(&cli_module, "say list, show, check, header or build");
	for (i = 0; i < ARRAY_SIZE(views); i++)
		if (!strcmp(argv[1], views[i]))
			return inspect(argc - 1, argv + 1);
	if (!strcmp(argv[1], "build"))
		return cli_module_build(argc - 1, argv + 1);
	return cli_usage(&cli_module, "'%s' is none of list, show, check, header, build", argv[1]);
}

const struct cli_verb cli_module = { "module", "what libraries offer to programs; make modules", run, help };
