#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Probes by text: random lines for uprobe_events, here and on the machine's kernel: probes.py FERRY [SEED LINES]. TAP."""
import json
import os
import random
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from tap import check, done, skip_all  # noqa: E402

FERRY = sys.argv[1]
SEED, LINES = (int(n) for n in sys.argv[2:4]) if len(sys.argv) > 3 else (7, 3000)

# Writes each line, says what became of it; then what is listed, and the events' formats without their numbers.
WRITER = r"""
import errno, fcntl, json, os, re, sys
lock = os.open("/bin/true", os.O_RDONLY)
fcntl.flock(lock, fcntl.LOCK_EX) # the kernel's list is one: other such tests wait
root = "/sys/kernel/tracing/"
fd = os.open(root + "uprobe_events", os.O_WRONLY | os.O_APPEND)
before = open(root + "uprobe_events").read()
said = []
for line in json.load(sys.stdin):
    try:
        said.append(os.write(fd, line.encode("latin-1")))
    except OSError as e:
        said.append(errno.errorcode.get(e.errno, e.errno))
listed = open(root + "uprobe_events").read()[len(before):].splitlines()
formats = {}
for line in listed:
    name = re.match(r"[pr]:(\S+)", line)[1]
    try:
        text = open(f"{root}events/{name}/format").read()
        number = open(f"{root}events/{name}/id").read().strip()
        formats[name] = re.sub(rf"^ID: {number}$", "ID: N", text, flags=re.M)
    except OSError as e:
        formats[name] = str(e)
for line in list(listed):
    try:
        os.write(fd, b"-:" + re.match(r"[pr]:(\S+)", line)[1].encode() + b"\n")
    except OSError as e:
        listed.append(f"{e}: {line}")
left = open(root + "uprobe_events").read()[len(before):]
print(json.dumps([said, listed, formats, left]))
"""
MOUNTED = ["unshare", "-m", "sh", "-c", 'mount -t tracefs nodev /sys/kernel/tracing; exec "$@"', "sh"]


def write(lines, *command, **env):
    r = subprocess.run([*command, sys.executable, "-c", WRITER], input=json.dumps(lines), stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True, env=dict(os.environ, **env))
    return json.loads(r.stdout) if r.stdout else r.stderr


rnd = random.Random(SEED)
pick = rnd.choice


def number():
    return pick(["0", "1", "8", "010", "0x10", "0xffffffffffffffff", "18446744073709551615", "18446744073709551616", "08",
                 "0x", "", "-1", "+4", "99", "9223372036854775808", "4294967296", "1_"])


def fetch(depth=0):
    if depth < 6 and rnd.random() < 0.35:
        return pick("+-") + pick(["", "", "u"]) + number() + pick(["(", "(", "(", ""]) + fetch(depth + 1) + pick([")", ")", ")", ""])
    return pick([lambda: "%" + pick(["ax", "di", "si", "r15", "sp", "ip", "orig_ax", "flags", "rax", "", "es", "cs"]),
                 lambda: "$" + pick(["stack", "retval", "comm", "COMM", "arg1", "stackx", "ret", "", "stack" + number()]),
                 lambda: "@" + pick(["", "+"]) + number(), lambda: "@" + pick(["printk", "_stext+4"]),
                 lambda: "\\" + number(), lambda: "\\" + pick(['"text"', '"', '""', 'x', '"a']),
                 lambda: pick(["x", "$", "name->field", "*p", "&", "%", "", "0", "-", "+"])])()


def bits():
    return f"b{pick([1, 3, 8, 32, 64, 0, 65])}@{pick([0, 1, 7, 31, 60])}/{pick([8, 16, 32, 64, 7, ''])}"


def kind():
    plain = pick(["u8", "u16", "u32", "u64", "s8", "s16", "s32", "s64", "x8", "x16", "x32", "x64", "char", "string", "ustring",
                  "symbol", "symstr", "u128", "", "int", "b", bits(), bits()])
    return plain + pick(["", "", "", f"[{number()}]", "[3]", "[64]", "[65]", "[", "[2]x"])


def argument(i):
    name = pick(["", "", f"a{i}=", f"a{i}=", "a=", "=", "arg1=", "common_pid=", "__probe_ip=", "9x=", "x-y=", "n" * pick([31, 32, 33]) + "="])
    return name + fetch() + pick(["", "", ":" + kind(), ":" + kind()])


