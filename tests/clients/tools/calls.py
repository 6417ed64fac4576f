#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""opensnoop, execsnoop and syscount, unmodified, on a shell's script and on servers: calls.py FERRY. What they print is
what the script did and as often as the clients asked. TAP."""
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
from servers import Nginx, Redis, program  # noqa: E402
from tap import check, done, skip  # noqa: E402

need_bcc()
DIR = tempfile.mkdtemp(prefix="ferry-calls-")
s = Session(sys.argv[1], DIR)

SCRIPT = """cd {0}
read x <there
cat there >/dev/null
read x <missing
cat missing
>below
cat locked
exec 5<>there 6<here/there
/bin/true one 'two three'
./unknown four
./locked five
(exec /bin/echo six)
for i in 1 2 3; do /bin/true $i; done
exec /bin/cat end
"""
# Line by line: who, the error or 0, what. Its own /proc and locale aside, these are all the script's names.
OPENS = [("bash", 0, "there"), ("cat", 0, "there"), ("bash", 2, "missing"), ("cat", 2, "missing"), ("bash", 21, "below"),
         ("cat", 13, "locked"), ("bash", 0, "there"), ("bash", 20, "here/there"), ("cat", 0, "end")]
EXECS = [("cat", 0, "/bin/cat there"), ("cat", 0, "/bin/cat missing"), ("cat", 0, "/bin/cat locked"),
         ("true", 0, "/bin/true one two three"), ("bash", -2, "./unknown four"), ("bash", -13, "./locked five"),
         ("echo", 0, "/bin/echo six"), ("true", 0, "/bin/true 1"), ("true", 0, "/bin/true 2"),
         ("true", 0, "/bin/true 3"), ("cat", 0, "/bin/cat end")]


def make_files(top):
    os.mkdir(top)
    for name, mode in (("there", 0o644), ("here", 0o644), ("end", 0o644), ("locked", 0)):
        with open(f"{top}/{name}", "w") as f:
            f.write("text\n")
        os.chmod(f"{top}/{name}", mode)
    os.mkdir(f"{top}/below")
    return top


def start_all(tools, poke):
    """They open their buffers behind their headlines: poked until each has seen one."""
    ts = [s.start(*tool(*args), stdin=subprocess.DEVNULL) for args, _ in tools]
    ready = all([t.wait_for("^(P?COMM.*)?PID") for t in ts])  # execsnoop: PCOMM, COMM in 0.31
    left = list(zip(ts, (seen for _, seen in tools)))
    for _ in range(100):
        if not left or not ready:
            break
        s.start(*poke, stdin=subprocess.DEVNULL).end()
        left = [(t, seen) for t, seen in left if not t.wait_for(seen, 0.3)]
    return ts


def opens_of(out, names):
    rows = re.findall(r"^\d+ +(\w+) +(-?\d+) +(\d+) (\S+)$", out, re.M)
    return [(comm, int(err), path) for comm, fd, err, path in rows if path in names and (fd == "-1") == (err != "0")]


def execs_of(out):
    """Of the session, where nothing else executes anything: what came behind the last poke."""
    rows = re.findall(r"^(\S+) +\d+ +(?:\d+|\?) +(-?\d+) (.*)$", out[out.rindex("./poke"):], re.M)
    return [(comm, int(ret), args) for comm, ret, args in rows]


def on_a_script():
    top = make_files(f"{DIR}/files")
    tools = start_all([(["opensnoop"], "/ready$"), (["opensnoop", "-x", "-n", "bash"], "/ready$"),
                       (["execsnoop", "-x"], "./poke$")], ["/bin/bash", "--norc", "-c", "read </ready; ./poke; true"])
    sh = s.start("/bin/bash", "--norc", "-c", SCRIPT.format(top), env={"PATH": "/bin", "LC_ALL": "C"},
                 stdin=subprocess.DEVNULL)
    said = sh.end()
    check("the_script_ran_to_its_end", sh.p.returncode == 0 and said.endswith("six\ntext\n"), said)
    seen = tools[0].wait_for(r" 0 end$") and tools[2].wait_for("/bin/cat end$")
    outs = [t.end(signal.SIGINT) for t in tools]
    names = {name for _, _, name in OPENS}
    got = opens_of(outs[0], names)
    check("opensnoop_shows_what_a_script_opens_and_what_fails", seen and got == OPENS, f"{got}\n{outs[0]}")
    got = opens_of(outs[1], names)
    check("opensnoop_shows_failures_alone_of_one_name", got == [o for o in OPENS if o[0] == "bash" and o[1]], outs[1])
    got = execs_of(outs[2])
    check("execsnoop_shows_what_a_script_executes_and_what_fails", got == EXECS, f"{got}\n{outs[2]}")
    check("tools_end_by_the_terminal's_signal", [t.p.returncode for t in tools] == [0, 0, 0], outs)


REPLACED = """
import os
def child(*args):
    if not os.fork():
        try: os.execve(*args, dict(os.environ))
        except OSError: os._exit(0)
    os.wait()
