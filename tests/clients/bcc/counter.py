# SPDX-License-Identifier: MIT
"""A hash counts calls by user, as scripts for beginners do with execve(2); here getppid(3) of this process."""
import ctypes
import os

from bcc import BPF

PROGRAM = r"""
BPF_HASH(counter_table);
int hello(void *ctx) {
    u64 uid, counter = 0, *p;

    uid = bpf_get_current_uid_gid() & 0xFFFFFFFF;
    p = counter_table.lookup(&uid);
    if (p != 0) {
        counter = *p;
    }
    counter++;
    counter_table.update(&uid, &counter);
    return 0;
}
"""
b = BPF(text=PROGRAM)
b.attach_uprobe(name="c", sym="getppid", fn_name="hello", pid=os.getpid())
libc = ctypes.CDLL(None)
for i in range(5):
    libc.getppid()
for k, v in b["counter_table"].items():
    print("hit", k.value == os.getuid(), v.value)
table = b["counter_table"]
table[ctypes.c_ulong(77)] = ctypes.c_ulong(88)
print("lookup", table[ctypes.c_ulong(77)].value, len(table))
del table[ctypes.c_ulong(77)]
print("deleted", ctypes.c_ulong(77) in table, len(table))
b.detach_uprobe(name="c", sym="getppid", pid=os.getpid())
libc.getppid()
print("detached", [v.value for v in table.values()])
