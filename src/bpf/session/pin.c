/* SPDX-License-Identifier: MIT */
/*
 * BPF_OBJ_PIN and BPF_OBJ_GET. A pin is a file in the session's directory that stands for bpffs; what
 * it holds is known by its inode, so that renaming and removing are the file system's.
 * This process keeps a reference as long as the file has a name; the broker of the session, if there
 * is one, keeps the descriptors for processes that come later.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bpf/session/session.h"
#include "bpf/sys_int.h"

#define LOST_US    20000 /* between looks at a name that nobody knows, */
#define LOST_TRIES 250   /* which is gone within two seconds, on a busy machine a little later */

struct pin {
	int file; /* the name's, O_PATH */
	u64 dev, ino;
	struct sys_obj *o; /* referenced */
};
static struct pin *pins; /* of this process; under the slow lock */
static size_t npins, cap_pins;

/* ---- names ---------------------------------------------------------------------------------- */

/* The caller's path: 0 and where it really is, or -errno. */
static int read_path(u64 addr, char path[PATH_MAX], char real[PATH_MAX], enum session_fs *fs)
{
	s64 n = sys_in_string(path, addr, PATH_MAX);

	if (n < 0)
		return (int)n;
	if (path[n - 1])
		return -ENAMETOOLONG;
	if (!path[0])
		return -ENOENT;
	*fs = sys_path(path, real);
	return 0;
}

/* Outside of bpffs nothing is pinned: EPERM when the directory is there (bpf_obj_do_pin). */
static int refuse_place(const char *path)
{
	char dir[PATH_MAX], *slash;
	struct stat st;

	strcpy(dir, path);
	slash = strrchr(dir, '/');
	if (slash)
		slash[slash == dir] = '\0';
	else
		strcpy(dir, ".");
	if (stat(dir, &st))
		return -errno;
	if (!S_ISDIR(st.st_mode))
		return -ENOTDIR;
	if (!lstat(path, &st))
		return -EEXIST;
	log_msg(LOG_INFO, "BPF_OBJ_PIN: %s does not lie below /sys/fs/bpf", path);
	return -EPERM;
}

/* ---- pins of this process ------------------------------------------------------------------- */

static void drop(struct pin *p)
{
	sys_fd_own(p->file, false);
	close(p->file);
	if (p->o->kind == SYS_MAP && !p->o->has_fd)
		sys_map_unreachable(container_of(p->o, struct sys_map, o));
	sys_put(p->o);
}

bool sys_pinned(const struct sys_obj *o)
{
	bool found = false;
	size_t i;

	sys_slow_lock();
	for (i = 0; i < npins && !found; i++)
		found = pins[i].o == o;
	sys_slow_unlock();
	return found;
}

void sys_pins_sweep(void)
{
	const struct sys_share_ops *share = sys_shared();
	struct pin gone;
	struct stat st;
	size_t i;

	do {
		gone.o = NULL;
		sys_slow_lock();
		for (i = 0; i < npins && !gone.o; i++) {
			if (!fstat(pins[i].file, &st) && st.st_nlink)
				continue;
			gone = pins[i];
			pins[i] = pins[--npins];
		}
		sys_slow_unlock();
		if (gone.o) {
			sys_inside++;
			drop(&gone);
			sys_inside--;
		}
	} while (gone.o);
	if (share)
		share->sweep();
}

static int remember(int file, const struct stat *st, struct sys_obj *o)
{
	struct pin *grown;
	int err = -ENOMEM;

	sys_slow_lock();
	grown = base_grow(pins, &cap_pins, npins + 1, sizeof(*pins));
	if (grown) {
		pins = grown;
		sys_hold(o);
		pins[npins++] = (struct pin){ file, st->st_dev, st->st_ino, o };
		err = 0;
	}
	sys_slow_unlock();
	return err;
}

static struct sys_obj *find(u64 dev, u64 ino)
{
	struct sys_obj *o = NULL;
	size_t i;

