#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""GObject introspection (PyGObject, girepository) on our libffi.so.8. TAP."""
import os
import sys

try:
    import gi
    from gi.repository import GLib, GObject
except ImportError:
    print("1..0 # SKIP python3-gi is not installed")
    sys.exit(0)

results = []


def check(name, ok):
    results.append(ok)
    print(f"{'ok' if ok else 'not ok'} {len(results)} - gi_{name}")


class Counter(GObject.Object):
    __gsignals__ = {"counted": (GObject.SignalFlags.RUN_FIRST, GObject.TYPE_DOUBLE, (int, float, str))}

    def do_counted(self, n, x, s):
        return n * x + len(s)


def main():
    if os.path.realpath(os.environ.get("FERRY_LIBFFI", "/none")) not in open("/proc/self/maps", encoding="utf-8").read():
        print("1..0 # SKIP girepository does not use the shared libffi here")
        return 0
    check("strings", GLib.ascii_strup("hello", -1) == "HELLO")
    check("many_calls", all(GLib.ascii_strdown("ABC", -1) == "abc" for _ in range(3000)))
    check("out_arguments", GLib.shell_parse_argv("a 'b c' d") == (True, ["a", "b c", "d"]))
    check("int64", GLib.DateTime.new_from_unix_utc(1 << 33).to_unix() == 1 << 33)
    check("doubles", GLib.DateTime.new_utc(2026, 1, 2, 3, 4, 5.5).get_seconds() == 5.5)
    check("checksum", GLib.compute_checksum_for_string(GLib.ChecksumType.MD5, "", -1) == "d41d8cd98f00b204e9800998ecf8427e")
    v = GLib.Variant("(sidt)", ("x", -3, 1.5, 1 << 60))
    check("variant", v.unpack() == ("x", -3, 1.5, 1 << 60))
    loop, hits = GLib.MainLoop(), []

    def tick(data):
        hits.append(data)
        if len(hits) == 5:
            loop.quit()
        return len(hits) < 5
    GLib.timeout_add(1, tick, "t")
    loop.run()
    check("timeout_calls_back", hits == ["t"] * 5)
    seen = []
    c = Counter()
    c.connect("counted", lambda o, n, x, s: seen.append((n, x, s)) or 0.0)
    check("signal_returns_double", c.emit("counted", 3, 2.5, "four") is not None and seen == [(3, 2.5, "four")])
    idle = []
    for i in range(50):
        GLib.idle_add(lambda i=i: idle.append(i) or False)
    while len(idle) < 50:
        GLib.MainContext.default().iteration(True)
    check("idle_calls_back", idle == list(range(50)))
    print(f"1..{len(results)}")
    return 0 if all(results) else 1


sys.exit(main())
