"""A PostgreSQL of the tests' own: Debian's package ``postgresql``, in a directory of its own, on a free port."""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Server:
    """A running server; ``database`` makes a fresh database and gives its address."""

    def __init__(self, home: str) -> None:
        bins = pathlib.Path("/usr/lib/postgresql").glob("*/bin")
        self._bin = max(bins, key=lambda path: int(path.parent.name))
        self._home = home
        self._count = 0
        self.port = _free_port()
        self._as_user: list[str] = []
        if os.geteuid() == 0:
            shutil.chown(home, "postgres")
            self._as_user = ["runuser", "-u", "postgres", "--"]
        options = ["-U", "callmeter", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        self._run("initdb", "-D", f"{home}/data", *options)
        self.start()

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as_user, str(self._bin / program), *arguments]
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL)

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-D", f"{self._home}/data", "-w", "-s", *arguments)

    def start(self) -> None:
        """Starts it, for the first time or again."""
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -k {self._home} -c fsync=off -c shared_buffers=32MB"
        self._control("-l", f"{self._home}/log", "start", "-o", options)

    def stop(self) -> None:
        """Stops it at once: connections break."""
        self._control("-m", "immediate", "stop")

    def database(self) -> str:
        """A fresh database, by its address."""
        self._count += 1
        name = f"shop_{self._count}"
        self._run("createdb", "-h", self._home, "-p", str(self.port), "-U", "callmeter", name)
        return f"callmeter@127.0.0.1:{self.port}/{name}"


@contextlib.contextmanager
def server() -> Iterator[Server]:
    """A server that is stopped and forgotten in the end."""
    home = tempfile.mkdtemp()
    running = Server(home)
    try:
        yield running
    finally:
        with contextlib.suppress(subprocess.CalledProcessError):
            running.stop()
        shutil.rmtree(home, ignore_errors=True)
