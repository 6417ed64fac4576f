#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ferry attach and ferry detach on processes that check themselves: inject.py FERRY BUILD_DIR SHARE_DIR. TAP."""
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../clients"))
from tap import Talk, check, done, need_tracing, skip, wait_for  # noqa: E402

need_tracing()

FERRY, BUILD, SHARE = sys.argv[1:4]
TARGET, STATIC = os.path.join(BUILD, "target"), os.path.join(BUILD, "target_static")
ENV = {k: v for k, v in os.environ.items() if k not in ("FERRY_SESSION", "LD_PRELOAD", "FERRY")}
RUNTIME = tempfile.mkdtemp(prefix="ferry-inject-")
ENV["XDG_RUNTIME_DIR"] = RUNTIME
PIPE = subprocess.PIPE
random.seed(1)


def report(ok, name, detail=""):
    check(name, ok, detail)


def start(*args, wait=True, **more):
    p = subprocess.Popen(args, stdin=PIPE, stdout=PIPE, text=True, env=ENV, **more)
    if wait:
        p.stdout.readline()
        time.sleep(0.05)
    return p


def ferry(verb, pid, *options):
    return subprocess.run([FERRY, verb, *options, str(pid)], capture_output=True, text=True, env=ENV, timeout=60)


def threads(pid):
    return len(os.listdir(f"/proc/{pid}/task"))


def ended(p, r):
    """Was the target's end the reason?"""
    try:
        return "ended" in r.stderr and p.wait(20) is not None or p.poll() is not None
    except subprocess.TimeoutExpired:
        return False


def settled(pid, n):
    return wait_for(lambda: threads(pid) == n)


def changed_code(pid):
    """Places of code that are not what the files have."""
    bad = []
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
        for line in maps:
            f = line.split(maxsplit=5)
            if len(f) < 6 or "x" not in f[1] or not f[5].startswith("/"):
                continue
            path, (lo, hi), offset = f[5].strip(), [int(x, 16) for x in f[0].split("-")], int(f[2], 16)
            with open(path, "rb") as file:
                file.seek(offset)
                want = file.read(hi - lo)
            mem.seek(lo)
            got = mem.read(hi - lo)
            if got[:len(want)] != want:
                bad.append(path)
    return bad


def test_waiting():
    for way in ("read", "poll", "ppoll", "epoll", "select", "sigwait", "sigsuspend", "sleep", "cond", "child"):
        plain = start(TARGET, "wait", way)
        want = plain.communicate(timeout=20)[0]
        p = start(TARGET, "wait", way)
        before = threads(p.pid)
        a = ferry("attach", p.pid)
        again = ferry("attach", p.pid)
        d = ferry("detach", p.pid)
        alone = settled(p.pid, before)
        code = changed_code(p.pid)
        got = p.communicate(timeout=20)[0]
        report(a.returncode == again.returncode == d.returncode == 0 and got == want and alone and not code,
               f"a_process_that_waits_by_{way}_goes_on_waiting",
               f"{a.stderr}{again.stderr}{d.stderr}got {got!r}, want {want!r}, no thread left: {alone}, code: {code}")


def test_idempotent():
    p = start(TARGET, "calls")

    def where():
        p.stdin.write("\n")
        p.stdin.flush()
        return os.path.basename(p.stdout.readline().strip())

    def state(verb):
        r = ferry(verb, p.pid, "--json")
        return json.loads(r.stdout)[0]["state"] if r.returncode == 0 else r.stderr + r.stdout
    seen = [where(), state("detach"), state("attach"), where(), state("attach"), where(), state("detach"), where(),
            state("detach"), state("attach"), where(), state("detach"), where()]
    libc, ours = "libc.so.6", "libferry.so.0"
    want = [libc, "not attached", "attached", ours, "already attached", ours, "detached", libc, "not attached",
            "attached", ours, "detached", libc]
    report(seen == want, "calls_of_libc_are_ferrys_while_attached_and_libcs_again_after", f"{seen}\n{want}")
    p.communicate()


def talk(*command):
    return Talk(*command, env=ENV)