child('/bin/true', ['true'])
child('/bin/unknown', ['unknown'])
child(os.open('/bin/true', os.O_RDONLY), ['true'])
os.execve('/bin/true', ['true'], dict(os.environ))
"""


def on_replaced_programs():
    """execve(2) and execveat(2) have one end each, the one that fails in the old program, the others in the new one."""
    w = s.start(*tool("argdist", "-i", 1, "-c", *(x for name in ("execve", "execveat") for x in
                ("-C", f"t:syscalls:sys_exit_{name}():long:args->ret#{name}"))), stdin=subprocess.DEVNULL)
    ready = w.wait_for(r"^\[")
    p = s.start(PYTHON, "-c", REPLACED, stdin=subprocess.DEVNULL)
    said = p.end()
    seen = w.wait_for(r"^execve\n(?:(?!\[).*\n)*\s+2\s+\S+ = 0\n(?:(?!\[).*\n)*execveat\n.*\n\s+1\s+\S+ = 0\n", 20)
    last = w.out[w.out.rfind("\nexecve\n", 0, w.seen):w.seen]
    got = re.findall(r"^\s+(\d+)\s+\S+ = (-?\d+)$", last, re.M)
    out = w.end(signal.SIGINT)
    check("argdist_counts_the_ends_of_execve", ready and seen and sorted(got) == [("1", "-2"), ("1", "0"), ("2", "0")], said + out)


def counts(out):
    """Name or process: how often."""
    return {m[0]: int(m[1]) for m in re.findall(r"^(\S+)(?: +\S+)? +(\d+)(?: +[\d.]+)?$", out, re.M)}


def on_servers():
    if not program("redis-server") or not program("nginx"):
        return skip("syscount_counts_calls_of_servers", "redis-server or nginx-light is not installed")
    redis, nginx = Redis(s, f"{DIR}/redis"), Nginx(s, f"{DIR}/nginx")
    ts = [s.start(*tool("syscount", "-T", 99, *args), stdin=subprocess.DEVNULL) for args in
          (["-p", redis.pid], ["-L", "-p", redis.pid], ["-p", nginx.pid], ["-P"])]
    ready = all([t.wait_for("Tracing") for t in ts])
    redis.ask(123, "SET", "key", "value")
    good = nginx.get(57)
    redis.settle()
    nginx.settle()
    outs = [t.end(signal.SIGINT) for t in ts]
    r, late, n, each = (counts(out) for out in outs)
    check("servers_under_syscount_serve", ready and good == 57 and redis.ask(1, "GET", "key") == "$5\r\nvalue\r\n", outs)
    check("syscount_counts_calls_of_redis", r.get("write") == 123 and r.get("read", 0) >= 123, outs[0])
    check("syscount_times_calls_of_redis", late.get("write") == 123 and "TIME (us)" in outs[1], outs[1])
    check("syscount_counts_calls_of_nginx", [n.get(c) for c in ("accept4", "recvfrom", "openat", "writev")] == [57] * 4,
          outs[2])
    # Each request is more calls than these; the processes that count are of the session too.
    check("syscount_counts_by_process", each.get(str(redis.pid), 0) >= 246 and each.get(str(nginx.pid), 0) >= 5 * 57,
          outs[3])


try:
    on_a_script()
    on_replaced_programs()
    on_servers()
finally:
    s.close()
    shutil.rmtree(DIR, ignore_errors=True)
done()
