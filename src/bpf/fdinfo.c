/* SPDX-License-Identifier: MIT */
/* What /proc/self/fdinfo says of an object: the kernel's lines behind those of every file. */
#include <ctype.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpf/event/iter.h"
#include "bpf/session/remote_int.h"
#include "bpf/sys_int.h"

/* "/proc/self/fdinfo/N", also by number of the process or thread: N, or -1. */
static int fd_of(const char *path)
{
	char who[16] = "", rest[16] = "", *end;
	long fd;

	if (sscanf(path, "/proc/%15[^/]/fdinfo/%15[0-9]", who, rest) != 2)
		return -1;
	if (strcmp(who, "self") && strcmp(who, "thread-self") &&
	    atoi(who) != (sys_remote ? sys_remote_process() : getpid()))
		return -1;
	end = strrchr(path, '/') + 1;
	if (strcmp(end, rest))
		return -1;
	fd = strtol(rest, NULL, 10);
	return fd < 1 << 24 ? (int)fd : -1;
}

static void common(const char *path, int number, struct text *t)
{
	char buf[512], *flags;
	ssize_t n;
	int fd;

	if (sys_remote) { /* whose "self" is another */
		snprintf(buf, sizeof(buf), "/proc/%d/fdinfo/%d", sys_remote_process(), number);
		path = buf;
	}
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	buf[n < 0 ? 0 : n] = '\0';
	flags = strstr(buf, "\nlock:"); /* Ferry's own (held.c) */
	if (flags)
		flags[1] = '\0';
	flags = strstr(buf, "\nflags:");
	if (!flags || !strchr(flags + 1, '\n')) {
		text_puts(t, buf);
		return;
	}
	/* A memfd allows large offsets, an object has none (O_LARGEFILE, which libc has as 0). */
	text_add(t, buf, (size_t)(flags - buf));
	text_printf(t, "\nflags:\t0%lo%s", strtoul(flags + 8, NULL, 8) & ~0100000ul, strchr(flags + 1, '\n'));
}

/*
 * What readlink(2) says of /proc/self/fd/N in the kernel; NULL: whatever is there. (A link's is bpf_link to who made it,
 * bpf-link to who got it by name or number, where tools look.)
 */
const char *sys_fd_link(const char *path)
{
	static const char *const names[] = { [SYS_MAP] = "anon_inode:bpf-map", [SYS_PROG] = "anon_inode:bpf-prog",
					     [SYS_BTF] = "anon_inode:btf", [SYS_LINK] = "anon_inode:bpf-link",
					     [SYS_PERF] = "anon_inode:[perf_event]",
					     [SYS_EVENT] = "anon_inode:[perf_event]" };
	const char *name = NULL;
	struct sys_obj *o;
	char *end;
	long fd;

	if (!sys_objects || strncmp(path, "/proc/self/fd/", 14) || !isdigit((unsigned char)path[14]))
		return NULL;
	fd = strtol(path + 14, &end, 10);
	if (*end || fd >= 1 << 24)
		return NULL;
	o = sys_fd_get((int)fd, 0);
	if (o && o->kind < ARRAY_SIZE(names))
		name = names[o->kind];
	sys_put(o);
	return name;
}

/* The same of another process's, whose descriptor is a file of ours by what the link says: `text`, of n bytes. */
const char *sys_fd_link_of(const char *path, const char *text, size_t n)
{
	static const struct {
		const char *file, *name;
	} files[] = { { "bpf-map:", "anon_inode:bpf-map" }, { "bpf-prog ", "anon_inode:bpf-prog" },
		      { "bpf-link ", "anon_inode:bpf-link" }, { "bpf-btf ", "anon_inode:btf" },
		      { "ferry-event ", "anon_inode:[perf_event]" }, { "ferry-perf ", "anon_inode:[perf_event]" } };
	int pid, fd, end = 0, own;
	size_t i, len;

	if (n < 7 || memcmp(text, "/memfd:", 7) || sscanf(path, "/proc/%d/fd/%d%n", &pid, &fd, &end) != 2 || path[end])
		return NULL;
	own = sys_fd_own_from(pid);
	if (own > 0 && fd >= own) /* the objects' own, which a kernel has not in a process */
		return NULL;
	for (i = 0; i < ARRAY_SIZE(files); i++) {
		len = strlen(files[i].file);
		if (n - 7 >= len && !memcmp(text + 7, files[i].file, len))
			return files[i].name;
	}
	return NULL;
}

