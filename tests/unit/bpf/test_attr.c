/* SPDX-License-Identifier: MIT */
/*
 * Hostile attrs of every command, from tables (attr_probes.c, attr_fields.def): a field at an extreme, a descriptor
 * of something else, an address that is not there, a size that lies. Ferry alone (unit) does not crash, names an
 * errno, loses nothing; with the argument "kernel" the kernel gets the same and says the same (attr_differences.def).
 */
#include <sys/mman.h>
#include <sys/utsname.h>
#include <sys/resource.h>
#include <unistd.h>

#include "attr_values.h"

static struct world worlds[2];
static bool with_kernel;
static u32 cases, differ, listed;

/* What bpf(2) may say: anything else is a mistake even where nothing is there to compare with. */
static bool is_errno(long ret)
{
	static const int known[] = { 0,	     EPERM,  ENOENT, ESRCH, EINTR,  E2BIG,  EBADF,  EAGAIN, ENOMEM,	    EACCES, EFAULT,
				     EBUSY,  EEXIST, ENODEV, ENOTDIR, EISDIR, EINVAL, ENOSPC, ERANGE, ENAMETOOLONG, ELOOP,
				     EBADFD, EOPNOTSUPP, 524, EOVERFLOW, EILSEQ, ENOEXEC };

	for (u32 i = 0; i < ARRAY_SIZE(known); i++)
		if (ret == -known[i])
			return true;
	return false;
}

static const struct difference {
	int cmd; /* -1: any */
	const char *field, *value; /* NULL: all */
	long ferry, kernel;
	const char *why;
	bool used;
} *table;
static u32 ntable;

/* A difference that has a reason. */
static bool has_reason(int cmd, const char *field, const char *value, long ferry, long kernel)
{
	static struct difference all[] = {
#define DIFFERS(cmd_, field_, value_, ferry_, kernel_, why_) { cmd_, field_, value_, ferry_, kernel_, why_, false },
#include "attr_differences.def"
#undef DIFFERS
	};

	table = all;
	ntable = ARRAY_SIZE(all);
	for (u32 i = 0; i < ARRAY_SIZE(all); i++) {
		struct difference *d = &all[i];

		if ((d->cmd >= 0 && d->cmd != cmd) || strcmp(d->field, field) || (d->value && strcmp(d->value, value)) ||
		    d->ferry != ferry || d->kernel != kernel)
			continue;
		d->used = true;
		return true;
	}
	return false;
}

static void judge(const struct probe *p, const char *field, const char *value, const long got[2])
{
	cases++;
	if (!is_errno(got[0])) {
		differ++;
		print_message("# cmd %d (%s), %s = %s: %ld is no errno of bpf(2)\n", p->cmd, p->name, field, value, got[0]);
	}
	if (!with_kernel || got[0] == got[1])
		return;
	if (has_reason(p->cmd, field, value, got[0], got[1])) {
		listed++;
		return;
	}
	differ++;
	print_message("# cmd %d (%s), %s = %s: %ld, the kernel %ld\n", p->cmd, p->name, field, value, got[0], got[1]);
}

static void start(void)
{
	cases = differ = listed = 0;
	attr_values_make();
	world_make(&worlds[0], sys_bpf);
	if (with_kernel)
		world_make(&worlds[1], kernel_bpf);
}

static void finish(void)
{
	print_message("# %u cases, %u differ for a reason that is listed\n", cases, listed);
	world_end(&worlds[0]);
	if (with_kernel)
		world_end(&worlds[1]);
	attr_values_end();
	assert_int_equal(differ, 0);
}

/* The objects that it was done to still work. */
static void world_works(struct world *w)
{
	u32 key = 1;
	u64 value = 4711, back = 0;
	union bpf_attr a = { .map_fd = (u32)w->array, .key = PTR(&key), .value = PTR(&value) };

	assert_int_equal(w->bpf(BPF_MAP_UPDATE_ELEM, &a, sizeof(a)), 0);
	a.value = PTR(&back);
	assert_int_equal(w->bpf(BPF_MAP_LOOKUP_ELEM, &a, sizeof(a)), 0);
	assert_int_equal(back, 4711);
	memset(&a, 0, sizeof(a));
	a.test.prog_fd = (u32)w->prog;
	a.test.data_in = PTR(w->data);
	a.test.data_size_in = 64;
	assert_int_equal(w->bpf(BPF_PROG_TEST_RUN, &a, sizeof(a)), 0);
	assert_int_equal(a.test.retval, 2);
}

