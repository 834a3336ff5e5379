"""The recipes of ``docs/guides/frameworks.md``, run as they stand: the very files of the page, under their servers."""

from __future__ import annotations

import concurrent.futures
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


#: An endpoint whose call lasts until a file is there.
SLOW = """

import asyncio, pathlib


@app.get("/slow")
async def slow() -> str:
    async with callmeter.log_ai_call("slow", "openai", "gpt-5-mini"):
        pathlib.Path("in-it").touch()
        while not pathlib.Path("go-on").exists():
            await asyncio.sleep(0.01)
    return "done"
"""


def append(path: pathlib.Path, text: str) -> None:
    path.write_text(path.read_text() + text)


def test_a_request_that_is_under_way_when_uvicorn_is_asked_to_end_is_recorded(recipes: Host) -> None:
    append(recipes.directory / "shop_api.py", SLOW)
    port = free_port()
    server = recipes.start_command([sys.executable, "-m", "uvicorn", "shop_api:app", "--port", str(port)])
    try:
        eventually(answers(f"http://127.0.0.1:{port}/docs"), "the server's first answer")
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            answer = pool.submit(get, f"http://127.0.0.1:{port}/slow")
            eventually((recipes.directory / "in-it").exists, "the request")
            server.send_signal(signal.SIGTERM)
            (recipes.directory / "go-on").touch()
            assert answer.result(PATIENCE_S) == '"done"'
    finally:
        stop(server)
    (row,) = recipes.by_caller()["slow"]
    assert row["status"] == "ok"


def test_uvicorn_s_reloads_lose_no_request(recipes: Host) -> None:
    module = recipes.directory / "shop_api.py"
    append(module, '\n\n@app.get("/version")\nasync def version() -> int:\n    return 1\n')
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "uvicorn", "shop_api:app", "--reload", "--port", str(port)]
    # Its log goes nowhere: a pipe that nobody reads would fill.
    with open(recipes.directory / "uvicorn.log", "w") as log:
        server = recipes.start_command(command, stdout=log, stderr=log)
    try:
        for version in range(1, 4):

            def is_current(version: int = version) -> bool:
                return answers(f"{base}/version")() and get(f"{base}/version") == str(version)

            eventually(is_current, f"version {version}")
            assert get(f"{base}/copy/coat-{version}") == f'"COAT-{version}"'
            append(module, f"\n\nasync def version() -> int:\n    return {version + 1}\n\n")
            append(module, "app.router.routes[:] = [r for r in app.router.routes if r.path != '/version']\n")
            append(module, "app.get('/version')(version)\n")
    finally:
        stop(server)
    assert [row["input_tokens"] for row in recipes.by_caller()["sales_copy"]] == [6, 6, 6]


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


def test_a_task_that_is_under_way_when_celery_is_asked_to_end_is_recorded(recipes: Host) -> None:
    queue = recipes.directory / "queue"
    queue.mkdir()
    append(
        recipes.directory / "tasks.py",
        """

import pathlib, time


@app.task
def slow():
    with callmeter.log_ai_call("slow", "ollama", "llama3.1:8b"):
        pathlib.Path("in-it").touch()
        while not pathlib.Path("go-on").exists():
            time.sleep(0.01)
""",
    )
    recipes.environment |= {"BROKER": "filesystem://", "QUEUE": str(queue), "RESULTS": f"file://{queue}"}
    with open(recipes.directory / "celery.log", "w") as log:
        worker = recipes.start_command([*command("celery"), "--loglevel", "error"], stdout=log, stderr=log)
    try:
        recipes.run("import sys\nsys.path.insert(0, '.')\nfrom tasks import slow\nslow.delay()\n")
        eventually((recipes.directory / "in-it").exists, "the task")
        worker.send_signal(signal.SIGTERM)
        (recipes.directory / "go-on").touch()
        assert worker.wait(PATIENCE_S) == 0
    finally:
        worker.kill()
        worker.wait()
    (row,) = recipes.by_caller()["slow"]
    assert row["status"] == "ok"


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