static void map_lines(const struct sys_map *sm, struct text *t)
{
	const struct map_attr *a = &sm->map->attr;
	u32 owner = sm->owner;

	text_printf(t,
		    "map_type:\t%u\nkey_size:\t%u\nvalue_size:\t%u\nmax_entries:\t%u\n"
		    "map_flags:\t0x%x\nmap_extra:\t0x%llx\nmemlock:\t%zu\nmap_id:\t%u\nfrozen:\t%u\n",
		    a->type, a->key_size, a->value_size, a->max_entries, a->flags,
		    (unsigned long long)a->extra, sm->map->mem_size, sm->o.id, (u32)map_is_frozen(sm->map));
	if (owner)
		text_printf(t, "owner_prog_type:\t%u\nowner_jited:\t%u\n", (owner - 1) % 65536,
			    owner > 65536);
}

static void tag_text(const u8 tag[BPF_TAG_SIZE], char out[17])
{
	u32 i;

	for (i = 0; i < BPF_TAG_SIZE; i++)
		snprintf(out + 2 * i, 3, "%02x", tag[i]);
}

static void prog_lines(const struct sys_prog *sp, struct text *t)
{
	const struct prog *p = sp->p;
	char tag[17];

	tag_text(sp->tag, tag);
	text_printf(t,
		    "prog_type:\t%u\nprog_jited:\t%u\nprog_tag:\t%s\nmemlock:\t%zu\nprog_id:\t%u\n"
		    "run_time_ns:\t%llu\nrun_cnt:\t%llu\nrecursion_misses:\t%llu\n"
		    "verified_insns:\t%u\n",
		    p->type, sp->jited, tag,
		    ALIGN_UP(p->insn_cnt * sizeof(struct bpf_insn), (size_t)4096), sp->o.id,
		    (unsigned long long)p->run_ns, (unsigned long long)p->run_cnt,
		    (unsigned long long)p->recursion_misses, p->verified_insns);
}

/* bpf_iter_task_show_fdinfo() */
static void iter_task_line(const struct iter_what *what, struct text *t)
{
	if (what->tid)
		text_printf(t, "task_type:\ttid\ntid:\t%u\n", what->tid);
	else if (what->tgid)
		text_printf(t, "task_type:\ttgid\npid:\t%u\n", what->tgid);
	else
		text_puts(t, "task_type:\tall\n");
}

static void link_lines(const struct sys_link *l, struct text *t)
{
	char tag[17];

	text_printf(t, "link_type:\t%s\nlink_id:\t%u\n", sys_link_type_name(l->type), l->o.id);
	if (l->ops)
		text_printf(t, "map_id:\t%u\n", l->ops->o.id);
	if (!l->prog)
		return;
	tag_text(l->prog->tag, tag);
	text_printf(t, "prog_tag:\t%s\nprog_id:\t%u\n", tag, l->prog->o.id);
	if (l->type == BPF_LINK_TYPE_RAW_TRACEPOINT)
		text_printf(t, "tp_name:\t%s\n", l->name);
	if (l->type == BPF_LINK_TYPE_TRACING)
		text_printf(t, "attach_type:\t%u\ntarget_obj_id:\t%u\ntarget_btf_id:\t%u\n", l->attach_type,
			    l->prog->attach_btf ? l->prog->attach_btf->o.id : 0, l->prog->attach_btf_id);
	if (!l->iter)
		return;
	text_printf(t, "target_name:\t%s\n", l->iter->target->name);
	if (l->iter->map)
		text_printf(t, "map_id:\t%u\n", l->iter->map->o.id);
	if (l->iter->target->of_tasks)
		iter_task_line(l->iter, t);
}

void *sys_fdinfo(const char *path, u32 *size)
{
	int fd = fd_of(path);
	struct text t = { 0 };
	struct sys_obj *o;

	if (fd < 0 || !sys_objects)
		return NULL;
	o = sys_fd_get(fd, 0);
	if (!o)
		return NULL;
	common(path, fd, &t);
	switch (o->kind) {
	case SYS_MAP: map_lines(container_of(o, struct sys_map, o), &t); break;
	case SYS_PROG: prog_lines(container_of(o, struct sys_prog, o), &t); break;
	case SYS_LINK: link_lines(container_of(o, struct sys_link, o), &t); break;
	case SYS_BTF: text_printf(&t, "btf_id:\t%u\n", o->id); break;
	}
	sys_put(o);
	if (t.oom) {
		text_free(&t);
		return NULL;
	}
	*size = t.len;
	return t.s;
}
