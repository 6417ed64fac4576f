#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Targets and loaders are killed at random points while programs on all kinds of events are attached: who is left goes on,
and what was committed is read. deaths.py FERRY HERE CLIENTS. TAP."""
import json
import os
import random
import struct
import time

from talk import ENV, FERRY, TARGET, Loader, Talk, Target, over
from tap import check, done, run, wait_for

RNG = random.Random(7)
KINDS = {
    "uprobe": [("return", "returned", -1, 1, TARGET, "work"), ("entry", "entered", -1, 1, TARGET, "work")],
    "usdt": [("usdt", "all", -1, 1, TARGET, "across", "guarded")],
    "calls": [("auto", "tp_enter"), ("auto", "exit_getppid"), ("auto", "func_exit")],
    "clock": [("clock", "profile", -1, 1, 0, 100)],
    "across": [("entry", "recorded", -1, 0, TARGET, "work"), ("auto", "on_enter"), ("auto", "on_getppid")],
}


def loader(kind):
    """With all that there is of this kind on everybody."""
    a = Loader(kind)
    a.all = [a.attach(*what) for what in KINDS[kind]]
    return a


def links():
    """Of all processes of the session."""
    r = run(FERRY, "link", "list", "--json", env=ENV)
    return json.loads(r.stdout) if r.stdout.strip() else []


def last_said(t):
    """The last whole line of one that was killed."""
    said = t.rest
    while True:
        more = os.read(t.p.stdout.fileno(), 1 << 16)
        if not more:
            break
        said += more
    lines = said.split(b"\n")
    return int(lines[-2]) if len(lines) > 1 else 0


def killed_targets():
    all_kinds = {kind: loader(kind) for kind in KINDS}
    check("all_kinds_are_attached", all(all(a.all) for a in all_kinds.values()), [a.said for a in all_kinds.values()])
    shown = {row.get("kind") for row in links()}
    check("and_seen_by_others", len(shown) >= 5, shown)
    a, wrong, total = all_kinds["across"], [], 0
    witness = Target()
    for i in range(12):
        targets = [Talk(TARGET, "busy") for k in range(1 + i % 2)]
        begun = [int(t.line() or 0) for t in targets]
        time.sleep(RNG.random() * 0.04)
        for t in targets:
            t.kill()
        got = {}
        for pid, _, n, inverse in (struct.unpack("<IIQQ", r) for r in a.records("ring records")):
            if inverse != n ^ 0xffffffffffffffff:
                wrong.append(("torn", pid, n))
            got.setdefault(pid, []).append(n)
        for t, first in zip(targets, begun):
            said, seen = max(first, last_said(t)), got.get(t.pid, [])
            total += len(seen)
            if seen != list(range(1, len(seen) + 1)) or not said <= len(seen) <= said + 1000:
                wrong.append((t.pid, said, len(seen), seen[-1:]))
    print(f"# {total} records")
    check("what_killed_targets_committed_is_read_and_no_more", not wrong and total >= 18000, (total, wrong))
    witness.do("call", 5)
    seen = [struct.unpack("<IIQQ", r)[2] for r in a.records("ring records")]
    check("the_buffer_goes_on_for_others", seen == [1, 2, 3, 4, 5], seen)
    n = witness.do("fire", 9)["computed"]
    usdt = {struct.unpack("<Q", k)[0]: struct.unpack_from("<Q", v)[0] for k, v in all_kinds["usdt"].map("seen")}
    check("so_do_the_probes", n == 9 and usdt.get(1, 0) >= 9, usdt)
    for x in all_kinds.values():
        x.end()
    check("semaphores_are_down_when_all_have_gone", witness.do("fire", 1)["enabled"] == 0, witness.text)
    check("nothing_is_left", links() == [], links())
    witness.end()


def killed_loaders():
    """While they attach, run, or detach."""
    targets, wrong, did = [Target(), Target()], [], {}
    for i in range(16):
        kinds = RNG.sample(sorted(KINDS), 2)
        loaders = [Loader(kind) for kind in kinds]
        for a, kind in zip(loaders, kinds):
            for n, what in enumerate(KINDS[kind]):
                a.p.stdin.write((" ".join(map(str, (what[0], n + 1, *what[1:]))) + "\n").encode())
            if RNG.random() < 0.3:
                a.p.stdin.write(b"detach 1\n")
            a.p.stdin.flush()
        time.sleep(RNG.random() * 0.08)
        for what, n in (("call", 50), ("fire", 20), ("ask", 30), ("open", 5)):
            for t in targets:
                state = t.do(what, n)
                did[t.pid] = did.get(t.pid, 0) + (n if what == "call" else 0)
                if state.get("calls") != did[t.pid]:
                    wrong.append((t.pid, what, t.text, did[t.pid]))
            if loaders and RNG.random() < 0.5:
                loaders.pop().kill()
        for a in loaders:
            a.kill()
    check("targets_go_on_and_do_what_they_did", not wrong, wrong)
    down = wait_for(lambda: all(t.do("fire", 1)["enabled"] == 0 for t in targets))
    check("semaphores_of_the_dead_are_down", down, [t.text for t in targets])
    check("nothing_is_left_of_them", wait_for(lambda: links() == []), links())
    a = loader("across")
    for t in targets:
        t.do("ask", 17)
        t.do("call", 3)
    asked = {struct.unpack("<I", k)[0]: struct.unpack("<Q", v)[0] for k, v in a.map("asked")}
    check("a_new_loader_counts_right", [asked.get(t.pid) for t in targets] == [17, 17], asked)
    records = [struct.unpack("<IIQQ", r)[0] for r in a.records("ring records")]
    check("and_reads_every_record", sorted(records) == sorted([t.pid for t in targets] * 3), records)
    for x in (a, *targets):
        x.end()


def both():
    """Everybody at random, at once."""
    loaders, targets, wrong = [], [Target()], []
    end = time.monotonic() + 6
    while time.monotonic() < end:
        dice = RNG.random()
        if dice < 0.25 and len(loaders) < 4:
            a = loader(RNG.choice(sorted(KINDS)))
            (loaders.append if all(a.all) else wrong.append)(a)
        elif dice < 0.45 and loaders:
            loaders.pop(RNG.randrange(len(loaders))).kill()
        elif dice < 0.6 and len(targets) < 4:
            targets.append(Target())
        elif dice < 0.75 and len(targets) > 1:
            t = targets.pop(RNG.randrange(1, len(targets)))
            t.p.stdin.write(b"call 100000\n")
            t.p.stdin.flush()
            time.sleep(RNG.random() * 0.005)
            t.kill()
        else:
            t = RNG.choice(targets)
            before = t.state["calls"]
            if t.do("call", 500).get("calls") != before + 500:
                wrong.append(t)
    check("who_is_left_goes_on", not wrong, [getattr(x, "said", getattr(x, "text", "")) for x in wrong])
    for a in loaders:
        a.end()
    check("and_nothing_is_left_of_the_others", wait_for(lambda: links() == []), links())
    a = loader("across")
    targets[0].do("ask", 8)
    asked = {struct.unpack("<I", k)[0]: struct.unpack("<Q", v)[0] for k, v in a.map("asked")}
    check("counts_are_right_after_all", asked.get(targets[0].pid) == 8, asked)
    for x in (a, *targets):
        x.end()


try:
    for part in (killed_targets, killed_loaders, both):
        part()
finally:
    over()
done()
