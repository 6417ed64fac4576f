/* SPDX-License-Identifier: MIT */
/* Extremes of numbers, descriptors of all kinds, addresses of all kinds. */
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "attr_values.h"

const struct attr_field attr_fields[] = {
#define FIELD(cmd, member, kind)                                                                                       \
	{ cmd, #member, offsetof(union bpf_attr, member), sizeof(((union bpf_attr *)0)->member), ATTR_##kind },
#include "attr_fields.def"
#undef FIELD
};
const u32 nattr_fields = ARRAY_SIZE(attr_fields);

static struct attr_value others[12];
static u32 nothers;
static u8 *pages; /* writable, writable, not there, read-only, no access */

static void other(const char *name, int fd)
{
	/* The same numbers however often, and none that a world's objects would get. */
	int at = fcntl(fd, F_DUPFD, 200);

	close(fd);
	others[nothers++] = (struct attr_value){ name, (u32)at };
}

static int fake_object(bool sealed)
{
	int fd = memfd_create("fake", MFD_ALLOW_SEALING);

	if (write(fd, "FERRYPRG\1\0\0\0\377\377\377\377\0\0\0\0\1\0\0\0\377\377\377\177", 28) != 28)
		fail_msg("no memfd");
	if (sealed)
		fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
	return fd;
}

void attr_values_make(void)
{
	int ends[2];

	nothers = 0;
	other("/dev/null", open("/dev/null", O_RDONLY));
	other("a directory", open("/", O_RDONLY));
	other("a path", open("/dev/null", O_PATH));
	if (pipe(ends))
		fail_msg("no pipe");
	other("a pipe", ends[0]);
	close(ends[1]);
	other("a socket", socket(AF_UNIX, SOCK_STREAM, 0));
	other("an eventfd", eventfd(0, 0));
	other("an epoll", epoll_create1(0));
	other("a memfd", memfd_create("plain", 0));
	other("an object's bytes", fake_object(false));
	other("an object's bytes, sealed", fake_object(true));
	/* Far from where the kernel puts what anybody maps meanwhile: the hole is to stay one. */
	pages = mmap((void *)0x200000000000, 5 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED)
		fail_msg("no memory");
	munmap(pages + 2 * 4096, 4096);
	mprotect(pages + 3 * 4096, 4096, PROT_READ);
	mprotect(pages + 4 * 4096, 4096, PROT_NONE);
}

void attr_values_end(void)
{
	while (nothers)
		close((int)others[--nothers].v);
	munmap(pages, 2 * 4096);
	munmap(pages + 3 * 4096, 2 * 4096);
}

u8 *attr_edge(void)
{
	return pages;
}

static u32 numbers(struct attr_value *out)
{
	static const u64 extremes[] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 255, 4096, 65536, 0x7fffffff, 0x80000000, 0xfffffff8, 0xffffffff,
					1ull << 32, 0x7fffffffffffffffull, 1ull << 63, ~7ull, ~0ull };
	static const char *const names[] = { "0", "1", "2", "3", "4", "5", "6", "7", "8", "255", "4096", "65536", "INT_MAX", "INT_MIN", "-8",
					     "-1", "2^32", "LLONG_MAX", "LLONG_MIN", "64-bit -8", "64-bit -1" };

	for (u32 i = 0; i < ARRAY_SIZE(extremes); i++)
		out[i] = (struct attr_value){ names[i], extremes[i] };
	return ARRAY_SIZE(extremes);
}

static u32 descriptors(const struct world *w, struct attr_value *out)
{
	const struct attr_value own[] = { { "0, stdin", 0 }, { "-1", 0xffffffff }, { "INT_MAX", 0x7fffffff },
					  { "INT_MIN", 0x80000000 }, { "closed", 190 }, { "an array", (u32)w->array },
					  { "a hash", (u32)w->hash }, { "a program", (u32)w->prog },
					  { "an XDP program", (u32)w->xdp }, { "BTF", (u32)w->btf } };
	u32 n = 0, i;

	for (i = 0; i < ARRAY_SIZE(own); i++)
		out[n++] = own[i];
	for (i = 0; i < nothers; i++)
		out[n++] = others[i];
	return n;
}

static u32 addresses(struct attr_value *out)
{
	const struct attr_value all[] = {
		{ "NULL", 0 },
		{ "1", 1 },
		{ "not mapped", PTR(pages + 2 * 4096) },
		{ "read-only", PTR(pages + 3 * 4096) },
		{ "no access", PTR(pages + 4 * 4096) },
		{ "one byte, then nothing", PTR(pages + 2 * 4096 - 1) },
		{ "four bytes, then nothing", PTR(pages + 2 * 4096 - 4) },
		{ "16 bytes, then nothing", PTR(pages + 2 * 4096 - 16) },
		{ "a page, then nothing", PTR(pages + 4096) },
		{ "odd", PTR(pages + 1) },
		{ "the kernel's", 0xffff888000000000ull },
		{ "not canonical", 0x8000000000000000ull },
		{ "behind user space", 0x00007ffffffff000ull },
		{ "wraps around", ~0ull - 3 },
	};

	memcpy(out, all, sizeof(all));
	return ARRAY_SIZE(all);
}

u32 attr_values(const struct world *w, enum attr_kind kind, struct attr_value out[ATTR_VALUES])
{
	switch (kind) {
	case ATTR_FD: return descriptors(w, out);
	case ATTR_PTR:
	case ATTR_OUT: return addresses(out);
	default: return numbers(out);
	}
}

void attr_set(union bpf_attr *a, const struct attr_field *f, u64 v)
{
	memcpy((u8 *)a + f->off, &v, f->size);
}
