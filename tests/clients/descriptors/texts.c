/* SPDX-License-Identifier: MIT */
/* What /proc says of descriptors: fdinfo line by line, the names of links. */
#include "descriptors.h"

/* Numbers that are another on each machine, kernel and run. */
static bool varies(const char *line)
{
	static const char *const keys[] = { "mnt_id", "ino", "memlock", "map_id", "prog_id", "btf_id", "link_id", "prog_tag" };

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		if (!strncmp(line, keys[i], strlen(keys[i])) && line[strlen(keys[i])] == ':')
			return true;
	return false;
}

static void show(const char *what, int fd)
{
	char path[64], line[256], link[64];
	bool seen = false;
	ssize_t n;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	n = readlink(path, link, sizeof(link) - 1);
	link[n < 0 ? 0 : n] = '\0';
	if (strchr(link, '_') && strstr(link, "bpf_link"))
		*strstr(link, "_link") = '-'; /* the maker's has another name than that of others */
	printf("%s is %s\n", what, link);
	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f)) {
		if (seen)
			continue; /* newer kernels say more of links */
		seen = !strncmp(line, "prog_id", 7) && !strcmp(what, "link");
		if (varies(line))
			strcpy(strchr(line, ':'), ": varies\n");
		printf("%s: %s", what, line);
	}
	if (f)
		fclose(f);
}

void texts(void)
{
	static const uint32_t types[][5] = {
		{ BPF_MAP_TYPE_HASH, 4, 8, 16, BPF_F_NO_PREALLOC }, { BPF_MAP_TYPE_ARRAY, 4, 8, 4, BPF_F_MMAPABLE },
		{ BPF_MAP_TYPE_LRU_HASH, 4, 8, 64, 0 },		    { BPF_MAP_TYPE_RINGBUF, 0, 0, 4096, 0 },
		{ BPF_MAP_TYPE_PROG_ARRAY, 4, 4, 2, 0 },
	};
	union bpf_attr a = { 0 };
	int fd, prog = make_prog(), link, link_prog;

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		fd = make_map(types[i][0], types[i][1], types[i][2], types[i][3], types[i][4]);
		if (types[i][0] == BPF_MAP_TYPE_PROG_ARRAY)
			update(fd, 0, (uint32_t)prog); /* now it has an owner */
		if (types[i][0] == BPF_MAP_TYPE_HASH) {
			a.map_fd = (uint32_t)fd;
			bpf(BPF_MAP_FREEZE, &a);
		}
		show("map", fd);
		close(fd);
	}
	run(prog);
	show("prog", prog);
	fd = make_btf();
	show("btf", fd);
	close(fd);
	link = make_link(&link_prog);
	show("link", link);
	close(link);
	close(link_prog);
	close(prog);
}
