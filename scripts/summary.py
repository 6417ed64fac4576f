#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Adds up TAP results: summary.py BAD LOG.json... prints 'N passed, N failed, N skipped'.

BAD is 1 when a runner failed. A test program that ended badly without a 'not ok' line (a crash, a time-out) counts
as one failure. Exit code 0 only when nothing failed and something passed.
"""
import json
import os
import re
import sys


def main():
    bad, logs = sys.argv[1] != "0", sys.argv[2:]
    passed = failed = skipped = 0
    for path in logs:
        if not os.path.exists(path):
            print(f"summary: no {path}: its tests did not run", file=sys.stderr)
            failed += 1
            continue
        with open(path, encoding="utf-8", errors="replace") as f:
            for line in f:
                test = json.loads(line)
                here = 0
                tap = False
                for row in test.get("stdout", "").splitlines():
                    if not re.match(r"(not )?ok\b", row):
                        continue
                    tap = True
                    if re.search(r"#\s*skip", row, re.I):
                        skipped += 1
                        print(f"skipped: {test['name']}: {row}", file=sys.stderr)
                    elif row.startswith("ok"):
                        passed += 1
                    else:
                        failed += 1
                        here += 1
                        print(f"FAILED: {test['name']}: {row}", file=sys.stderr)
                result = test["result"]
                if result == "SKIP" and not tap:
                    skipped += 1
                elif result == "OK" and not tap:
                    passed += 1
                elif result not in ("OK", "SKIP") and not here:
                    failed += 1
                    print(f"FAILED: {test['name']}: {result}", file=sys.stderr)
    if bad and not failed:
        failed = 1
        print("FAILED: a check outside the test programs (see above)", file=sys.stderr)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 0 if passed and not failed else 1


sys.exit(main())