def event(i):
    return pick([f"g{i % 5}/e{i}", f"e{i}", f"g-{i % 3}/e{i}", f"g.e{i}", f"h{i}/", "", "/", "/e", "9g/e", "g/9e", "g/e-x", f"-g/e{i}",
                 "g/" + f"e{i}".ljust(pick([62, 63, 64]), "e"), "g" * pick([62, 63, 64]) + f"/e{i}", "syscalls/sys_enter_read", "g//e", "g/e/x", f"G{i}."])


def place(offset):
    return pick(["/bin/true:", "/bin/true:", "/bin/true:", "/bin/cat:", "/bin:", "/nowhere:", "/bin/true", "bin:", "/dev/null:"]) + \
        offset + pick(["", "", "", "", "(0x10)", "(0)", "(", "(1)x", "(x)", "%return", "%ret", "%return%", "(2)%return"])


def line(i, made):
    if made and rnd.random() < 0.15:
        name = pick(made)
        return pick(["-:", "-:", "-:", "-", "-x:", "-:x/"]) + pick([name, name, name.split("/")[-1], name + " x", name + " /bin/true:0x0000000000001000"])
    head = pick("pppprrrpx") + pick(["", ":", ":", ":", ":", ":", "x:", "4:", ","])
    if head[-1] == ":":
        name = event(i)
        head += name
        if name.endswith(f"e{i}") and "/" in name:
            made.append(name)
    # Without a name an event is called by its place, and a second probe at it would be added to the first.
    place_at = place(pick([hex(0x1000 + i), str(0x1000 + i)] + ([number()] * 2 if head[1:2] == ":" and head[-1].isalnum() else [])))
    text = " ".join([head, place_at] + [argument(k) for k in range(pick([0, 0, 0, 1, 1, 2, 3]))])
    return text + pick(["", "", "\n", "\n", " # said", "\n\n", "  ", "\t"])


made = []
lines = [line(i, made) for i in range(LINES)]
lines += ["", "\n", "#", "p", "r:", "-", "-:", "-:/", "p:x" + " /bin/true:0" * 200, "p:g/long /bin/true:0 " + "x" * 5000, " p:g/blank /bin/true:3",
          "p:g/two /bin/true:3\np:g/three /bin/true:3\n", "p:g/four /bin/true:3\nbad\np:g/five /bin/true:3\n", "p:g/zero /bin/true:3\0x",
          "p:g/many /bin/true:3 " + " ".join(f"a{i}=%ax" for i in range(128)), "p:g/over /bin/true:3 " + " ".join(f"a{i}=%ax" for i in range(129)),
          "p:g/deep /bin/true:3 " + "+0(" * 13 + "%ax" + ")" * 13, "p:g/deep15 /bin/true:3 " + "+0(" * 15 + "%ax" + ")" * 15]

kernel = write(lines, *MOUNTED, FERRY="off")
if isinstance(kernel, str):
    skip_all("the kernel has no uprobe_events for us: " + kernel)
here = write(lines, FERRY, "exec", "--private", "--")
if isinstance(here, str):
    check("lines_are_written", False, here)
    done()
wrong = [(repr(text), h, k) for text, h, k in zip(lines, here[0], kernel[0]) if h != k]
check("lines_are_taken_and_refused_as_by_the_kernel", not wrong, "%d of %d\n%s" % (len(wrong), len(lines), "\n".join(map(str, wrong[:40]))))
accepted = sum(isinstance(n, int) for n in kernel[0])
check("many_of_the_lines_are_good_and_many_are_bad", LINES / 20 < accepted < LINES * 0.9, accepted)
wrong = [x for x in zip(here[1], kernel[1]) if x[0] != x[1]]
check("what_is_listed_is_the_kernels", here[1] == kernel[1], (len(here[1]), len(kernel[1]), wrong[:5]))
# Newer kernels than 6.1 leave out how many elements an array has.
here[2] = {n: re.sub(r"(\tfield:\w+ \w+)\[\d+\];", r"\1[];", text) for n, text in here[2].items()}
kernel[2] = {n: re.sub(r"(\tfield:\w+ \w+)\[\d+\];", r"\1[];", text) for n, text in kernel[2].items()}
wrong = [(n, here[2].get(n), kernel[2][n]) for n in kernel[2] if here[2].get(n) != kernel[2][n]]
check("formats_are_the_kernels", not wrong, "%d of %d\n%s" % (len(wrong), len(kernel[2]), "\n".join(f"{n}\n{h}{k}" for n, h, k in wrong[:5])))
check("all_can_be_deleted", here[3] == kernel[3] == "", here[3])
done()
