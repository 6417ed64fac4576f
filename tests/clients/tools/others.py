#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""More of bcc's tools, unmodified: system calls seen by name, an interpreter's own probes, what starts and ends, profiles.
others.py FERRY. TAP."""
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
from drive import PYTHON, Session, need_bcc, tool  # noqa: E402
from servers import Redis, program  # noqa: E402
from tap import check, done, no_tracing, run, skip  # noqa: E402

need_bcc()
DIR = tempfile.mkdtemp(prefix="ferry-others-")
s = Session(sys.argv[1], DIR)
CODE = """
import ctypes, gc, os, socket
libc = ctypes.CDLL(None)
def inner(): return 1
def outer(): return inner()
"""


def start(which, root=False):
    ts = [s.start(*tool(*args), root=root, stdin=subprocess.DEVNULL) for args, _ in which]
    if not all([t.wait_for(ready) for t, (_, ready) in zip(ts, which)]):
        print("# not ready: " + repr([t.out for t in ts]))
    return ts


def poke(ts, drive, seen):
    """Buffers are opened behind the headlines: driven until each has shown one event."""
    for _ in range(100):
        drive()
        ts = [t for t in ts if not t.wait_for(seen, 0.3)]
        if not ts:
            return
    print(f"# never seen: {seen}")


def end(ts):
    return [t.end(signal.SIGINT) for t in ts]


def interpreter():
    t = s.python()
    for line in CODE.strip().splitlines():
        t.say(line, "done")
    return t


def system_calls(t):
    ts = start([(["killsnoop"], "RESULT"), (["mountsnoop"], "CALL"), (["gethostlatency"], "HOST")])
    poke(ts[:1], lambda: t.say("os.kill(os.getpid(), 0)", "done"), rf"{t.pid}.* 0 +{t.pid} +0$")
    poke(ts[1:2], lambda: t.say("libc.umount(b'/poke')", "done"), 'umount."/poke"')
    poke(ts[2:], lambda: t.say("socket.getaddrinfo('127.0.0.2', 80)", "done"), "127.0.0.2$")
    t.say("signal = __import__('signal'); signal.signal(12, lambda *a: 0); os.kill(os.getpid(), 12)", "done")
    t.say("libc.mount(b'what', b'/no/where', b'no-fs', 5, b'data')", "done")
    t.say("socket.getaddrinfo('127.0.0.1', 80)", "done")
    seen = [w.wait_for(p) for w, p in zip(ts, (r" 12 +\d+ +0$", "no/where.*$", "127.0.0.1$"))]
    outs = end(ts)
    check("killsnoop_shows_signals", seen[0] and re.search(rf"{t.pid} +python3 +12 +{t.pid} +0$", outs[0], re.M), outs[0])
    check("mountsnoop_shows_calls_with_their_arguments", seen[1] and re.search(
        r'mount\("what", "/no/where", "no-fs", (0x5|MS_RDONLY\|MS_NODEV), "data"\) = -E', outs[1]), outs[1])
    check("gethostlatency_shows_names", seen[2] and re.search(rf"{t.pid} +python3 +[\d.]+ 127.0.0.1$", outs[2], re.M), outs[2])


def own_probes(t):
    """Of python3, which calls those of functions only while somebody listens to its lines too."""
    out = run(s.ferry, "exec", "--", *tool("tplist", "-p", t.pid), env=s.env).stdout
    names = set(re.findall(r"python:(\w+)$", out, re.M))
    noted = set(re.findall(r"Name: (\w+)$", run("readelf", "-n", PYTHON).stdout, re.M))
    check("tplist_lists_the_interpreter's_probes", "gc__start" in names and noted <= names, f"{noted}\n{out}")
    if no_tracing():  # bcc itself counts semaphores up, in the target's memory
        return skip("pythongc_pythonflow_and_pythoncalls", no_tracing())
    collections = start([(["pythongc", t.pid], "Press|Ctrl|START")])
    poke(collections, lambda: t.say("gc.collect()", "done"), r"None$")
    if "function__entry" in names:
        functions(t)
    else:
        skip("pythonflow_and_pythoncalls", "python3 has no probes of functions from 3.12 on")
        t.say("gc.collect()", "done")
    collections[0].wait_for(r"None$")
    out = end(collections)[0]
    check("pythongc_shows_collections", len(re.findall(r"^[\d.]+ +[\d.]+ +None$", out, re.M)) >= 2, out)


def functions(t):
    lines = start([(["trace", "-p", t.pid, f"u:{os.path.realpath(PYTHON)}:line \"%s\", arg2"], "PID")])
    ts = start([(["pythonflow", t.pid], "METHOD"), (["pythoncalls", "-S", t.pid], "Tracing")])
    poke(ts[:1], lambda: t.say("inner()", "done"), r"-> .*inner")
    t.say("outer(); [os.getppid() for i in range(77)]; gc.collect()", "done")
    t.say("", "done")
    seen = ts[0].wait_for("<- .*outer.*?$")
    outs = end(ts)
    end(lines)
    check("pythonflow_shows_calls_and_returns", seen and re.search(
        r"-> \S*outer *\n.*-> \S*inner *\n.*<- \S*inner *\n.*<- \S*outer", outs[0]), outs[0])
    check("pythoncalls_counts_system_calls", re.search(r"^getppid +77$", outs[1], re.M), outs[1])


def starts_and_ends():
    if run(s.ferry, "exec", "--private", "--root", "--", "true").returncode:
        return skip("exitsnoop_shows_ends", "no user namespaces here")
    ts = start([(["exitsnoop"], "PCOMM"), (["shmsnoop"], "PID")], root=True)
    poke(ts, lambda: s.start("/bin/ipcmk", "-M", "4096", stdin=subprocess.DEVNULL).end(), "ipcmk")
    made = s.start("/bin/ipcmk", "-M", "12288", stdin=subprocess.DEVNULL)
    made.end()
    number = int(re.search(r"id: (\d+)", made.out)[1])
    s.start("/bin/ipcrm", "-m", str(number), stdin=subprocess.DEVNULL).end()
    seen = ts[0].wait_for("^ipcrm ") and ts[1].wait_for("ipcrm.*SHMCTL")
    outs = end(ts)
    # What it says else it reads where a kernel has it.
    check("exitsnoop_shows_ends_in_order", seen and re.search(r"^ipcmk .*\n(.*\n)*ipcrm ", outs[0], re.M), outs[0])
    check("shmsnoop_shows_arguments_and_results", re.search(
        rf"^{made.pid} +ipcmk +SHMGET +{number:x} key: 0x\w+, size: 12288, .*\n(.*\n)*\d+ +ipcrm +SHMCTL +0 shmid: 0x{number:x}, ",
        outs[1], re.M), outs[1])
    for line in re.findall(rf"SHMGET +(\w+) key", outs[1]):
        run("/bin/ipcrm", "-m", str(int(line, 16)))


def threads_and_time():
    redis = program("redis-server")
    ts = start([(["threadsnoop"], "FUNC")]) if redis else []
    if redis:
        poke(ts, lambda: s.start(PYTHON, "-c", "import _thread; _thread.start_new_thread(print, ())").end(), "python3")
        r = Redis(s, f"{DIR}/redis")
        seen = ts[0].wait_for(rf"{r.pid}.*\n.*{r.pid}.*\n.*{r.pid}.*\n")
        out = end(ts)[0]
        funcs = re.findall(rf"{r.pid} +\S*redis-server\S* +(?:b')?(\w+)", out)
        check("threadsnoop_shows_what_threads_of_redis_run", seen and funcs.count("bioProcessBackgroundJobs") == 3, out)
    else:
        skip("threadsnoop_shows_what_threads_of_redis_run", "redis-server is not installed")
    busy = s.start("/bin/bash", "--norc", "-c", "while :; do x=$((x + 1)); done", stdin=subprocess.DEVNULL)
    p = s.start(*tool("profile", "-p", busy.pid, "-U", "-f", "3"), stdin=subprocess.DEVNULL)
    out = p.end()
    busy.p.kill()
    rows = re.findall(r"^bash;(?:\S+;)?(\S+) (\d+)$", out, re.M)
    names = {line.split()[-1] for line in run("nm", "-D", "/bin/bash").stdout.splitlines()}
    known = [int(n) for name, n in rows if name in names]
    check("profile_names_where_a_shell_spends_its_time", p.p.returncode == 0 and sum(known) > 0, out)
    w = start([(["killsnoop"], "RESULT")])[0]
    out = run(s.ferry, "exec", "--", *tool("bpflist"), env=s.env).stdout
    end([w])
    check("bpflist_shows_what_a_tool_has", re.search(rf"^{w.pid} +killsnoop\S* +prog +2$", out, re.M) and
          re.search(rf"^{w.pid} +killsnoop\S* +map +2$", out, re.M), out)


try:
    target = interpreter()
    for part in (lambda: system_calls(target), lambda: own_probes(target), starts_and_ends, threads_and_time):
        part()
    target.end()
    check("the_interpreter_ends_well", target.p.returncode == 0, target.out)
finally:
    s.close()
    shutil.rmtree(DIR, ignore_errors=True)
done()