def load(prog, pid):
    return talk(FERRY, "exec", "--", SHARE + "/share_loader", SHARE + "/share.bpf.o", prog, SHARE + "/share_target", "work",
                str(pid))


def test_probed():
    """Programs of a loader on functions of a process that was attached to."""
    t = talk(SHARE + "/share_target")
    a = ferry("attach", t.pid)
    one = load("entered", t.pid)
    t.say("100")
    first = one.say(f"count {t.pid}")
    probed = changed_code(t.pid)
    report(a.returncode == 0 and one.hello.startswith("attached") and first == "100" and SHARE in str(probed),
           "a_program_is_put_on_a_function_of_a_process_that_ran_already", f"{a.stderr}{one.hello} {first} {probed}")
    d = ferry("detach", t.pid)
    t.say("11")
    after = one.say(f"count {t.pid}")
    code, alone = changed_code(t.pid), settled(t.pid, 1)
    report(d.returncode == 0 and after == "100" and not code and alone,
           "after_ferry_detach_no_program_runs_there_no_byte_is_changed_and_no_thread_is_left",
           f"{d.stderr}{after} {code} {alone} {threads(t.pid)}")
    one.end()
    every = load("entered", -1)
    t.say("5")
    before = every.say(f"count {t.pid}")
    a = ferry("attach", t.pid)
    t.say("7")
    got = every.say(f"count {t.pid}")
    report(a.returncode == 0 and before == "0" and got == "7", "what_is_on_all_processes_is_on_those_attached_to_later",
           f"{a.stderr}{every.hello} {before} {got}")
    want = 7
    said = ""
    for i in range(20):
        said += ferry("detach", t.pid).stderr
        t.say(str(i))
        said += ferry("attach", t.pid).stderr
        t.say("3")
        want += 3
    got = every.say(f"count {t.pid}")
    report(got == str(want) and not said, "20_rounds_count_all_calls_while_attached_and_no_others", f"{got} {want} {said}")
    every.p.kill()
    every.end()
    gone = wait_for(lambda: not changed_code(t.pid))
    total = t.say("1")
    report(gone and total.endswith(f" {100 + 11 + 5 + 7 + sum(range(20)) + 60 + 1}"),
           "probes_of_a_loader_that_was_killed_go", f"{total} {changed_code(t.pid)}")
    t.end()


def test_system_calls():
    """A tracepoint of system calls, put on all processes: by jumps, and by SIGSYS alone."""
    for way, words in ("jumps", []), ("dispatch", []), ("dispatch", ["other"]):
        loader = talk(FERRY, "exec", "--", BUILD + "/loader", BUILD + "/calls.bpf.o")
        more = {"FERRY_SYSCALLS": "dispatch"} if way == "dispatch" else {}
        t = talk("env", *(f"{k}={v}" for k, v in more.items()), TARGET, "calls", *words)
        for _ in range(5):
            t.say("")
        a = ferry("attach", t.pid)
        for _ in range(7):
            t.say("")
        got, code = loader.say(str(t.pid)), changed_code(t.pid)
        d = ferry("detach", t.pid)
        for _ in range(3):
            t.say("")
        after, restored = loader.say(str(t.pid)), not changed_code(t.pid)
        name = "system_calls_are_events_in_processes_that_were_attached_to_and_libcs_code_is_restored"
        if more:
            name = f"dispatched_calls_of_{words[0] if words else 'main'}_threads_are_events_in_processes_that_were_attached_to"
        if more and "Linux 6.4" in a.stderr:
            skip(name, "a kernel before 6.4")
        else:
            # The loader's probe is libc's own; by SIGSYS nothing of libc's calls is changed.
            report(a.returncode == d.returncode == 0 and got == after == "7" and (code or more) and restored, name,
                   f"{a.stderr}{d.stderr}{loader.hello} {got} {after} {code} {restored}")
        t.end()
        loader.end()


