/* SPDX-License-Identifier: MIT */
/*
 * Stacks: return addresses by frame pointers, from the registers of the event where the context has
 * them, else from the caller of the program. Where the chain breaks (code without frame pointers),
 * it is taken up at the next two words of the stack that look like a frame: a frame pointer further
 * up and a return address that follows a call. There is no kernel under the program: of its own
 * stack the helpers say -EFAULT, as the kernel does when it has none.
 *
 * Addresses become build ids by the process's map of memory and the ELF notes that lie in it.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf_perf_event.h>
#include <string.h>
#include <unistd.h>

#include "code/code.h"
#include "helper/helper_int.h"
#include "helper/shown.h"

#define MAX_DEPTH  127u /* sysctl kernel.perf_event_max_stack */
#define MAX_SKIP   255u
#define MAX_FRAMES (MAX_DEPTH + MAX_SKIP)
#define MAX_FRAME  (1u << 20) /* bytes between two frames: more is nonsense */
#define SCAN       2048u      /* words looked at for the next frame */

/* ---- walking -------------------------------------------------------------------------------- */

static bool peek(u64 at, u64 *words, size_t n)
{
	return !(at & 7) && at > 4096 && !code_copy_safe(words, ptr(at), n * 8);
}

/* Does a call end right before this address? */
static bool follows_call(u64 ip)
{
#if defined(__x86_64__)
	u8 b[7];
	u32 len;

	if (ip < 4096 + sizeof(b) || code_copy_safe(b, ptr(ip - sizeof(b)), sizeof(b)))
		return false;
	if (b[2] == 0xe8) /* call rel32 */
		return true;
	for (len = 2; len <= 7; len++) /* ff /2: call through a register or memory */
		if (b[7 - len] == 0xff && (b[8 - len] & 0x38) == 0x10)
			return true;
	return false;
#elif defined(__aarch64__)
	u32 insn;

	if (ip < 4096 || ip & 3 || code_copy_safe(&insn, ptr(ip - 4), sizeof(insn)))
		return false;
	return (insn & 0xfc000000) == 0x94000000 || (insn & 0xfffffc1f) == 0xd63f0000;
#else
	(void)ip;
	return false;
#endif
}

static bool is_frame(u64 fp, const u64 frame[2])
{
	return frame[0] > fp && frame[0] - fp <= MAX_FRAME && !(frame[0] & 7) &&
	       follows_call(frame[1]);
}

/* The frame at `fp`, or the next that looks like one; 0: none. */
static u64 find_frame(u64 fp, u64 frame[2])
{
	u32 i;

	for (i = 0; i < SCAN; i++, fp += 8) {
		if (!peek(fp, frame, 2))
			return 0;
		/* The outermost frame has no other above it. */
		if (is_frame(fp, frame) || (!i && !frame[0] && follows_call(frame[1])))
			return fp;
	}
	return 0;
}

static u32 walk(u64 fp, u64 *ips, u32 max)
{
	u64 frame[2];
	u32 n = 0;

	while (n < max && (fp = find_frame(fp, frame))) {
		ips[n++] = frame[1];
		fp = frame[0];
		if (!fp)
			break;
	}
	return n;
}

/* The user's registers: of the event, or those that the context begins with; NULL: nobody kept them. */
static const bpf_user_pt_regs_t *user_regs(void)
{
	const struct prog *p = helper_run.prog;

	if (!helper_run.user_regs && p && helper_run.ctx &&
	    (p->type == BPF_PROG_TYPE_KPROBE || p->type == BPF_PROG_TYPE_PERF_EVENT))
		return helper_run.ctx;
	return helper_run.user_regs;
}

static bool context_regs(u64 *ip, u64 *fp)
{
	const bpf_user_pt_regs_t *regs = user_regs();

	if (!regs)
		return false;
#if defined(__x86_64__)
	*ip = regs->rip;
	*fp = regs->rbp;
#elif defined(__aarch64__)
	*ip = regs->pc;
	*fp = regs->regs[29];
#endif
	return *ip;
}

