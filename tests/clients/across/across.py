#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every kind of event with loader and targets in processes of their own: across.py FERRY HERE CLIENTS [PART...]. TAP.

What a program counted must be what the target says that it did."""
import os
import struct
import sys

from talk import ENV, FERRY, HERE, TARGET, Loader, Talk, Target, over
from tap import check, done, no_tracing, run, skip, wait_for

ENTERED, RETURNED, COUNTED = 1, 2, 3
(RAW_ENTER, RAW_EXIT, TP_ENTER, TP_EXIT, ONE_ENTER, ONE_EXIT, FUNC_ENTER, FUNC_EXIT) = range(8)
OPENAT, EXECVE = 257, 59


def seen(loader, key):
    """uprobe.bpf.c: calls, a, b, ret, ip, cookie."""
    return next((struct.unpack("<6Q", v) for k, v in loader.map("seen") if struct.unpack("<Q", k)[0] == key), (0,) * 6)


def functions():
    t, other = Target(), Target()
    a = Loader("uprobe")
    on = a.attach("entry", "entered", t.pid, 77, TARGET, "work")
    back = a.attach("return", "returned", t.pid, 78, TARGET, "work")
    every = a.attach("entry", "count", -1, 0, TARGET, "work")
    check("three_programs_of_another_process_on_one_function", on and back and every, a.said)
    n, m = t.do("call", 40), other.do("call", 7)
    calls, first, second, _, _, cookie = seen(a, ENTERED)
    check("entry_sees_what_the_target_calls", (calls, first, second, cookie) == (n["calls"], 40, 5, 77), seen(a, ENTERED))
    calls, _, _, ret, _, cookie = seen(a, RETURNED)
    check("return_sees_what_the_target_gets", (calls, ret, cookie) == (40, n["last"], 78), seen(a, RETURNED))
    check("any_process_means_all", seen(a, COUNTED)[0] == n["calls"] + m["calls"], seen(a, COUNTED))
    later = Target("first=9")
    check("one_that_starts_later_is_seen_from_its_first_call", seen(a, COUNTED)[0] == 40 + 7 + later.state["calls"], seen(a, COUNTED))
    child = other.do("fork")["pid"]
    other.do("call", 6)
    check("so_are_children", child != other.pid and seen(a, COUNTED)[0] == 40 + 7 + 9 + 6, seen(a, COUNTED))
    records = sorted(struct.unpack("<Q", r)[0] for r in a.records("ring records"))
    check("records_come_through_the_ring_buffer", records == [i * 100 + 5 for i in range(1, 41)], records)
    a.detach(on), a.detach(back)
    t.do("call", 3)
    check("what_is_detached_sees_nothing", (seen(a, ENTERED)[0], seen(a, RETURNED)[0]) == (40, 40), seen(a, ENTERED))
    check("the_others_go_on", seen(a, COUNTED)[0] == 40 + 7 + 9 + 6 + 3, seen(a, COUNTED))
    a.end()
    check("the_target_goes_on_without_the_loader", t.do("call", 1)["calls"] == 44, t.text)
    for x in (t, other, later):
        x.end()


def entered_running_ones():
    """Processes that nobody started with ferry: ferry attach brings them in, ferry detach takes them out."""
    if no_tracing():
        return skip("a_process_that_runs_is_brought_in", no_tracing())
    t = Target(session=False)
    r = run(FERRY, "attach", str(t.pid), env=ENV)
    a = Loader("uprobe")
    a.attach("return", "returned", t.pid, 5, TARGET, "work")
    n = t.do("call", 12)
    check("a_process_that_runs_is_brought_in", seen(a, RETURNED)[0] == 12 and seen(a, RETURNED)[3] == n["last"], r.all)
    u, c = Loader("usdt"), Loader("calls")
    u.attach("usdt", "all", t.pid, 6, TARGET, "across", "guarded")
    c.attach("auto", "enter_getppid")
    check("its_semaphores_count_up", t.do("fire", 4)["enabled"] == 1 and t.state["computed"] == 4, t.text)
    t.do("ask", 21)
    got = [x for x in calls_of(c) if x["tid"] == t.pid]
    check("its_system_calls_are_seen", len(got) == 21 and {x["kind"] for x in got} == {ONE_ENTER}, len(got))
    r = run(FERRY, "detach", str(t.pid), env=ENV)
    check("and_it_is_let_go", r.returncode == 0 and t.do("call", 2)["enabled"] == 0 and seen(a, RETURNED)[0] == 12, r.all)
    for x in (a, u, c, t):
        x.end()


def usdt_seen(loader, cookie):
    """usdt.bpf.c: calls, count of arguments, the first two."""
    for k, v in loader.map("seen"):
        if struct.unpack("<Q", k)[0] == cookie:
            calls, count, *rest = struct.unpack("<Qq24q", v)
            return calls, count, rest[12], rest[13]
    return 0, 0, 0, 0


def usdt():
    t, other = Target(), Target()
    if run("grep", "-q", "stapsdt", TARGET).returncode:
        return skip("usdt_probes", "<sys/sdt.h> is not installed (systemtap-sdt-dev)")
    check("nobody_listens_at_first", t.do("fire", 3)["enabled"] == 0 and t.state["computed"] == 0, t.text)
    a, b = Loader("usdt"), Loader("usdt")
    on = a.attach("usdt", "all", t.pid, 5, TARGET, "across", "guarded")
    check("the_targets_semaphore_counts_up", on and t.do("fire", 10)["enabled"] == 1 and t.state["computed"] == 10, t.text + a.said)
    check("arguments_are_the_targets", usdt_seen(a, 5)[:3] == (10, 2, 81), usdt_seen(a, 5))
    check("another_process_is_left_alone", other.do("fire", 2)["enabled"] == 0, other.text)
    check("a_second_loader_for_all", b.attach("usdt", "all", -1, 6, TARGET, "across", "guarded"), b.said)
    check("semaphores_count_listeners", (t.do("fire", 4)["enabled"], other.do("fire", 2)["enabled"]) == (2, 1), t.text + other.text)
    check("each_hears_its_own", (usdt_seen(a, 5)[0], usdt_seen(b, 6)[0]) == (14, 6), (usdt_seen(a, 5), usdt_seen(b, 6)))
    later = Target()
    check("one_that_starts_later_is_told", later.state["enabled"] == 1, later.text)
    a.detach(on)
    check("detaching_counts_down", t.do("fire", 1)["enabled"] == 1 and usdt_seen(a, 5)[0] == 14, t.text)
    b.kill()
    gone = wait_for(lambda: all(x.do("fire", 1)["enabled"] == 0 for x in (t, other, later)))
    check("so_does_the_death_of_a_loader", gone, t.text + other.text + later.text)
    for x in (a, t, other, later):
        x.end()


def calls_of(loader):
    """calls.bpf.c's records."""
    names = ("kind", "tid", "nr", "orig", "ret", "args", "nargs", "sane")
    rows = [struct.unpack("<iI3q6QIi", r) for r in loader.records("ring calls")]
    return [dict(zip(names, (*x[:5], x[5:11], *x[11:]))) for x in rows]


