# SPDX-License-Identifier: MIT
"""Servers to be watched, on sockets in a directory of the test's, and clients that ask them so and so often."""
import os
import shutil
import socket
import time

from tap import state

PATIENCE = 60  # seconds

# Of user 0 without its powers (a checkout below /root) it can make nobody's processes none; others ignore the line.
NGINX = """daemon off;
user root root;
master_process on;
worker_processes 1;
pid {0}/pid;
error_log stderr;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {0}/body; proxy_temp_path {0}/proxy; fastcgi_temp_path {0}/fastcgi;
  uwsgi_temp_path {0}/uwsgi; scgi_temp_path {0}/scgi;
  server {{ listen unix:{0}/socket; root {0}; }}
}}
"""


def program(name):
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/bin:/sbin:/bin")


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as f:
        return [int(p) for p in f.read().split()]


class Server:
    """`p`: the process that was started; `pid`: the one that serves. Who talks to it does so one thing at a time."""

    def connect(self):
        end = time.monotonic() + PATIENCE
        while True:
            sock = socket.socket(socket.AF_UNIX)
            try:
                sock.connect(self.path)
                sock.settimeout(PATIENCE)
                return sock
            except OSError:
                sock.close()
                if time.monotonic() > end or self.p.p.poll() is not None:
                    raise
                time.sleep(0.02)

    def settle(self):
        """Until it waits for the next request: the call that answered the last one has returned."""
        end = time.monotonic() + PATIENCE
        while state(self.pid) != "S" and time.monotonic() < end:
            time.sleep(0.005)


class Redis(Server):
    def __init__(self, session, top, **kw):
        os.mkdir(top)
        self.path = f"{top}/socket"
        self.p = session.start(program("redis-server"), "--port", "0", "--unixsocket", self.path, "--dir", top,
                               "--save", "", "--appendonly", "no", **kw)
        self.pid = self.p.pid
        self.sock = self.connect()

    def ask(self, n, *words):
        """The last answer."""
        request = b"".join([b"*%d\r\n" % len(words), *(b"$%d\r\n%s\r\n" % (len(w), w.encode()) for w in words)])
        for _ in range(n):
            self.sock.sendall(request)
            answer = self.sock.recv(65536)
        return answer.decode()


class Nginx(Server):
    def __init__(self, session, top, **kw):
        os.mkdir(top)
        self.path = f"{top}/socket"
        with open(f"{top}/conf", "w") as f:
            f.write(NGINX.format(top))
        with open(f"{top}/page", "w") as f:
            f.write("a page\n")
        self.p = session.start(program("nginx"), "-p", top, "-c", f"{top}/conf", "-e", "stderr", **kw)
        self.get(1)
        self.pid = children(self.p.pid)[0]

    def get(self, n, path="/page"):
        """n requests, each with a connection of its own: how many of them had the page."""
        good = 0
        for _ in range(n):
            with self.connect() as sock:
                sock.sendall(b"GET %s HTTP/1.0\r\n\r\n" % path.encode())
                answer = b""
                while more := sock.recv(65536):
                    answer += more
                good += answer.endswith(b"\r\n\r\na page\n")
        return good
