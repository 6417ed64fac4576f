#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Debian's bpftrace in a process of its own, on programs that run: others.py FERRY TARGET. TAP."""
import json
import os
import re
import signal
import sys
import time

from begin import RUNTIME, interrupt, run_parts, s
from servers import Nginx, Redis, program
from tap import check, run, skip

TARGET = sys.argv[2]
PYTHON = "/usr/bin/python3"
EXE = os.path.realpath(PYTHON)
READY = 'BEGIN { printf("ready\\n"); } '


def watch(program, drive, *options, form="text", until=None):
    """What bpftrace prints about what drive() makes others do."""
    t = s.start("bpftrace", "-f", form, *options, "-e", READY + program, root=True)
    if not t.wait_for("ready"):
        t.end(signal.SIGKILL)
        return f"(not ready)\n{t.out}"
    if until:  # a printf, which finds its way from others when they have heard of the buffers
        t.seen = len(t.out)
        end = time.monotonic() + 20
        while time.monotonic() < end:
            drive()
            if t.wait_for(until, 0.3):
                break
    else:
        drive()
    time.sleep(0.15)
    out = interrupt(t)
    return out if t.p.returncode == 0 else f"(exit {t.p.returncode})\n{out}"


def maps(program, drive, *options):
    """The maps that it prints, as a dictionary."""
    out = watch(program, drive, *options, form="json")
    try:
        rows = [json.loads(x) for x in out.splitlines() if x.startswith("{")]
    except ValueError:
        rows = []
    got = {k: {i.replace("\\n", "\n"): n for i, n in v.items()} if isinstance(v, dict) else v  # 0.23 escapes twice
           for x in rows if x["type"] in ("map", "hist") for k, v in x["data"].items()}
    got["out"] = out
    return got


def functions():
    t, other = s.python(), s.python()

    def copies():
        t.say("for i in range(37): {}.copy()", "done")
        other.say("for i in range(5): {}.copy()", "done")

    got = maps(f"uprobe:{EXE}:PyDict_Copy {{ @n[pid] = count(); @name[comm] = count(); }}", copies)
    check("uprobe_counts_each_process", got.get("@n") == {str(t.pid): 37, str(other.pid): 5}, got["out"])
    check("comm_is_the_targets", got.get("@name") == {"python3": 42}, got["out"])
    got = maps(f'uprobe:{EXE}:PyDict_Copy /pid == {t.pid}/ {{ @n[pid] = count(); @sym[usym(reg("ip"))] = count(); @stack[ustack(1)] = count(); }}',
               copies)
    check("usym_names_the_targets_function", got.get("@sym") == {"PyDict_Copy": 37}, got["out"])
    check("ustack_begins_with_the_function", [k.strip() for k in got.get("@stack", {})] == ["PyDict_Copy+0"], got["out"])
    got = maps(f"uretprobe:{EXE}:PyLong_FromLong /pid == {t.pid} && retval == 0/ {{ @null = count(); }} "
               f"uprobe:{EXE}:PyLong_FromLong /pid == {t.pid}/ {{ @at[tid] = nsecs; }} "
               f"uretprobe:{EXE}:PyLong_FromLong /@at[tid]/ {{ @ns = hist(nsecs - @at[tid]); @n = count(); delete(@at[tid]); }} "
               f"END {{ clear(@at); }}", lambda: t.say("[len(range(i)) for i in range(1000, 1100)]", "done"))
    counted = sum(b["count"] for b in got.get("@ns", []))
    check("uretprobe_times_every_call", counted == got.get("@n") and counted >= 1 and got.get("@null") == 0, got["out"])
    out = watch(f'uprobe:libc:getenv {{ printf("%d asks for %s\\n", pid, str(arg0)); }}',
                lambda: t.say("import ctypes; ctypes.CDLL(None).getenv(b'PROBED')", "done"), until="asks for PROBED")
    check("arguments_are_strings_of_the_target", f"{t.pid} asks for PROBED\n" in out, out)
    for x in (t, other):
        x.end()


def usdt():
    t = s.python()
    t.say("import gc; gc.collect()", "done")

    def collect():
        t.say("[gc.collect() for i in range(3)]", "done")

    if run("grep", "-q", "gc__done", EXE).returncode:
        skip("usdt_probes_of_python", f"{EXE} was built without probes")
    else:
        for options in ((), ("-p", str(t.pid))):
            got = maps(f"usdt:{EXE}:python:gc__start {{ @n[pid] = count(); @generation[arg0] = count(); }}", collect, *options)
            check(f"usdt_probes_and_arguments{'_of_one_process' if options else ''}",
                  got.get("@n") == {str(t.pid): 3} and got.get("@generation") == {"2": 3}, got["out"])
    t.end()