def system_calls():
    t, other = Target(), Target()
    a = Loader("calls")
    programs = ["raw_enter", "raw_exit", "tp_enter", "tp_exit", "enter_openat", "exit_openat", "func_enter", "func_exit"]
    on = [a.attach("auto", p) for p in programs]
    check("every_kind_of_program_on_system_calls", all(on), a.said)
    n = t.do("open", 6)
    other.do("open", 2)
    got = [x for x in calls_of(a) if x["nr"] == OPENAT]
    mine = [x for x in got if x["tid"] == t.pid]
    check("each_sees_every_call", [sum(x["kind"] == k for x in mine) for k in range(8)] == [6] * 8, mine)
    check("of_every_process", sum(x["tid"] == other.pid for x in got) == 16, got)
    entries = [x for x in mine if x["kind"] in (RAW_ENTER, TP_ENTER, ONE_ENTER, FUNC_ENTER)]
    check("with_the_targets_arguments", {(x["args"][0] & 0xffffffff, x["args"][2]) for x in entries} ==
          {(0xffffff9c, os.O_RDONLY | os.O_NOCTTY)}, entries)
    ends = [x for x in mine if x["kind"] in (RAW_EXIT, TP_EXIT, ONE_EXIT, FUNC_EXIT)]
    check("and_results", {x["ret"] for x in ends} == {n["last"]}, (n, ends))
    for link in on:
        a.detach(link)
    t.do("open", 4)
    check("detached_programs_see_nothing", not [x for x in calls_of(a) if x["tid"] == t.pid], "")
    for x in (a, t, other):
        x.end()


