#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""ferry ps, top and link list on a session of loaders and targets: look.py FERRY BUILD_DIR SHARE_DIR BPFTOOL. TAP."""
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "clients"))
from tap import Talk, check, done, skip, wait_for  # noqa: E402

FERRY, HERE, SHARE, BPFTOOL = sys.argv[1:5]
RUNTIME = tempfile.mkdtemp(prefix="ferry-look-")
ENV = {k: v for k, v in os.environ.items() if k not in ("FERRY_SESSION", "LD_PRELOAD", "FERRY")}
ENV["XDG_RUNTIME_DIR"] = RUNTIME
random.seed(3)


def talk(*args):
    return Talk(FERRY, "exec", "--", *args, env=ENV)


def ferry(*args):
    return subprocess.run([FERRY, *args], capture_output=True, text=True, env=ENV, timeout=60)


def looked(*args):
    r = ferry(*args, "--json")
    return json.loads(r.stdout) if not r.returncode else r.stderr


def load(prog, binary, symbol, pid):
    return talk(SHARE + "/share_loader", SHARE + "/share.bpf.o", prog, binary, symbol, str(pid))


def top(interval, *act):
    """What ferry top shows of an interval in which `act` is done: program -> line."""
    p = subprocess.Popen([FERRY, "top", "--once", "--json", "--interval", str(interval)], stdout=subprocess.PIPE, text=True, env=ENV)
    time.sleep(interval / 4)
    for a in act:
        a()
    shown = json.loads(p.communicate(timeout=60)[0])
    return {x["name"]: x for x in shown["programs"]}


def hits(pid):
    return [x["hits"] for x in looked("link", "list") if x["pid"] == pid]


def counts(process):
    """Are its runs counted?"""
    before = hits(process.pid)
    process.say("1")
    return hits(process.pid) != before


def main():
    check("an_empty_session_has_no_processes", looked("ps") == [], looked("ps"))
    t, u = talk(SHARE + "/share_target"), talk(SHARE + "/share_target")
    every = load("entered", SHARE + "/share_target", "work", -1)
    ps = {x["pid"]: x for x in looked("ps")}
    check("ps_lists_loader_and_targets", set(ps) == {t.pid, u.pid, every.pid}, ps)
    mine = ps[t.pid]
    check("ps_shows_the_probe_its_program_and_map_in_the_target",
          len(mine["probes"]) == 1 and mine["probes"][0]["how"] == "jump" and mine["command"] == "share_target" and
          [x["name"] for x in mine["programs"]] == ["entered"] and [x["name"] for x in mine["maps"]] == ["calls"] and
          mine["memory_kib"] > 100 and not mine["maps"][0]["own"], mine)
    check("and_what_the_loader_has", sorted(x["name"] for x in ps[every.pid]["maps"]) == ["calls", "records"] and
          len(ps[every.pid]["programs"]) == 3 and ps[every.pid]["maps"][0]["own"], ps[every.pid])
    text = ferry("ps").stdout.splitlines()
    check("ps_has_a_line_for_each_process", len(text) == 4 and any(f"{t.pid}  share_target" in x for x in text), text)

    for interval in 1.2, 4, 12:  # it is to begin before the runs, and to end behind them
        shown = top(interval, lambda: t.say("1000"), lambda: u.say("500"))["entered"]
        if shown["runs"] == 1500:
            break
    check("top_counts_each_run_and_sums_over_processes", shown["runs"] == 1500 and shown["processes"] == 2 and
          0 < shown["run_ns"] < 1e9, shown)
    # The kernel's clock of the thread is the other witness: 1,500 short runs take no second.
    before = hits(t.pid)
    t.say("77")
    check("runs_are_not_counted_when_nobody_looks", hits(t.pid) == before, f"{before} {hits(t.pid)}")
    p = subprocess.Popen([FERRY, "top", "--interval", "5"], stdout=subprocess.DEVNULL, env=ENV)
    check("a_running_ferry_top_has_them_counted", wait_for(lambda: counts(t)), before)
    before = hits(t.pid)
    t.say("5")
    counted = hits(t.pid)
    p.kill()
    p.wait()
    check("a_killed_ferry_top_leaves_no_counting_behind", counted == [before[0] + 5] and wait_for(lambda: not counts(t)),
          f"{before} {counted} {hits(t.pid)}")

    links = looked("link", "list")
    check("link_list_has_a_line_for_each_process_that_the_event_is_in",
          {x["pid"]: x["how"] for x in links} == {t.pid: "jump", u.pid: "jump", every.pid: "nowhere"} and
          len({x["link"] for x in links}) == 1 and links[0]["link"], links)
    s = talk(os.path.join(HERE, "target"), "calls")
    one = load("entered", os.path.join(HERE, "target"), "tiny", s.pid)
    s.say("")
    line = [x for x in looked("link", "list") if x["pid"] == s.pid and x["link"] != links[0]["link"]]
    check("link_list_says_that_it_is_a_trap_and_why", len(line) == 1 and line[0]["how"] == "trap" and line[0]["why"] and
          line[0]["kind"] == "uprobe" and line[0]["target"].endswith("target") and one.say(f"count {s.pid}") == "1", line)
    check("link_list_names_the_function", line and line[0].get("function") == "tiny" and line[0]["function_offset"] == 0 and
          f"{HERE}/target:tiny" in ferry("link", "list").stdout, line)
    text = [x for x in ferry("link", "list").stdout.splitlines() if " trap " in x]
    check("the_reason_is_in_the_text_too", len(text) == 1 and line[0]["why"] in text[0], text)
    one.end()
    check("a_link_that_is_gone_is_not_listed", all(x["link"] != line[0]["link"] for x in looked("link", "list")))
    s.end()

    bpftool(t, u, every)

    os.kill(u.pid, signal.SIGSTOP)
    begin = time.time()
    ps = {x["pid"]: x for x in looked("ps")}
    check("a_stopped_process_holds_nobody_up", time.time() - begin < 20 and not ps[u.pid]["answers"] and ps[t.pid]["answers"], ps)
    hostile(u.pid)
    os.kill(u.pid, signal.SIGCONT)

    for args in (["ps", "x"], ["top", "--interval", "x"], ["top", "--count", "0"], ["link"], ["link", "show"], ["ps", "--nonsense"]):
        r = ferry(*args)
        check("usage_" + "_".join(args).replace("--", ""), r.returncode == 2 and r.stderr, f"{r.returncode} {r.stderr}")
    r = ferry("ps", "--session", RUNTIME + "/none")
    check("a_session_that_is_not_there", r.returncode == 3 and "No such file" in r.stderr, r.stderr)
    u.end()
    t.end()
    every.end()


