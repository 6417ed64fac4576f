# SPDX-License-Identifier: MIT
"""Probes that python3 ships with, of this process: its collector's and its imports'."""
import gc
import os

from bcc import BPF, USDT

PROGRAM = r"""
BPF_HASH(done, u64, u64);
struct name { char text[32]; };
BPF_HASH(imports, struct name, u64);
int on_done(struct pt_regs *ctx) {
    u64 n = 0;

    bpf_usdt_readarg(1, ctx, &n);
    done.increment(n);
    return 0;
}
int on_import(struct pt_regs *ctx) {
    struct name n = {};
    u64 at = 0;

    bpf_usdt_readarg(1, ctx, &at);
    bpf_probe_read_user_str(n.text, sizeof(n.text), (void *)at);
    imports.increment(n);
    return 0;
}
"""
gc.disable()
u = USDT(pid=os.getpid())
u.enable_probe(probe="gc__done", fn_name="on_done")
u.enable_probe(probe="import__find__load__start", fn_name="on_import")
b = BPF(text=PROGRAM, usdt_contexts=[u])
gc.collect()
b["done"].clear()
freed = []
for i in range(3):
    pairs = [[] for _ in range(i * 2)]
    for a, z in zip(pairs[::2], pairs[1::2]):
        a.append(z)
        z.append(a)
    pairs = a = z = None
    freed.append(gc.collect())
print("freed", freed, sorted((k.value, v.value) for k, v in b["done"].items()))
b["imports"].clear()
for name in ("pydoc_data", "colorsys", "pydoc_data"):  # one is known the second time
    __import__(name)
print("imported", sorted((k.text.decode(), v.value) for k, v in b["imports"].items()))
