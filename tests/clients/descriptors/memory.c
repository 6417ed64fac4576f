/* SPDX-License-Identifier: MIT */
/* Mapped arrays and ring buffers: which mappings there are, and what may be done with them. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "descriptors.h"

static void *map_it(const char *what, int fd, size_t len, int prot, int flags, off_t off)
{
	void *at = mmap(NULL, len, prot, flags, fd, off);

	say(what, at == MAP_FAILED ? -errno : 0);
	return at;
}

static void arrays(void)
{
	int fd = make_map(BPF_MAP_TYPE_ARRAY, 4, 8, 1024, BPF_F_MMAPABLE), plain = make_map(BPF_MAP_TYPE_ARRAY, 4, 8, 4, 0);
	int hash = make_map(BPF_MAP_TYPE_HASH, 4, 8, 4, 0), prog = make_prog(), btf = make_btf();
	uint64_t *at = map_it("array, two pages", fd, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, 0), v = 0, *more;
	uint32_t id = id_of(fd);
	union bpf_attr a = { .map_fd = (uint32_t)fd };
	pid_t pid;

	map_it("three pages", fd, 12288, PROT_READ, MAP_SHARED, 0);
	map_it("private", fd, 4096, PROT_READ, MAP_PRIVATE, 0);
	map_it("not mmapable", plain, 4096, PROT_READ, MAP_SHARED, 0);
	map_it("a hash", hash, 4096, PROT_READ, MAP_SHARED, 0);
	map_it("a program", prog, 4096, PROT_READ, MAP_SHARED, 0);
	map_it("BTF", btf, 4096, PROT_READ, MAP_SHARED, 0);
	more = map_it("the second page", fd, 4096, PROT_READ, MAP_SHARED, 4096);
	update(fd, 512, 12);
	say("value in the second page", (long)more[0]);
	say("also in the first mapping", (long)at[512]);
	say("mprotect of it", mprotect(more, 4096, PROT_READ | PROT_WRITE) ? -errno : 0);
	munmap(more, 4096);
	say("munmap of half", munmap((char *)at + 4096, 4096) ? -errno : 0);
	at[3] = 99;
	lookup(fd, 3, &v);
	say("value through the other half", (long)v);
	say("frozen while mapped for writing", bpf(BPF_MAP_FREEZE, &a));
	pid = fork();
	if (!pid) {
		at[4] = 5;
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	say("a child's value", (long)at[4]);
	say("read-only", mprotect(at, 4096, PROT_READ) ? -errno : 0);
	munmap(at, 4096);
	say("frozen", bpf(BPF_MAP_FREEZE, &a));
	map_it("frozen, for writing", fd, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	at = map_it("frozen, for reading", fd, 4096, PROT_READ, MAP_SHARED, 0);
	say("mprotect of that", mprotect(at, 4096, PROT_READ | PROT_WRITE) ? -errno : 0);
	say("frozen, update", update(fd, 1, 1));
	close(fd);
	say("mapped after close", (long)at[3]);
	munmap(at, 4096);
	say("gone", exists(MAP, id));
	close(plain);
	close(hash);
	close(prog);
	close(btf);
}

static void rings(void)
{
	int fd = make_map(BPF_MAP_TYPE_RINGBUF, 0, 0, 8192, 0), prog = make_sender(fd, 0);
	uint64_t *cons = map_it("consumer page", fd, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 0), *prod;
	uint32_t *data, i;

	map_it("consumer page, for writing, and more", fd, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, 0);
	map_it("producer page, for writing", fd, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, 4096);
	map_it("data, for writing", fd, 4096, PROT_WRITE, MAP_SHARED, 8192);
	map_it("all of it", fd, 4096 * 6, PROT_READ, MAP_SHARED, 0);
	map_it("more", fd, 4096 * 7, PROT_READ, MAP_SHARED, 0);
	prod = map_it("producer page and data", fd, 4096 + 2 * 8192, PROT_READ, MAP_SHARED, 4096);
	data = (uint32_t *)(void *)((char *)prod + 4096);
	say("mprotect for writing", mprotect(prod, 4096, PROT_READ | PROT_WRITE) ? -errno : 0);
	for (i = 0; i < 600; i++) {
		run(prog);
		cons[0] = i < 599 ? prod[0] : cons[0];
	}
	say("producer's position", (long)prod[0]);
	say("the record's size", (long)data[(cons[0] & 8191) / 4]);
	say("its value", (long)data[(cons[0] & 8191) / 4 + 2]);
	say("once more behind the end", (long)data[(cons[0] & 8191) / 4 + 8192 / 4]);
	say("munmap of the second copy", munmap((char *)prod + 4096 + 8192, 8192) ? -errno : 0);
	say("the first is there", (long)data[(cons[0] & 8191) / 4 + 2]);
	close(fd);
	close(prog);
	munmap(prod, 4096 + 8192);
	munmap(cons, 4096);
}

void memory(void)
{
	arrays();
	rings();
}
