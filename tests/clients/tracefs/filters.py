#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
Filters of events, and other requests of perf events, here and on the machine's kernel: filters.py FERRY [SEED COUNT]. TAP.
"""
import json
import os
import random
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from tap import check, done, skip_all  # noqa: E402

FERRY = sys.argv[1]
SEED, COUNT = (int(n) for n in sys.argv[2:4]) if len(sys.argv) > 3 else (3, 1200)

# Opens an event for each expression and asks for it; then every request with good and bad arguments.
ASKER = r"""
import ctypes, errno, json, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
FIELDS = dict(ENABLE=0x2400, DISABLE=0x2401, REFRESH=0x2402, RESET=0x2403, PERIOD=0x40082404, OUTPUT=0x2405, FILTER=0x40082406,
              ID=0x80082407, BPF=0x40042408, PAUSE=0x40042409, QUERY=0xc008240a, MODIFY=0x4008240b, NONE=0x2420)


def result(n):
    return errno.errorcode.get(ctypes.get_errno(), ctypes.get_errno()) if n < 0 else 0


def open_event(kind, config, period=1, inherit=0, freq=0, config1=0, config2=0):
    attr = ctypes.create_string_buffer(128)
    struct.pack_into("IIQQQQQ", attr, 0, kind, 112, config, period, 0, 0, 1 | inherit << 1 | freq << 10)
    struct.pack_into("QQ", attr, 56, config1, config2)
    # The old number of perf_event_open(2) on x86-64.
    return libc.syscall(298, attr, 0, -1, -1, 8)


def ask(fd, what, arg):
    if isinstance(arg, bytes):
        arg = ctypes.create_string_buffer(arg)
    return result(libc.syscall(16, fd, ctypes.c_ulong(FIELDS[what]), arg if not isinstance(arg, int) else ctypes.c_ulong(arg)))


def number(name):
    with open("/sys/kernel/tracing/events/" + name + "/id") as f:
        return int(f.read())


path = ctypes.create_string_buffer(b"/bin/true")
with open("/sys/bus/event_source/devices/uprobe/type") as f:
    uprobe = int(f.read())
said, events = [], {}
for name, expression in json.load(sys.stdin):
    if name not in events: # one that has a filter takes no other
        events[name] = open_event(2, number(name)) if name else open_event(uprobe, 0, 1, 0, 0, ctypes.addressof(path), 0x40)
    fd = events[name]
    said.append(ask(fd, "FILTER", expression.encode("latin-1")) if fd >= 0 else "open: %s" % result(fd))
    if said[-1] == 0:
        os.close(events.pop(name))

word = lambda n: struct.pack("Q", n)
attr = lambda kind, size: struct.pack("IIQ", kind, size, 0) + bytes(112)
requests = [("ENABLE", 0), ("ENABLE", 1), ("DISABLE", 0), ("REFRESH", 0), ("REFRESH", 1), ("RESET", 0), ("PERIOD", word(0)),
            ("PERIOD", word(5000)), ("PERIOD", word(1 << 63)), ("PERIOD", 8), ("OUTPUT", 2**64 - 1), ("OUTPUT", 0), ("ID", 8),
            ("BPF", 2**64 - 1), ("BPF", 0), ("PAUSE", 0), ("PAUSE", 1), ("QUERY", 8), ("QUERY", bytes(16)), ("MODIFY", 8),
            ("MODIFY", attr(1, 112)), ("MODIFY", attr(2, 112)), ("MODIFY", attr(5, 112)), ("MODIFY", attr(2, 7)), ("MODIFY", attr(2, 5000)),
            ("FILTER", 8), ("FILTER", b"x" * 5000), ("FILTER", b"common_pid == 1"), ("FILTER", b"common_pid == 1"), ("FILTER", b"common_pid =="),
            ("NONE", 0)]
table = {}
for event, args in dict(clock=(1, 0, 100000), task=(1, 1, 100000), rate=(1, 0, 100, 0, 1), inherited=(1, 1, 100000, 1),
                        tracepoint=(2, number("sched/sched_process_exit")), counting=(2, number("sched/sched_process_exit"), 0),
                        uprobe=(uprobe, 0, 1, 0, 0, ctypes.addressof(path), 0x40), none=(2, 65535)).items():
    fd = open_event(*args)
    table[event] = [f"{what} {arg if isinstance(arg, int) else arg[:24]}: {ask(fd, what, arg)}" for what, arg in requests] if fd >= 0 else result(fd)
    if fd >= 0:
        table[event].append("OUTPUT itself: %s" % ask(fd, "OUTPUT", fd))
