# SPDX-License-Identifier: MIT
"""Records of a struct by perf buffer, or (argument "ring") by ring buffer."""
import ctypes
import os
import sys

from bcc import BPF

RING = sys.argv[1:] == ["ring"]
PROGRAM = r"""
DECLARE
struct record {
    u64 n;
    u32 pid, uid;
    char comm[16];
};
BPF_ARRAY(count, u64, 1);
int hello(struct pt_regs *ctx) {
    struct record r = {};
    int zero = 0;
    u64 *n = count.lookup(&zero);

    if (!n)
        return 0;
    r.n = (*n)++;
    r.pid = bpf_get_current_pid_tgid() >> 32;
    r.uid = bpf_get_current_uid_gid();
    bpf_get_current_comm(&r.comm, sizeof(r.comm));
    SUBMIT;
    return 0;
}
"""
PROGRAM = PROGRAM.replace("DECLARE", "BPF_RINGBUF_OUTPUT(output, 8);" if RING else "BPF_PERF_OUTPUT(output);")
PROGRAM = PROGRAM.replace("SUBMIT", "output.ringbuf_output(&r, sizeof(r), 0)" if RING else
                          "output.perf_submit(ctx, &r, sizeof(r))")
b = BPF(text=PROGRAM)
b.attach_uprobe(name="c", sym="getppid", fn_name="hello", pid=os.getpid())
seen = []


def record(cpu, data, size):
    r = b["output"].event(data)
    seen.append((r.n, r.pid == os.getpid(), r.uid == os.getuid(), r.comm.decode()))


if RING:
    b["output"].open_ring_buffer(record)
else:
    b["output"].open_perf_buffer(record)
libc = ctypes.CDLL(None)
for i in range(3):
    libc.getppid()
if RING:
    b.ring_buffer_poll(timeout=2000)
else:
    b.perf_buffer_poll(timeout=2000)
for s in sorted(seen):
    print(*s)
