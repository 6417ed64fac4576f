/* SPDX-License-Identifier: MIT */
/* How many CPUs per-CPU values have, and which one this thread is on. */
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/rseq.h>
#include <unistd.h>

#include "code/code.h"
#include "map/map_int.h"

#define MAX_CPUS 8192u

/* glibc 2.35 registers rseq: the CPU is a load away. Weak, so that older ones do as well. */
extern const ptrdiff_t __rseq_offset __attribute__((weak));
extern const unsigned int __rseq_size __attribute__((weak));

/* "0-3,8-11": the number of CPUs named, as libbpf_num_possible_cpus counts; 0 when malformed. */
static u32 count_cpus(const char *s)
{
	u32 n = 0;

	while (*s >= '0' && *s <= '9') {
		char *end;
		unsigned long a = strtoul(s, &end, 10), b = a;

		if (*end == '-')
			b = strtoul(end + 1, &end, 10);
		if (b < a || b >= MAX_CPUS)
			return 0;
		n += (u32)(b - a + 1);
		s = *end == ',' ? end + 1 : end;
	}
	return n <= MAX_CPUS ? n : 0;
}

static _Atomic u32 known;

static void find_cpus(void *unused, void *unused2)
{
	char buf[1024];
	ssize_t len;
	u32 n = 0;
	int fd;

	(void)unused, (void)unused2;
	fd = open("/sys/devices/system/cpu/possible", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		len = read(fd, buf, sizeof(buf) - 1);
		close(fd);
		if (len > 0) {
			buf[len] = '\0';
			n = count_cpus(buf);
		}
	}
	if (!n) {
		long conf = sysconf(_SC_NPROCESSORS_CONF);

		n = conf > 0 && conf <= (long)MAX_CPUS ? (u32)conf : 1;
	}
	atomic_store_explicit(&known, n, memory_order_relaxed);
}

/* Programs at probes come here with vector registers live, which libc may use. */
u32 map_cpus(void)
{
	u32 n = atomic_load_explicit(&known, memory_order_relaxed);

	if (__builtin_expect(!n, 0)) {
		code_keep_vectors(find_cpus, NULL, NULL);
		n = atomic_load_explicit(&known, memory_order_relaxed);
	}
	return n;
}

static void ask_cpu(void *out, void *unused)
{
	(void)unused;
	*(int *)out = sched_getcpu();
}

u32 map_this_cpu(void)
{
	u32 n = map_cpus();
	unsigned int cpu = ~0u;

	if (&__rseq_size && __rseq_size) {
		const struct rseq *rs =
			(const void *)((char *)__builtin_thread_pointer() + __rseq_offset);

		cpu = __atomic_load_n(&rs->cpu_id, __ATOMIC_RELAXED);
	}
	if (cpu >= n) { /* not registered, or CPU numbers with holes */
		int c;

		code_keep_vectors(ask_cpu, &c, NULL);
		cpu = c < 0 ? 0 : (unsigned int)c % n;
	}
	return cpu;
}