def test_python():
    code = "import hashlib\nx=b''\nprint('ready',flush=True)\nfor i in range(%d): x=hashlib.md5(x*9).digest()\nprint(x.hex())"
    want = start("python3", "-c", code % 600000).communicate()[0]
    p = start("python3", "-c", code % 600000)
    said = []
    while p.poll() is None and len(said) < 6:
        for verb in ("attach", "detach"):
            r = ferry(verb, p.pid)
            if r.returncode and not ended(p, r):
                said.append(verb + ": " + r.stderr)
        said.append("")
    got = p.communicate()[0]
    report(got == want and not any(said) and said, "busy_python_computes_the_same", f"{got} {want} {said}")
    p = start("python3", "-i", "-q", "-c", "print('ready')", stderr=subprocess.DEVNULL)
    r = ferry("attach", p.pid)
    p.stdin.write("print(sum(range(1000)))\nimport zlib; print(zlib.crc32(b'ferry'))\n")
    p.stdin.flush()
    lines = [p.stdout.readline(), p.stdout.readline()]
    s = ferry("detach", p.pid)
    out = p.communicate("print('end')\n", timeout=20)[0]
    report(r.returncode == s.returncode == 0 and lines == ["499500\n", "3205307411\n"] and out == "end\n",
           "idle_python_goes_on", f"{r.stderr}{s.stderr}{lines}{out!r}")


def rounds(name, n, mode, work):
    """n times attached and detached, in as many runs as that takes: all must print the same."""
    want = start(TARGET, mode, work).communicate(timeout=120)[0]
    done, said, outputs, at = 0, [], [], time.time()
    while done < n and time.time() - at < 60:
        p = start(TARGET, mode, work)
        while p.poll() is None and done < n:
            for verb in ("attach", "detach"):
                r = ferry(verb, p.pid)
                if r.returncode and not ended(p, r):
                    said.append(verb + ": " + r.stderr)
            done += p.poll() is None
        outputs.append(p.communicate(timeout=120)[0])
    report(done >= n and not said and all(o == want for o in outputs), name,
           f"{done} rounds, {len(outputs)} runs, {said}\n" + "\n".join(o for o in outputs if o != want))


def test_rounds():
    rounds("50_rounds_on_threads_that_allocate_and_handle_signals_change_no_result", 50, "work", "8000")
    rounds("10_rounds_on_a_single_thread_in_a_handler_that_interrupted_malloc_change_no_result", 10, "alone", "2500")


def test_stuck():
    p = start(TARGET, "stuck")
    r = ferry("attach", p.pid, "--wait", "1")
    p.stdin.write("\n")
    p.stdin.flush()
    on = p.stdout.readline()
    s = ferry("attach", p.pid)
    p.communicate(timeout=20)
    report(r.returncode == 1 and "inside the C library" in r.stderr and on == "on\n" and s.returncode == 0 and not p.returncode,
           "a_handler_that_interrupted_malloc_is_no_place_to_enter", f"{r.returncode} {r.stderr}{on}{s.stderr}{p.returncode}")


