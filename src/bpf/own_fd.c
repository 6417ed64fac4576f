/* SPDX-License-Identifier: MIT */
/* Descriptors of Ferry's own, which the host neither meets nor closes; files without a name. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "bpf/object_int.h"
#include "bpf/session/share.h"

static struct hash own_fds;               /* the descriptors */
static _Atomic int first_own = INT32_MAX; /* none below is in it */

int sys_fd_protect(int fd)
{
	int err = hash_put(&own_fds, fd, &own_fds);

	if (!err && fd < first_own)
		first_own = fd;
	return err;
}

void sys_fd_unprotect(int fd)
{
	hash_del(&own_fds, fd);
}

void sys_fd_own(int fd, bool own)
{
	sys_tables_lock();
	if (own)
		sys_fd_protect(fd); /* without memory it is merely unprotected */
	else
		sys_fd_unprotect(fd);
	sys_tables_unlock();
}

bool sys_fd_any_internal(void)
{
	return first_own != INT32_MAX && !sys_inside;
}

bool sys_fd_internal(int fd)
{
	bool own;

	if (fd < first_own)
		return false;
	sys_tables_lock();
	own = hash_get(&own_fds, fd);
	sys_tables_unlock();
	return own;
}

unsigned int sys_fd_next_internal(unsigned int fd)
{
	unsigned int best = ~0u;
	size_t pos = 0;
	u64 key;

	sys_tables_lock();
	while (hash_next(&own_fds, &pos, &key, NULL))
		if (key >= fd && key < best)
			best = key;
	sys_tables_unlock();
	return best;
}

int sys_fd_own_from(s32 pid)
{
	struct rlimit rl;

	if (prlimit(pid, RLIMIT_NOFILE, NULL, &rl) || rl.rlim_cur <= 64)
		return -1;
	return rl.rlim_cur > 2048 ? 1024 : (int)rl.rlim_cur / 2;
}

int sys_fd_move(int fd)
{
	int from = sys_fd_own_from(0), high = -1;

	/* Small numbers are the host's: select(2) wants them, and people count them. */
	if (from > 0)
		high = fcntl(fd, F_DUPFD_CLOEXEC, from);
	if (high < 0)
		return fd;
	close(fd);
	return high;
}

int sys_memfd(const char *name, const void *head, size_t head_size, const void *data, size_t size)
{
	int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING), err;
	const char *parts[] = { head, data };
	size_t sizes[] = { head_size, size }, i;

	if (fd < 0)
		return -errno;
	for (i = 0; i < 2; i++) {
		while (sizes[i]) {
			ssize_t n = write(fd, parts[i], sizes[i]);

			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0) {
				err = n ? -errno : -EIO;
				close(fd);
				return err;
			}
			parts[i] += n;
			sizes[i] -= n;
		}
	}
	lseek(fd, 0, SEEK_SET);
	return fd;
}

void sys_seal(int fd)
{
	fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
}