def skeleton():
    if not os.path.exists(os.path.join(HERE, "across_skeleton")):
        return skip("skeleton", "there is no bpftool")
    t = Target()
    a = Talk(os.path.join(HERE, "across_skeleton"))
    check("a_skeleton_attaches_all_its_programs", a.hello == "attached 0 1", a.hello)
    t.do("ask", 31)
    t.do("exec", 3)
    ran = [a.line().split() for i in range(3)]
    check("commands_of_others_are_told_by_perf_buffer", [x[2:] for x in ran] ==
          [[str(os.geteuid()), os.path.basename(TARGET)[:15], "/bin/true"]] * 3, ran)
    pids = {int(x[1]) for x in ran if len(x) > 1}
    got = [a.say(f"count {p}").split()[1:] for p in (t.pid, *sorted(pids))]
    check("each_of_its_own_process", len(pids) == 3 and [x[:2] for x in got] == [["0", "31"]] + [["1", "0"]] * 3, got)
    check("raw_tracepoints_see_these_and_more", all(int(x[2]) > int(x[1]) + int(x[0]) for x in got), got)
    check("the_skeleton_ends_well", a.end() == 0 and t.do("call", 1)["calls"] == 1)
    t.end()


def clock():
    t, other = Target(), Target()
    inner, outer = map(int, t.say("where").split())
    a = Loader("clock", **{"rodata.wanted": struct.pack("<I", t.pid)})

    def samples():
        """By thread: count, pid and the stack of the last one."""
        rows = {struct.unpack("<I", k)[0]: v for k, v in a.map("samples")}
        got = rows.get(t.pid, bytes(24 + 8 + 8 * 16 + 8 + 8 + 16))
        return struct.unpack_from("<3Q", got), struct.unpack_from("<17Q", got, 24), got[-16:].rstrip(b"\0")

    on = a.attach("clock", "profile", t.pid, 0, -1, 100)
    check("a_clock_of_another_process", on, a.said)
    t.do("spin", 500)
    other.do("spin", 50)
    (count, period, _), (ip, *stack), comm = samples()
    check("it_ticks_while_that_runs", 25 <= count <= 60, count)
    check("with_its_name_and_stack", comm == b"across_target" and inner <= ip < outer + 4096 and
          any(outer <= x < outer + 4096 for x in stack), (comm, hex(ip), [hex(x) for x in stack]))
    a.detach(on)
    before = samples()[0][0]
    t.do("spin", 50)
    check("detached_it_stops", samples()[0][0] == before, samples()[0])
    on = [a.attach("clock", "profile", -1, 0, cpu, 100) for cpu in sorted(os.sched_getaffinity(0))]
    t.do("spin", 500)
    count = samples()[0][0] - before
    check("one_clock_a_processor_samples_all_processes", all(on) and 25 <= count <= 70, count)
    traces = {k: struct.unpack("<16Q", v) for k, v in a.map("traces")}
    by_trace = {k: struct.unpack("<Q", v)[0] for k, v in a.map("by_trace")}
    good = sum(n for k, n in by_trace.items() if k in traces and inner <= traces[k][0] < outer + 4096 and
               any(outer <= x < outer + 4096 for x in traces[k][1:]))
    check("stacks_by_number_are_the_targets", good >= 0.8 * sum(by_trace.values()) > 0, (good, by_trace))
    for x in (a, t, other):
        x.end()


def main():
    parts = [functions, entered_running_ones, usdt, system_calls, skeleton, clock]
    for part in parts:
        if not sys.argv[4:] or part.__name__ in sys.argv[4:]:
            part()


try:
    main()
finally:
    over()
done()