static bool left_alone(const struct probe *p, const struct attr_field *f)
{
	if (f->cmd != p->cmd)
		return true;
	if (p->cmd == BPF_MAP_FREEZE && f->kind == ATTR_FD) /* what is frozen is of no use to others */
		return true;
	if (!with_kernel)
		return false;
	return f->kind == ATTR_HUGE || f->kind == ATTR_ID || probe_skips(p, (int)f->off / 4);
}

static void spoil(const struct probe *p, const struct attr_field *f)
{
	struct attr_value values[2][ATTR_VALUES];
	int sides = with_kernel ? 2 : 1, side;
	u32 n = 0, i;

	for (side = 0; side < sides; side++)
		n = attr_values(&worlds[side], f->kind, values[side]);
	for (i = 0; i < n; i++) {
		long got[2] = { 0 };

		for (side = 0; side < sides; side++) {
			union bpf_attr a = { 0 };

			world_again(&worlds[side]);
			memset(attr_edge(), 0, 2 * 4096);
			p->fill(&worlds[side], &a);
			attr_set(&a, f, values[side][i].v);
			got[side] = probe_outcome(&worlds[side], p, &a, sizeof(a));
		}
		judge(p, f->name, values[0][i].name, got);
	}
}

static void every_field_with_every_value_of_its_kind(void **state)
{
	u32 before, i, f;

	(void)state;
	before = count_fds();
	start();
	for (i = 0; i < nprobes; i++)
		for (f = 0; f < nattr_fields; f++)
			if (!left_alone(&probes[i], &attr_fields[f]))
				spoil(&probes[i], &attr_fields[f]);
	world_works(&worlds[0]);
	finish();
	sys_fd_sweep();
	/* The kernel's BTF objects stay. */
	assert_in_range(count_fds(), before, before + (with_kernel ? 2 : 1));
}

/* ---- the attr itself ---------------------------------------------------------------------------- */

#define KNOWN sizeof(union bpf_attr)

static u32 command_end(int cmd)
{
	static const u32 end[] = {
#define CMD(number, handler, last) [number] = END_OF(last),
#include "bpf/cmd.def"
#undef CMD
	};

	return end[cmd];
}

/* `size` bytes at `at`, of them the attr's as far as they go. */
static void sized(const struct probe *p, u8 *at, u32 size, u32 room, int tail, const char *name)
{
	int sides = with_kernel ? 2 : 1, side;
	long got[2] = { 0 };

	if (with_kernel && p->cmd == BPF_LINK_GET_NEXT_ID && size < sizeof(u32))
		return; /* the first of this machine's links */
	for (side = 0; side < sides; side++) {
		union bpf_attr a = { 0 };

		world_again(&worlds[side]);
		p->fill(&worlds[side], &a);
		memset(attr_edge(), 0, 2 * 4096);
		memcpy(at, &a, room < KNOWN ? room : KNOWN);
		if (tail >= 0)
			at[tail] = 1;
		got[side] = probe_outcome(&worlds[side], p, (union bpf_attr *)at, size);
	}
	judge(p, "size", name, got);
}

static void attrs_of_every_size(void **state)
{
	static const u32 large[] = { 160, 200, 256, 1024, 4095, 4096 };
	static const u32 wrong[] = { 4097, 8192, 0x7fffffff, 0x80000000, 0xffffffff };
	u8 *end;
	u32 i, n;

	(void)state;
	start();
	end = attr_edge() + 2 * 4096;
	for (i = 0; i < nprobes; i++) {
		const struct probe *p = &probes[i];

		/* A shorter attr is one of an older caller: what lacks is 0. It ends where memory ends. */
		for (n = 0; n <= KNOWN; n += 4)
			if (p->cmd != BPF_MAP_FREEZE)
				sized(p, end - n, n, n, -1, "short");
		for (n = 0; n < ARRAY_SIZE(large); n++) {
			sized(p, end - large[n], large[n], large[n], -1, "zero tail");
			sized(p, end - large[n], large[n], large[n], (int)large[n] - 1, large[n] <= 200 ? "tail in newer fields" : "tail");
		}
		for (n = 0; n < ARRAY_SIZE(wrong); n++)
			sized(p, end - 8192, wrong[n], 8192, -1, "too large");
		/* Behind the fields of the command, where those of others lie. */
		if (command_end(p->cmd) < KNOWN)
			sized(p, end - KNOWN, KNOWN, KNOWN, (int)KNOWN - 1, "behind the last field");
	}
	finish();
}

