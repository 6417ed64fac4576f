#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ferry attach on processes that make it hard: hostile.py FERRY BEGINS. Each goes on, or it is said why not. TAP."""
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../clients"))
from tap import check, done, need_tracing  # noqa: E402

need_tracing()

FERRY, BEGINS = sys.argv[1:3]
RUNTIME = tempfile.mkdtemp(prefix="ferry-hostile-")
ENV = {k: v for k, v in os.environ.items() if k not in ("FERRY_SESSION", "LD_PRELOAD", "FERRY")}
ENV["XDG_RUNTIME_DIR"] = RUNTIME

# What all of them do at the end of their input: say that they are well.
COMMON = """
import ctypes, mmap, os, random, signal, sys, threading, time
random.seed(7)
on = True
def serve():
    print("ready", flush=True)
    sys.stdin.readline()
"""

CHURN = COMMON + """
def churn():
    while on:
        some = [mmap.mmap(-1, 4096 * (1 + i % 50)) for i in range(40)]
        for m in some: m[0] = 1
        for m in some: m.close()
def come_and_go():
    while on:
        t = threading.Thread(target=time.sleep, args=(0.001,)); t.start(); t.join()
ts = [threading.Thread(target=f) for f in (churn, churn, come_and_go)]
for t in ts: t.start()
serve()
on = False
for t in ts: t.join()
print("well", flush=True)
"""

MANY = COMMON + """
libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
fd = os.open(sys.argv[1], os.O_RDONLY)
# Neighbours would become one: each begins where the file does, as an ELF file would.
for i in range(20000): libc.mmap(None, 4096, 1, 2, fd, 0)
serve()
print("well", flush=True)
"""

EXEC = COMMON + """
if len(sys.argv) == 2: print("ready", flush=True)
n = int(sys.argv[2]) if len(sys.argv) > 2 else 0
end = float(sys.argv[1])
if time.time() < end:
    os.execv(sys.executable, [sys.executable, "-S", "-c", open("/proc/self/cmdline").read().split(chr(0))[3], str(end), str(n + 1)])
print("well", flush=True)
"""

FORK = COMMON + """
def fork():
    while on:
        pid = os.fork()
        if not pid: os._exit(0)
        os.waitpid(pid, 0)
t = threading.Thread(target=fork); t.start()
serve()
on = False; t.join()
print("well", flush=True)
"""

# Files that claim to be a C library: altered copies, mapped as the loader would.
FILES = COMMON + """
maps = []
for name in sorted(os.listdir(sys.argv[1])):
    fd = os.open(os.path.join(sys.argv[1], name), os.O_RDONLY)
    size = os.fstat(fd).st_size
    maps.append(mmap.mmap(fd, size, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_EXEC))
    os.close(fd)
    if "gone" in name: os.unlink(os.path.join(sys.argv[1], name))
serve()
print("well", flush=True)
"""

# Its own C library's tables of symbols, in its memory, are not what they were.
TABLES = COMMON + """
import re
base, path = next((int(l.split("-")[0], 16), l.split()[-1]) for l in open("/proc/self/maps") if re.search("/libc[.-]", l))
mem = open("/proc/self/mem", "r+b", buffering=0)
time.sleep(0); os.getpid(); sys.stdout.flush()
mem.seek(base + 64)
head = bytearray(mem.read(700))
for i in range(int(sys.argv[1])):
    head[random.randrange(len(head))] = random.randrange(256)
mem.seek(base + 64)
mem.write(head)
serve()
print("well", flush=True)
"""


def report(ok, name, detail=""):
    check(name, ok, detail)


