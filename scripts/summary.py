#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Adds up TAP results: summary.py BAD LOG.json... prints 'N passed, N failed, N skipped'.

BAD is 1 when a runner failed. A test program that ended badly without a 'not ok' line (a crash, a time-out) counts
as one failure. Exit code 0 only when nothing failed and something passed.

A log with '-again' in its name holds what failed in the log before it and was run once more, alone: those results
count, and each such test is named. summary.py --again LOG.json prints the names of those that may be run again: a few
tests that compare what other processes did and when. What crashed, or what a sanitizer found, is not among them.
"""
import json
import os
import re
import sys

SANITIZER = re.compile(r"ERROR: \w+Sanitizer|WARNING: ThreadSanitizer|runtime error:")
FEW = 5  # more at once are no accident


def tests_of(path):
    with open(path, encoding="utf-8", errors="replace") as f:
        return [json.loads(line) for line in f]


def may_run_again(test):
    said = test.get("stdout", "") + test.get("stderr", "")
    crashed = test["result"] != "TIMEOUT" and not 0 <= test.get("returncode", 0) < 128
    return not crashed and not SANITIZER.search(said)


def print_again(path):
    failed = [t for t in tests_of(path) if t["result"] not in ("OK", "SKIP")]
    if len(failed) <= FEW and all(map(may_run_again, failed)):
        print(*(t["name"].rsplit(" / ", 1)[-1] for t in failed))


class Sum:
    passed = failed = skipped = 0

    def add(self, test):
        here = 0
        tap = False
        for row in test.get("stdout", "").splitlines():
            if not re.match(r"(not )?ok\b", row):
                continue
            tap = True
            if re.search(r"#\s*skip", row, re.I):
                self.skipped += 1
                print(f"skipped: {test['name']}: {row}", file=sys.stderr)
            elif row.startswith("ok"):
                self.passed += 1
            else:
                here += 1
                print(f"FAILED: {test['name']}: {row}", file=sys.stderr)
        result = test["result"]
        if result == "SKIP" and not tap:
            self.skipped += 1
        elif result == "OK" and not tap:
            self.passed += 1
        elif result not in ("OK", "SKIP") and not here:
            here = 1
            print(f"FAILED: {test['name']}: {result}", file=sys.stderr)
            for row in re.findall(r"^# CRASH: .*", test.get("stderr", ""), re.M):  # tests/crash.c
                print(f"    {row}", file=sys.stderr)
        self.failed += here


def main():
    if sys.argv[1] == "--again":
        print_again(sys.argv[2])
        return 0
    bad, logs = sys.argv[1] != "0", sys.argv[2:]
    results = []
    total = Sum()
    for path in logs:
        if not os.path.exists(path):
            print(f"summary: no {path}: its tests did not run", file=sys.stderr)
            total.failed += 1
        elif "-again" in path:
            again = {t["name"]: t for t in tests_of(path)}
            for n, t in enumerate(results[-1]):
                if t["name"] in again:
                    results[-1][n] = again[t["name"]]
                    rows = [r for r in t.get("stdout", "").splitlines() if r.startswith("not ok")]
                    print(f"run again: {t['name']}: {'; '.join(rows) or t['result']}", file=sys.stderr)
        else:
            results.append(tests_of(path))
    for test in (t for log in results for t in log):
        total.add(test)
    if bad and not total.failed:
        total.failed = 1
        print("FAILED: a check outside the test programs (see above)", file=sys.stderr)
    print(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped")
    return 0 if total.passed and not total.failed else 1


sys.exit(main())
