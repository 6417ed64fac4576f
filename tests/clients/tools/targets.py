#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bcc's tools, unmodified, on servers, a shell, a database and cryptography: targets.py FERRY. Some of them are started in the
session, others are entered while they run; counts are what clients asked for, texts what was typed. TAP."""
import glob
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.dirname(HERE)]
from drive import Session, need_bcc, tool  # noqa: E402
from servers import Nginx, Redis, children, program  # noqa: E402
from tap import check, done, no_tracing, run, skip  # noqa: E402

need_bcc()
DIR = tempfile.mkdtemp(prefix="ferry-targets-")
s = Session(sys.argv[1], DIR)


def library(of, name):
    out = run("ldd", program(of)).stdout
    m = re.search(rf"{name}\S* => (\S+)", out)
    return os.path.realpath(m[1]) if m else None


def tools(*which):
    """Started together; each says something when its probes are in place."""
    ts = [s.start(*tool(*args), stdin=subprocess.DEVNULL) for args, _ in which]
    if not all([t.wait_for(ready) for t, (_, ready) in zip(ts, which)]):
        print("# not ready: " + repr([t.out for t in ts]))
    return ts


def poke(t, drive, seen):
    """Tools open the buffers of what they print behind their headlines: driven until one line is seen."""
    for _ in range(100):
        drive()
        if t.wait_for(seen, 0.3):
            return
    print("# never seen: " + seen)


def end(ts):
    return [t.end(signal.SIGINT) for t in ts]


def attach(pid):
    return run(s.ferry, "attach", str(pid), env=s.env)


def counted(out, name):
    m = re.search(rf"^{name} +(\d+)$", out, re.M)
    return int(m[1]) if m else 0


def on_redis():
    """Entered while it runs."""
    exe = program("redis-server")
    if not exe or no_tracing():
        return skip("tools_on_redis", no_tracing() or "redis-server is not installed")
    r = Redis(s, f"{DIR}/redis", ferry=False)
    entered = attach(r.pid)
    ts = tools((["funccount", "-p", r.pid, "-r", f"{exe}:^(process|set|get)Command$"], "Tracing"),
               (["trace", "-p", r.pid, f'{exe}:dictFind "%s", arg2'], "PID"),
               (["funclatency", "-p", r.pid, f"{exe}:processCommand"], "Tracing"))
    poke(ts[1], lambda: r.ask(1, "GET", "poke"), "poke$")
    r.ask(41, "SET", "one", "1")
    r.ask(1, "GET", "two")
    r.ask(1, "GET", "three")
    seen = ts[1].wait_for("three$")
    texts = ts[1].end(signal.SIGINT)  # it prints slower than what comes now
    bench = run(program("redis-benchmark"), "-s", r.path, "-t", "set", "-n", "1000", "-c", "7", "-q")
    outs = end([ts[0], ts[2]])
    check("funccount_counts_commands_of_redis", bench.returncode == 0 and counted(outs[0], "setCommand") == 1041 and
          counted(outs[0], "processCommand") >= counted(outs[0], "getCommand") + 1041, f"{entered.all}{bench.all}{outs[0]}")
    check("trace_prints_keys_of_redis", seen and re.search(r"dictFind +two\n(.*\n)*.*dictFind +three\n", texts), texts)
    m = re.search(r"count: (\d+)", outs[1])
    check("funclatency_times_commands_of_redis", m and int(m[1]) == counted(outs[0], "processCommand"), outs[1])
    left = run(s.ferry, "detach", str(r.pid), env=s.env)
    check("redis_serves_on_when_it_was_left", left.returncode == 0 and r.ask(1, "GET", "one") == "$1\r\n1\r\n", left.all)


def on_redis_memory():
    """With libc's memory (memleak wants malloc and mmap in one library, which jemalloc is not)."""
    if not program("redis-server"):
        return skip("memleak_finds_what_redis_keeps", "redis-server is not installed")
    libc = {"LD_PRELOAD": library("redis-server", "libc.so")}
    alone = run("timeout", "1", program("redis-server"), "--port", "0", "--unixsocket", f"{DIR}/alone", "--dir", DIR, "--save", "",
                env=dict(os.environ, **libc))
    if alone.returncode != 124:  # newer ones ask jemalloc about memory, whoever it is from
        return skip("memleak_finds_what_redis_keeps", "this redis-server does not run with libc's memory")
    r = Redis(s, f"{DIR}/memory", env=libc)
    ts = tools((["memleak", "-p", r.pid, "-z", 7000, "-Z", 7999, "-o", 0, 1], "outstanding"),)
    value = "x" * 7500
    for i in range(37):
        r.ask(1, "SET", f"key{i}", value)
    for i in range(14):
        r.ask(1, "DEL", f"key{i}")
    seen = ts[0].wait_for(r"in 23 allocations from stack")
    out = end(ts)[0]
    m = re.search(r"(\d+) bytes in 23 allocations", out)
    check("memleak_finds_what_redis_keeps", seen and 23 * 7500 < int(m[1]) < 23 * 8000, out)
    r.p.end(signal.SIGTERM)