def start(code, *args):
    p = subprocess.Popen([sys.executable, "-S", "-c", code, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=subprocess.PIPE, text=True, env=ENV)
    p.stdout.readline()
    return p


def ferry(verb, pid):
    return subprocess.run([FERRY, verb, str(pid)], capture_output=True, text=True, env=ENV, timeout=60)


def clear(r):
    """Done, or one line that says what was wrong."""
    return r.returncode == 0 or (r.returncode in (1, 2, 3) and re.match(r"ferry \w+: .{10}", r.stderr))


def end(p):
    out, err = p.communicate("\n", timeout=60)
    return p.returncode == 0 and out.strip().endswith("well"), f"{p.returncode}: {out}{err}"


def try_on(name, p, rounds=2, must=True):
    said = []
    for _ in range(rounds):
        for verb in ("attach", "detach"):
            r = ferry(verb, p.pid)
            if not clear(r) or (must and r.returncode):
                said.append(f"{verb}: {r.returncode}: {r.stdout}{r.stderr}")
    well, detail = end(p)
    report(well and not said, name, "\n".join(said + [detail]))


def altered(folder):
    libc = next(line.split()[-1] for line in open("/proc/self/maps") if re.search("/libc[.-]", line))
    data = open(libc, "rb").read()
    names = ["libc.so.6", "libc.so.6 (deleted)", "libc\n7fff-8000 r-xp 00000000 00:00 0", "libc-gone.so.6"] + [
        f"libc-{i}.so.6" for i in range(24)]
    import random
    random.seed(11)
    for i, name in enumerate(names):
        bad = bytearray(data)
        for _ in range(1 + i * 3):
            at = random.randrange(64 + 56 * 14) if i % 2 else random.randrange(40000)
            bad[at:at + 4] = random.choice([b"\0\0\0\0", b"\xff\xff\xff\xff", random.randbytes(4), b"\x01\0\0\0"])
        bad[:4] = b"\x7fELF"
        if i % 7 == 6:
            bad = bad[:random.randrange(64, 8192)]
        with open(os.path.join(folder, name), "wb") as f:
            f.write(bad)


def main():
    try_on("mappings_and_threads_that_come_and_go", start(CHURN))
    libc = next(line.split()[-1] for line in open("/proc/self/maps") if re.search("/libc[.-]", line))
    began = time.time()
    try_on("20000_mappings_of_a_library", start(MANY, libc), rounds=1, must=False)
    report(time.time() - began < 40, "take_no_time_without_end", time.time() - began)
    try_on("a_process_that_forks_all_the_time", start(FORK))
    p = start(EXEC, str(time.time() + 4))
    said = []
    while p.poll() is None and len(said) < 100:
        r = ferry("attach", p.pid)
        if not clear(r):
            said.append(f"{r.returncode}: {r.stdout}{r.stderr}")
    well, detail = end(p)
    report(well and not said, "a_process_that_replaces_its_program_all_the_time", "\n".join(said + [detail]))
    p = subprocess.Popen([BEGINS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                         env=ENV)
    p.stdout.readline()
    early = ferry("attach", p.pid)
    p.stdin.write("x")
    p.stdin.flush()
    p.stdout.readline()
    late = ferry("attach", p.pid)
    well, detail = end(p)
    report(well and early.returncode and clear(early) and not late.returncode,
           "a_process_whose_libraries_are_not_ready_is_waited_for", f"{early} {late} {detail}")
    folder = tempfile.mkdtemp(dir=RUNTIME)
    altered(folder)
    try_on("files_that_claim_to_be_the_c_library", start(FILES, folder), rounds=1, must=False)
    said = []
    for bytes_ in (1, 5, 50, 700):
        p = start(TABLES, str(bytes_))
        r = ferry("attach", p.pid)
        if not clear(r):
            said.append(f"{bytes_}: {r.returncode}: {r.stdout}{r.stderr}")
        well, detail = end(p)
        if not well:
            said.append(f"{bytes_}: {r.returncode}: {r.stderr}{detail}")
    report(not said, "program_headers_of_the_c_library_that_are_wrong_in_memory", "\n".join(said))


try:
    main()
finally:
    shutil.rmtree(RUNTIME, ignore_errors=True)
done()
