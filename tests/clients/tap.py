# SPDX-License-Identifier: MIT
"""What the tests of clients share: TAP, and running a command under `ferry exec`."""
import subprocess
import sys

count = failed = 0


def check(name, ok, detail=""):
    global count, failed
    count += 1
    failed += not ok
    print(f"{'ok' if ok else 'not ok'} {count} - {name}")
    if not ok:
        for line in str(detail).splitlines()[:30]:
            print(f"# {line}")


def skip(name, why):
    global count
    count += 1
    print(f"ok {count} - {name} # SKIP {why}")


def skip_all(why):
    print(f"1..0 # SKIP {why}")
    sys.exit(0)


def run(*args, timeout=60, **kw):
    r = subprocess.run(args, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, text=True, **kw)
    r.all = f"exit {r.returncode}\n{r.stdout}\n{r.stderr}"
    return r


def done():
    print(f"1..{count}")
    sys.exit(failed != 0)
