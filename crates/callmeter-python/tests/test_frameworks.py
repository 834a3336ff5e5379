"""The recipes of ``docs/guides/frameworks.md``, run as they stand: the very files of the page, under their servers."""

from __future__ import annotations

import pathlib
import re
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable

import pytest

from conftest import PATIENCE_S, Host, eventually

PAGE = pathlib.Path(__file__).resolve().parents[3] / "docs/guides/frameworks.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(), flags=re.M | re.S)


def write_files(host: Host) -> None:
    """Every file of the page, under the name in its first line."""
    for block in blocks("python"):
        first, _, text = block.partition("\n")
        host.write(first.removeprefix("# "), text)
    host.write("shop/__init__.py", "")


def command(program: str) -> list[str]:
    """The page's command that begins with the program, run as a module of the Python under test."""
    (line,) = (block.strip() for block in blocks("sh") if block.startswith(program))
    return [sys.executable, "-m", *shlex.split(line)]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def get(url: str, **headers: str) -> str:
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
        return str(response.read().decode())


def answers(url: str) -> Callable[[], bool]:
    def ask() -> bool:
        try:
            get(url)
        except OSError:
            return False
        return True

    return ask


def stop(server: subprocess.Popen[str]) -> None:
    """Asks a server to end, as its supervisor does."""
    server.send_signal(signal.SIGTERM)
    server.communicate(timeout=PATIENCE_S)


@pytest.fixture
def recipes(host: Host) -> Host:
    """A directory with the files of the page."""
    write_files(host)
    return host


def test_the_page_names_every_file_and_every_command() -> None:
    assert all(block.startswith("# ") for block in blocks("python"))
    assert [block.split()[0] for block in blocks("sh")] == ["uvicorn", "gunicorn", "celery"]


def test_fastapi_records_each_request_names_the_service_and_shows_metrics(recipes: Host) -> None:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    server = recipes.start_command([*command("uvicorn"), "--port", str(port)])
    try:
        eventually(answers(f"{base}/docs"), "the server's first answer")
        assert get(f"{base}/copy/coat", X_Request_Id="r-1") == '"COAT"'
        assert get(f"{base}/price/42") == '"IS 42 RIGHT?"'
        assert "callmeter_" in get(f"{base}/metrics/")
    finally:
        stop(server)
    rows = recipes.by_caller()
    (copy,), (check,) = rows["sales_copy"], rows["price_check"]
    assert (copy["service"], copy["request_id"], copy["input_tokens"]) == ("shop-api", "r-1", 4)
    assert (check["service"], check["input_tokens"], check["output_tokens"]) == ("shop-api", 12, 5)


def test_django_records_under_gunicorn_with_preload_and_over_a_reload(recipes: Host) -> None:
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    server = recipes.start_command([*command("gunicorn"), "--bind", f"127.0.0.1:{port}"])
    try:
        eventually(answers(f"{base}/copy/first"), "the server's first answer")
        for number in range(6):
            assert get(f"{base}/copy/coat-{number}", X_Request_Id=f"r-{number}") == f"COAT-{number}"
        server.send_signal(signal.SIGHUP)
        for number in range(6, 9):
            assert get(f"{base}/copy/coat-{number}", X_Request_Id=f"r-{number}") == f"COAT-{number}"
    finally:
        stop(server)
    rows = recipes.by_caller()["sales_copy"]
    assert {row["service"] for row in rows} == {"shop-web"}
    numbered = sorted(str(row["request_id"]) for row in rows if row["request_id"])
    assert numbered == [f"r-{number}" for number in range(9)]


def test_celery_records_each_try_of_a_task_in_its_pool(recipes: Host) -> None:
    queue = recipes.directory / "queue"
    queue.mkdir()
    recipes.environment |= {"BROKER": "filesystem://", "QUEUE": str(queue), "RESULTS": f"file://{queue}"}
    worker = recipes.start_command([*command("celery"), "--loglevel", "error"])
    try:
        answered = recipes.run(
            """
            import sys
            sys.path.insert(0, ".")
            from tasks import describe
            results = [describe.delay(article) for article in ("coat", "unlucky", "hat")]
            print(*(result.get(timeout=60) for result in results))
            """
        )
        assert answered.stdout.split() == ["COAT", "UNLUCKY", "HAT"]
    finally:
        stop(worker)
    rows = recipes.by_caller()["describe"]
    assert len(rows) == 4
    (failed,) = (row for row in rows if row["status"] == "error")
    (again,) = (row for row in rows if row["meta"] == {"attempt": 2})
    assert (failed["meta"], failed["error"], failed["error_kind"]) == ({"attempt": 1}, "ConnectionError", "network")
    assert again["request_id"] == failed["request_id"]