static u32 user_stack(u64 *ips, u32 max)
{
	u64 ip, fp;

	if (!max)
		return 0;
	if (helper_run.idle) /* it has no user's side */
		return 0;
	if (context_regs(&ip, &fp)) {
		ips[0] = ip;
		return 1 + walk(fp, ips + 1, max - 1);
	}
	return walk((u64)(uintptr_t)helper_run.frame, ips, max);
}

/* ---- build ids ------------------------------------------------------------------------------ */

struct area {
	struct helper_area at;
	u64 image; /* address of the file's first byte */
};

struct find {
	u64 ip, image, inode;
	struct area *out;
};

static bool holds_ip(void *arg, const struct helper_area *a)
{
	struct find *f = arg;

	if (!a->off) {
		f->image = a->start;
		f->inode = a->inode;
	}
	if (f->ip < a->start || f->ip >= a->end)
		return false;
	f->out->at = *a;
	f->out->image = a->inode && a->inode == f->inode ? f->image : 0;
	return true;
}

/* The file's area that holds `ip`. */
static bool find_area(u64 ip, struct area *out)
{
	struct find f = { .ip = ip, .out = out };

	return helper_areas((u32)getpid(), holds_ip, &f) && out->at.inode;
}

/* The note of NT_GNU_BUILD_ID among those at [at, at + size). */
static bool find_note(u64 at, u64 size, u8 id[BPF_BUILD_ID_SIZE])
{
	Elf64_Nhdr h;
	char name[4];

	if (size > 1u << 16)
		return false;
	while (size > sizeof(h)) {
		u64 step;

		if (code_copy_safe(&h, ptr(at), sizeof(h)))
			return false;
		step = sizeof(h) + ALIGN_UP((u64)h.n_namesz, 4) + ALIGN_UP((u64)h.n_descsz, 4);
		if (h.n_type == NT_GNU_BUILD_ID && h.n_namesz == 4 && h.n_descsz &&
		    h.n_descsz <= BPF_BUILD_ID_SIZE && step <= size &&
		    !code_copy_safe(name, ptr(at + sizeof(h)), 4) && !memcmp(name, "GNU", 4)) {
			memset(id, 0, BPF_BUILD_ID_SIZE);
			return !code_copy_safe(id, ptr(at + sizeof(h) + 4), h.n_descsz);
		}
		if (step > size)
			return false;
		at += step;
		size -= step;
	}
	return false;
}

static bool find_build_id(u64 image, u8 id[BPF_BUILD_ID_SIZE])
{
	Elf64_Ehdr e;
	Elf64_Phdr p;
	u32 i;

	if (!image || code_copy_safe(&e, ptr(image), sizeof(e)) ||
	    memcmp(e.e_ident, ELFMAG, SELFMAG) || e.e_ident[EI_CLASS] != ELFCLASS64 ||
	    e.e_phoff > 4096)
		return false;
	for (i = 0; i < e.e_phnum && i < 64; i++) {
		if (code_copy_safe(&p, ptr(image + e.e_phoff + i * sizeof(p)), sizeof(p)))
			return false;
		/* Notes lie in the first pages, where offset and address agree. */
		if (p.p_type == PT_NOTE && p.p_offset < 1u << 16 &&
		    find_note(image + p.p_offset, p.p_filesz, id))
			return true;
	}
	return false;
}

static void to_build_ids(const u64 *ips, u32 n, struct bpf_stack_build_id *ids)
{
	struct area a = { 0 };
	u8 id[BPF_BUILD_ID_SIZE];
	bool known = false;
	u32 i;

	memset(ids, 0, n * sizeof(*ids));
	for (i = 0; i < n; i++) {
		if (!(ips[i] >= a.at.start && ips[i] < a.at.end)) {
			known = find_area(ips[i], &a) && find_build_id(a.image, id);
			if (!known)
				a.at.start = a.at.end = 0;
		}
		if (known) {
			ids[i].status = BPF_STACK_BUILD_ID_VALID;
			memcpy(ids[i].build_id, id, sizeof(id));
			ids[i].offset = ips[i] - a.at.start + a.at.off;
		} else {
			ids[i].status = BPF_STACK_BUILD_ID_IP;
			ids[i].ip = ips[i];
		}
	}
}