static void attrs_at_every_address(void **state)
{
	struct attr_value where[ATTR_VALUES];
	int sides = with_kernel ? 2 : 1, side;
	u32 i, n, k;

	(void)state;
	start();
	n = attr_values(&worlds[0], ATTR_PTR, where);
	for (i = 0; i < nprobes; i++) {
		for (k = 0; k < n; k++) {
			long got[2] = { 0 };

			if (!strcmp(where[k].name, "odd") || !strcmp(where[k].name, "a page, then nothing") ||
			    (with_kernel && probes[i].cmd == BPF_LINK_GET_NEXT_ID))
				continue;
			for (side = 0; side < sides; side++) {
				world_again(&worlds[side]);
				memset(attr_edge(), 0, 2 * 4096);
				got[side] = probe_outcome(&worlds[side], &probes[i],
							  (union bpf_attr *)(uintptr_t)where[k].v, KNOWN);
			}
			judge(&probes[i], "attr", where[k].name, got);
			if (strcmp(where[k].name, "read-only"))
				assert_int_equal(got[0], -EFAULT);
		}
	}
	finish();
}

/* A result that cannot be written is EFAULT, and whatever was made for it is gone again. */
static void results_into_read_only_attrs(void **state)
{
	int sides = with_kernel ? 2 : 1, side;
	u8 *at;
	u32 i, before;

	(void)state;
	start();
	at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	before = count_fds();
	for (i = 0; i < nprobes; i++) {
		long got[2] = { 0 };

		for (side = 0; side < sides && probes[i].cmd != BPF_MAP_FREEZE; side++) {
			union bpf_attr a = { 0 };

			world_again(&worlds[side]);
			probes[i].fill(&worlds[side], &a);
			mprotect(at, 4096, PROT_READ | PROT_WRITE);
			memcpy(at, &a, KNOWN);
			mprotect(at, 4096, PROT_READ);
			got[side] = probe_outcome(&worlds[side], &probes[i], (union bpf_attr *)at, KNOWN);
		}
		judge(&probes[i], "attr", "right, but read-only", got);
	}
	sys_fd_sweep();
	assert_int_equal(count_fds(), before);
	munmap(at, 4096);
	finish();
}

/* A difference that is met no more is no reason for anything. */
static void every_listed_difference_is_met(void **state)
{
	struct utsname u;
	u32 unmet = 0;

	(void)state;
	uname(&u);
	/* The list was made on this one; others have fewer, or other ones. */
	if (strncmp(u.release, "6.18", 4))
		return;
	for (u32 i = 0; i < ntable; i++) {
		/* With older headers PROG_LOAD has the longest attr, but for padding. */
		if (table[i].used || (table[i].cmd == BPF_PROG_LOAD && table[i].value &&
				      !strcmp(table[i].value, "behind the last field") &&
				      KNOWN - command_end(BPF_PROG_LOAD) < 8))
			continue;
		unmet++;
		print_message("# not met: cmd %d, %s = %s (%s)\n", table[i].cmd, table[i].field,
			      table[i].value ? table[i].value : "*", table[i].why);
	}
	assert_int_equal(unmet, 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_field_with_every_value_of_its_kind),
		cmocka_unit_test(attrs_of_every_size),
		cmocka_unit_test(attrs_at_every_address),
		cmocka_unit_test(results_into_read_only_attrs),
		cmocka_unit_test(every_listed_difference_is_met),
	};

	with_kernel = argc > 1 && !strcmp(argv[1], "kernel");
	if (with_kernel && !kernel_works())
		return skip_all("no bpf(2) of the kernel");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
