"""What was wrong with the replaced module: one test for each fault, named by it, where no other file of tests has it.

Elsewhere: ends of a process and forks in ``test_processes.py``, exceptions in ``test_endings.py``, coroutines and streams in
``test_decorator.py``, bad values in ``test_state.py``.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import pathlib
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import sqlalchemy

from conftest import PATIENCE_S, Host
from postgres_server import Server, server

CONTENT = "ZEBRA-QUILT-7731"
SECRET = "HUSHHUSH90210"

TABLE = """
CREATE TABLE ai_calls (
  id bigserial PRIMARY KEY, created_at timestamptz NOT NULL DEFAULT now(), caller varchar(64) NOT NULL,
  provider varchar(32) NOT NULL, model varchar(128) NOT NULL, input_tokens integer NOT NULL, output_tokens integer NOT NULL,
  duration_ms integer NOT NULL, status varchar(16) NOT NULL, fallback_to varchar(64), cost_usd numeric(10,6) NOT NULL,
  cache_hit boolean NOT NULL, rag_hit boolean NOT NULL, request_id varchar(128), error varchar(2000), meta jsonb NOT NULL)
"""


@pytest.fixture
def postgres() -> Iterator[Server]:
    """A server of the test's own, which it stops and starts."""
    with server() as running:
        yield running


@pytest.fixture
def shop(host: Host, postgres: Server) -> Iterator[sqlalchemy.Engine]:
    """A host that writes the old table, and the table's database."""
    address = postgres.database()
    engine = sqlalchemy.create_engine(f"postgresql+psycopg://{address}", poolclass=sqlalchemy.NullPool)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text(TABLE))
    host.environment |= {"CALLMETER_STORE_URL": f"postgres://{address}", "CALLMETER_COMPAT": "ai_call_logger"}
    host.command("migrate")
    yield engine
    engine.dispose()


def ask(engine: sqlalchemy.Engine, sql: str) -> list[tuple[Any, ...]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(sqlalchemy.text(sql))]


def test_a_thread_for_each_call_without_bound(host: Host) -> None:
    done = host.run(
        """
        import os, threading
        from callmeter import log_ai_call

        def ask():
            with log_ai_call("burst", "ollama", "llama3.1:8b") as ctx:
                ctx.set_tokens(1, 2)

        ask()
        before = len(os.listdir("/proc/self/task"))
        for _ in range(2_000):
            ask()
        print(before, len(os.listdir("/proc/self/task")), threading.active_count())
        """
    )
    before, after, of_python = map(int, done.stdout.split())
    assert after <= before
    assert of_python <= 2
    # The process ended right after: nothing waited in a daemon thread.
    assert len(host.rows()) == 2_001


def test_a_database_that_is_down_loses_every_row_of_that_time(host: Host, postgres: Server, shop: sqlalchemy.Engine) -> None:
    program = """
        import sys
        from callmeter import log_ai_call
        for number in range(40):
            with log_ai_call("outage", "ollama", "llama3.1:8b", request_id=f"{sys.argv[1]}-{number}"):
                pass
    """
    host.run(program, "healthy")
    postgres.stop()
    host.run(program, "down")
    postgres.start()
    host.run(program, "again")
    host.command("ship", "--once")
    found = ask(shop, "SELECT count(*), count(DISTINCT request_id), count(*) FILTER (WHERE request_id LIKE 'down-%') FROM ai_calls")
    assert found == [(120, 120, 40)]


