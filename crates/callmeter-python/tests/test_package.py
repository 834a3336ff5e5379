"""The package itself: its lints, its types, its stubs, its metadata, its command, its metrics, its log lines."""

from __future__ import annotations

import importlib.metadata
import inspect
import pathlib
import subprocess
import sys
from typing import Any

import pytest

import callmeter
from callmeter import _native

PACKAGE = pathlib.Path(__file__).resolve().parents[1]
SOURCES = PACKAGE / "python"


def run(*command: str) -> None:
    done = subprocess.run([*command], cwd=PACKAGE, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff_finds_nothing() -> None:
    run("ruff", "check", "--no-cache", "python", "tests", "benches")


def test_ruff_would_format_nothing_otherwise() -> None:
    run("ruff", "format", "--no-cache", "--check", "python", "tests", "benches")


def test_mypy_is_content_with_its_strictest(tmp_path: pathlib.Path) -> None:
    run(sys.executable, "-m", "mypy", "--cache-dir", str(tmp_path), "python/callmeter")


def test_the_stubs_say_what_the_compiled_half_has() -> None:
    run(sys.executable, "-m", "mypy.stubtest", "callmeter._native")


def test_a_host_s_use_is_typed(tmp_path: pathlib.Path) -> None:
    host = tmp_path / "host.py"
    host.write_text(
        "from callmeter import log_ai_call, logged_ai_call\n"
        "@logged_ai_call('c', 'p', 'm')\n"
        "async def ask(prompt: str) -> dict[str, int]:\n"
        "    async with log_ai_call('c', 'p', 'm') as ctx:\n"
        "        ctx.set_tokens(input=1, output=None)\n"
        "        reveal_type(ctx.duration_ms)\n"
        "    return {}\n"
        "reveal_type(ask)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), str(host)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    assert "builtins.int | None" in done.stdout
    assert "def (prompt: builtins.str) -> " in done.stdout


def test_the_package_says_that_it_is_typed_and_what_it_is() -> None:
    assert (pathlib.Path(callmeter.__file__).parent / "py.typed").exists()
    assert importlib.metadata.version("callmeter") == callmeter.__version__
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="callmeter")
    assert command.value == "callmeter.__main__:main"


def test_everything_public_is_documented() -> None:
    for name in callmeter.__all__:
        thing = getattr(callmeter, name)
        assert inspect.getdoc(thing) or name in ("__version__", "log_ai_call"), name


def test_an_import_starts_nothing_and_is_light() -> None:
    code = (
        "import sys, threading; import callmeter; "
        "heavy = {'asyncio', 'sqlalchemy', 'pytest', 'prometheus_client', 'json.tool'} & set(sys.modules); "
        "assert not heavy, heavy; assert threading.active_count() == 1; assert not callmeter.stats()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_command_is_the_whole_command(host: Any) -> None:
    assert host.command("--version").startswith("callmeter ")
    assert "Usage: callmeter" in host.command("report", "--help")
    host.command("no-such-command", code=2)
    script = pathlib.Path(sys.executable).parent / "callmeter"
    done = subprocess.run([script, "version"], env=host.environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_demo_runs_from_the_wheel(host: Any) -> None:
    shown = host.command("demo", "--calls", "2000", "--dir", str(host.directory / "demo"))
    assert "killed" in shown


def test_the_metrics_say_where_calls_are(callmeter_calls: list[dict[str, Any]]) -> None:
    import prometheus_client

    registry = prometheus_client.CollectorRegistry()
    registry.register(callmeter.prometheus_collector())
    with callmeter.log_ai_call("c", "p", "m"):
        pass
    assert len(callmeter_calls) == 1
    text = prometheus_client.generate_latest(registry).decode()
    assert "callmeter_calls_finished_total 1.0" in text
    assert 'callmeter_calls_dropped_total{reason="flight_full"} 0.0' in text


def test_the_figures_add_up(callmeter_calls: list[dict[str, Any]]) -> None:
    for _ in range(100):
        with callmeter.log_ai_call("c", "p", "m"):
            pass
    assert len(callmeter_calls) == 100
    stats = callmeter.stats()
    parts = [stats[name] for name in ("buffered", "moving", "spooled", "acknowledged", "rejected")]
    assert stats["finished"] == sum(parts) + sum(stats["dropped"].values()) == 100


def test_lines_of_the_background_reach_logging(
    callmeter_calls: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    from conftest import eventually

    with callmeter.log_ai_call("c", "p", "m") as ctx:
        ctx.add_meta("api_key", "x" * 10_000)
    eventually(lambda: [message for message in caplog.messages if "api_key" in message], "the warning")


def test_a_handler_that_raises_harms_nothing(host: Any) -> None:
    host.run(
        """
        import logging
        logging.raiseExceptions = False

        class Bad(logging.Handler):
            def handle(self, record):
                raise ValueError("bad handler")

        logging.getLogger().addHandler(Bad())
        logging.getLogger().setLevel(logging.INFO)
        import callmeter
        with callmeter.log_ai_call("c", "p", "m") as ctx:
            ctx.add_meta("api_key", "x" * 10_000)
        assert callmeter.flush(30)
        """
    )
    assert len(host.rows()) == 1


def test_the_compiled_half_is_small_enough_to_know() -> None:
    assert sorted(name for name in vars(_native) if name[0] != "_") == sorted(
        [
            "CallState",
            "Site",
            "captured",
            "close",
            "close_log",
            "flush",
            "hold_back",
            "is_enabled",
            "is_on_by_env",
            "is_started",
            "log_ai_call",
            "mark_forked",
            "next_log_line",
            "open_log",
            "park",
            "query",
            "record",
            "resume",
            "run_command",
            "set_compat",
            "set_enabled",
            "set_hooks",
            "set_registry",
            "settings",
            "start",
            "start_capture",
            "stats",
        ]
    )
