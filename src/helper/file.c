/* SPDX-License-Identifier: MIT */
/* Files and memory of processes as programs see them. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <unistd.h>

#include "code/code.h"
#include "helper/helper_int.h"
#include "helper/shown.h"

#define DELETED   " (deleted)"
#define MAX_NAME  256  /* of a part of a path: NAME_MAX and a zero */
#define MAX_PARTS 2050 /* of a path of PATH_MAX */

/* ---- names ---------------------------------------------------------------------------------- */

static u32 count_parts(const char *path, size_t len)
{
	u32 n = 1;

	for (size_t i = 0; i < len; i++)
		n += path[i] == '/';
	return n;
}

static char *name_dentry(struct dentry *d, char *names, const char *name, size_t len)
{
	memcpy(names, name, len);
	names[len] = '\0';
	d->d_name.name = (const unsigned char *)names;
	d->d_name.len = (u32)len;
	memcpy(d->d_iname, name, len < sizeof(d->d_iname) ? len : sizeof(d->d_iname) - 1);
	return names + len + 1;
}

/*
 * "/a/b" is b in a in /, which is its own parent. So is what is no path ("pipe:[1]"), under its whole name. Each
 * part's name takes a byte more than in the path, and each has a slash in front.
 */
static void fill_dentries(struct helper_shown *s, char *names, const char *path, size_t len)
{
	struct dentry *d = s->dentries;
	size_t from;

	for (; path[0] == '/' && len > 1; len = from - 1) {
		for (from = len; path[from - 1] != '/'; from--)
			;
		if (from == len)
			continue;
		names = name_dentry(d, names, path + from, len - from);
		d->d_parent = d + 1;
		d++;
	}
	name_dentry(d, names, path, path[0] == '/' ? 1 : len);
	d->d_parent = d;
	s->mnt.mnt_root = d;
	for (; d >= s->dentries; d--)
		d->d_sb = &s->super;
	s->dentries[0].d_inode = &s->inode;
}

/* All in one piece, its pointers set; what files are is the caller's to fill in. */
static struct helper_shown *new_shown(const char *path, size_t len)
{
	u32 parts = count_parts(path, len);
	struct helper_shown *s = base_alloc(sizeof(*s) + parts * sizeof(s->dentries[0]) + len + parts + 1);

	if (!s)
		return NULL;
	fill_dentries(s, (char *)&s->dentries[parts], path, len);
	s->file.f_path.mnt = &s->mnt;
	s->file.f_path.dentry = s->dentries;
	s->file.f_inode = &s->inode;
	s->file.f_count.counter = 1;
	s->inode.i_sb = &s->super;
	s->inode.i_nlink = 1;
	s->mnt.mnt_sb = &s->super;
	s->super.s_root = s->mnt.mnt_root;
	return s;
}

/* The kernel's own form of a device's number. */
static u32 device(dev_t dev)
{
	return (major(dev) << 20) | minor(dev);
}

static struct shown_time show_time(struct timespec t)
{
	return (struct shown_time){ t.tv_sec, t.tv_nsec };
}

static void fill_inode(struct helper_shown *s, const struct stat *st)
{
	struct shown_inode *i = &s->inode;

	i->i_mode = (u16)st->st_mode;
	i->i_uid.val = st->st_uid;
	i->i_gid.val = st->st_gid;
	i->i_ino = st->st_ino;
	i->i_nlink = (u32)st->st_nlink;
	i->i_rdev = device(st->st_rdev);
	i->i_size = st->st_size;
	i->i_blocks = (u64)st->st_blocks;
	i->i_atime = show_time(st->st_atim);
	i->i_mtime = show_time(st->st_mtim);
	i->i_ctime = show_time(st->st_ctim);
	s->super.s_dev = device(st->st_dev);
	s->super.s_blocksize = (unsigned long)st->st_blksize;
}

/* Of what has no name any more the kernel says so behind the name, which is none of it. */
static size_t bare(const char *path, size_t len)
{
	size_t n = strlen(DELETED);

	return len > n && !memcmp(path + len - n, DELETED, n) ? len - n : len;
}

/* ---- descriptors ---------------------------------------------------------------------------- */

/* proc(5), /proc/PID/fdinfo: "pos:\t%d\nflags:\t0%o\n". */
static void fill_fdinfo(struct shown_file *f, const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char buf[256], *flags;
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf) - 1);

	if (fd >= 0)
		close(fd);
	if (n <= 0)
		return;
	buf[n] = '\0';
	if (!strncmp(buf, "pos:", 4))
		f->f_pos = strtoll(buf + 4, NULL, 10);
	flags = strstr(buf, "\nflags:");
	if (!flags)
		return;
	/* Whether an exec closes it belongs to the descriptor. */
	f->f_flags = (u32)strtoul(flags + 7, NULL, 8) & ~(u32)O_CLOEXEC;
	f->f_mode = ((f->f_flags & O_ACCMODE) + 1) & 3; /* FMODE_READ, FMODE_WRITE */
}

