/* SPDX-License-Identifier: MIT */
/* Opening object files, picking programs, loading modules, collecting messages. */
#include <bpf/btf.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "btf/fbtf.h"
#include "cli/cli.h"
#include "ferry/ferry.h"

static struct text messages = { .limit = 64 << 10 };

static int keep_libbpf(enum libbpf_print_level level, const char *fmt, va_list ap)
{
	if (level == LIBBPF_DEBUG)
		return 0;
	text_vprintf(&messages, fmt, ap);
	return 0;
}

static void keep_ferry(void *arg, int level, const char *msg)
{
	(void)arg;
	size_t n = strlen(msg);
	const char *at;

	if (level > FERRY_LOG_INFO)
		return;
	/* libbpf loads a second time to have the log: what was said then has been said. */
	for (at = strstr(text_str(&messages), msg); at; at = strstr(at + 1, msg))
		if ((at == text_str(&messages) || at[-1] == '\n') && at[n] == '\n')
			return;
	text_printf(&messages, "%s\n", msg);
}

const char *cli_messages(void)
{
	return text_str(&messages);
}

int cli_fail_said(int code, const char *what, int err)
{
	const char *said = cli_messages();
	size_t n = strlen(what);

	if (!strncmp(said, what, n) && (said[n] == ':' || said[n] == ' '))
		said += n + 1 + (said[n] == ':' && said[n + 1] == ' ');
	return cli_fail(code, "%s: %s", what, *said ? said : strerror(-err));
}

void cli_messages_reset(void)
{
	text_reset(&messages);
}

/* What kind of file is it? A line that says what is wrong, or NULL. */
static const char *bad_elf(const void *data, size_t size)
{
	const Elf64_Ehdr *e = data;

	if (size < 4 || memcmp(e->e_ident, ELFMAG, SELFMAG))
		return "not an ELF file; expected an object made by 'clang -target bpf -g -O2 -c'";
	if (size < sizeof(*e))
		return "cut off inside the ELF header";
	if (e->e_ident[EI_CLASS] != ELFCLASS64)
		return "a 32-bit ELF file; BPF objects are 64-bit";
	if (e->e_ident[EI_DATA] != ELFDATA2LSB)
		return "big-endian; this machine is little-endian: compile with '-target bpfel'";
	if (e->e_machine != EM_BPF)
		return "an ELF file for another machine; compile with 'clang -target bpf'";
	if (e->e_type != ET_REL)
		return "linked; expected a relocatable object ('clang -c')";
	if (e->e_shoff > size || (size_t)e->e_shnum * sizeof(Elf64_Shdr) > size - e->e_shoff)
		return "cut off: its section headers lie behind its end";
	return NULL;
}

/*
 * libbpf trusts the type ids of an object's BTF; ours to refuse what would lead it astray. NULL, or
 * what is wrong, kept until the next call.
 */
static const char *bad_btf(const void *data, size_t size)
{
	static struct text why;
	const Elf64_Ehdr *e = data;
	const Elf64_Shdr *sh = (const Elf64_Shdr *)((const char *)data + e->e_shoff), *names;
	size_t i;

	text_reset(&why);
	if (e->e_shentsize != sizeof(*sh) || e->e_shstrndx >= e->e_shnum || e->e_shoff % 8)
		return "its section headers make no sense";
	names = &sh[e->e_shstrndx];
	for (i = 0; i < e->e_shnum; i++) {
		if (sh[i].sh_type == SHT_NOBITS)
			continue;
		if (sh[i].sh_offset > size || sh[i].sh_size > size - sh[i].sh_offset)
			return "cut off: a section lies behind its end";
	}
	for (i = 0; i < e->e_shnum; i++) {
		const char *name = (const char *)data + names->sh_offset + sh[i].sh_name;

		if (sh[i].sh_name >= names->sh_size || names->sh_size - sh[i].sh_name < 5 ||
		    memcmp(name, ".BTF", 5))
			continue;
		if (sh[i].sh_size > UINT32_MAX || sh[i].sh_type == SHT_NOBITS ||
		    fbtf_check_object((const char *)data + sh[i].sh_offset, (u32)sh[i].sh_size, &why) < 0)
			return why.len ? text_str(&why) : "its BTF is damaged";
	}
	return NULL;
}

int cli_read_file(const char *path, size_t limit, void **data, size_t *size)
{
	bool is_stdin = !strcmp(path, "-");
	int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC), err = 0;
	size_t cap = 0, len = 0;
	char *buf = NULL, *p;
	ssize_t n;

	if (fd < 0)
		return -errno;
	for (;;) {
		p = base_grow(buf, &cap, len + 4096, 1);
		if (!p) {
			err = -ENOMEM;
			break;
		}
		buf = p;
		n = read(fd, buf + len, cap - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			err = -errno;
		if (n <= 0)
			break;
		len += (size_t)n;
		if (len > limit) {
			err = -EFBIG;
			break;
		}
	}
	if (!is_stdin)
		close(fd);
	if (err) {
		base_free(buf);
		return err;
	}
	*data = buf;
	*size = len;
	return 0;
}

