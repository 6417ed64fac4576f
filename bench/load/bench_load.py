#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What ten counting programs cost redis and nginx under load: Ferry's probes and the kernel's on the same functions and
system calls, by turns, each round against the same servers without. bench_load.py FERRY LOADER OBJECT [ROUNDS]"""
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

FERRY, LOADER, OBJECT = sys.argv[1:4]
ROUNDS = int(sys.argv[4]) if len(sys.argv) > 4 else 3
TURNS = 4  # of all cases, with the servers of a round
SECONDS = 0.25  # a measurement
PILOT = 2000
ERR = None if os.environ.get("V") else subprocess.DEVNULL
HERE = tempfile.mkdtemp(prefix="ferry-load-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None)
ENV = {**{k: v for k, v in os.environ.items() if k != "FERRY_SESSION"}, "XDG_RUNTIME_DIR": HERE}
EXEC = [FERRY, "exec", "--"]


class Redis:
    name = "redis-server"
    events = ["readQueryFromClient", "processInputBuffer", "processCommand", "call", "lookupKeyReadWithFlags",
              "addReplyBulk", "writeToClient", ":read", ":write", ":epoll_wait"]
    pipeline = 1

    def __init__(self, prefix, where):
        self.socket, pidfile = os.path.join(where, "socket"), os.path.join(where, "pid")
        self.process = subprocess.Popen([*prefix, self.name, "--port", "0", "--unixsocket", self.socket, "--save", "", "--pidfile",
                                         pidfile, "--dir", where], env=ENV, stdout=ERR, stderr=ERR)
        self.pid = wait_for(self.process, pidfile)
        self.client("set", PILOT)

    def client(self, command, many):
        r = subprocess.run(["redis-benchmark", "-s", self.socket, "-t", command, "-r", "1000", "-n", str(many), "-c", "16", "-P",
                            str(self.pipeline), "--csv"], capture_output=True, text=True, check=True)
        return float(r.stdout.splitlines()[-1].split(",")[1].strip('"'))

    def load(self):
        """All requests that it got, and how many a second: first some that tell how many fit."""
        many = max(int(self.client("get", PILOT) * SECONDS), PILOT)
        return PILOT + many, self.client("get", many)


class RedisPipelined(Redis):
    pipeline = 16


class Nginx:
    name = "nginx"
    events = ["ngx_http_parse_request_line", "ngx_http_parse_header_line", "ngx_http_process_request", "ngx_http_handler",
              "ngx_http_core_run_phases", "ngx_http_send_header", "ngx_http_output_filter", ":recvfrom", ":writev", ":epoll_wait"]
    port = 18480

    def __init__(self, prefix, where):
        pidfile = os.path.join(where, "pid")
        Nginx.port += 1
        self.port = Nginx.port
        os.chmod(where, 0o755)
        with open(os.path.join(where, "index.html"), "w") as f:
            f.write("x" * 1000)
        with open(os.path.join(where, "conf"), "w") as f:
            f.write(f"daemon off; master_process off; pid {pidfile}; error_log {where}/errors;\n"
                    f"events {{}}\nhttp {{ access_log off; keepalive_requests 1000000000;\n"
                    f"  client_body_temp_path {where}; proxy_temp_path {where}; fastcgi_temp_path {where};\n"
                    f"  uwsgi_temp_path {where}; scgi_temp_path {where};\n"
                    f"  server {{ listen 127.0.0.1:{self.port}; root {where}; }} }}\n")
        self.process = subprocess.Popen([*prefix, "nginx", "-c", os.path.join(where, "conf")], env=ENV, stdout=subprocess.DEVNULL,
                                        stderr=ERR)
        self.pid = wait_for(self.process, pidfile)
        self.load()

    def load(self):
        r = subprocess.run(["wrk", "-d", "1s", "-t", "1", "-c", "16", f"http://127.0.0.1:{self.port}/index.html"], check=True,
                           capture_output=True, text=True)
        return (int(re.search(r"(\d+) requests in", r.stdout)[1]),
                float(re.search(r"Requests/sec:\s+([\d.]+)", r.stdout)[1]))


def wait_for(process, pidfile):
    """The number of the server, which writes it."""
    for _ in range(500):
        if os.path.exists(pidfile) and (text := open(pidfile).read().strip()):
            return int(text)
        time.sleep(0.02)
    process.kill()
    sys.exit(f"bench_load: no {pidfile}: the server does not start")


def used(pid):
    """CPU seconds of the process's threads."""
    total = 0
    for t in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{t}/schedstat") as f:
            total += int(f.read().split()[0])
    return total / 1e9


