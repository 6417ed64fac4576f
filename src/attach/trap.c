/* SPDX-License-Identifier: MIT */
/* Probes by trap instruction: SIGTRAP at a site runs its hooks and goes on in the moved code. */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <ucontext.h>

#include "attach/attach_int.h"
#include "bpf/event/attach.h"
#include "code/code.h"

static bool on_trap(siginfo_t *info, void *ctx)
{
	greg_t *g = ((ucontext_t *)ctx)->uc_mcontext.gregs;
	struct site *s = site_at((u64)g[REG_RIP] - 1);
	struct pt_regs r;

	if (!s || info->si_code <= 0)
		return false;
	sys_signal_regs(ctx, &r);
	r.rip--;
	if (s->hit(s, &r)) {
		g[REG_RAX] = (greg_t)r.rax;
		g[REG_RIP] = *(greg_t *)(uintptr_t)g[REG_RSP];
		g[REG_RSP] += 8;
	} else {
		g[REG_RIP] = (greg_t)(uintptr_t)s->moved;
	}
	return true;
}

int trap_init(void)
{
	return code_signal_claim(SIGTRAP, on_trap);
}

static bool blocks_traps(const char *tid)
{
	char path[64], line[128];
	unsigned long long mask = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%.20s/status", tid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f) && sscanf(line, "SigBlk: %llx", &mask) != 1)
		;
	if (f)
		fclose(f);
	return mask & 1ull << (SIGTRAP - 1);
}

bool trap_is_blocked(void)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *e;
	bool blocked = !dir;

	while (dir && !blocked && (e = readdir(dir)))
		blocked = e->d_name[0] != '.' && blocks_traps(e->d_name);
	if (dir)
		closedir(dir);
	return blocked;
}