struct helper_shown *helper_shown_fd(u32 tgid, u32 tid, u32 fd)
{
	char at[80], path[PATH_MAX + sizeof(DELETED)];
	struct helper_shown *s;
	struct statfs fs;
	struct stat st;
	ssize_t n;

	snprintf(at, sizeof(at), "/proc/%u/task/%u/fd/%u", tgid, tid, fd);
	n = readlink(at, path, sizeof(path));
	if (n <= 0 || stat(at, &st))
		return NULL;
	s = new_shown(path, st.st_nlink ? (size_t)n : bare(path, (size_t)n));
	if (!s)
		return NULL;
	fill_inode(s, &st);
	if (!statfs(at, &fs))
		s->super.s_magic = (unsigned long)fs.f_type;
	snprintf(at, sizeof(at), "/proc/%u/task/%u/fdinfo/%u", tgid, tid, fd);
	fill_fdinfo(&s->file, at);
	return s;
}

/* ---- areas of memory ------------------------------------------------------------------------ */

/* A number, past the character behind it. */
static const char *number(const char *s, const char *end, u32 base, u64 *value)
{
	for (*value = 0; s < end; s++) {
		u32 d = *s >= '0' && *s <= '9'   ? (u32)(*s - '0')
			: *s >= 'a' && *s <= 'f' ? (u32)(*s - 'a') + 10
						 : base;

		if (d >= base)
			return s + 1;
		*value = *value * base + d;
	}
	return s;
}

/* "start-end perms offset dev:dev inode     name" */
bool helper_area_parse(struct helper_area *a, const char *line, const char *end)
{
	u64 major_dev, minor_dev;
	const char *s = number(line, end, 16, &a->start);

	s = number(s, end, 16, &a->end);
	if (end - s < 5)
		return false;
	memcpy(a->perms, s, 4);
	a->perms[4] = '\0';
	s = number(s + 5, end, 16, &a->off);
	s = number(s, end, 16, &major_dev);
	s = number(s, end, 16, &minor_dev);
	a->dev = (u32)(major_dev << 20 | minor_dev);
	s = number(s, end, 10, &a->inode);
	while (s < end && *s == ' ')
		s++;
	a->name = s;
	a->name_len = s < end ? (size_t)(end - s) : 0;
	return a->end > a->start;
}

bool helper_areas(u32 tgid, bool (*visit)(void *arg, const struct helper_area *a), void *arg)
{
	char path[32], buf[PATH_MAX + 256], *line, *nl;
	struct helper_area a;
	size_t len = 0;
	bool found = false;
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%u/maps", tgid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && !found && (n = read(fd, buf + len, sizeof(buf) - len)) > 0) {
		len += (size_t)n;
		for (line = buf; !found && (nl = memchr(line, '\n', len - (size_t)(line - buf))); line = nl + 1)
			found = helper_area_parse(&a, line, nl) && visit(arg, &a);
		len -= (size_t)(line - buf);
		memmove(buf, line, len);
	}
	if (fd >= 0)
		close(fd);
	return found;
}

bool helper_area_is_gate(const struct helper_area *a)
{
	return a->name_len == 10 && !memcmp(a->name, "[vsyscall]", 10);
}

/* linux/mm.h */
enum { VM_READ = 1, VM_WRITE = 2, VM_EXEC = 4, VM_SHARED = 8, VM_MAYSHARE = 0x80 };

static void fill_area(struct shown_area *to, const struct helper_area *a)
{
	to->vm_start = a->start;
	to->vm_end = a->end;
	to->vm_flags = (a->perms[0] == 'r' ? VM_READ : 0) | (a->perms[1] == 'w' ? VM_WRITE : 0) |
		       (a->perms[2] == 'x' ? VM_EXEC : 0) | (a->perms[3] == 's' ? VM_SHARED | VM_MAYSHARE : 0);
	to->vm_pgoff = a->off >> 12;
}

struct helper_shown *helper_shown_area(const struct helper_area *a)
{
	bool of_file = a->name_len && a->name[0] != '[' && (a->dev || a->inode), gone;
	size_t len = of_file ? bare(a->name, a->name_len) : 0;
	struct helper_shown *s = new_shown(of_file ? a->name : "/", of_file ? len : 1);

