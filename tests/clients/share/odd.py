#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Sessions that are not as they should be, processes that lack things: odd.py FERRY BUILD-FOLDER. TAP."""
import errno
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from tap import check, done, run, skip  # noqa: E402

FERRY, HERE = (os.path.abspath(a) for a in sys.argv[1:3])
TARGET, LOADER, OBJECT = (os.path.join(HERE, f) for f in ("share_target", "share_loader", "share.bpf.o"))
RUNTIME = tempfile.mkdtemp(prefix="ferry-test-")
ENV = dict(os.environ, XDG_RUNTIME_DIR=RUNTIME)
SESSION = os.path.join(RUNTIME, f"ferry-{os.geteuid()}")
started = []


def start(*args, **env):
    p = subprocess.Popen(args, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(ENV, **env))
    started.append(p)
    p.hello = p.stdout.readline().strip()
    return p


def say(p, line):
    p.stdin.write(line + "\n")
    p.stdin.flush()
    return p.stdout.readline().strip()


def loader(pid, *limits):
    begin = time.monotonic()
    r = run(*limits, FERRY, "exec", "--", LOADER, OBJECT, "entered", TARGET, "work", str(pid), env=ENV)
    r.took = time.monotonic() - begin
    return r


def broker_pids():
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline") as f:
                if f.read().startswith(f"ferry\0broker\0{RUNTIME}/"):
                    found.append(int(pid))
        except OSError:
            pass
    return found


def end_brokers():
    for _ in range(50):
        pids = broker_pids()
        if not pids:
            return
        for pid in pids: # both, or one would go on for the other
            os.kill(pid, signal.SIGSTOP)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)


def stale_files():
    """All that a session leaves behind when it is killed is no obstacle."""
    run(FERRY, "exec", "--", "true", env=ENV)
    end_brokers()
    check("killed_brokers_leave_their_files", {"sock", "serving"} <= set(os.listdir(SESSION)), os.listdir(SESSION))
    old = time.time() - 10 * 365 * 86400
    for name, when in (("serving", old), ("sock", old), ("starting", time.time() + 86400 * 365)):
        path = os.path.join(SESSION, name)
        if not os.path.exists(path):
            open(path, "w").close()
        os.utime(path, (when, when)) # of another time, whoever set the clock
    t = start(FERRY, "exec", "--", TARGET)
    r = loader(t.pid)
    check("the_next_one_finds_files_of_any_age_and_goes_on", r.stdout.startswith("attached"), r.all)
    t.stdin.close()
    t.wait()
    end_brokers()


def other_files():
    """The directory of another version, which nobody serves any more."""
    run(FERRY, "exec", "--", "true", env=ENV)
    t = start(FERRY, "exec", "--", TARGET)
    with open(os.path.join(SESSION, "tree"), "w") as f:
        f.write("of another version")
    open(os.path.join(SESSION, "left"), "w").close()
    r = run(FERRY, "exec", "--", TARGET, "first=2", env=ENV)
    check("a_directory_that_is_served_stays_as_it_is", r.stdout == "2\n" and "left" in os.listdir(SESSION), r.all)
    t.stdin.close()
    t.wait()
    end_brokers()
    r = run(FERRY, "exec", "--", TARGET, "first=2", env=ENV)
    check("one_of_another_version_that_nobody_serves_is_replaced", r.stdout == "2\n" and "left" not in os.listdir(SESSION) and
          os.listdir(RUNTIME) == [os.path.basename(SESSION)], (r.all, os.listdir(RUNTIME)))