def calls():
    t, other = s.python(), s.python()

    def ask():
        t.say("for i in range(33): os.getppid()", "done")
        other.say("for i in range(4): os.getppid()", "done")

    got = maps("tracepoint:syscalls:sys_enter_getppid { @n[pid] = count(); } "
               "tracepoint:syscalls:sys_exit_getppid { @r[pid, args->ret] = count(); } "
               "kprobe:__x64_sys_getppid { @k[pid] = count(); } kretprobe:__x64_sys_getppid { @kr[pid, retval] = count(); }", ask)
    both = {str(t.pid): 33, str(other.pid): 4}
    returned = {f"{t.pid},{os.getpid()}": 33, f"{other.pid},{os.getpid()}": 4}
    check("tracepoint_counts_calls_of_all", got.get("@n") == both, got["out"])
    check("its_exit_has_the_result", got.get("@r") == returned, got["out"])
    check("kprobe_counts_calls_of_all", got.get("@k") == both, got["out"])
    check("kretprobe_has_the_result", got.get("@kr") == returned, got["out"])
    got = maps("tracepoint:raw_syscalls:sys_enter /args->id == 110/ { @n[pid] = count(); }", ask)
    check("raw_tracepoint_counts_calls_of_all", got.get("@n") == both, got["out"])
    out = watch('tracepoint:syscalls:sys_enter_openat { printf("%s opens %s\\n", comm, str(args->filename)); }',
                lambda: t.say("open('/dev/null').close()", "done"), until="opens /dev/null")
    check("path_of_a_call_is_read", "python3 opens /dev/null\n" in out, out)
    # A child that shares its parent's memory has signals blocked and their handlers reset: reading at 0 is no fault there.
    libc = run("sh", "-c", f"ldd {EXE} | sed -n 's/.*libc.so.6 => \\([^ ]*\\).*/\\1/p'").stdout.strip()
    got = maps(f"tracepoint:syscalls:sys_enter_execve {{ @call[*(uint64 *)uptr(8), str(uptr(8))] = count(); "
               "@in[str(args->filename)] = count(); } "
               f"uprobe:{libc}:execve {{ @function[*(uint64 *)uptr(8), str(uptr(8))] = count(); @of[str(arg0)] = count(); }}",
               lambda: t.say("for defaults in ([], [11]): p = os.posix_spawn('/bin/true', ['x'], {}, setsigdef=defaults); "
                             "print('ended', os.waitpid(p, 0)[1])", "done"))
    check("reading_nothing_in_a_spawned_child_is_no_fault", t.out.count("ended 0") == 2 and
          got.get("@in") == got.get("@of") == {"/bin/true": 2} and got.get("@call") == got.get("@function") == {"0,": 2},
          t.out + got["out"])
    out = watch("tracepoint:syscalls:sys_enter_execve { join(args->argv); }",
                lambda: t.say("os.system('/bin/true one two; :')", "done"), until="true one two")
    check("join_prints_the_command_line", "\n/bin/true one two\n" in out and re.search("^sh -c (-- )?/bin/true one two; :$", out, re.M), out)
    for x in (t, other):
        x.end()


def clock():
    t = s.start(TARGET)
    t.wait_for("ready")
    # Without it libbcc 0.26 closes a descriptor that is not its own (ModulePath), perhaps that of the stacks.
    names = f"/tmp/perf-{t.pid}.map"
    open(names, "w").close()
    start = time.monotonic()
    t.say("spin 100", "spun")
    took = time.monotonic() - start
    got = maps("profile:hz:99 /pid/ { @n[pid] = count(); @in[ustack(1)] = count(); @from[ustack] = count(); }",
               lambda: t.say("spin 1000", "spun"))
    n = got.get("@n", {}).get(str(t.pid), 0)
    check("profile_samples_who_runs", 30 <= n <= 120, f"{took} {got['out']}")
    inner = sum(v for k, v in got.get("@in", {}).items() if k.strip().startswith("inner+"))
    check("samples_are_in_the_function_that_spins", inner > 0.8 * n, got["out"])
    chain = sum(v for k, v in got.get("@from", {}).items()
                if re.search(r"inner\+\d+\s+middle\+\d+\s+outer\+\d+\s+main\+\d+", k))
    check("stacks_go_back_to_main", chain > 0.8 * n, got["out"])
    os.unlink(names)
    t.end()