	sys_slow_lock();
	for (i = 0; i < npins && !o; i++) {
		if (pins[i].dev == dev && pins[i].ino == ino) {
			o = pins[i].o;
			sys_hold(o);
		}
	}
	sys_slow_unlock();
	return o;
}

/* ---- commands ------------------------------------------------------------------------------- */

static int pin_at(const char *real, struct sys_obj *o)
{
	struct stat st;
	int text = open(real, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600), file = -1, err;

	if (text < 0)
		return -errno;
	err = sys_pin_say(text, o);
	if (err)
		goto undo;
	file = open(real, O_PATH | O_CLOEXEC);
	if (file < 0 || fstat(file, &st)) {
		err = -errno;
		goto undo;
	}
	file = sys_fd_move(file);
	err = sys_shared() ? sys_shared()->pin(file, o) : 0;
	if (!err)
		err = remember(file, &st, o);
	if (!err) {
		sys_fd_own(file, true);
		close(text);
		return 0;
	}
undo:
	unlink(real);
	close(text);
	if (file >= 0)
		close(file);
	return err;
}

long sys_cmd_obj_pin(struct sys_call *c)
{
	char path[PATH_MAX], real[PATH_MAX];
	enum session_fs fs = SESSION_NO;
	struct sys_obj *o;
	int err;

	if (c->attr.file_flags)
		return -EINVAL;
	o = sys_fd_get(c->attr.bpf_fd, 0);
	if (!o)
		return -EINVAL;
	if (o->kind != SYS_MAP && o->kind != SYS_PROG && o->kind != SYS_LINK)
		err = -EINVAL;
	else
		err = read_path(c->attr.pathname, path, real, &fs);
	if (err)
		; /* nothing is made */
	else if (fs != SESSION_BPFFS)
		err = refuse_place(path);
	else if (strchr(strrchr(path, '/'), '.')) /* bpf_lookup: kept for later use */
		err = -EPERM;
	else
		err = pin_at(real, o);
	sys_put(o);
	return err;
}

static bool is_pin(const char *real)
{
	int fd = open(real, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct pin_is is;
	bool yes = fd >= 0 && sys_pin_says(fd, &is);

	if (fd >= 0)
		close(fd);
	return yes;
}

/*
 * A pin that the broker does not know is being made, or is of before its time: whoever has the object hands it back, or
 * the name goes (broker/lost.c).
 */
struct sys_obj *sys_pin_get(const char *real)
{
	struct sys_obj *o;
	struct stat st;
	int tries = 0;

	do {
		if (stat(real, &st) || !S_ISREG(st.st_mode))
			return NULL;
		o = find(st.st_dev, st.st_ino);
		if (!o && sys_shared())
			o = sys_shared()->pinned(st.st_dev, st.st_ino);
	} while (!o && sys_shared() && tries++ < LOST_TRIES && is_pin(real) && !usleep(LOST_US));
	return o;
}

static long get(const char *real, u32 flags)
{
	struct sys_obj *o = sys_pin_get(real);
	struct stat st;
	long fd;

	if (!o)
		return stat(real, &st) ? -errno : -EACCES; /* bpf_inode_type(): no object behind it */
	fd = o->kind != SYS_MAP && flags ? -EINVAL : sys_fd_new(o, flags);
	sys_put(o);
	return fd;
}

long sys_cmd_obj_get(struct sys_call *c)
{
	const u32 both = BPF_F_RDONLY | BPF_F_WRONLY;
	char path[PATH_MAX], real[PATH_MAX];
	enum session_fs fs = SESSION_NO;
	struct stat st;
	int err;

	if (c->attr.bpf_fd || c->attr.file_flags & ~both || c->attr.file_flags == both)
		return -EINVAL;
	err = read_path(c->attr.pathname, path, real, &fs);
	if (err)
		return err;
	if (fs != SESSION_BPFFS)
		return stat(path, &st) ? -errno : -EACCES;
	return get(real, c->attr.file_flags);
}
