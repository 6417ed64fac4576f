# SPDX-License-Identifier: MIT
"""What tests in Python share: TAP, commands, processes to talk with, waiting for what will be."""
import subprocess
import sys
import time

count = failed = 0


def check(name, ok, detail=""):
    global count, failed
    count += 1
    failed += not ok
    print(f"{'ok' if ok else 'not ok'} {count} - {name}", flush=True)
    if not ok:
        for line in str(detail).splitlines()[:60]:
            print(f"# {line}", flush=True)


def skip(name, why):
    global count
    count += 1
    print(f"ok {count} - {name} # SKIP {why}", flush=True)


def skip_all(why):
    print(f"1..0 # SKIP {why}")
    sys.exit(0)


def no_tracing():
    """Why no process may enter another one that is no child of its own (ferry attach), nor write into it: what Yama leaves
    to parents and to CAP_SYS_PTRACE. None where it may."""
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope") as f:
            scope = int(f.read())
    except FileNotFoundError:
        return None
    with open("/proc/self/status") as f:
        able = next(int(line.split()[1], 16) for line in f if line.startswith("CapEff")) >> 19 & 1
    return f"kernel.yama.ptrace_scope is {scope}: no other process can be entered here" if scope and not able else None


def need_tracing():
    if no_tracing():
        skip_all(no_tracing())


def run(*args, timeout=60, **kw):
    r = subprocess.run(args, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, text=True, **kw)
    r.all = f"exit {r.returncode}\n{r.stdout}\n{r.stderr}"
    return r


class Talk:
    """A process that answers lines with lines."""

    def __init__(self, *command, env=None):
        self.p = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)
        self.pid = self.p.pid  # the command's, also under ferry exec, which becomes it
        self.hello = self.p.stdout.readline().strip()

    def say(self, line):
        self.p.stdin.write(line + "\n")
        self.p.stdin.flush()
        return self.p.stdout.readline().strip()

    def end(self):
        self.p.communicate(timeout=60)


def wait_for(what, seconds=30):
    """Whether it becomes true within that time, which is long: machines are busy."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if what():
            return True
        time.sleep(0.02)
    return False


def state(pid):
    """R, S... of proc_pid_stat(5); empty when it has gone."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return ""


def done():
    print(f"1..{count}")
    sys.exit(failed != 0)