def on_nginx():
    """Its worker, which the master forked."""
    exe = program("nginx")
    if not exe:
        return skip("tools_on_nginx", "nginx-light is not installed")
    n = Nginx(s, f"{DIR}/nginx")
    ts = tools((["funccount", "-p", n.pid, f"{exe}:ngx_http_process_request"], "Tracing"),
               (["trace", "-p", n.pid, 'c:open64 "%s", arg1'], "PID"),
               (["argdist", "-p", n.pid, "-i", 1, "-c", "-C", "r:c:writev():long:$retval"], r"^\["))
    before = 0

    def one():
        nonlocal before
        before += n.get(1)

    poke(ts[1], one, "page$")
    good = n.get(31)
    n.get(1, "/missing")
    seen = ts[1].wait_for("missing$")
    summed = ts[2].wait_for(rf"^\s+{before + 31}\s+\$retval = \d+$")
    outs = end(ts)
    count = counted(outs[0], "ngx_http_process_request")
    check("funccount_counts_requests_of_nginx", good == 31 and count == before + 32, outs[0])
    pages = outs[1].count(f"{DIR}/nginx/page\n")
    check("trace_prints_what_nginx_opens", seen and pages >= 32 and outs[1].count("/missing\n") == 1, outs[1])
    check("argdist_counts_results_in_nginx", summed, outs[2])
    n.p.p.send_signal(signal.SIGQUIT)
    check("nginx_ends_well", n.p.end() is not None and n.p.p.returncode == 0, n.p.out)


def on_entered_nginx():
    """Master and worker entered while they run; the worker that the master forks then is of the session too."""
    exe = program("nginx")
    if not exe or no_tracing():
        return skip("tools_on_entered_nginx", no_tracing() or "nginx-light is not installed")
    n = Nginx(s, f"{DIR}/entered", ferry=False)
    entered = [attach(pid) for pid in (n.p.pid, n.pid)]
    ts = tools((["funccount", f"{exe}:ngx_http_process_request"], "Tracing"),)
    good = n.get(9)
    old = n.pid
    n.p.p.send_signal(signal.SIGHUP)
    while n.pid == old or old in children(n.p.pid):
        time.sleep(0.02)
        n.pid = [*children(n.p.pid), old][0]
    good += n.get(13)
    out = end(ts)[0]
    check("workers_of_an_entered_master_are_seen", good == 22 and counted(out, "ngx_http_process_request") == 22,
          f"{entered[0].all}{entered[1].all}{out}{n.p.out}")
    n.p.p.send_signal(signal.SIGQUIT)
    n.p.end()
    check("the_entered_master_ends_well", n.p.p.returncode == 0, n.p.out)


def on_openssl():
    exe, ssl, crypto = program("openssl"), library("openssl", "libssl"), library("openssl", "libcrypto")
    if not exe or not ssl:
        return skip("tools_on_openssl", "openssl is not installed")
    key = f"{DIR}/key.pem"
    made = run(exe, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=test", "-keyout", key, "-out", key,
               "-config", "/dev/null", "-days", "9")
    files = [f"{DIR}/file{i}" for i in range(19)]
    for f in files:
        with open(f, "w") as out:
            out.write(f"{f}\n")
    server = s.start(exe, "s_server", "-key", key, "-cert", key, "-unix", f"{DIR}/ssl", "-quiet")
    ts = tools((["funccount", f"{crypto}:EVP_DigestFinal_ex"], "Tracing"), (["trace", f'{ssl}:SSL_write "%s", arg2'], "PID"))
    client = s.start(exe, "s_client", "-unix", f"{DIR}/ssl", "-quiet")
    poke(ts[1], lambda: client.say("poke"), "poke")
    client.say("what the client says")
    heard = server.wait_for("what the client says") and ts[1].wait_for("what the client says$")
    server.say("what the server says")
    heard = heard and client.wait_for("what the server says") and ts[1].wait_for("what the server says$")
    for t in (client, server):
        t.p.kill()
    digests = s.start(exe, "dgst", "-sha256", *files)
    said = digests.end()
    outs = end(ts)
    who = [re.search(rf"^{t.pid} .*SSL_write +what the {name} says$", outs[1], re.M) for t, name in
           ((client, "client"), (server, "server"))]
    check("trace_prints_what_both_sides_encrypt", heard and all(who), f"{made.all}\n{server.out}\n{client.out}\n{outs[1]}")
    check("funccount_counts_digests_of_processes_that_came_later",
          said.count("SHA2-256") == 19 and counted(outs[0], "EVP_DigestFinal_ex") >= 19, outs[0])