def test_a_retried_write_doubles_a_row(host: Host, shop: sqlalchemy.Engine) -> None:
    # Killed while rows are on their way to the database, over and over: whatever was sent twice is there once.
    program = """
        import os, signal, sys
        import callmeter
        for number in range(30):
            with callmeter.log_ai_call("retried", "ollama", "llama3.1:8b", request_id=f"{sys.argv[1]}-{number}"):
                pass
        callmeter.flush(float(sys.argv[2]))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    for number, wait in enumerate(("0", "0.05", "0.2", "1", "30")):
        host.run(program, f"round-{number}", wait, code=-9)
    host.command("ship", "--once")
    host.command("ship", "--once")
    assert ask(shop, "SELECT count(*), count(DISTINCT request_id) FROM ai_calls") == [(150, 150)]


def test_no_time_of_the_call_only_of_the_write(host: Host, postgres: Server, shop: sqlalchemy.Engine) -> None:
    postgres.stop()
    began = datetime.datetime.now(datetime.timezone.utc)
    host.run("from callmeter import log_ai_call\nwith log_ai_call('early', 'p', 'm'):\n    pass\n")
    ended = datetime.datetime.now(datetime.timezone.utc)
    postgres.start()
    host.command("ship", "--once")
    ((written,),) = ask(shop, "SELECT created_at FROM ai_calls")
    assert began <= written <= ended


def test_an_unknown_model_is_0_usd_and_a_total_understates_silently(host: Host) -> None:
    host.run(
        """
        from callmeter import log_ai_call
        for model in ("gpt-5-mini", "model-that-nobody-knows"):
            with log_ai_call("caller", "openai", model) as ctx:
                ctx.set_tokens(1_000, 1_000)
        """
    )
    priced, unknown = host.rows()
    assert priced["cost_usd"] is not None
    assert (unknown["cost_usd"], unknown["unpriced_reason"]) == (None, "unknown_model")
    assert "unpriced" in host.command("report")


def test_rounding_each_call_to_six_decimals_loses_the_small_ones(host: Host) -> None:
    host.environment["CALLMETER_PRICES__BOOK"] = "market"
    host.run(
        """
        from callmeter import log_ai_call
        for _ in range(1_000):
            with log_ai_call("small", "gemini", "gemini-2.5-flash") as ctx:
                ctx.set_tokens(1, 0)
        """
    )
    costs = [float(str(row["cost_usd"])) for row in host.rows()]
    assert 0 < costs[0] < 0.000001
    assert sum(costs) == pytest.approx(1_000 * costs[0])


def test_prices_without_dates_or_cached_tokens(host: Host) -> None:
    periods = [
        {"rates": {"input": "2", "output": "8"}, "until": "2026-06-01T00:00:00Z"},
        {"from": "2026-06-01T00:00:00Z", "rates": {"input": "1", "output": "4", "cache_read": "0.1"}},
    ]
    model = {"provider": "openai", "model": "gpt-5-mini", "periods": periods}
    book = host.write("book.json", json.dumps({"name": "ours", "version": "1", "models": [model]}))
    usage = {"input_tokens": 1_000_000, "output_tokens": 0}
    line = {"provider": "openai", "model": "gpt-5-mini", "usage": usage}
    lines = [
        {**line, "at": "2026-05-31T23:59:59Z"},
        {**line, "at": "2026-06-01T00:00:00Z"},
        {**line, "at": "2026-06-01T00:00:00Z", "usage": {**usage, "cache_read_tokens": 1_000_000}},
    ]
    process = subprocess.run(
        [sys.executable, "-m", "callmeter", "price", "--jsonl", "--book", str(book)],
        input="".join(json.dumps(line) + "\n" for line in lines),
        env=host.environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=True,
    )
    costs = [json.loads(answer)["cost_usd"] for answer in process.stdout.splitlines()]
    assert [float(cost) for cost in costs] == [2.0, 1.0, 0.1]


@pytest.mark.parametrize("compat", ["off", "ai_call_logger"])
def test_error_and_meta_hold_prompts_and_api_keys(host: Host, compat: str) -> None:
    host.environment |= {"CALLMETER_COMPAT": compat, "CONTENT": CONTENT, "SECRET": SECRET}
    done = host.run(
        """
        import contextlib, logging, os
        import callmeter
        logging.basicConfig(level=logging.DEBUG)
        content, secret = os.environ["CONTENT"], os.environ["SECRET"]
        texts = [
            f"Error code: 400 - {{'error': {{'message': 'Invalid value: {content}', 'type': 'invalid_request_error'}}}}",
            f"Incorrect API key provided: sk-proj-{secret}. You can find your API key at the dashboard.",
            f"HTTPConnectionPool(host='h', port=1): Max retries exceeded with url: /v1/chat?key={secret}&q={content} (Caused by X)",
            f"connection failed: postgres://app:{secret}@db/shop",
            f"{content} {secret}",
        ]
        for text in texts:
            with contextlib.suppress(ValueError), callmeter.log_ai_call("leaky", "openai", "gpt-5-mini") as ctx:
                raise ValueError(text)
            with callmeter.log_ai_call("leaky", "openai", "gpt-5-mini") as ctx:
                ctx.set_error(text)
                ctx.set_prompt_hash(text)
                ctx.add_meta("prompt", text)
                ctx.add_meta("api_key", text)
                ctx.add_meta("nested", {"messages": [{"content": text}]})
                ctx.add_meta("long", text * 20)
                ctx.meta["authorization"] = f"Bearer sk-{secret}"
        assert callmeter.flush(60)
        """
    )
    places = [host.home, *pathlib.Path("/dev/shm").glob("callmeter-*")]
    files = [path for place in places for path in place.rglob("*") if path.is_file()]
    assert files
    for marker in (CONTENT, SECRET):
        assert marker not in done.stdout + done.stderr
        assert marker not in host.command("calls", "--json", "--limit", "1000")
        leaks = [path for path in files if path.exists() and marker.encode() in path.read_bytes()]
        assert not leaks


def test_an_unsalted_hash_of_a_short_prompt_can_be_guessed(host: Host) -> None:
    program = "from callmeter import log_ai_call\nwith log_ai_call('c', 'p', 'm') as ctx:\n    ctx.set_prompt_hash('yes')\n"
    guess = hashlib.sha256(b"yes").hexdigest()
    host.run(program)
    host.environment["CALLMETER_COMPAT"] = "ai_call_logger"
    host.run(program)
    keyed, as_before = (row["meta"]["prompt_hash"] for row in host.rows())  # type: ignore[index]
    assert len(keyed) == 32
    assert keyed[:12] != guess[:12]
    # For users of the replaced module it compares with their old rows, until they choose otherwise.
    assert as_before == guess[:12]