	if (!s)
		return NULL;
	fill_area(&s->area, a);
	if (!of_file)
		return s;
	gone = len < a->name_len;
	s->inode.i_ino = a->inode;
	s->inode.i_mode = S_IFREG;
	s->inode.i_nlink = !gone;
	s->super.s_dev = a->dev;
	s->area.vm_file = &s->file;
	return s;
}

/* ---- helpers -------------------------------------------------------------------------------- */

struct look {
	u64 task, addr, ctx;
	prog_callback call;
	int err;
};

static bool call_with_area(void *arg, const struct helper_area *a)
{
	struct look *l = arg;
	struct helper_shown *s;

	if (l->addr < a->start || l->addr >= a->end || helper_area_is_gate(a))
		return false;
	s = helper_shown_area(a);
	l->err = s ? 0 : -ENOMEM;
	if (s)
		l->call(l->task, (u64)(uintptr_t)&s->area, l->ctx, 0, 0);
	base_free(s);
	return true;
}

/* The callback gets the area of the task that an address lies in. */
u64 file_find_vma(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct look l = { .task = a1, .addr = a2, .ctx = a4, .call = (prog_callback)(uintptr_t)a3, .err = -ENOENT };
	u32 tgid = helper_task_tgid(a1);

	if (a5)
		return (u64)-EINVAL;
	if (base_in_signal)
		return (u64)-EBUSY; /* as the kernel, where it cannot wait for what guards the areas */
	if (tgid)
		helper_areas(tgid, call_with_area, &l);
	return (u64)l.err;
}

/* In front of what is in the buffer already; false: it has no room. */
static bool put_before(char *buf, char **at, const char *s, size_t len)
{
	if ((size_t)(*at - buf) < len)
		return false;
	*at -= len;
	memcpy(*at, s, len);
	return true;
}

/*
 * The name of a path from its dentries, each of which may be anything: read once, where reading is possible. Its length
 * with the zero, or an error of the kernel's d_path().
 */
static s64 d_path(u64 path_at, char *buf, u32 size)
{
	char name[MAX_NAME], *at = buf + size;
	struct dentry d;
	struct shown_inode inode;
	struct shown_path p;
	u64 dentry;
	s64 n;
	u32 i;

	if (code_copy_safe(&p, ptr(path_at), sizeof(p)))
		return -EFAULT;
	if (!put_before(buf, &at, "", 1))
		return -ENAMETOOLONG;
	dentry = (u64)(uintptr_t)p.dentry;
	for (i = 0; i < MAX_PARTS; i++, dentry = (u64)(uintptr_t)d.d_parent) {
		if (code_copy_safe(&d, ptr(dentry), sizeof(d)))
			return -EFAULT;
		n = code_copy_string_safe(name, (const char *)d.d_name.name, sizeof(name));
		if (n < 0)
			return -EFAULT;
		n = (s64)strnlen(name, sizeof(name));
		if (!i && d.d_inode && !code_copy_safe(&inode, d.d_inode, sizeof(inode)) && !inode.i_nlink &&
		    !put_before(buf, &at, DELETED, strlen(DELETED)))
			return -ENAMETOOLONG;
		if ((u64)(uintptr_t)d.d_parent == dentry && (i && name[0] == '/'))
			break; /* the root: its slash is in front of what it holds */
		if (!put_before(buf, &at, name, (size_t)n))
			return -ENAMETOOLONG;
		if ((u64)(uintptr_t)d.d_parent == dentry)
			break;
		if (!put_before(buf, &at, "/", 1))
			return -ENAMETOOLONG;
	}
	n = buf + size - at;
	memmove(buf, at, (size_t)n);
	return n;
}

u64 file_d_path(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	memset(ptr(a2), 0, (u32)a3);
	return (u32)a3 ? (u64)d_path(a1, ptr(a2), (u32)a3) : 0;
}

/* Another process's memory is read where this user may look at it (process_vm_readv(2)). */
u64 file_copy_from_task(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct iovec to = { ptr(a1), (u32)a2 }, from = { ptr(a3), (u32)a2 };
	u32 tgid = helper_task_tgid(a4);

	if (!a5 && tgid == (u32)getpid())
		return probe_read(a1, a2, a3, 0, 0);
	if (!a5 && (!(u32)a2 || (tgid && process_vm_readv((pid_t)tgid, &to, 1, &from, 1, 0) == (ssize_t)(u32)a2)))
		return 0;
	memset(ptr(a1), 0, (u32)a2);
	return (u64)(a5 ? -EINVAL : -EFAULT);
}