def other_version():
    """Somebody of another version answers: first one that hangs up, then one that speaks otherwise."""
    end_brokers()
    for name, answer in (("refuses", None), ("speaks_otherwise", b"\x01\x00\x00\x00" + bytes(200))):
        path = os.path.join(SESSION, "sock")
        if os.path.exists(path):
            os.unlink(path)
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        s.bind(path)
        s.listen(16)
        held = []

        def serve():
            while True:
                try:
                    c, _ = s.accept()
                    c.recv(9000)
                    c.send(answer) if answer else None
                    c.close()
                except OSError as e:
                    if e.errno in (errno.EINVAL, errno.EBADF):
                        return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        if answer:
            r = run(FERRY, "exec", "--", "true", env=ENV)
            check(f"a_broker_that_{name}_is_said_to_be_of_another_version", r.returncode == 1 and "another version of Ferry" in r.stderr and
                  f"kill {os.getpid()}" in r.stderr, r.all)
            r = run(FERRY, "ps", env=ENV)
            check(f"also_by_who_only_looks_{name}", r.returncode == 1 and "another version of Ferry" in r.stderr, r.all)
        begin = time.monotonic()
        r = run(FERRY, "exec", "--", TARGET, "first=3", env=dict(ENV, FERRY_SESSION=SESSION))
        check(f"nobody_hangs_on_a_broker_that_{name}", time.monotonic() - begin < 20, r.all)
        r = run(FERRY, "exec", "--private", "--", TARGET, "first=3", env=ENV)
        check(f"a_session_of_its_own_works_{name}", r.stdout == "3\n", r.all)
        s.shutdown(socket.SHUT_RDWR)
        s.close()
        thread.join(5)
        os.unlink(path)


def no_descriptors():
    t = start("prlimit", "--nofile=256:4096", FERRY, "exec", "--", TARGET, "full")
    r = loader(t.pid)
    check("a_target_without_descriptors_refuses_with_EMFILE", r.stdout == f"refused {errno.EMFILE}\n" and r.took < 5, (r.all, r.took))
    check("and_says_why", "no descriptors left" in run(FERRY, "exec", "--", LOADER, OBJECT, "entered", TARGET, "work", str(t.pid),
                                                       env=dict(ENV, FERRY_LOG="info")).stderr)
    check("and_goes_on", say(t, "3") == f"{t.pid} 3")
    say(t, "free")
    r = loader(t.pid)
    check("when_it_has_some_again_it_is_probed", r.stdout.startswith("attached"), r.all)
    t.stdin.close()
    bad = []
    t = start(FERRY, "exec", "--", TARGET)
    # Enough is also what the user's other processes have on the way (unix(7), ETOOMANYREFS), which is waited for.
    for n in (6, 8, 12, 16, 20, 24, 28, 32, 40, 48, 64, 1024):
        r = loader(t.pid, "prlimit", f"--nofile={n}:{n}")
        if r.returncode < 0 or r.took > 50 or not (r.stdout or r.stderr):
            bad.append((n, r.all, r.took))
    check("a_loader_with_few_descriptors_fails_and_says_so_or_works", not bad, bad)
    check("with_enough_it_works", r.stdout.startswith("attached"), r.all)
    check("and_the_target_goes_on", say(t, "3") == f"{t.pid} 3")
    t.stdin.close()


def full_disk():
    """A file system of some pages, in a mount namespace."""
    place = os.path.join(RUNTIME, "small")
    os.mkdir(place, 0o700)
    inside = f'mount -t tmpfs -o size=4m,mode=700 none {place} && XDG_RUNTIME_DIR={place}'
    if run("unshare", "-rm", "sh", "-c", f"{inside} true", env=ENV).returncode:
        skip("full_disk", "no mount namespaces here")
        return
    r = run("unshare", "-rm", "sh", "-c", f"{inside}; export XDG_RUNTIME_DIR; head -c 8000000 /dev/zero >{place}/fill; "
            f"exec {FERRY} exec -- true", env=ENV)
    check("a_session_on_a_full_disk_is_refused_and_that_is_said", r.returncode == 1 and "no room" in r.stderr, r.all)
    fill = f"head -c 8000000 /dev/zero >{place}/fill"
    r = run("unshare", "-rm", "sh", "-c", f"{inside}; export XDG_RUNTIME_DIR; {FERRY} exec -- sh -c '{fill}; "
            f"exec {LOADER} {OBJECT} entered {TARGET} work -1'", env=ENV)
    check("a_disk_that_fills_up_later_stops_nobody", "attached" in r.stdout, r.all)


PARTS = [stale_files, other_files, other_version, no_descriptors, full_disk]
try:
    for part in PARTS:
        if part.__name__ in sys.argv[3:] or not sys.argv[3:]:
            part()
finally:
    for p in started:
        p.kill()
        p.wait()
    end_brokers()
    shutil.rmtree(RUNTIME, ignore_errors=True)
done()