def test_killed_command():
    """Whenever the command dies, the target does not."""
    want = start(TARGET, "work", "20000").communicate(timeout=120)[0]
    p, outputs, kills = start(TARGET, "work", "20000"), [], 0
    while kills < 40:
        if p.poll() is not None:
            outputs.append(p.communicate()[0])
            p = start(TARGET, "work", "20000")
        a = subprocess.Popen([FERRY, "attach", str(p.pid)], env=ENV,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(random.random() * 0.02)
        if a.poll() is None:
            a.kill()
            kills += 1
        a.wait()
        if random.random() < 0.3:
            ferry("detach", p.pid)
    outputs.append(p.communicate(timeout=120)[0])
    report(all(o == want for o in outputs), "killing_ferry_attach_at_any_moment_leaves_the_target_running",
           f"{outputs} {want!r}")
    p = start(TARGET, "wait", "poll")
    for _ in range(15):
        a = subprocess.Popen([FERRY, "attach", str(p.pid)], env=ENV)
        time.sleep(random.random() * 0.02)
        a.kill()
        a.wait()
    r = ferry("detach", p.pid)
    alone = wait_for(lambda: threads(p.pid) == 1)
    out = p.communicate(timeout=20)[0]
    report(r.returncode == 0 and alone and out == "1 0 0\n", "threads_that_a_killed_command_left_end_by_themselves",
           f"{r.stderr} {alone} {out!r}")


def test_dying_target():
    bad = []
    for _ in range(20):
        p = start(TARGET, "wait", "read")
        a = subprocess.Popen([FERRY, "attach", str(p.pid)], env=ENV, stderr=PIPE, text=True)
        time.sleep(random.random() * 0.02)
        p.kill()
        p.wait()
        begin = time.time()
        err = a.communicate(timeout=30)[1]
        if a.returncode not in (0, 1) or (a.returncode == 1 and "ended" not in err and "no process" not in err) or \
                time.time() - begin > 20:
            bad.append(f"{a.returncode}: {err}")
    report(not bad, "a_target_that_dies_meanwhile_is_said_so", "\n".join(bad))


def refused(name, pid, code, pattern, *options):
    r = ferry("attach", pid, *options)
    report(r.returncode == code and re.search(pattern, r.stderr), name, f"{r.returncode}: {r.stdout}{r.stderr}")


def test_refusals():
    refused("no_such_process", 2 ** 22 - 1, 1, "no process has the number")
    refused("a_word_is_no_process_number", "init", 2, "'init' is no process number")
    if os.geteuid() and os.stat("/proc/1").st_uid != os.geteuid():
        refused("another_users_process_is_refused", 1, 1, "belongs to user 0")
    else:
        skip("another_users_process_is_refused", "this is the superuser")
    p = start(STATIC, "wait", "read")
    refused("a_static_program_is_refused", p.pid, 1, "linked statically")
    p.communicate()
    p = start(TARGET, "wait", "read")
    os.kill(p.pid, signal.SIGSTOP)
    wait_for(lambda: "T (stopped)" in open(f"/proc/{p.pid}/status").read())
    refused("a_stopped_process_is_refused", p.pid, 1, "is stopped")
    os.kill(p.pid, signal.SIGCONT)
    tracer = start(TARGET, "traced", str(p.pid))
    refused("a_traced_process_is_refused", p.pid, 1, r"being traced by process %d \(target\)" % tracer.pid)
    tracer.communicate()
    r = ferry("attach", p.pid)
    report(r.returncode == 0, "and_accepted_once_the_tracer_has_gone", r.stderr)
    p.communicate()
    if os.geteuid():
        p = start(TARGET, "undumpable")
        refused("a_process_that_is_not_dumpable_is_refused", p.pid, 1, "not dumpable")
        p.communicate()
    else:
        skip("a_process_that_is_not_dumpable_is_refused", "this is the superuser")
    p = start(os.path.join(BUILD, "../confine"), TARGET, "wait", "read")
    refused("a_process_with_a_filter_of_its_own_is_refused", p.pid, 1, "seccomp")
    r = ferry("attach", p.pid, "--force")
    report(r.returncode == 0, "but_for_force", r.stderr)
    p.communicate()
    p = start(TARGET, "wait", "read")
    os.mkdir(RUNTIME + "/open")
    os.chmod(RUNTIME + "/open", 0o755)
    r = subprocess.run([FERRY, "attach", "--session", RUNTIME + "/open", str(p.pid)], capture_output=True, text=True,
                       env=ENV)
    report(r.returncode == 1 and "of this user alone" in r.stderr, "a_session_that_others_may_enter_is_refused", r.stderr)
    p.communicate()


def test_no_thread():
    """Where no thread can be made nothing is left behind."""
    name = "a_process_that_can_make_no_thread_is_left_as_it_was"
    if not os.geteuid():
        return skip(name, "nothing limits the superuser")
    p = start(TARGET, "wait", "poll")
    want = start(TARGET, "wait", "poll").communicate(timeout=20)[0]
    before = open(f"/proc/{p.pid}/maps").read().count("\n")
    soft, hard = resource.prlimit(p.pid, resource.RLIMIT_NPROC)
    resource.prlimit(p.pid, resource.RLIMIT_NPROC, (0, hard))
    r = ferry("attach", p.pid)
    resource.prlimit(p.pid, resource.RLIMIT_NPROC, (soft, hard))
    after = open(f"/proc/{p.pid}/maps").read()
    s = ferry("attach", p.pid)
    out = p.communicate(timeout=20)[0]
    # The C library may keep the stack that it made for the thread.
    report(r.returncode == 1 and "cannot start a thread" in r.stderr and after.count("\n") <= before + 3 and
           "r-xp 00000000 00:00 0 \n" not in after and s.returncode == 0 and out == want, name,
           f"{r.stderr}{s.stderr}{before} {after} {out!r}")


def test_nginx():
    nginx = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if not nginx:
        return skip("nginx_answers_all_requests_while_it_is_attached_to", "no nginx here")
    dir = tempfile.mkdtemp(prefix="ferry-nginx-")
    sock = dir + "/sock"
    with open(dir + "/conf", "w") as f:
        f.write(f"daemon off; user root root; error_log {dir}/error; pid {dir}/pid; worker_processes 1;\n"
                "events { worker_connections 64; }\n"
                f"http {{ access_log off; client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f;\n"
                f"uwsgi_temp_path {dir}/u; scgi_temp_path {dir}/s; server {{ listen unix:{sock}; location / {{ return 200 hi; }} }} }}\n")
    master = subprocess.Popen([nginx, "-c", dir + "/conf", "-e", dir + "/error"], env=ENV, stderr=subprocess.DEVNULL)
    load = """
import socket,sys,time
sent=good=0
until=time.time()+3
while time.time()<until:
    s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.settimeout(5)
    s.sendall(b"GET / HTTP/1.0\\r\\n\\r\\n"); sent+=1
    data=b""
    while True:
        got=s.recv(4096)
        if not got: break
        data+=got
    good+=data.startswith(b"HTTP/1.1 200") and data.endswith(b"hi")
print(sent,good)
"""
    try:
        for _ in range(100):
            if os.path.exists(sock):
                break
            time.sleep(0.05)
        wait_for(lambda: open(f"/proc/{master.pid}/task/{master.pid}/children").read())
        kids = open(f"/proc/{master.pid}/task/{master.pid}/children").read().split()
        client = subprocess.Popen([sys.executable, "-c", load, sock], stdout=PIPE, text=True)
        said, rounds = "", 0
        while client.poll() is None:
            for verb in ("attach", "detach"):
                for pid in [*kids, master.pid]:
                    said += ferry(verb, pid).stderr
            rounds += 1
        sent, good = client.communicate()[0].split()
        report(not said and rounds > 1 and sent == good and int(sent) > 100 and master.poll() is None,
               "nginx_answers_all_requests_while_it_is_attached_to", f"{said} {rounds} rounds, {sent} sent, {good} good")
    finally:
        master.terminate()
        master.wait()
        shutil.rmtree(dir, ignore_errors=True)


def test_other_files():
    """In another mount namespace, where the library's file is not to be seen."""
    hide = os.path.dirname(os.path.realpath(os.path.dirname(FERRY) + "/../../libferry-preload.so"))
    target = os.path.join(tempfile.mkdtemp(prefix="ferry-ns-"), "target")
    shutil.copy(TARGET, target)
    os.chmod(os.path.dirname(target), 0o755)
    name = "a_process_in_another_mount_namespace_gets_the_librarys_contents"
    probe = ["unshare", "-Urm", "sh", "-c", f"mount -t tmpfs none '{hide}'"]
    if subprocess.run(probe, capture_output=True).returncode:
        skip(name, "no namespaces can be made here")
    else:
        p = start(*probe[:-1], probe[-1] + f" && exec '{target}' calls")
        r = ferry("attach", p.pid)
        p.stdin.write("\n")
        p.stdin.flush()
        there = p.stdout.readline()
        s = ferry("detach", p.pid)
        out = p.communicate("\n")[0]
        report(r.returncode == s.returncode == 0 and "fd/" in there and "libc.so" in out, name,
               f"{r.stderr}{s.stderr}{there!r}{out!r}")
    shutil.rmtree(os.path.dirname(target))


try:
    tests = [v for k, v in list(globals().items()) if k.startswith("test_")]
    for t in tests:
        if os.environ.get("ONLY", "") in t.__name__:
            begin = time.time()
            t()
            print(f"# {t.__name__}: {time.time() - begin:.1f} s", flush=True)
finally:
    shutil.rmtree(RUNTIME, ignore_errors=True)
done()
