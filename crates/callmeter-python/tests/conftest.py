"""What the tests share: a home of their own, programs that run in a process of their own, rows as a store has them."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from postgres_server import Server, server  # noqa: E402

#: Longer than anything here takes on a busy machine; nothing waits for it to pass.
PATIENCE_S = 60.0


def eventually(holds: Callable[[], object], what: str) -> object:
    """Waits until ``holds`` gives something true, and gives it."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := holds()):
        assert time.monotonic() < deadline, f"{what} did not come about in {PATIENCE_S} s"
        time.sleep(0.01)
    return found


class Host:
    """A host application: a directory, an environment, and the rows that its processes left in the embedded store."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.home = directory / "home"
        # Whoever runs the tests may have settings of their own.
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("CALLMETER_")}
        self.environment.pop("AI_CALL_LOGGING_ENABLED", None)
        self.environment |= {"CALLMETER_HOME": str(self.home), "PYTHONPATH": str(HERE)}

    def write(self, name: str, text: str) -> pathlib.Path:
        """Writes a file of the application."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def start(self, program: str, *arguments: str, **options: object) -> subprocess.Popen[str]:
        """Starts a program in a process of its own."""
        path = self.write(f"program_{time.monotonic_ns()}.py", program)
        return self.start_command([sys.executable, "-W", "error", str(path), *arguments], **options)

    def start_command(self, command: list[str], **options: object) -> subprocess.Popen[str]:
        """Starts a command in the application's directory."""
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
            command, cwd=self.directory, env=self.environment, **(pipes | options)
        )

    def run(
        self, program: str, *arguments: str, code: int = 0, patience: float = PATIENCE_S
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program to its end, which must be the one that is expected."""
        process = self.start(program, *arguments)
        out, err = process.communicate(timeout=patience)
        assert process.returncode == code, f"{process.returncode}: {out}\n{err}"
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def command(self, *arguments: str, code: int = 0) -> str:
        """Runs the command ``callmeter``; what it printed."""
        done = self.start_command([sys.executable, "-m", "callmeter", *arguments])
        out, err = done.communicate(timeout=PATIENCE_S)
        assert done.returncode == code, f"{done.returncode}: {out}\n{err}"
        return str(out)

    def rows(self) -> list[dict[str, object]]:
        """Every row, the first call first; what dead processes left is shipped before."""
        self.command("ship", "--once")
        lines = self.command("calls", "--json", "--limit", "100000").splitlines()
        return sorted((json.loads(line) for line in lines), key=lambda row: str(row["call_id"]))

    def by_caller(self) -> dict[str, list[dict[str, object]]]:
        """Every row, by who called."""
        found: dict[str, list[dict[str, object]]] = {}
        for row in self.rows():
            found.setdefault(str(row["caller"]), []).append(row)
        return found


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A server of PostgreSQL for all tests."""
    with server() as running:
        yield running


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Host:
    """A host application in a directory of its own."""
    return Host(tmp_path)


@pytest.fixture(autouse=True)
def _no_settings_of_others(monkeypatch: pytest.MonkeyPatch, tmp_path: pathlib.Path) -> None:
    for name in [*os.environ]:
        if name.startswith("CALLMETER_") or name == "AI_CALL_LOGGING_ENABLED":
            monkeypatch.delenv(name)
    monkeypatch.setenv("CALLMETER_HOME", str(tmp_path / "home"))