print(json.dumps([said, table]))
"""
MOUNTED = ["unshare", "-m", "sh", "-c", 'mount -t tracefs nodev /sys/kernel/tracing; exec "$@"', "sh"]


def ask(questions, *command, **env):
    r = subprocess.run([*command, sys.executable, "-c", ASKER], input=json.dumps(questions), stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True, env=dict(os.environ, **env))
    return json.loads(r.stdout) if r.stdout else r.stderr


rnd = random.Random(SEED)
pick = rnd.choice
EVENTS = {"syscalls/sys_enter_openat": ["__syscall_nr", "dfd", "filename", "flags", "mode"], "syscalls/sys_exit_openat": ["__syscall_nr", "ret"],
          "sched/sched_process_fork": ["parent_comm", "parent_pid", "child_comm", "child_pid"], "sched/sched_process_exec": ["filename", "pid", "old_pid"],
          "raw_syscalls/sys_enter": ["id"]}
PROBE = ["__probe_ip"] # which a probe has that is in tracefs
EVERYWHERE = ["common_pid", "common_type", "common_flags", "common_preempt_count", "CPU", "comm", "COMM", "cpu", "nothing", "", "9", "common"]


def value():
    return pick([lambda: str(rnd.randrange(-5, 300)), lambda: hex(rnd.getrandbits(rnd.randrange(1, 70))), lambda: str(rnd.getrandbits(64)),
                 lambda: pick(["0x", "1x", "-", "--1", "08", "+1", "0x0123456789abcdef0123", "9" * 23, "9" * 24, "", "a", "1.5", "0xFFFFFFFFFFFFFFFF"]),
                 lambda: '"' + pick(["sh", "*sh", "a*b", "", "a\\", "x" * 255, "x" * 256, "[a-c]?"]) + pick(['"', '"', '"', "'", ""]),
                 lambda: "'" + pick(["sh", "*", "x y", "&&", "(", "\""]) + pick(["'", "'", '"'])])()


def predicate(event):
    blank = lambda: pick(["", "", " ", " ", "\t", "\n"])
    field = pick(EVENTS.get(event, PROBE) * 2 + EVERYWHERE)
    text = field in ("filename", "parent_comm", "child_comm", "comm", "COMM")
    op = pick((["==", "!=", "~"] if text else ["==", "!=", "<", "<=", ">", ">=", "&"]) * 3 + ["==", "!=", "~", "<", "&", "=", "=>", "|", "^", "", "<<", "~="])
    good = '"ba*"' if text else str(rnd.randrange(100))
    return blank() + field + blank() + op + blank() + pick([good, good, value()]) + blank()


def expression(event, depth=0):
    what = rnd.random()
    if depth > 4 or what < 0.5:
        return predicate(event)
    if what < 0.7:
        return pick(["(", "(", "(", "!(", "((", "", "! (", "!"]) + expression(event, depth + 1) + pick([")", ")", ")", ")", "))", ""])
    return expression(event, depth + 1) + pick(["&&", "||", "&&", "||", " && ", " || ", "&", "|", "", "and", "&&&", "|| ||"]) + expression(event, depth + 1)


questions = []
for i in range(COUNT):
    name = pick(list(EVENTS) * 4 + [""])
    text = expression(name)
    for _ in range(pick([0, 0, 0, 0, 0, 1, 2])): # a character more, or less
        at = rnd.randrange(len(text) + 1)
        text = text[:at] + pick(["", "(", ")", "!", "&", "|", "=", "\"", " ", "0"]) + text[at + rnd.randrange(2):]
    questions.append((name, text.replace("\0", "")))
questions += [("raw_syscalls/sys_enter", t) for t in ("", " ", "0", "()", "!", "args == 1", "args == \"x\"", "id == 59", "id==59||id==60", "(id == 1", "id == 1)",
                                                      "id == 1 &&", "&& id == 1", "id & 1", "id", "id ==", "!id == 1", "! id == 1", "!!id == 1", "!(id == 1)", "(" * 100 + "id == 1" + ")" * 100,
                                                      "(" * 1500 + "id == 1" + ")" * 1500, " || ".join(["id == 1"] * 300), " && ".join(["id == 1"] * 300))]
kernel = ask(questions, *MOUNTED, FERRY="off")
if isinstance(kernel, str):
    skip_all("the kernel has no events for us: " + kernel.strip().split("\n")[-1])
here = ask(questions, FERRY, "exec", "--private", "--")
if isinstance(here, str):
    check("filters_are_asked_for", False, here)
    done()
wrong = [(q, h, k) for q, h, k in zip(questions, here[0], kernel[0]) if h != k]
check("filters_are_taken_and_refused_as_by_the_kernel", not wrong, "%d of %d\n%s" % (len(wrong), COUNT, "\n".join(map(str, wrong[:40]))))
good = kernel[0].count(0)
check("many_of_the_filters_are_good_and_many_are_bad", COUNT / 10 < good < COUNT * 0.9, good)
for event in kernel[1]:
    wrong = [x for x in zip(here[1][event], kernel[1][event]) if x[0] != x[1]] if isinstance(kernel[1][event], list) else (here[1][event], kernel[1][event])
    check(f"requests_of_{event}_end_as_the_kernels", here[1][event] == kernel[1][event], f"ferry, kernel: {wrong}")
done()