int cli_open(struct cli_object *o, const char *path)
{
	LIBBPF_OPTS(bpf_object_open_opts, opts);
	const char *bad;
	void *data;
	size_t size;
	int err;

	memset(o, 0, sizeof(*o));
	o->path = path;
	libbpf_set_print(keep_libbpf);
	ferry_log_to(keep_ferry, NULL);
	cli_messages_reset();
	err = cli_read_file(path, 256 << 20, &data, &size);
	if (err < 0)
		return cli_fail(CLI_INPUT, "%s: %s", path, strerror(-err));
	bad = bad_elf(data, size);
	bad = bad ? bad : bad_btf(data, size);
	if (bad) {
		base_free(data);
		return cli_fail(CLI_INPUT, "%s: %s", path, bad);
	}
	/* Named after the file, as bpf_object__open_file does: the names of .rodata & co follow. */
	char name[BPF_OBJ_NAME_LEN] = "";
	const char *slash = strrchr(path, '/');
	size_t i;

	snprintf(name, sizeof(name), "%.15s", slash ? slash + 1 : path);
	name[strcspn(name, ".")] = '\0';
	for (i = 0; name[i]; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_", name[i]))
			name[i] = '_';
	opts.object_name = *name ? name : "stdin";
	o->obj = bpf_object__open_mem(data, size, &opts);
	err = o->obj ? 0 : errno;
	base_free(data);
	if (!o->obj)
		return cli_fail(CLI_INPUT, "%s: libbpf cannot open it: %s\n%s", path,
				strstr(cli_messages(), "BTF is required") ? "it has no BTF; compile with 'clang -g'" :
									    strerror(err),
				cli_messages());
	return CLI_OK;
}

void cli_close(struct cli_object *o)
{
	bpf_object__close(o->obj);
	o->obj = NULL;
}

struct bpf_program *cli_pick(const struct cli_object *o, const char *name)
{
	struct bpf_program *prog, *found = NULL;
	struct text names = { 0 };
	int n = 0;

	bpf_object__for_each_program(prog, o->obj) {
		text_printf(&names, "%s%s", n++ ? ", " : "", bpf_program__name(prog));
		if (!name || !strcmp(name, bpf_program__name(prog)))
			found = found && !name ? found : prog;
	}
	if (!n)
		cli_fail(CLI_INPUT, "%s: holds no program; give functions a SEC(\"...\")", o->path);
	else if (name && !found)
		cli_fail(CLI_INPUT, "%s: has no program '%s', but: %s", o->path, name, text_str(&names));
	else if (!name && n > 1) {
		cli_fail(CLI_USAGE, "%s: has %d programs, choose one with --prog: %s", o->path, n,
			 text_str(&names));
		found = NULL;
	}
	text_free(&names);
	return found;
}

bool cli_module_add(struct cli_modules *m, char *path)
{
	if (m->n == CLI_MAX_MODULES)
		return false;
	m->paths[m->n++] = path;
	return true;
}

/* A name without a slash is that of a file here, if there is one; otherwise the dynamic linker looks for it. */
static int load_module(const char *path)
{
	char here[PATH_MAX];

	if (!strchr(path, '/') && !access(path, F_OK) && snprintf(here, sizeof(here), "./%s", path) < (int)sizeof(here))
		path = here;
	return ferry_module_load(path);
}

int cli_modules_load(const struct cli_modules *m)
{
	int i, err;

	ferry_log_to(keep_ferry, NULL);
	for (i = 0; i < m->n; i++) {
		cli_messages_reset();
		err = load_module(m->paths[i]);
		if (err < 0)
			return cli_fail_said(CLI_INPUT, m->paths[i], err);
	}
	return CLI_OK;
}

bool cli_number(const char *s, u64 min, u64 max, u64 *out)
{
	u64 v = 0, unit = 1;
	size_t n = strlen(s), i;

	if (n && (s[n - 1] == 'k' || s[n - 1] == 'm'))
		unit = s[--n] == 'k' ? 1000 : 1000000;
	if (!n)
		return false;
	for (i = 0; i < n; i++) {
		if (s[i] < '0' || s[i] > '9' || __builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (u64)(s[i] - '0'), &v))
			return false;
	}
	if (__builtin_mul_overflow(v, unit, &v) || v < min || v > max)
		return false;
	*out = v;
	return true;
}

const char *cli_tail(const char *log, int lines)
{
	const char *p = log + strlen(log);

	if (p > log)
		p--;
	for (; p > log; p--)
		if (p[-1] == '\n' && !--lines)
			break;
	return p;
}

/*
 * Native functions that the object wants and nobody registered, a line each: how many. From the file's own
 * BTF, since libbpf rewrites externs in the copy it opened.
 */
static int missing_natives(const struct cli_object *o, struct text *why)
{
	struct btf *btf = btf__parse_elf(o->path, NULL);
	u32 id, n = btf ? btf__type_cnt(btf) : 0;
	char line[512];
	int missing = 0;

	for (id = 1; id < n; id++) {
		const struct btf_type *t = btf__type_by_id(btf, id);
		const char *name = btf__name_by_offset(btf, t->name_off);

		if (!btf_is_func(t) || btf_vlen(t) != BTF_FUNC_EXTERN || !name)
			continue;
		if (ferry_explain_ksym(name, line, sizeof(line)) == 0) {
			text_printf(why, "%s  %s", missing ? "\n" : "", line);
			missing++;
		}
	}
	btf__free(btf);
	return missing;
}

int cli_load(struct cli_object *o)
{
	int err = bpf_object__load(o->obj), missing;
	struct text why = { 0 };

	if (!err)
		return CLI_OK;
	missing = missing_natives(o, &why);
	if (missing)
		cli_fail(CLI_REFUSED, "%s: not loaded: it calls what is not registered (--module LIB brings functions)\n%s",
			 o->path, text_str(&why));
	else
		cli_fail(CLI_REFUSED, "%s: not loaded: %s\n%s'ferry verify --log 1' shows the whole log", o->path,
			 strerror(-err), cli_tail(cli_messages(), 24));
	text_free(&why);
	return CLI_REFUSED;
}