def on_bash():
    """A shell at a terminal."""
    shell, terminal = pty.openpty()
    p = s.start("/bin/bash", "--norc", "-i", stdin=terminal)
    os.close(terminal)
    ts = tools((["bashreadline"], "PID"), (["trace", "-p", p.pid, 'r:/bin/bash:readline "%s", retval'], "PID"))

    def type_(line):
        os.write(shell, f"{line}\n".encode())

    for t in ts:
        poke(t, lambda: type_("echo poke"), "echo poke$")
    for line in ("echo one two", "no-such-command", "echo $((6 * 7))", "true # the last"):
        type_(line)
    seen = p.wait_for("^42") and all([t.wait_for("the last$") for t in ts])
    outs = end(ts)
    want = rf"{p.pid}.*echo one two\n.*no-such-command\n.*echo \$\(\(6 \* 7\)\)\n.*true # the last\n"
    check("bashreadline_shows_what_was_typed", seen and re.search(want, outs[0]), f"{p.out}\n{outs[0]}")
    check("trace_shows_what_readline_returned", seen and re.search(want, outs[1]), outs[1])
    type_("exit 7")
    p.end()  # before its terminal goes: that would end it as well, by a hangup
    os.close(shell)
    check("the_shell_ends_well", p.p.returncode == 7, p.out)


def on_sqlite():
    """Entered while it runs."""
    if not program("sqlite3") or no_tracing():
        return skip("tools_on_sqlite3", no_tracing() or "sqlite3 is not installed")
    lib = library("sqlite3", "libsqlite3")
    t = s.start(program("sqlite3"), "-batch", ferry=False)
    t.say("select 'be' || 'gin';", "begin")
    entered = attach(t.pid)
    ts = tools((["funccount", "-p", t.pid, f"{lib}:sqlite3_step"], "Tracing"),
               (["trace", "-p", t.pid, f'{lib}:sqlite3_prepare_v2 "%s", arg2'], "PID"))
    poked = 0

    def one():
        nonlocal poked
        poked += t.say("select 'po' || 'ke';", "poke")

    poke(ts[1], one, "'po' || 'ke'")
    for i in range(25):
        t.say(f"select 1000 + {i};", str(1000 + i))
    seen = ts[1].wait_for(r"1000 \+ 24")
    outs = end(ts)
    # A row and the end: sqlite3's shell steps twice for each.
    check("funccount_counts_statements_of_sqlite3", counted(outs[0], "sqlite3_step") == 2 * (poked + 25),
          f"{entered.all}\n{outs[0]}")
    texts = re.findall(r"select 1000 \+ (\d+);", outs[1])
    check("trace_prints_statements_of_sqlite3", seen and texts == [str(i) for i in range(25)], outs[1])
    t.end()
    check("sqlite3_ends_well", t.p.returncode == 0, t.out)


def on_postgres():
    """A process that its server forks for each who connects: its probes are of the binary, with semaphores."""
    where = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    if not where or not os.geteuid():
        return skip("tools_on_postgres", "postgresql is not installed, or it is root who asks")
    if no_tracing():  # bcc itself counts semaphores up, in the target's memory
        return skip("tools_on_postgres", no_tracing())
    made = run(f"{where[-1]}/initdb", "-N", "-A", "trust", "-U", "me", "-D", f"{DIR}/postgres")
    server = s.start(f"{where[-1]}/postgres", "-D", f"{DIR}/postgres", "-k", DIR, "-c", "listen_addresses=", "-F")
    up = server.wait_for("ready to accept")
    q = s.start(f"{where[-1]}/psql", "-h", DIR, "-U", "me", "-At", "postgres", ferry=False)
    q.say("select 'process', pg_backend_pid();", r"process\|\d+$")
    pid = re.search(r"process\|(\d+)", q.out)[1]
    ts = tools((["dbslower", "postgres", "-m", "0", "-p", pid], "QUERY"), (["dbstat", "postgres", "-p", pid], "Tracing"))
    asked = 0

    def ask(n):
        nonlocal asked
        asked += 1
        q.say(f"select 1000 + {n};", str(1000 + n))

    poke(ts[0], lambda: ask(asked), r"select 1000 \+ \d+")
    for n in range(500, 507):
        ask(n)
    seen = ts[0].wait_for(r"1000 \+ 506")
    outs = end(ts)
    texts = re.findall(rf"{pid} +[\d.]+ b'select 1000 \+ (5\d\d);'", outs[0])
    check("dbslower_shows_queries_of_postgres", up and seen and texts == [str(n) for n in range(500, 507)], made.all + outs[0])
    counts = [int(n) for n in re.findall(r"^ +\d+ -> \d+ +: (\d+)", outs[1], re.M)]
    check("dbstat_counts_queries_of_postgres", sum(counts) == asked, outs[1])
    q.end()
    server.p.send_signal(signal.SIGINT)
    server.end()
    check("postgres_ends_well", server.p.returncode == 0, server.out)


try:
    for on in (on_redis, on_redis_memory, on_nginx, on_entered_nginx, on_openssl, on_postgres, on_bash, on_sqlite):
        if len(sys.argv) < 3 or on.__name__ in sys.argv[2:]:
            on()
finally:
    s.close()
    shutil.rmtree(DIR, ignore_errors=True)
done()