/* ---- the helpers ---------------------------------------------------------------------------- */

u64 stack_id(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct bpf_stack_build_id ids[MAX_DEPTH];
	u32 skip = a3 & BPF_F_SKIP_FIELD_MASK, n, depth;
	u64 ips[MAX_FRAMES];
	struct map *m = ptr(a2);
	struct map_trace t;

	if (a3 & ~(u64)(BPF_F_SKIP_FIELD_MASK | BPF_F_USER_STACK | BPF_F_FAST_STACK_CMP |
			BPF_F_REUSE_STACKID))
		return (u64)-EINVAL;
	depth = map_stack_depth(m);
	n = a3 & BPF_F_USER_STACK ? user_stack(ips, depth + skip) : 0;
	if (n <= skip)
		return (u64)-EFAULT;
	n -= skip;
	t.nr = n;
	t.hash = (u32)hash_bytes(ips + skip, n * 8, 0);
	t.data = ips + skip;
	t.size = n * 8;
	if (m->attr.flags & BPF_F_STACK_BUILD_ID) {
		to_build_ids(ips + skip, n, ids);
		t.data = ids;
		t.size = n * sizeof(ids[0]);
	}
	return (u64)map_stack_put(m, &t, a3);
}

/* Of the thread that runs: others cannot be held still, and there are no stacks of a kernel. */
u64 stack_task(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	if (helper_task_pid(a1) == (u32)gettid())
		return stack_get(0, a2, a3, a4, 0);
	memset(ptr(a2), 0, (u32)a3);
	return (u64)-EFAULT;
}

/* Of the thread that runs, too; of others, and where nobody kept them, all members read as 0. */
u64 stack_task_regs(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	return helper_run.idle || helper_task_pid(a1) != (u32)gettid() ? 0 : (u64)(uintptr_t)user_regs();
}

/* What processors remember of branches is not for processes: as on a machine that has none of it. */
u64 stack_branches(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	memset(ptr(a1), 0, (u32)a2);
	return (u64)(a3 ? -EINVAL : -ENOENT);
}

u64 stack_branch_records(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	if (a2)
		memset(ptr(a2), 0, (u32)a3);
	return (u64)(a4 & ~(u64)BPF_F_GET_BRANCH_RECORDS_SIZE ? -EINVAL : -ENOENT);
}

u64 stack_get(u64 a1, u64 a2, u64 a3, u64 a4, u64 a5)
{
	struct bpf_stack_build_id ids[MAX_DEPTH];
	u32 skip = a4 & BPF_F_SKIP_FIELD_MASK, size = (u32)a3, n, most;
	bool build_id = a4 & BPF_F_USER_BUILD_ID;
	u32 each = build_id ? sizeof(ids[0]) : 8;
	u64 ips[MAX_FRAMES];

	memset(ptr(a2), 0, size);
	if (a4 & ~(u64)(BPF_F_SKIP_FIELD_MASK | BPF_F_USER_STACK | BPF_F_USER_BUILD_ID) ||
	    (build_id && !(a4 & BPF_F_USER_STACK)) || size % each)
		return (u64)-EINVAL;
	most = size / each < MAX_DEPTH ? size / each : MAX_DEPTH;
	n = a4 & BPF_F_USER_STACK ? user_stack(ips, most + skip) : 0;
	if (!n || n < skip)
		return (u64)-EFAULT;
	n -= skip;
	if (build_id)
		to_build_ids(ips + skip, n, ids);
	memcpy(ptr(a2), build_id ? (const void *)ids : ips + skip, (size_t)n * each);
	return (u64)n * each;
}