class Probes:
    """What the loader attached, until the end of the with statement."""

    def __init__(self, prefix, server, only):
        binary = shutil.which(server.name) or "/usr/sbin/" + server.name
        self.p = subprocess.Popen([*prefix, LOADER, OBJECT, str(only), str(server.pid), binary, *server.events], env=ENV, text=True,
                                  stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.hello = self.p.stdout.readline().strip()

    def end(self):
        """The numbers of hits of functions; those of system calls are also those of other processes, on the kernel."""
        self.p.stdin.close()
        hits = self.p.stdout.read().split()
        self.p.wait()
        return [int(n) for n in hits]


def measure(server, prefix=None, only=0):
    """Requests a second, the server's microseconds of CPU a request, hits of functions a request; None if nothing can be attached."""
    probes = prefix is not None and Probes(prefix, server, only)
    if probes and probes.hello != "attached":
        probes.end()
        return None
    before = used(server.pid)
    many, rate = server.load()
    cpu = (used(server.pid) - before) / many * 1e6
    hits = probes.end() if probes else []
    return rate, cpu, sum(h for h, e in zip(hits, server.events) if e[0] != ":") / many


# What is measured, whose server it is (ours is of the session), and with what.
CASES = [("nothing", [], None, 0), ("kernel", [], [], 0), ("kernel, filtered", [], [], 1),
         ("ferry, not attached", EXEC, None, 0), ("ferry", EXEC, EXEC, 0), ("ferry, filtered", EXEC, EXEC, 1)]


def round_of(kind):
    """What was measured in each turn, of servers that were started for it."""
    servers = {}
    try:
        for prefix in ([], EXEC):
            servers[" ".join(prefix)] = kind(prefix, tempfile.mkdtemp(dir=HERE))
        return [{name: measure(servers[" ".join(prefix)], probes, only) for name, prefix, probes, only in CASES}
                for _ in range(TURNS)]
    finally:
        for s in servers.values():
            s.process.terminate()
            s.process.wait()


def spread(xs, unit=""):
    return f"{statistics.median(xs):8.1f}{unit} ({min(xs):5.1f} to {max(xs):5.1f})"


def table(title, kind):
    """Requests are medians: the machine is everybody's. CPU time is the best round's, since whatever else runs only adds."""
    rounds = [turn for _ in range(ROUNDS) for turn in round_of(kind)]
    print(f"\n{title}\n{'':20} requests/s   lost, % (from, to)         server's us     more, %   hits of functions", flush=True)
    alone = min(r["nothing"][1] for r in rounds)
    for name, *_ in CASES:
        of = [r for r in rounds if r[name]]
        if not of:
            print(f"{name:20} cannot be attached here")
            continue
        lost = [100 - 100 * r[name][0] / r["nothing"][0] for r in of]
        cpu = min(r[name][1] for r in of)
        print(f"{name:20} {statistics.median(r[name][0] for r in of):10.0f}   {spread(lost):26} {cpu:10.2f}   "
              f"{100 * cpu / alone - 100:9.1f} {statistics.median(r[name][2] for r in of):19.1f}", flush=True)


try:
    missing = [t for t in ("redis-server", "redis-benchmark", "nginx", "wrk") if not shutil.which(t, path=os.defpath + ":/usr/sbin:/usr/bin")]
    print(f"load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors; medians of {ROUNDS} starts of {TURNS} turns")
    if "redis-server" not in missing and "redis-benchmark" not in missing:
        table("redis, one request at a time of each of 16 clients", Redis)
        table("redis, pipelines of 16", RedisPipelined)
    if "nginx" not in missing and "wrk" not in missing:
        table("nginx, files of 1,000 bytes to 16 clients", Nginx)
    if missing:
        print("not measured for want of " + " ".join(missing))
finally:
    shutil.rmtree(HERE, ignore_errors=True)
