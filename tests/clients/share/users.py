#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What is one user's is not another's: users.py FERRY BUILD-FOLDER. Run as root, which can be both. TAP."""
import errno
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from tap import check, done, skip  # noqa: E402

FERRY, HERE = (os.path.abspath(a) for a in sys.argv[1:3])
TARGET, LOADER, OBJECT = (os.path.join(HERE, f) for f in ("share_target", "share_loader", "share.bpf.o"))
ANNA, BERT = 31415, 27182  # nobody's numbers: their sessions below /tmp meet no other
SESSION = f"/tmp/ferry-{ANNA}"
PLAIN = {k: v for k, v in os.environ.items() if k not in ("FERRY_SESSION", "XDG_RUNTIME_DIR", "LD_PRELOAD")}
started = []


def as_user(uid, *args):
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", "--inh-caps=-all", *args]


def run(uid, *args, **env):
    r = subprocess.run(as_user(uid, *args), env=dict(PLAIN, **env), text=True, capture_output=True, timeout=60)
    r.all = f"{r.returncode} {r.stdout}{r.stderr}"
    return r


def start(uid, *args, line=True):
    p = subprocess.Popen(as_user(uid, *args), env=PLAIN, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    started.append(p)
    if line:
        p.stdout.readline()
    return p


def says(r, *words):
    return r.returncode not in (0, None) and r.returncode > 0 and all(w in r.stderr for w in words)


def clear():
    for uid in (ANNA, BERT):
        path = f"/tmp/ferry-{uid}"
        if os.path.islink(path) or os.path.isfile(path):
            os.unlink(path)
        else:
            shutil.rmtree(path, ignore_errors=True)


def squatting():
    """Somebody else was there first."""
    clear()
    os.mkdir(SESSION)
    os.chown(SESSION, BERT, BERT)
    os.chmod(SESSION, 0o777)
    r = run(ANNA, FERRY, "exec", "--", "true")
    check("a_session_that_another_user_made_is_refused", says(r, SESSION, "not this user's alone"), r.all)
    r = run(ANNA, FERRY, "ps")
    check("and_not_looked_at", says(r, SESSION, "not this user's alone"), r.all)
    check("and_left_as_it_is", os.listdir(SESSION) == [])
    clear()
    own = tempfile.mkdtemp(prefix="ferry-elsewhere-")
    os.chown(own, ANNA, ANNA)
    os.symlink(own, SESSION)
    os.chown(SESSION, BERT, BERT, follow_symlinks=False)
    r = run(ANNA, FERRY, "exec", "--", "true")
    check("nor_is_a_link_followed_that_another_user_made", says(r, SESSION) and os.listdir(own) == [], r.all)
    clear()
    os.rmdir(own)
    with open(SESSION, "w"):
        pass
    os.chown(SESSION, BERT, BERT)
    r = run(ANNA, FERRY, "exec", "--", "true")
    check("nor_is_a_file_a_session", says(r, SESSION), r.all)
    clear()
    os.mkdir(SESSION)
    os.chown(SESSION, ANNA, ANNA)
    os.chmod(SESSION, 0o755)
    r = run(ANNA, FERRY, "exec", "--", "true")
    check("a_session_that_others_may_read_is_refused", says(r, SESSION, "0700"), r.all)
    clear()
    r = run(ANNA, FERRY, "exec", "--", "true")
    check("without_all_that_it_works", r.returncode == 0, r.all)


def ask_broker():
    """What Bert hears from Anna's broker when he gets as far as its socket."""
    text = f"""
import socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
s.settimeout(5)
try:
    s.connect("{SESSION}/sock")
    s.send(b"x" * 200)
    print("heard", len(s.recv(9000)))
except OSError as e:
    print(type(e).__name__)
"""
    return run(BERT, sys.executable, "-c", text).stdout.strip()


def other_users_session():
    t = start(ANNA, FERRY, "exec", "--", TARGET)
    plain = start(ANNA, TARGET)
    check("another_user_cannot_reach_a_broker", ask_broker() == "PermissionError", ask_broker())
    os.chmod(SESSION, 0o711)
    os.chmod(SESSION + "/sock", 0o777)
    heard = ask_broker()
    check("nor_is_it_heard_where_it_can", heard in ("heard 0", "ConnectionResetError", "BrokenPipeError"), heard)
    os.chmod(SESSION, 0o700)
    r = run(BERT, FERRY, "ps", "--session", SESSION)
    check("another_users_session_is_not_looked_at", says(r, SESSION), r.all)
    r = run(BERT, FERRY, "exec", "--", TARGET, "first=1", FERRY_SESSION=SESSION)
    check("nor_entered", r.stdout == "1\n" and "not a directory of this user alone" in r.stderr, r.all)
    for name, p in (("in_its_session", t), ("in_none", plain)):
        r = run(BERT, FERRY, "attach", str(p.pid))
        check(f"another_users_process_is_not_entered_{name}", says(r, str(p.pid), f"belongs to user {ANNA}"), r.all)
        r = run(BERT, FERRY, "exec", "--", LOADER, OBJECT, "entered", TARGET, "work", str(p.pid))
        check(f"nor_probed_{name}", r.stdout == f"refused {errno.EACCES}\n", r.all)
        p.stdin.write("5\n")
        p.stdin.flush()
        check(f"and_goes_on_{name}", p.stdout.readline() == f"{p.pid} 5\n")
    r = run(ANNA, FERRY, "exec", "--", LOADER, OBJECT, "entered", TARGET, "work", str(t.pid))
    check("its_own_user_may", r.stdout.startswith("attached"), r.all)


def hidden_processes():
    """Processes that their own user may not trace."""
    folder = tempfile.mkdtemp(prefix="ferry-users-")
    os.chmod(folder, 0o755)
    suid = shutil.copy(TARGET, os.path.join(folder, "target"))
    os.chown(suid, BERT, BERT)
    os.chmod(suid, 0o4755)
    for name, p in (("set_user_id", start(ANNA, FERRY, "exec", "--", suid)), ("non_dumpable", start(ANNA, FERRY, "exec", "--", TARGET, "hidden"))):
        if name == "set_user_id" and os.stat(f"/proc/{p.pid}").st_uid == ANNA:
            skip(name, "set-user-id does nothing on this file system")
            continue
        begin = time.monotonic()
        r = run(ANNA, FERRY, "attach", str(p.pid))
        check(f"a_{name}_process_is_not_entered", says(r, str(p.pid)) and ("belongs to user" in r.stderr or "not dumpable" in r.stderr), r.all)
        r = run(ANNA, FERRY, "exec", "--", LOADER, OBJECT, "entered", TARGET, "work", str(p.pid))
        check(f"nor_probed_{name}", r.stdout == f"refused {errno.EACCES}\n", r.all)
        check(f"which_is_said_soon_{name}", time.monotonic() - begin < 20)
        p.stdin.write("5\n")
        p.stdin.flush()
        check(f"and_goes_on_{name}", p.stdout.readline() == f"{p.pid} 5\n")
    shutil.rmtree(folder)


def main():
    if os.geteuid():
        skip("users", "only root can be two users")
        return
    # setpriv(1) begins a program with root's reach, which that has no more.
    if subprocess.run(as_user(BERT, "test", "-r", LOADER)).returncode:
        skip("users", "other users do not reach the build folder")
        return
    for part in (squatting, other_users_session, hidden_processes):
        if part.__name__ in sys.argv[3:] or not sys.argv[3:]:
            part()


try:
    main()
finally:
    for p in started:
        p.kill()
        p.wait()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat(f"/proc/{pid}").st_uid in (ANNA, BERT):
                os.kill(int(pid), signal.SIGKILL)
        except OSError:
            pass
    if not os.geteuid():
        clear()
done()
