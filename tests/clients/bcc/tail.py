# SPDX-License-Identifier: MIT
"""Tail calls through a program array: each program leaves its mark, the default one only without an entry."""
import ctypes
import os

from bcc import BPF

PROGRAM = r"""
BPF_PROG_ARRAY(calls, 8);
BPF_ARRAY(marks, u64, 8);
BPF_ARRAY(which, u32, 1);
static void mark(int i) {
    u64 *v = marks.lookup(&i);

    if (v)
        (*v)++;
}
int hello(struct pt_regs *ctx) {
    int zero = 0;
    u32 *i = which.lookup(&zero);

    if (i)
        calls.call(ctx, *i);
    mark(0);
    return 0;
}
int one(struct pt_regs *ctx) { mark(1); return 0; }
int two(struct pt_regs *ctx) { mark(2); calls.call(ctx, 1); return 0; }
"""
b = BPF(text=PROGRAM)
b["calls"][ctypes.c_int(1)] = ctypes.c_int(b.load_func("one", BPF.KPROBE).fd)
b["calls"][ctypes.c_int(2)] = ctypes.c_int(b.load_func("two", BPF.KPROBE).fd)
b.attach_uprobe(name="c", sym="getppid", fn_name="hello", pid=os.getpid())
libc = ctypes.CDLL(None)
for which in (0, 1, 2, 7, 100):
    b["which"][ctypes.c_int(0)] = ctypes.c_uint(which)
    libc.getppid()
    print(which, *[b["marks"][ctypes.c_int(i)].value for i in range(3)])
