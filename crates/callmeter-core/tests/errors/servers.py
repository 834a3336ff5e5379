"""Servers that fail as real ones do: HTTP, PostgreSQL, and the greeting of MySQL."""

import contextlib
import http.server
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import threading
import time


def closed_port():
    """A port of this machine that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers `/NAME/…` as the case of that name says."""

    cases = {}

    def answer(self):
        length = int(self.headers.get("content-length") or 0)
        self.rfile.read(length)
        status, body = self.cases[self.path.split("/")[1].split("?")[0]]
        if body == "hang up":
            self.close_connection = True
            return
        if body == "wait":
            self.server.released.wait(30)
            return
        if body == "cut":
            self.send_response(200)
            self.send_header("content-length", "100")
            self.end_headers()
            self.wfile.write(b"12345")
            self.close_connection = True
            return
        text = body if isinstance(body, str) else json.dumps(body)
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    do_GET = do_POST = answer

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def http_server(cases):
    """A server with the given cases: name to (status, body)."""
    Handler.cases = cases
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.released = threading.Event()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.released.set()
        server.shutdown()


@contextlib.contextmanager
def mysql_greeter(code, state, message):
    """A server that refuses every connection, as MySQL does, with an ERR packet."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                payload = b"\xff" + code.to_bytes(2, "little") + b"#" + state + message.encode()
                connection.sendall(len(payload).to_bytes(3, "little") + b"\0" + payload)
                connection.close()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.close()


@contextlib.contextmanager
def postgres():
    """A PostgreSQL of its own with the role `shop`, which needs a password. Gives its port."""
    bin_dir = max(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    home = tempfile.mkdtemp()
    as_user = []
    if os.geteuid() == 0:
        shutil.chown(home, "postgres")
        as_user = ["runuser", "-u", "postgres", "--"]
    port = closed_port()
    run = lambda *command: subprocess.run([*as_user, *command], check=True, cwd="/", stdout=subprocess.DEVNULL)
    initdb = ["-D", f"{home}/data", "-U", "callmeter", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    run(f"{bin_dir}/initdb", *initdb)
    rules = pathlib.Path(home, "data/pg_hba.conf")
    rules.write_text("host all shop 127.0.0.1/32 scram-sha-256\n" + rules.read_text())
    options = f"-p {port} -c listen_addresses=127.0.0.1 -k {home} -c fsync=off"
    control = [f"{bin_dir}/pg_ctl", "-D", f"{home}/data", "-w", "-s"]
    run(*control, "-l", f"{home}/log", "start", "-o", options)
    try:
        sql = "create role shop login password 'right'; create table users (email text unique, age int not null)"
        run(f"{bin_dir}/psql", "-q", "-h", home, "-p", str(port), "-U", "callmeter", "-d", "postgres", "-c", sql)
        yield port
    finally:
        run(*control, "-m", "immediate", "stop")
        shutil.rmtree(home, ignore_errors=True)