def command():
    def out(*args):
        t = s.start("bpftrace", *args, root=True, stdin=None)
        return t.end() + f"(exit {t.p.returncode})"

    script = os.path.join(RUNTIME, "asks.py")
    with open(script, "w") as f:
        f.write("import os\nfor i in range(7): os.getppid()\n")
    got = out("-c", f"{PYTHON} {script}", "-e", "tracepoint:syscalls:sys_enter_getppid /pid == cpid/ { @n = count(); } "
              'END { printf("over\\n"); }')
    check("option_c_starts_the_target", "over\n" in got and re.search(r"^@n: 7$", got, re.M) and "(exit 0)" in got, got)
    got = out("-c", f"{PYTHON} {script}", "-e", f"uprobe:{EXE}:Py_BytesMain {{ @n = count(); }}")
    check("its_first_function_is_seen", re.search(r"^@n: 1$", got, re.M), got)
    got = out("-lv", "tracepoint:syscalls:sys_enter_openat")
    check("formats_are_listed", got == "tracepoint:syscalls:sys_enter_openat\n    int __syscall_nr\n    int dfd\n"
          "    const char * filename\n    int flags\n    umode_t mode\n(exit 0)", got)
    got = out("-lv", "tracepoint:raw_syscalls:sys_exit")
    check("raw_formats_are_listed", got == "tracepoint:raw_syscalls:sys_exit\n    long id\n    long ret\n(exit 0)", got)
    got = out("-l", f"uprobe:{EXE}:PyDict_C*")
    check("functions_are_listed", f"uprobe:{EXE}:PyDict_Copy\n" in got and f"uprobe:{EXE}:PyDict_Clear\n" in got, got)


def servers():
    """What they have in their symbol tables for others: redis and nginx for their modules."""
    if not program("redis-server") or not program("nginx") or not program("sqlite3"):
        return skip("servers_and_a_database", "redis-server, nginx-light or sqlite3 is not installed")
    redis, nginx, sqlite = Redis(s, f"{RUNTIME}/redis"), Nginx(s, f"{RUNTIME}/nginx"), s.start("sqlite3", "-batch")
    sqlite.say("select 1;", "^1$")
    lib = os.path.realpath(run("sh", "-c", "ldd $(command -v sqlite3) | sed -n 's/.*libsqlite3.*=> \\([^ ]*\\).*/\\1/p'").stdout.strip())
    at = {"redis": f"{program('redis-server')}:processCommand", "nginx": f"{program('nginx')}:ngx_http_process_request",
          "sent": f"{program('nginx')}:ngx_http_send_header"}

    def work():
        redis.ask(41, "SET", "key", "value")
        nginx.get(13)
        for i in range(6):
            sqlite.say(f"select {1000 + i};", str(1000 + i))

    got = maps(f"uprobe:{at['redis']} {{ @redis[pid] = count(); }} uprobe:{at['nginx']} {{ @at[tid] = nsecs; }} "
               f"uretprobe:{at['nginx']} /@at[tid]/ {{ @ns = hist(nsecs - @at[tid]); @nginx[pid] = count(); delete(@at[tid]); }} "
               f"uretprobe:{at['sent']} {{ @sent[pid, retval] = count(); }} "
               f"uprobe:{lib}:sqlite3_prepare_v2 {{ @sql[str(arg1, 7)] = count(); }} "
               "tracepoint:syscalls:sys_enter_accept4 { @accepted[comm] = count(); } END { clear(@at); }", work)
    check("uprobe_on_redis", got.get("@redis") == {str(redis.pid): 41}, got["out"])
    check("uretprobe_on_nginx", got.get("@nginx") == {str(nginx.pid): 13} and sum(b["count"] for b in got.get("@ns", [])) == 13,
          got["out"])
    check("result_of_a_function_of_nginx", got.get("@sent") == {f"{nginx.pid},0": 13}, got["out"])
    check("system_calls_of_nginx", got.get("@accepted", {}).get("nginx") == 13, got["out"])
    # Of seven characters 0.23 gives six and an end, 0.17 all.
    check("statements_of_sqlite3", {k.strip(): n for k, n in got.get("@sql", {}).items()} == {"select": 6}, got["out"])
    check("all_go_on", redis.ask(1, "GET", "key") == "$5\r\nvalue\r\n" and nginx.get(1) == 1 and sqlite.say("select 77;", "77"))


run_parts([functions, usdt, calls, clock, command, servers], sys.argv[3:])
