/* SPDX-License-Identifier: MIT */
/*
 * Loads the programs of object files and prints what the verifier that answers bpf(2) says of itself:
 * "NAME INSNS PROCESSED NANOSECONDS KILOBYTES" a program, or "NAME INSNS 0 ERRNO 0". Started with
 * libferry-preload.so it is Ferry's; KILOBYTES is what the process grew by.
 */
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUNDS 15

static int silent(enum libbpf_print_level level, const char *format, va_list args)
{
	(void)level;
	(void)format;
	(void)args;
	return 0;
}

static long peak(void)
{
	FILE *f = fopen("/proc/self/status", "r");
	char line[256];
	long kb = 0;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "VmHWM: %ld", &kb) == 1)
			break;
	}
	if (f)
		fclose(f);
	return kb;
}

/* One load; microseconds, negative errno. */
static long load(const char *path, char *name, size_t size, size_t *insns, unsigned *processed)
{
	static char log[1 << 16];
	struct bpf_object *o = bpf_object__open_file(path, NULL);
	struct bpf_program *p = o ? bpf_object__next_program(o, NULL) : NULL;
	const char *at;
	long took = 0;
	int err;

	if (!p)
		exit(1);
	bpf_program__set_log_level(p, getenv("LOAD_LOG") ? 1 : 4); /* statistics */
	bpf_program__set_log_buf(p, log, sizeof(log));
	log[0] = 0;
	err = bpf_object__load(o);
	snprintf(name, size, "%s", bpf_program__name(p));
	*insns = bpf_program__insn_cnt(p);
	at = strstr(log, "verification time ");
	if (!err && at)
		took = strtol(at + 18, NULL, 10);
	at = strstr(log, "processed ");
	*processed = at ? (unsigned)strtoul(at + 10, NULL, 10) : 0;
	if (err && getenv("LOAD_LOG"))
		fputs(log, stderr);
	bpf_object__close(o);
	return err ? err : took;
}

int main(int argc, char **argv)
{
	libbpf_set_print(silent);
	for (int i = 1; i < argc; i++) {
		long best = 0, before = peak();
		char name[64];
		unsigned processed = 0;
		size_t insns = 0;

		for (int round = 0; round < ROUNDS; round++) {
			long took = load(argv[i], name, sizeof(name), &insns, &processed);

			if (!round || took < best)
				best = took;
			if (took < 0)
				break;
		}
		printf("%s %zu %u %ld %ld\n", name, insns, processed, best < 0 ? best : best * 1000, peak() - before);
	}
	return 0;
}
