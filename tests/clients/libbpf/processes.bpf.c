// SPDX-License-Identifier: MIT
/* Programs that go through files, areas of memory and symbols; see processes.c. */
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

#define RELOCATED __attribute__((preserve_access_index))

struct seq_file {
	__u64 count;
} RELOCATED;
struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 session_id, seq_num;
} RELOCATED;
typedef struct {
	__u32 val;
} kuid_t;
struct cred {
	kuid_t uid;
} RELOCATED;
struct task_struct {
	int pid, tgid;
	char comm[16];
	struct task_struct *real_parent;
	const struct cred *cred;
} RELOCATED;
struct super_block {
	unsigned int s_dev;
	unsigned long s_magic;
} RELOCATED;
struct inode {
	unsigned short i_mode;
	unsigned long i_ino;
	struct super_block *i_sb;
} RELOCATED;
struct qstr {
	const unsigned char *name;
} RELOCATED;
struct dentry {
	struct dentry *d_parent;
	struct qstr d_name;
} RELOCATED;
struct path {
	struct dentry *dentry;
} RELOCATED;
struct file {
	struct path f_path;
	struct inode *f_inode;
	unsigned int f_flags, f_mode;
	long long f_pos;
} RELOCATED;
struct vm_area_struct {
	unsigned long vm_start, vm_end, vm_flags, vm_pgoff;
	struct file *vm_file;
} RELOCATED;
struct kallsym_iter {
	unsigned long value;
	char type, name[512], module_name[56];
} RELOCATED;
struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
} RELOCATED;
struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u32 fd;
	struct file *file;
} RELOCATED;
struct bpf_iter__task_vma {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	struct vm_area_struct *vma;
} RELOCATED;
struct bpf_iter__ksym {
	struct bpf_iter_meta *meta;
	struct kallsym_iter *ksym;
} RELOCATED;

/* Shared with the client. */
struct {
	__u32 tgid, ends, others, unused;
	__u64 addr, start, end, flags, ino, same_task, word, ancestors[4];
	__s64 found, nowhere, with_flags, copied, bad, branches, branch_flags;
} data;

char path[4096];

SEC("iter/task")
int tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (task && task->tgid == data.tgid)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%d %d %s %d %u\n", task->pid, task->tgid, task->comm,
			       task->real_parent->tgid, task->cred->uid.val);
	return 0;
}

SEC("iter/task_file")
int files(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	char parent[64];

	if (!task || !file) {
		data.ends++;
		return 0;
	}
	if (task->tgid != data.tgid) {
		data.others++;
		return 0;
	}
	if (bpf_d_path(&file->f_path, path, sizeof(path)) < 0)
		return 0;
	bpf_probe_read_kernel_str(parent, sizeof(parent), file->f_path.dentry->d_parent->d_name.name);
	BPF_SEQ_PRINTF(ctx->meta->seq, "%d %u: %x %lu %x %x %u %lld %s in %s\n", task->pid, ctx->fd, file->f_inode->i_mode,
		       file->f_inode->i_ino, file->f_inode->i_sb->s_dev, file->f_flags, file->f_mode & 3, file->f_pos, path,
		       parent);
	return 0;
}

/* Where the path does not fit. */
SEC("iter/task_file")
int short_paths(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	char small[8];

	if (task && file && task->tgid == data.tgid)
		BPF_SEQ_PRINTF(ctx->meta->seq, "%u: %ld\n", ctx->fd, bpf_d_path(&file->f_path, small, sizeof(small)));
	return 0;
}

SEC("iter.s/task_vma")
int areas(struct bpf_iter__task_vma *ctx)
{
	struct vm_area_struct *vma = ctx->vma;
	struct task_struct *task = ctx->task;
	struct seq_file *seq = ctx->meta->seq;
	struct file *file;

	if (!task || !vma) {
		data.ends++;
		return 0;
	}
	if (task->tgid != data.tgid) {
		data.others++;
		return 0;
	}
	file = vma->vm_file;
	BPF_SEQ_PRINTF(seq, "%08lx-%08lx %s%s", vma->vm_start, vma->vm_end, vma->vm_flags & 1 ? "r" : "-",
		       vma->vm_flags & 2 ? "w" : "-");
	BPF_SEQ_PRINTF(seq, "%s%s", vma->vm_flags & 4 ? "x" : "-", vma->vm_flags & 0x80 ? "s" : "p");
	if (!file) {
		BPF_SEQ_PRINTF(seq, " 00000000 00:00 0\n");
		return 0;
	}
	bpf_d_path(&file->f_path, path, sizeof(path));
	BPF_SEQ_PRINTF(seq, " %08lx %02x:%02x", vma->vm_pgoff << 12, file->f_inode->i_sb->s_dev >> 20,
		       file->f_inode->i_sb->s_dev & 0xfffff);
	BPF_SEQ_PRINTF(seq, " %lu %s\n", file->f_inode->i_ino, path);
	return 0;
}

static long area_found(struct task_struct *task, struct vm_area_struct *vma, __u64 *ctx)
{
	data.start = vma->vm_start;
	data.end = vma->vm_end;
	data.flags = vma->vm_flags & 7;
	data.ino = vma->vm_file ? vma->vm_file->f_inode->i_ino : 0;
	data.same_task = task->tgid == data.tgid;
	*ctx += 1;
	return 0;
}

SEC("iter.s/task")
int helpers(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct perf_branch_entry entries[2];
	__u64 calls = 0;

	if (!task || task->tgid != data.tgid)
		return 0;
	data.found = bpf_find_vma(task, data.addr, area_found, &calls, 0);
	data.nowhere = bpf_find_vma(task, 8, area_found, &calls, 0);
	data.with_flags = bpf_find_vma(task, data.addr, area_found, &calls, 1);
	data.others += calls;
	data.copied = bpf_copy_from_user_task(&data.word, sizeof(data.word), (void *)data.addr, task, 0);
	data.bad = bpf_copy_from_user_task(&calls, sizeof(calls), (void *)8, task, 0);
	data.branches = bpf_get_branch_snapshot(entries, sizeof(entries), 0);
	data.branch_flags = bpf_get_branch_snapshot(entries, sizeof(entries), 1);
	data.ancestors[0] = bpf_get_current_cgroup_id();
	data.ancestors[1] = bpf_get_current_ancestor_cgroup_id(0);
	data.ancestors[2] = bpf_get_current_ancestor_cgroup_id(-1);
	data.ancestors[3] = bpf_get_current_ancestor_cgroup_id(1000);
	return 0;
}

SEC("iter/ksym")
int symbols(struct bpf_iter__ksym *ctx)
{
	static const char prefix[] = "__x64_sys_";
	struct kallsym_iter *sym = ctx->ksym;
	char name[64];
	int i;

	if (!sym) {
		data.ends++;
		return 0;
	}
	bpf_probe_read_kernel_str(name, sizeof(name), sym->name);
	for (i = 0; i < sizeof(prefix) - 1; i++)
		if (name[i] != prefix[i])
			return 0;
	if (sym->module_name[0])
		return 0;
	BPF_SEQ_PRINTF(ctx->meta->seq, "%016lx %c %s\n", sym->value, sym->type, name);
	return 0;
}

char _license[] SEC("license") = "GPL";
