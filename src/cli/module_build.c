/* SPDX-License-Identifier: MIT */
/*
 * ferry module build: a module of an existing library. clang preprocesses the header, Ferry's own C parser
 * reads it, each function is tried as a module would be registered, and a C file of the descriptors is compiled
 * and linked to the library.
 */
#include <ctype.h>
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/module_build.h"
#include "ffi/ctype.h"
#include "module/module.h"

#define MAX_ARGS 32

struct func {
	char name[64];
	char *prototype; /* with its annotations */
	bool annotated;
	char *why;       /* it is left out; NULL when it is in */
};

struct build {
	const char *out, *lib, *annotate, *name, *keep;
	const char *headers[MAX_ARGS], *includes[MAX_ARGS];
	int nheaders, nincludes;
	bool json;
	char dir[64];
	void *dl;
	struct ctypes *cs;
	struct text types;
	struct func *funcs;
	size_t nfuncs, cap;
};

/* ---- programs ---------------------------------------------------------------------------------- */

static int run_program(const char *const *argv)
{
	int status = 0;
	pid_t pid = fork();

	if (!pid) {
		execvp(argv[0], (char *const *)(uintptr_t)argv);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return cli_fail(CLI_REFUSED, "cannot start %s: %s", argv[0], strerror(errno));
	if (WIFEXITED(status) && !WEXITSTATUS(status))
		return CLI_OK;
	return cli_fail(CLI_REFUSED, WIFEXITED(status) && WEXITSTATUS(status) == 127 ?
			"%s is not installed" : "%s failed", argv[0]);
}

static int write_file(const char *path, const struct text *t)
{
	FILE *f = fopen(path, "we");
	bool ok = f && fwrite(text_str(t), 1, t->len, f) == t->len;

	ok = f && !fclose(f) && ok && !t->oom;
	return ok ? CLI_OK : cli_fail(CLI_REFUSED, "cannot write %s: %s", path, strerror(errno));
}

static int preprocess(struct build *b, char **out)
{
	char source[96], result[96], flags[MAX_ARGS][512];
	const char *argv[MAX_ARGS + 12] = { "clang", "-E", "-P", "-xc", source, "-o", result };
	struct text t = { 0 };
	size_t size;
	void *data;
	int i, n = 7, code;

	snprintf(source, sizeof(source), "%s/in.c", b->dir);
	snprintf(result, sizeof(result), "%s/in.i", b->dir);
	for (i = 0; i < b->nincludes; i++) {
		snprintf(flags[i], sizeof(flags[i]), "-I%s", b->includes[i]);
		argv[n++] = flags[i];
	}
	for (i = 0; i < b->nheaders; i++) {
		char *full = realpath(b->headers[i], NULL);

		text_printf(&t, full ? "#include \"%s\"\n" : "#include <%s>\n", full ? full : b->headers[i]);
		free(full);
	}
	code = write_file(source, &t);
	text_free(&t);
	code = code ? code : run_program(argv);
	if (code)
		return code;
	if (cli_read_file(result, 64u << 20, &data, &size) < 0)
		return cli_fail(CLI_REFUSED, "clang wrote nothing");
	text_add(&t, data, size);
	base_free(data);
	*out = t.s;
	return t.oom ? cli_fail(CLI_REFUSED, "out of memory") : CLI_OK;
}

/* ---- functions --------------------------------------------------------------------------------- */

static struct func *find(struct build *b, const char *name)
{
	size_t i;

	for (i = 0; i < b->nfuncs; i++)
		if (!strcmp(b->funcs[i].name, name))
			return &b->funcs[i];
	return NULL;
}

static int add(struct build *b, const char *name, const char *decl, bool annotated)
{
	struct func *f = find(b, name), *grown;

	if (!f) {
		grown = base_grow(b->funcs, &b->cap, b->nfuncs + 1, sizeof(*grown));
		if (!grown)
			return -ENOMEM;
		b->funcs = grown;
		f = &grown[b->nfuncs++];
		memset(f, 0, sizeof(*f));
		snprintf(f->name, sizeof(f->name), "%s", name);
	}
	base_free(f->prototype);
	f->prototype = base_strdup(decl);
	f->annotated = annotated;
	return f->prototype ? 0 : -ENOMEM;
}

/* By the library itself, not by one that it uses. */
static bool exported(const struct build *b, const char *name)
{
	const void *at = dlsym(b->dl, name);
	struct link_map *map = NULL;
	Dl_info info;

	return at && dladdr(at, &info) && !dlinfo(b->dl, RTLD_DI_LINKMAP, &map) &&
	       info.dli_fname && !strcmp(info.dli_fname, map->l_name);
}

/*
 * One space where there were several, and parameters as `owner' that system headers call `__owner', which
 * would be an annotation.
 */
static void plain_names(const char *s, struct text *out)
{
	bool space = false;
	size_t len;

	text_reset(out);
	for (; *s; s += len) {
		for (len = 0; s[len] == '_' || isalnum((unsigned char)s[len]);)
			len++;
		if (!len && isspace((unsigned char)*s)) {
			space = out->len > 0;
			len = 1;
			continue;
		}
		if (len && !strncmp(s, "__", 2) && out->len && !strchr("(,", text_str(out)[out->len - 1]) &&
		    strchr(",)[", s[len + strspn(s + len, " \t\n")])) {
			text_puts(out, space ? " " : "");
			text_add(out, s + strspn(s, "_"), len - strspn(s, "_"));
		} else {
			text_puts(out, space && (len || !strchr("(),[]", *s)) ? " " : "");
			len = len ? len : 1;
			text_add(out, s, len);
		}
		space = false;
	}
}

/* A declaration of the header: types are kept for those behind, functions noted, variables passed over. */
static int header_decl(void *arg, const char *decl)
{
	struct build *b = arg;
	const struct ctype *func;
	struct text one = { 0 };
	const char *name;
	int err;

	text_printf(&one, "%s;", decl);
	err = one.oom ? -ENOMEM : ctypes_declare(b->cs, text_str(&one), NULL);
	if (!err)
		text_printf(&b->types, "%s\n", text_str(&one));
	else if (err == -EINVAL) {
		err = ctypes_prototype(b->cs, decl, &func, &name, NULL);
		/* Headers include others: only what the library has is of interest. */
		if (!err && strlen(name) < sizeof(b->funcs->name) && exported(b, name)) {
			plain_names(decl, &one);
			err = one.oom ? -ENOMEM : add(b, name, text_str(&one), false);
		}
	}
	text_free(&one);
	return err == -EINVAL ? 0 : err;
}

static int annotated_decl(void *arg, const char *decl)
{
	char name[64];

	cli_declared_name(decl, name, sizeof(name));
	return *name ? add(arg, name, decl, true) : -EINVAL;
}

static bool has_pointer(const struct ctype *t)
{
	u32 i;

	t = ctype_strip(t);
	if (t->kind == CTYPE_POINTER || t->kind == CTYPE_FUNC)
		return true;
	for (i = 0; t->kind == CTYPE_FUNC && i < t->count; i++)
		if (has_pointer(t->params[i].type))
			return true;
	return false;
}

/* Pointers that nobody described may be to one thing or to many, and somebody may free them. */
static bool says_too_little(struct build *b, const struct func *f)
{
	const struct ctype *func;
	const char *name;
	u32 i;

	if (f->annotated || ctypes_prototype(b->cs, f->prototype, &func, &name, NULL))
		return false;
	for (i = 0; i < func->count; i++)
		if (has_pointer(func->params[i].type))
			return true;
	return func->variadic || has_pointer(func->to);
}

/* Would it register, alone? */
static int try_func(struct build *b, struct func *f)
{
	struct ferry_func one = { f->prototype, (void (*)(void))(uintptr_t)dlsym(b->dl, f->name), 0 };
	struct ferry_module def = { sizeof(def), "ferry_module_build", text_str(&b->types), &one, 1 };
	struct text why = { 0 };
	int err;

	if (!exported(b, f->name))
		text_puts(&why, "the library does not export it");
	else if (says_too_little(b, f))
		text_puts(&why, "it has pointers: what they point to, and whose it is, has to be said in "
				"the file of --annotate");
	else if (!(err = module_register(&def, NULL, &why)))
		module_unregister(def.name);
	else if (err == -ENOMEM)
		return -ENOMEM;
	f->why = why.len ? base_strdup(text_str(&why)) : NULL;
	err = why.oom || (why.len && !f->why) ? -ENOMEM : 0;
	text_free(&why);
	return err;
}

static int choose(struct build *b)
{
	size_t i, in = 0;

	for (i = 0; i < b->nfuncs; i++) {
		struct func *f = &b->funcs[i];

		if (try_func(b, f))
			return cli_fail(CLI_REFUSED, "out of memory");
		if (f->annotated && f->why)
			return cli_fail(CLI_INPUT, "%s: %s: %s", b->annotate, f->name, f->why);
		in += !f->why;
	}
	return in ? CLI_OK : cli_fail(CLI_REFUSED, "no function of the header can be opened to programs as it is; "
						  "describe some with --annotate");
}

/* ---- writing ----------------------------------------------------------------------------------- */

/* A C string over several lines. */
static void literal(struct text *out, const char *s)
{
	text_puts(out, "\"");
	for (; *s; s++) {
		if (*s == '\n')
			text_puts(out, "\\n\"\n\"");
		else if (*s == '"' || *s == '\\')
			text_printf(out, "\\%c", *s);
		else
			text_add(out, s, 1);
	}
	text_puts(out, "\"");
}

/* Compiles without Ferry's headers: ferry/module.h says what the two structs are. */
static void source(struct build *b, struct text *out)
{
	size_t i, n = 0;

	text_puts(out, "/* Made by `ferry module build'. */\n#include <stddef.h>\n"
		       "struct ferry_func { const char *prototype; void (*fn)(void); unsigned flags; };\n"
		       "struct ferry_module { size_t sz; const char *name, *types; const struct ferry_func *funcs; "
		       "size_t nfuncs; };\n");
	for (i = 0; i < b->nfuncs; i++)
		if (!b->funcs[i].why)
			text_printf(out, "extern void %s(void);\n", b->funcs[i].name);
	text_puts(out, "static const struct ferry_func funcs[] = {\n");
	for (i = 0; i < b->nfuncs; i++) {
		if (b->funcs[i].why)
			continue;
		text_puts(out, "\t{ ");
		literal(out, b->funcs[i].prototype);
		text_printf(out, ", %s, 0 },\n", b->funcs[i].name);
		n++;
	}
	text_printf(out, "};\nconst struct ferry_module ferry_module = {\n\tsizeof(struct ferry_module), \"%s\",\n",
		    b->name);
	literal(out, text_str(&b->types));
	text_printf(out, ",\n\tfuncs, %zu\n};\n", n);
}

static int compile(struct build *b)
{
	char path[96];
	const char *argv[] = { "cc", "-shared", "-fPIC", "-w", "-fno-builtin", "-O1", "-o", b->out, path,
			       "-Wl,--no-as-needed", NULL, NULL };
	struct text t = { 0 }, lib = { 0 };
	int code;

	snprintf(path, sizeof(path), "%s/module.c", b->dir);
	source(b, &t);
	code = write_file(path, &t);
	if (!code && b->keep)
		code = write_file(b->keep, &t);
	text_printf(&lib, strchr(b->lib, '/') ? "%s" : "-l:%s", b->lib);
	argv[10] = text_str(&lib);
	code = code ? code : run_program(argv);
	text_free(&lib);
	text_free(&t);
	return code;
}

static void report(const struct build *b)
{
	struct text t = { 0 };
	size_t i, n = 0, in = 0;

	for (i = 0; i < b->nfuncs; i++)
		in += !b->funcs[i].why;
	if (b->json)
		text_printf(&t, "{\"module\":\"%s\",\"functions\":%zu,\"left_out\":[", b->name, in);
	else
		text_printf(&t, "%s: module %s with %zu function%s, %zu left out\n", b->out, b->name, in,
			    in == 1 ? "" : "s", b->nfuncs - in);
	for (i = 0; i < b->nfuncs; i++) {
		if (!b->funcs[i].why)
			continue;
		if (!b->json) {
			text_printf(&t, "  %s: %s\n", b->funcs[i].name, b->funcs[i].why);
			continue;
		}
		text_printf(&t, "%s{\"name\":\"%s\",\"why\":", n++ ? ",\n " : "", b->funcs[i].name);
		text_json(&t, b->funcs[i].why);
		text_puts(&t, "}");
	}
	text_puts(&t, b->json ? "]}\n" : "");
	fputs(text_str(&t), stdout);
	text_free(&t);
}

/* ---- the verb ---------------------------------------------------------------------------------- */

static int read_all(struct build *b)
{
	char *text = NULL;
	void *data = NULL;
	struct text t = { 0 };
	size_t size;
	int code = preprocess(b, &text), err;

	if (code)
		return code;
	err = cli_declarations(text, header_decl, b);
	base_free(text);
	if (!err && b->annotate) {
		if (cli_read_file(b->annotate, 16u << 20, &data, &size) < 0)
			return cli_fail(CLI_INPUT, "cannot read %s", b->annotate);
		text_add(&t, data, size);
		base_free(data);
		err = cli_declarations(text_str(&t), annotated_decl, b);
		text_free(&t);
		if (err == -EINVAL)
			return cli_fail(CLI_INPUT, "%s: not a list of prototypes, each with a semicolon", b->annotate);
	}
	return err ? cli_fail(CLI_REFUSED, "out of memory") : CLI_OK;
}

static int build_all(struct build *b)
{
	int code;

	b->dl = dlopen(b->lib, RTLD_LAZY | RTLD_LOCAL);
	if (!b->dl)
		return cli_fail(CLI_INPUT, "%s", dlerror());
	if (ctypes_new(&b->cs))
		return cli_fail(CLI_REFUSED, "out of memory");
	code = read_all(b);
	code = code ? code : choose(b);
	cli_progress_on(b->out, "compiling");
	code = code ? code : compile(b);
	cli_progress_off();
	if (!code)
		report(b);
	return code;
}

static void build_free(struct build *b)
{
	static const char *const files[] = { "in.c", "in.i", "module.c" };
	char path[96];
	size_t i;

	for (i = 0; i < b->nfuncs; i++) {
		base_free(b->funcs[i].prototype);
		base_free(b->funcs[i].why);
	}
	base_free(b->funcs);
	ctypes_free(b->cs);
	text_free(&b->types);
	for (i = 0; i < ARRAY_SIZE(files); i++) {
		snprintf(path, sizeof(path), "%s/%s", b->dir, files[i]);
		unlink(path);
	}
	rmdir(b->dir);
}

/* zlib.ferry.so gives zlib. */
static void default_name(const char *out, char name[56])
{
	const char *base = strrchr(out, '/');

	base = base ? base + 1 : out;
	snprintf(name, 56, "%.*s", (int)strcspn(base, ".-"), base);
}

static int option(struct build *b, const char *o, const char *value)
{
	if (!strcmp(o, "-o"))
		b->out = value;
	else if (!strcmp(o, "--lib"))
		b->lib = value;
	else if (!strcmp(o, "--annotate"))
		b->annotate = value;
	else if (!strcmp(o, "--name"))
		b->name = value;
	else if (!strcmp(o, "--keep"))
		b->keep = value;
	else if (!strcmp(o, "--header") && b->nheaders < MAX_ARGS)
		b->headers[b->nheaders++] = value;
	else if (!strcmp(o, "--include") && b->nincludes < MAX_ARGS)
		b->includes[b->nincludes++] = value;
	else
		return cli_usage(&cli_module, "build: unknown option '%s', or too many of it", o);
	return CLI_OK;
}

int cli_module_build(int argc, char **argv)
{
	struct build b = { .dir = "/tmp/ferry-module-XXXXXX" };
	char name[56];
	int i, code = CLI_OK;

	for (i = 1; i < argc && !code; i++) {
		if (!strcmp(argv[i], "--json"))
			b.json = true;
		else if (i + 1 == argc)
			return cli_usage(&cli_module, "build: '%s' needs a value", argv[i]);
		else
			code = option(&b, argv[i], argv[i + 1]), i++;
	}
	if (code)
		return code;
	if (!b.out || !b.lib || !b.nheaders)
		return cli_usage(&cli_module, "build: needs -o, --header and --lib");
	default_name(b.out, name);
	b.name = b.name ? b.name : name;
	if (!mkdtemp(b.dir))
		return cli_fail(CLI_REFUSED, "cannot make a directory in /tmp: %s", strerror(errno));
	code = build_all(&b);
	build_free(&b);
	return code;
}
