/* SPDX-License-Identifier: MIT */
/* /proc/mounts as tools read it to find bpffs: in a session it is Ferry's that is mounted, and no other. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "bpf/session/session.h"
#include "bpf/sys_int.h"

void *sys_mounts(u32 *size)
{
	char line[4096], type[32];
	struct text t = { 0 };
	FILE *f;

	if (!sys_session_joined())
		return NULL;
	f = fopen("/proc/self/mounts", "re");
	if (!f)
		return NULL;
	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "%*s %*s %31s", type) != 1 || strcmp(type, "bpf"))
			text_puts(&t, line);
	fclose(f);
	text_puts(&t, "bpf /sys/fs/bpf bpf rw,nosuid,nodev,noexec,relatime,mode=700 0 0\n");
	if (t.oom) {
		text_free(&t);
		return NULL;
	}
	*size = (u32)t.len;
	return t.s;
}