def tool(*args):
    r = ferry("exec", "--", BPFTOOL, "-j", *args)
    try:
        return json.loads(r.stdout)
    except ValueError:
        return [r.stdout + r.stderr]


def bpftool(t, u, every):
    """Another terminal of the same user."""
    if BPFTOOL == "none":
        return skip("bpftool_in_another_process_shows_what_runs", "no bpftool here")
    look = subprocess.Popen([FERRY, "top", "--interval", "100", "--once"], stdout=subprocess.DEVNULL, env=ENV)
    wait_for(lambda: counts(t) and counts(u))
    before = [x for x in tool("prog", "list") if x["name"] == "entered"][0].get("run_cnt", 0)
    t.say("300")
    u.say("21")
    progs = {x["name"]: x for x in tool("prog", "list")}
    check("bpftool_prog_list_has_the_runs_of_all_processes", set(progs) == {"entered", "recorded", "returned"} and
          progs["entered"]["run_cnt"] == before + 321 and progs["entered"]["run_time_ns"] > 0, f"{before} {progs}")
    look.kill()
    look.wait()
    maps = {x["name"]: x for x in tool("map", "list")}
    check("bpftool_map_list", set(maps) == {"calls", "records"} and maps["calls"]["max_entries"] == 1024, maps)
    links = tool("link", "list")
    check("bpftool_link_list", len(links) == 1 and links[0]["type"] == "perf_event" and
          links[0]["prog_id"] == progs["entered"]["id"], links)
    perf = tool("perf", "list")
    check("bpftool_perf_list_has_each_descriptor_once", len(perf) == 1 and perf[0]["pid"] == every.pid and
          perf[0]["fd_type"] == "uprobe" and perf[0]["prog_id"] == progs["entered"]["id"] and
          perf[0]["filename"] == SHARE + "/share_target" and perf[0]["offset"] == looked("link", "list")[0]["offset"], perf)


def hostile(pid):
    """A process may write anything where its rows are expected."""
    sessions = [d for d in os.listdir(RUNTIME) if os.path.isdir(os.path.join(RUNTIME, d, "members"))]
    path = os.path.join(RUNTIME, sessions[0], "members", str(pid))
    with open(path, "rb") as f:
        row = struct.unpack("8sIIQ", f.read(24))[1]
    bad = []
    for i in range(16):
        kind = i % 4
        if kind == 0:
            data = random.randbytes(random.randrange(3000))
        elif kind == 1:
            data = struct.pack("8sIIQ", b"FERRYLK1", row, random.choice([1, 5, 0xffffffff, 65536]), 1 << 60) + \
                random.randbytes(random.randrange(5 * row))
        elif kind == 2:
            data = struct.pack("8sIIQ", b"FERRYLK1", row, 3, 1 << 60)
            data += b"".join(struct.pack("I", 1 + n) + random.randbytes(row - 4) for n in range(3))
        else:
            data = b""
        os.unlink(path)
        if kind == 3 and i % 8 == 3:
            os.symlink("/etc/passwd", path)
        elif kind == 3:
            os.mkfifo(path)
        else:
            with open(path, "wb") as f:
                f.write(data)
        for args in ((["ps"], ["link", "list"]), (["link", "list", "--json"], ["ps", "--json"]))[i // 4 % 2][i % 2:][:1]:
            r = ferry(*args)
            try:
                if r.returncode or "\x1b" in r.stdout:
                    raise ValueError("returned %d" % r.returncode)
                if "--json" in args:
                    json.loads(r.stdout)
            except ValueError as e:
                bad.append(f"{args} kind {kind}: {e} {r.stderr}")
    check("hostile_rows_are_shown_harmlessly", not bad, "\n".join(bad[:5]))


try:
    main()
finally:
    shutil.rmtree(RUNTIME, ignore_errors=True)
done()
