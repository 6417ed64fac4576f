/* SPDX-License-Identifier: MIT */
/* What the USDT tests share: the object of usdt.bpf.c, attaching it, and what it saw. */
#ifndef CLIENT_H
#define CLIENT_H

#include "clients/either.h"
#include "test.h"

#define UPROBES "/sys/bus/event_source/devices/uprobe/type"

struct seen {
	unsigned long long calls;
	long long count, err[12], arg[12];
};

static struct bpf_object *obj;

static int setup(void **state)
{
	(void)state;
	obj = bpf_object__open_file(getenv("USDT_OBJECT"), NULL);
	return !obj || bpf_object__load(obj) ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	bpf_object__close(obj);
	return 0;
}

static inline struct seen look(unsigned long long cookie)
{
	struct seen s = { 0 };

	bpf_map_lookup_elem(bpf_object__find_map_fd_by_name(obj, "seen"), &cookie, &s);
	return s;
}

static inline struct bpf_link *attach(int pid, const char *file, const char *provider, const char *name,
				      unsigned long long cookie)
{
	LIBBPF_OPTS(bpf_usdt_opts, opts, .usdt_cookie = cookie);

	return bpf_program__attach_usdt(bpf_object__find_program_by_name(obj, "all"), pid, file, provider,
					name, &opts);
}

/* The program saw `n` calls and, at the last one, these arguments and no further one. */
static inline void expect(unsigned long long cookie, unsigned long long calls, const long long *args, int n)
{
	struct seen s = look(cookie);
	int i;

	assert_int_equal(s.calls, calls);
	assert_int_equal(s.count, n);
	for (i = 0; i < 12; i++) {
		assert_int_equal(s.err[i], i < n ? 0 : -ENOENT);
		if (i < n)
			assert_int_equal(s.arg[i], args[i]);
	}
}

#endif
