#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian's tools in bpftrace (/usr/sbin/*.bt), unmodified, several at once on one target: tools.py FERRY. TAP."""
import os
import pty
import re
import sys
import time

from begin import interrupt, run_parts, s
from tap import check, skip_all

if not os.path.exists("/usr/sbin/opensnoop.bt"):
    skip_all("this bpftrace comes without its tools")


def watch(drive, **tools):
    """What each prints about what drive() does; its value is the pattern to wait for (None: it prints at its end)."""
    started = {name: s.start("bpftrace", f"/usr/sbin/{name}.bt", root=True, stdin=None) for name in tools}
    for name, t in started.items():
        if not t.wait_for("Ctrl-C|^TIME"):
            check(f"{name}_starts", False, t.out)
    drive()
    for name, t in started.items():
        if tools[name]:
            t.wait_for(tools[name], 20)
    time.sleep(0.13)  # what comes too often is seen, too
    return {name: interrupt(t) for name, t in started.items()}


def lines(out, pid):
    """Those about the process, without times, words apart by one blank."""
    rows = [re.sub(r"^\d\d:\d\d:\d\d(\.\d+)? +", "", x) for x in out.splitlines()]
    return [" ".join(x.split()) for x in rows if re.search(rf"\b{pid}\b", x)]


def files():
    t = s.python()

    def drive():
        t.say("os.open('/dev/null', 0)", "done")
        t.say("os.access('/dev/null', 4); os.statvfs('/proc/self')", "done")
        t.say("os.fsync(os.open('/tmp', os.O_TMPFILE | os.O_RDWR))", "done")
        t.say("os.kill(os.getpid(), 0)", "done")

    out = watch(drive, opensnoop=rf"{t.pid} .*/tmp$", statsnoop=rf"{t.pid} .*/proc/self$", syncsnoop=rf"{t.pid} .*fsync",
                killsnoop=rf"{t.pid} ")
    rows = lines(out["opensnoop"], t.pid)
    check("opensnoop", [x.split()[3:] for x in rows] == [["0", "/dev/null"], ["0", "/tmp"]] and
          all(x.split()[1] == "python3" and int(x.split()[2]) > 2 for x in rows), out["opensnoop"])
    check("statsnoop", lines(out["statsnoop"], t.pid) == [f"{t.pid} python3 0 /proc/self"], out["statsnoop"])
    check("syncsnoop", lines(out["syncsnoop"], t.pid) == [f"{t.pid} python3 tracepoint:syscalls:sys_enter_fsync"], out["syncsnoop"])
    check("killsnoop", lines(out["killsnoop"], t.pid) == [f"{t.pid} python3 0 {t.pid} 0"], out["killsnoop"])
    t.end()


def processes():
    t = s.python()
    t.say("import ctypes, subprocess; libc = ctypes.CDLL(None); slept = (ctypes.c_long * 2)(0, 25000000)", "done")

    def drive():
        t.say("subprocess.run(['/bin/true', 'one', 'two'])", "done")
        t.say("for i in range(123): os.getppid()", "done")
        t.say("libc.syscall(35, slept, 0)", "done")  # nanosleep(2); libc's asks for clock_nanosleep(2)
        t.say(f"os.setresuid(-1, {os.geteuid()}, -1)", "done")

    out = watch(drive, execsnoop=r"/bin/true one two$", naptime=rf" {t.pid} ", setuids=rf" {t.pid} ", syscount=None)
    check("execsnoop", re.search(r"^([\d:.]+ +)?\d+ +\d+ +/bin/true one two$", out["execsnoop"], re.M), out["execsnoop"])
    check("naptime", lines(out["naptime"], t.pid)[0].split()[-3:] == [str(t.pid), "python3", "0.025"], out["naptime"])
    check("setuids", lines(out["setuids"], t.pid)[0].split()[1:4] == ["python3", str(os.geteuid()), "setresuid"], out["setuids"])
    check("syscount", re.search(r"^@syscall\[110\]: 123$", out["syscount"], re.M) and "@process[python3]:" in out["syscount"],
          out["syscount"])
    t.end()


def libraries():
    t = s.python()
    t.say("import socket, ssl; c = ssl.create_default_context()", "done")
    end, terminal = pty.openpty()
    bash = s.start("bash", "--norc", "-i", stdin=terminal)
    os.close(terminal)

    def drive():
        t.say("socket.getaddrinfo('127.0.0.1', 80)", "done")
        t.say("tls = c.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname='x')", "done")
        t.say("exec('try: tls.do_handshake()\\nexcept ssl.SSLWantReadError: pass')", "done")
        os.write(end, b"echo first\n")  # it waits inside of readline(3), which so does not return to the probe
        bash.wait_for("^first")
        os.write(end, b"echo probed $((40 + 2))\n")
        bash.wait_for("probed 42")

    bash.wait_for(r"\$ ")
    out = watch(drive, gethostlatency=rf"{t.pid} ", sslsnoop=rf"{t.pid} ", ssllatency=None, bashreadline=rf"{bash.pid} ")
    check("gethostlatency", re.search(rf"^{t.pid} python3 \d+ 127.0.0.1$", "\n".join(lines(out["gethostlatency"], t.pid)), re.M),
          out["gethostlatency"])
    check("sslsnoop", re.search(rf"^\d+ {t.pid} python3 \d+ -1 SSL_do_handshake$", "\n".join(lines(out["sslsnoop"], t.pid)), re.M),
          out["sslsnoop"])
    check("ssllatency", re.search(r"SSL_do_handshake", out["ssllatency"]), out["ssllatency"])
    check("bashreadline", f"{bash.pid} echo probed $((40 + 2))" in lines(out["bashreadline"], bash.pid), out["bashreadline"])
    os.write(end, b"exit\n")
    bash.wait_for("exit")
    t.end()


run_parts([files, processes, libraries], sys.argv[2:])
