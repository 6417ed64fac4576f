#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""trace_pipe with many writers and readers in a session: pipe.py FERRY LINES-CLIENT. TAP."""
import os
import re
import select
import subprocess
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
from tap import check, done  # noqa: E402

FERRY, CLIENT = (os.path.abspath(a) for a in sys.argv[1:3])
if not os.environ.get("PIPE_INSIDE"):
    os.execve(FERRY, [FERRY, "exec", "--private", "--", sys.executable, os.path.abspath(__file__), FERRY, CLIENT],
              dict(os.environ, PIPE_INSIDE="1"))

PIPE = "/sys/kernel/tracing/trace_pipe"
WRITERS, ROUNDS, LINES, END = 6, 4, 60, 99 # all of a round fit in a pipe of 64 KiB: none may be lost
LINE = re.compile(rb"^.{16}-\d+ +\[\d{3}\] \S{4,5} +\d+\.\d{6}: bpf_trace_printk: line (\d+) (\d+)$")


def write(who, count):
    return subprocess.Popen([CLIENT, str(who), str(count)])


def read_all(seen):
    """Lines until one of END. A read of as much as a pipe holds takes whole lines."""
    fd = os.open(PIPE, os.O_RDONLY)
    text = b""
    while b" line %d " % END not in text:
        text += os.read(fd, 65536)
    os.close(fd)
    seen.append(text)


# One reader, many writers: each line once, whole.
for turn in range(ROUNDS):
    seen = []
    reader = threading.Thread(target=read_all, args=(seen,))
    reader.start()
    failed = [p.wait() for p in [write(w, LINES) for w in range(WRITERS)]]
    last = write(END, 1).wait() # written behind all others
    reader.join(60)
    found = [LINE.match(x) for x in seen[0].splitlines()] if seen else [None]
    bad = [x for x in (seen[0].splitlines() if seen else []) if not LINE.match(x)]
    if bad or not all(found):
        break
    got = sorted((int(m[1]), int(m[2])) for m in found)
    want = sorted([(w, n) for w in range(WRITERS) for n in range(1, LINES + 1)] + [(END, 1)])
    if got != want or any(failed) or last:
        break
check("every_line_comes_once_and_whole", not bad and seen and got == want and not any(failed) and not last, (bad[:3], failed, len(found)))
order = {}
for m in found:
    order.setdefault(int(m[1]), []).append(int(m[2]))
check("lines_of_one_writer_come_in_its_order", all(o == sorted(o) for o in order.values()), order)

# Nothing is there: who does not want to wait is told so, poll(2) says the same.
fd = os.open(PIPE, os.O_RDONLY | os.O_NONBLOCK)
try:
    check("an_empty_pipe_is_EAGAIN", False, os.read(fd, 4096))
except BlockingIOError:
    check("an_empty_pipe_is_EAGAIN", True)
poll = select.poll()
poll.register(fd, select.POLLIN)
check("poll_of_an_empty_pipe_times_out", poll.poll(0) == [])
writer = write(7, 1)
check("poll_wakes_when_a_line_comes", [e & select.POLLIN for _, e in poll.poll(60000)] == [select.POLLIN])
check("and_the_line_is_there", LINE.match(os.read(fd, 4096).rstrip(b"\n")) is not None)
check("writer_ends_well", writer.wait() == 0)

# Nobody reads, and more comes than there is room for: writers go on, and what is there is whole lines.
check("writers_do_not_wait_for_readers", [p.wait() for p in [write(w, 20000) for w in range(2)]] == [0, 0])
text = b""
while True:
    try:
        text += os.read(fd, 65536)
    except BlockingIOError:
        break
bad = [x for x in text.splitlines() if not LINE.match(x)]
check("what_an_overflow_leaves_is_whole_lines", text.endswith(b"\n") and not bad, (len(text), bad[:3]))

# Two readers of one pipe: no line to both, none to neither.
seen = []
readers = [threading.Thread(target=read_all, args=(seen,)) for _ in range(2)]
for r in readers:
    r.start()
failed = [p.wait() for p in [write(w, LINES) for w in range(WRITERS)]]
while any(r.is_alive() for r in readers): # each reader wants an end of its own
    write(END, 1).wait()
for r in readers:
    r.join()
joined = [x for text in seen for x in text.splitlines() if b" line %d " % END not in x]
pairs = sorted((int(m[1]), int(m[2])) for m in map(LINE.match, joined) if m)
want = sorted((w, n) for w in range(WRITERS) for n in range(1, LINES + 1))
check("two_readers_share_the_lines", pairs == want and not any(failed), (len(pairs), len(want)))
os.close(fd)
done()
